//! Commands that empty an archive of messages: an administrator's for any account, and everybody's for their own.
//!
//! XEP-0313 §2 leaves it to ad-hoc commands how messages are deleted.

use super::{Command, Done, bad_payload};
use crate::{
    router::{context::Ctx, lifecycle},
    wire::{
        error::StanzaError,
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
    },
};

/// Commands for administrators.
pub(super) static COMMANDS: &[Command] = &[Command {
    node: "urn:lampone:admin#empty-archive",
    name: "Empty the archive of a user",
    form: Some(|_| {
        let address = Field::new("accountjid", FieldType::JidSingle).label("Address of the account").required();
        Form::new(FormType::Form).title("Empty the archive of a user").field(address)
    }),
    run: |call, ctx| empty(&call.account()?, ctx),
}];

/// Commands for an account's owner, at its bare address.
pub(super) static OWN: &[Command] = &[Command {
    node: "urn:lampone:account#empty-archive",
    name: "Empty my archive of messages",
    form: Some(|_| {
        let sure = Field::boolean("sure", false).label("Remove all messages that the server keeps for me, for good");
        Form::new(FormType::Form).title("Empty my archive of messages").field(sure.required())
    }),
    run: |call, ctx| match call.form.bool("sure") {
        Some(true) => empty(&call.iq.from.bare(), ctx),
        _ => Err(bad_payload("Nothing is removed unless you say so.")),
    },
}];

fn empty(jid: &Jid, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let count = lifecycle::empty_archive(ctx, jid)?;
    let count = Field::plain("messages", count.to_string()).label("Messages removed");
    Ok(Done::With(Form::new(FormType::Result).field(count)))
}
