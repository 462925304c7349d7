//! Commands about accounts, XEP-0133 §4.

use std::collections::BTreeSet;

use super::{Call, Command, Done, Then, bad_payload};
use crate::{
    domain::{accounts, keys, roster},
    limits,
    router::{context::Ctx, lifecycle},
    wire::{
        error::{Condition, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns, time,
    },
};

/// Whether a new account may administer the server: our addition to the form of XEP-0133 §4.1, with a name that no registered
/// field can have.
const IS_ADMIN: &str = "{urn:lampone:admin}admin";

/// Address after which a list of users goes on: our addition to the form of XEP-0133 §4.18.
const AFTER: &str = "{urn:lampone:admin}after";

/// Commands about accounts.
pub(super) static COMMANDS: &[Command] = &[
    Command { node: "http://jabber.org/protocol/admin#add-user", name: "Add user", form: Some(add_form), run: add },
    Command {
        node: "http://jabber.org/protocol/admin#delete-user",
        name: "Delete user",
        form: Some(|| several("Delete users", "Addresses of the accounts to delete")),
        run: delete,
    },
    Command {
        node: "http://jabber.org/protocol/admin#disable-user",
        name: "Disable user",
        form: Some(|| several("Disable users", "Addresses of the accounts to disable")),
        run: |call, ctx| set_disabled(call, ctx, true),
    },
    Command {
        node: "http://jabber.org/protocol/admin#reenable-user",
        name: "Re-enable user",
        form: Some(|| several("Re-enable users", "Addresses of the accounts to enable again")),
        run: |call, ctx| set_disabled(call, ctx, false),
    },
    Command {
        node: "http://jabber.org/protocol/admin#change-user-password",
        name: "Change user password",
        form: Some(password_form),
        run: change_password,
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-user-lastlogin",
        name: "Get last login of user",
        form: Some(|| several("Last login", "Addresses of the accounts")),
        run: last_login,
    },
    Command {
        node: "http://jabber.org/protocol/admin#user-stats",
        name: "Get user statistics",
        form: Some(|| form("User statistics").field(address("Address of the account"))),
        run: statistics,
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-registered-users-num",
        name: "Get number of registered users",
        form: None,
        run: |call, ctx| {
            let count = accounts::count(&ctx.store(), call.iq.domain);
            Ok(Done::With(result(Field::plain("registeredusersnum", count.to_string()).label("Registered users"))))
        },
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-online-users-num",
        name: "Get number of online users",
        form: None,
        run: |call, ctx| {
            let count = online(call, ctx).len();
            Ok(Done::With(result(Field::plain("onlineusersnum", count.to_string()).label("Online users"))))
        },
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-registered-users-list",
        name: "Get list of registered users",
        form: None,
        run: registered_list,
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-online-users-list",
        name: "Get list of online users",
        form: None,
        run: |call, ctx| {
            let users = online(call, ctx).into_iter().collect();
            Ok(listed("onlineuserjids", users, most(call)?))
        },
    },
];

fn form(title: &'static str) -> Form {
    Form::typed(FormType::Form, ns::ADMIN).title(title)
}

fn result(field: Field) -> Form {
    Form::typed(FormType::Result, ns::ADMIN).field(field)
}

fn address(label: &'static str) -> Field {
    Field::new("accountjid", FieldType::JidSingle).label(label).required()
}

fn several(title: &'static str, label: &'static str) -> Form {
    form(title).field(Field::new("accountjids", FieldType::JidMulti).label(label).required())
}

fn add_form() -> Form {
    form("Add a user")
        .field(address("Address of the new account"))
        .field(Field::new("password", FieldType::TextPrivate).label("Password").required())
        .field(Field::new("password-verify", FieldType::TextPrivate).label("Password again"))
        .field(Field::boolean(IS_ADMIN, false).label("The account may administer the server"))
}

fn password_form() -> Form {
    form("Change a password")
        .field(address("Address of the account"))
        .field(Field::new("password", FieldType::TextPrivate).label("New password").required())
}

/// XEP-0133 §4.1.
fn add(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jid = call.account()?;
    if !ctx.is_local(&jid) {
        return Err(StanzaError::new(Condition::NotAcceptable).text("That domain is not served here."));
    }
    let password = call.form.value("password").unwrap_or_default();
    // The second field is optional, and then there is nothing to compare.
    if call.form.value("password-verify").is_some_and(|again| again != password) {
        return Err(bad_payload("The passwords differ."));
    }
    if accounts::exists(&ctx.store(), &jid) {
        return Err(Condition::Conflict.into());
    }
    let query = ctx.derive(lifecycle::prepare_password(password)?);
    let is_admin = call.form.bool(IS_ADMIN).unwrap_or(false);
    Ok(Done::Later(query, Then::Create { jid, is_admin }))
}

/// XEP-0133 §4.2: all or none.
fn delete(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jids = existing(call, ctx)?;
    for jid in &jids {
        lifecycle::remove(ctx, jid)?;
    }
    Ok(Done::Quietly)
}

/// XEP-0133 §4.3 and §4.4: all or none. Nobody disables the account that gives the command, nor one that the settings
/// make an administrator: the way back would be lost.
fn set_disabled(call: &Call<'_>, ctx: &mut Ctx<'_>, is_disabled: bool) -> Result<Done, StanzaError> {
    let jids = existing(call, ctx)?;
    let is_needed = |jid: &Jid| {
        jid.as_str() == call.iq.from.bare_str() || ctx.config().admins.iter().any(|admin| admin == jid.as_str())
    };
    if is_disabled && jids.iter().any(is_needed) {
        return Err(StanzaError::new(Condition::NotAllowed).text("This administrator's account cannot be disabled."));
    }
    for jid in &jids {
        lifecycle::set_disabled(ctx, jid, is_disabled)?;
    }
    Ok(Done::Quietly)
}

/// The bare addresses of accounts that the command is about.
fn existing(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Vec<Jid>, StanzaError> {
    let jids = call.targets()?;
    for jid in &jids {
        if !jid.is_bare() || !accounts::exists(&ctx.store(), jid) {
            return Err(Condition::ItemNotFound.into());
        }
    }
    Ok(jids)
}

/// XEP-0133 §4.7.
fn change_password(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jid = call.account()?;
    if !accounts::exists(&ctx.store(), &jid) {
        return Err(Condition::ItemNotFound.into());
    }
    let password = call.form.value("password").unwrap_or_default();
    let query = ctx.derive(lifecycle::prepare_password(password)?);
    Ok(Done::Later(query, Then::ChangePassword(jid)))
}

/// XEP-0133 §4.9. For an account that is here now, since when; otherwise when it left.
fn last_login(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jids = existing(call, ctx)?;
    let mut times = Vec::with_capacity(jids.len());
    for jid in &jids {
        let since = ctx.sessions().of(jid.bare_str()).map(|(_, session)| session.since_s).max();
        let left = ctx.account(jid).and_then(|account| ctx.store().read(&keys::owned(keys::LAST, account)));
        let left = left.and_then(|row| Some(u64::from_be_bytes(*row.first_chunk()?)));
        times.push(since.or(left).map_or("never".to_owned(), |s| time::stamp(s * 1_000).as_str().to_owned()));
    }
    let jids = jids.iter().map(|jid| jid.as_str().to_owned());
    let form = result(Field::new("accountjids", FieldType::JidMulti).values(jids));
    Ok(Done::With(form.field(Field::new("lastlogin", FieldType::TextMulti).values(times))))
}

/// XEP-0133 §4.10.
fn statistics(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jid = call.account()?;
    let account = accounts::find(&ctx.store(), &jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let contacts = roster::items(&ctx.store(), account.id).len();
    let sessions: Vec<_> = ctx.sessions().of(jid.bare_str()).map(|(_, session)| session).collect();
    let addresses: BTreeSet<String> = sessions.iter().filter_map(|s| Some(s.peer?.to_string())).collect();
    let resources = sessions.iter().filter_map(|session| Some(session.jid.resource()?.to_owned()));
    let form = result(Field::new("ipaddresses", FieldType::TextMulti).values(addresses))
        .field(Field::plain("rostersize", contacts.to_string()))
        .field(Field::new("onlineresources", FieldType::TextMulti).values(resources));
    Ok(Done::With(form))
}

/// Bare addresses of the domain that have a session.
fn online(call: &Call<'_>, ctx: &Ctx<'_>) -> BTreeSet<String> {
    let sessions = ctx.sessions().all().filter(|(_, s)| !s.is_local && s.jid.domain() == call.iq.domain);
    sessions.map(|(_, session)| session.jid.bare_str().to_owned()).collect()
}

/// How many the admin wants to see, XEP-0133 §4.18: a number, or `none` for no limit but ours.
fn most(call: &Call<'_>) -> Result<usize, StanzaError> {
    match call.form.value("max_items") {
        None | Some("" | "none") => Ok(limits::COMMAND_LIST_MAX),
        Some(number) => match number.parse::<usize>() {
            Ok(number) => Ok(number.min(limits::COMMAND_LIST_MAX)),
            Err(_) => Err(bad_payload("max_items is no number.")),
        },
    }
}

/// XEP-0133 §4.18.
fn registered_list(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let most = most(call)?;
    let domain = call.iq.domain;
    let after = call.form.value(AFTER).map(Jid::parse).transpose();
    let after = after.map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    let users = accounts::list(&ctx.store(), domain, after.as_ref().and_then(Jid::local), most + 1);
    let users = users.into_iter().map(|(local, _)| format!("{local}@{domain}")).collect();
    Ok(listed("registereduserjids", users, most))
}

fn listed(var: &'static str, mut users: Vec<String>, most: usize) -> Done {
    let is_cut = users.len() > most;
    users.truncate(most);
    let form = result(Field::new(var, FieldType::JidMulti).values(users));
    if is_cut { Done::Partly(form, "There are more users than this list holds.") } else { Done::With(form) }
}
