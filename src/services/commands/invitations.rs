//! Commands that make links: to be a contact or to have an account here (XEP-0401 §3 and §4), to choose a new password, and
//! to the page for administrators.

use super::{Call, Command, Done};
use crate::{
    domain::accounts,
    router::{
        context::Ctx,
        lifecycle::{self, Invite, Invited},
    },
    wire::{
        error::{Condition, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        time,
    },
};

/// FORM_TYPE of our own commands.
const OWN: &str = "urn:lampone:admin";
/// FORM_TYPE of an invitation, XEP-0401 §10.2.
const INVITATION: &str = "urn:xmpp:invite#invitation";

const CONTACT: &str = "urn:xmpp:invite#invite";
const ACCOUNT: &str = "urn:xmpp:invite#create-account";

/// For everybody who lives here.
pub(super) static FOR_ALL: &[Command] =
    &[Command { node: CONTACT, name: "Invite user", form: None, run: invite_contact }];

/// For administrators, and where the settings let it for everybody who lives here.
pub(super) static TO_ACCOUNTS: &[Command] = &[Command {
    node: ACCOUNT,
    name: "Create account",
    form: Some(|_| {
        let name = Field::new("username", FieldType::TextSingle).label("Username, or nothing to leave the choice");
        let contact = Field::boolean("roster-subscription", true).label("The new account and you become contacts");
        Form::new(FormType::Form).title("Create account").field(name).field(contact)
    }),
    run: invite_account,
}];

/// For administrators.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        node: "urn:lampone:admin#invite",
        name: "Invite a user",
        form: Some(|_| {
            let admin = Field::boolean("admin", false).label("The new account may administer the server");
            Form::typed(FormType::Form, OWN).title("Invite a user").field(admin)
        }),
        run: |call, ctx| {
            let is_admin = call.form.bool("admin").unwrap_or(false);
            link(lifecycle::invite(ctx, &Invite { domain: call.iq.domain, is_admin, ..Invite::default() }))
        },
    },
    Command {
        node: "urn:lampone:admin#password-link",
        name: "Let a user choose a new password",
        form: Some(|_| {
            let address = Field::new("accountjid", FieldType::JidSingle).label("Address of the account").required();
            Form::typed(FormType::Form, OWN).title("Let a user choose a new password").field(address)
        }),
        run: |call, ctx| page(lifecycle::password_link(ctx, &call.account()?)),
    },
    Command {
        node: "urn:lampone:admin#status-link",
        name: "Make a link to the status page",
        form: None,
        run: |call, ctx| page(lifecycle::status_link(ctx, call.iq.domain)),
    },
];

/// Who gives the command, if that is an account: the command line has none, and no contacts.
fn inviter(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Option<Jid> {
    Some(call.iq.from.bare()).filter(|jid| accounts::exists(&ctx.store(), jid))
}

/// XEP-0401 §3.1.
fn invite_contact(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let inviter =
        inviter(call, ctx).ok_or(StanzaError::new(Condition::NotAllowed).text("Only accounts have contacts."))?;
    let (domain, inviter) = (call.iq.domain, Some(&inviter));
    let wish = Invite { domain, inviter, befriends: true, is_contact: true, ..Invite::default() };
    link(lifecycle::invite(ctx, &wish))
}

/// XEP-0401 §4.
fn invite_account(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let domain = call.iq.domain;
    let username = match call.form.value("username").map(str::trim).filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let jid = Jid::from_parts(Some(name), domain, None);
            jid.map_err(|_| StanzaError::new(Condition::JidMalformed))?.local().map(str::to_owned)
        }
    };
    let inviter = inviter(call, ctx);
    let befriends = call.form.bool("roster-subscription").unwrap_or(false);
    let wish = Invite { domain, inviter: inviter.as_ref(), username, befriends, ..Invite::default() };
    link(lifecycle::invite(ctx, &wish))
}

/// XEP-0401 §3.1, example 3.
fn link(outcome: Result<Invited, StanzaError>) -> Result<Done, StanzaError> {
    let invited = outcome?;
    let uri = Field::new("uri", FieldType::TextSingle).label("Link").value(invited.uri.clone());
    Ok(Done::With(with_page(Form::typed(FormType::Result, INVITATION).field(uri), invited)))
}

/// What is a page and nothing else.
fn page(outcome: Result<Invited, StanzaError>) -> Result<Done, StanzaError> {
    Ok(Done::With(with_page(Form::typed(FormType::Result, OWN), outcome?)))
}

fn with_page(mut form: Form, invited: Invited) -> Form {
    if let Some(page) = invited.page {
        form = form.field(Field::new("landing-url", FieldType::TextSingle).label("Page").value(page));
    }
    let until = time::stamp(invited.expires_s * 1_000).as_str().to_owned();
    form.field(Field::new("expire", FieldType::TextSingle).label("Good until").value(until))
}
