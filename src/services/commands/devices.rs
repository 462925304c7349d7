//! Commands about the devices that have access to an account: those of its owner (XEP-0494), for administrators.

use super::{Call, Command, Done, bad_payload};
use crate::{
    domain::{accounts, ids::AccountId},
    router::{
        clients::{self, Client},
        context::Ctx,
    },
    wire::{
        error::{Condition, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        time,
    },
};

/// Commands about devices.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        node: "urn:lampone:admin#user-devices",
        name: "Show devices of a user",
        form: Some(|_| asking("Devices of a user")),
        run: devices,
    },
    Command {
        node: "urn:lampone:admin#revoke-device",
        name: "Sign a device out",
        form: Some(|_| {
            let device = Field::new("device", FieldType::TextSingle).label("Its name in the list of devices");
            asking("Sign a device out").field(device.required())
        }),
        run: revoke,
    },
];

fn asking(title: &'static str) -> Form {
    let address = Field::new("accountjid", FieldType::JidSingle).label("Address of the account").required();
    Form::new(FormType::Form).title(title).field(address)
}

fn account(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<(Jid, AccountId), StanzaError> {
    let jid = call.account()?;
    let account = accounts::find(&ctx.store(), &jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    Ok((jid, account.id))
}

fn devices(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let (jid, account) = account(call, ctx)?;
    let table = Form::new(FormType::Result)
        .report(Field::new("id", FieldType::TextSingle).label("Name"))
        .report(Field::new("connected", FieldType::Boolean).label("Is here"))
        .report(Field::new("last-seen", FieldType::TextSingle).label("Last sign-in"))
        .report(Field::new("software", FieldType::TextSingle).label("Software"))
        .report(Field::new("device", FieldType::TextSingle).label("Device"));
    Ok(Done::With(clients::list(ctx, account, &jid).into_iter().map(row).fold(table, Form::item)))
}

fn row(client: Client) -> Vec<Field> {
    vec![
        Field::plain("id", client.id),
        Field::plain("connected", if client.is_connected { "1" } else { "0" }),
        Field::plain("last-seen", time::stamp(client.last_s.saturating_mul(1000)).as_str().to_owned()),
        Field::plain("software", client.software),
        Field::plain("device", client.device),
    ]
}

fn revoke(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let (jid, account) = account(call, ctx)?;
    let device = call.form.value("device").ok_or(bad_payload("The device is missing."))?;
    Ok(match clients::revoke(ctx, account, &jid, device.trim())? {
        true => Done::Quietly,
        false => Done::Partly(
            Form::new(FormType::Result),
            "It is signed out. It has shown the password: only another one keeps it out for good.",
        ),
    })
}
