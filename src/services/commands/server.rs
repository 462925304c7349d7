//! Commands about the server and its sessions: XEP-0133 §4.5 and §4.23, and our own under `urn:lampone:admin`.

use std::path::{Component, Path, PathBuf};

use super::{Call, Command, Done, Then, bad_payload};
use crate::{
    domain::{accounts, ids::SessionId},
    router::{context::Ctx, figures},
    wire::{
        element::Element,
        error::{Condition, StanzaError, StreamCondition, StreamError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns, time,
    },
};

/// FORM_TYPE of our own commands.
const OWN: &str = "urn:lampone:admin";

/// Commands for everybody who lives here. `ping` is what other servers have under that name.
pub(super) static FOR_ALL: &[Command] = &[Command {
    node: "ping",
    name: "Ask whether the server is there",
    form: None,
    run: |_, ctx| Ok(Done::Saying(format!("It is. Its time is {}.", time::stamp(ctx.wall_us / 1000)))),
}];

/// Commands about the server.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        node: "http://jabber.org/protocol/admin#end-user-session",
        name: "End user session",
        form: Some(|_| {
            let addresses = Field::new("accountjids", FieldType::JidMulti).label("Addresses, with or without resource");
            Form::typed(FormType::Form, ns::ADMIN).title("End sessions").field(addresses.required())
        }),
        run: end_sessions,
    },
    Command {
        node: "http://jabber.org/protocol/admin#announce",
        name: "Send announcement to online users",
        form: Some(|_| {
            let text = Field::new("announcement", FieldType::TextMulti).label("Announcement").required();
            Form::typed(FormType::Form, ns::ADMIN).title("Make an announcement").field(text)
        }),
        run: announce,
    },
    Command { node: "urn:lampone:admin#status", name: "Show status", form: None, run: status },
    Command {
        node: "urn:lampone:admin#backup",
        name: "Write a backup",
        form: Some(|_| {
            let file = Field::new("file", FieldType::TextSingle).label("Name of the new file").required();
            Form::typed(FormType::Form, OWN).title("Write a backup").field(file)
        }),
        run: backup,
    },
];

/// XEP-0133 §4.5: a bare address means all sessions of the account.
fn end_sessions(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jids = call.addresses("accountjids")?;
    for jid in &jids {
        if !accounts::exists(&ctx.store(), jid) {
            return Err(Condition::ItemNotFound.into());
        }
    }
    let is_meant = |session: &Jid| jids.iter().any(|jid| jid == session || jid.as_str() == session.bare_str());
    let sessions: Vec<SessionId> = ctx
        .sessions()
        .all()
        .filter(|(_, session)| !session.is_local && is_meant(&session.jid))
        .map(|(id, _)| id)
        .collect();
    for id in sessions {
        // RFC 6120 §4.9.3.16: the client may come back.
        ctx.end(id, StreamError::new(StreamCondition::Reset).text("An administrator ended the session."));
    }
    Ok(Done::Quietly)
}

/// XEP-0133 §4.23: to all who have a session.
fn announce(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let text = call.form.text("announcement").filter(|text| !text.trim().is_empty());
    let text = text.ok_or(bad_payload("The announcement is empty."))?;
    let from = Jid::from_parts(None, call.iq.domain, None).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    let id = ctx.token();
    let message = Element::new("message", ns::CLIENT).attr("id", id).leaf("subject", "Announcement").leaf("body", text);
    let sessions: Vec<SessionId> =
        ctx.sessions().all().filter(|(_, session)| !session.is_local).map(|(id, _)| id).collect();
    for session in sessions {
        ctx.push(session, from.clone(), &message);
    }
    Ok(Done::Quietly)
}

/// Figures for `lampone status`.
fn status(_: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let domains = ctx.core.config.domains.clone();
    let form = Form::typed(FormType::Result, "urn:lampone:admin#status")
        .title("Status")
        .field(Field::plain("version", env!("CARGO_PKG_VERSION")).label("Version"))
        .field(Field::new("domains", FieldType::TextMulti).label("Domains").values(domains));
    let form = figures::all(ctx)
        .into_iter()
        .fold(form, |form, figure| form.field(Field::plain(figure.name, figure.value.to_string()).label(figure.label)));
    Ok(Done::With(form))
}

/// The command line may write wherever the server may; from afar a name in the data directory's `backups` has to do.
fn backup(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let name = call.form.value("file").map(str::trim).filter(|name| !name.is_empty());
    let name = Path::new(name.ok_or(bad_payload("The name of the file is missing."))?);
    let is_plain =
        matches!(name.components().collect::<Vec<_>>().as_slice(), [Component::Normal(part)] if *part == name);
    let file: PathBuf = match call.iq.from.local() {
        None if name.is_absolute() => name.to_owned(),
        _ if is_plain => ctx.config().data.join("backups").join(name),
        _ => return Err(bad_payload("A plain file name is needed.")),
    };
    let query = ctx.backup(file);
    Ok(Done::Later(query, Then::Report))
}
