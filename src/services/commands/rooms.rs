//! Commands about rooms: which there are, whoever may find them, and how one is ended.

use super::{Call, Command, Done, bad_payload};
use crate::{
    domain::rooms,
    limits,
    router::{context::Ctx, service::Notice},
    wire::{
        error::{Condition, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
    },
};

/// Commands about rooms.
pub(super) static COMMANDS: &[Command] = &[
    Command { node: "urn:lampone:admin#rooms", name: "Show rooms", form: None, run: list },
    Command {
        node: "urn:lampone:admin#destroy-room",
        name: "Destroy a room",
        form: Some(|_| {
            let room = Field::new("roomjid", FieldType::JidSingle).label("Address of the room").required();
            let reason = Field::new("reason", FieldType::TextSingle).label("What to tell those who are in it");
            Form::new(FormType::Form).title("Destroy a room").field(room).field(reason)
        }),
        run: destroy,
    },
];

fn list(_: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let table = Form::new(FormType::Result)
        .report(Field::new("room", FieldType::JidSingle).label("Room"))
        .report(Field::new("name", FieldType::TextSingle).label("Name"))
        .report(Field::new("creator", FieldType::JidSingle).label("Made by"))
        .report(Field::new("members-only", FieldType::Boolean).label("For members only"))
        .report(Field::new("public", FieldType::Boolean).label("Shown in lists"))
        .report(Field::new("persistent", FieldType::Boolean).label("Stays when all have left"));
    let hosts: Vec<String> = ctx.core.hosts.keys().cloned().collect();
    let mut found = Vec::new();
    for host in hosts {
        // One more than is shown tells that there are more.
        found.extend(rooms::list(&ctx.store(), &host, "", limits::COMMAND_LIST_MAX + 1 - found.len()));
    }
    let more = found.len() > limits::COMMAND_LIST_MAX;
    let flag = |name, is: bool| Field::plain(name, if is { "1" } else { "0" });
    let rows = found.into_iter().take(limits::COMMAND_LIST_MAX).map(|(jid, record)| {
        vec![
            Field::plain("room", jid.as_str().to_owned()),
            Field::plain("name", record.settings.name),
            Field::plain("creator", record.creator),
            flag("members-only", record.settings.is_members_only),
            flag("public", record.settings.is_public),
            flag("persistent", record.settings.is_persistent),
        ]
    });
    let table = rows.fold(table, Form::item);
    Ok(if more { Done::Partly(table, "There are more rooms.") } else { Done::With(table) })
}

fn destroy(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let room = call.form.value("roomjid").ok_or(bad_payload("The room is missing."))?;
    let room = Jid::parse(room.trim()).map_err(|_| bad_payload("This is not an address."))?.bare();
    rooms::find(&ctx.store(), &room).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let reason = call.form.text("reason").filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > limits::ROOM_REASON_BYTES_MAX) {
        return Err(bad_payload("The reason is too long."));
    }
    ctx.notice(Notice::EndRoom { room, reason: reason.map(String::into_boxed_str) });
    Ok(Done::Quietly)
}
