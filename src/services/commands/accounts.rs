//! Commands about accounts, XEP-0133 §4.

use std::collections::BTreeSet;

use super::{Call, Command, Done, Then, bad_payload};
use crate::{
    domain::{
        accounts::{self, Account},
        keys, roster,
    },
    limits,
    proto::scram::{Credentials, Filler},
    router::{context::Ctx, lifecycle},
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns, time,
    },
};

/// Whether an account may administer the server: our addition to the form of XEP-0133 §4.1 and the result of §4.10, with
/// a name that no registered field can have.
const IS_ADMIN: &str = "{urn:lampone:admin}admin";

/// SCRAM keys instead of a password ([`Credentials::read`]): our addition to what a form of XEP-0133 §4.1 may hold.
const KEYS: &str = "{urn:lampone:admin}keys";

/// Whether the account has keys of SCRAM-SHA-1 only: our addition to the result of XEP-0133 §4.10.
const HAS_OLD_KEYS: &str = "{urn:lampone:admin}old-keys";

/// Whether nobody can sign in to the account: our addition to the result of XEP-0133 §4.10.
const IS_DISABLED: &str = "{urn:lampone:admin}disabled";

/// Address after which a list of users goes on: our addition to the form of XEP-0133 §4.18.
const AFTER: &str = "{urn:lampone:admin}after";

/// Commands about accounts.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        node: "http://jabber.org/protocol/admin#add-user",
        name: "Add user",
        form: Some(|_| add_form()),
        run: add,
    },
    Command {
        node: "http://jabber.org/protocol/admin#delete-user",
        name: "Delete user",
        form: Some(|_| several("Delete users", "Addresses of the accounts to delete")),
        run: delete,
    },
    Command {
        node: "http://jabber.org/protocol/admin#disable-user",
        name: "Disable user",
        form: Some(|_| several("Disable users", "Addresses of the accounts to disable")),
        run: |call, ctx| set_disabled(call, ctx, true),
    },
    Command {
        node: "http://jabber.org/protocol/admin#reenable-user",
        name: "Re-enable user",
        form: Some(|_| several("Re-enable users", "Addresses of the accounts to enable again")),
        run: |call, ctx| set_disabled(call, ctx, false),
    },
    Command {
        node: "http://jabber.org/protocol/admin#change-user-password",
        name: "Change user password",
        form: Some(|_| password_form()),
        run: change_password,
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-user-roster",
        name: "Get user roster",
        form: Some(|_| several("Contacts of a user", "Address of the account")),
        run: contacts,
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-user-lastlogin",
        name: "Get last login of user",
        form: Some(|_| several("Last login", "Addresses of the accounts")),
        run: last_login,
    },
    Command {
        node: "http://jabber.org/protocol/admin#user-stats",
        name: "Get user statistics",
        form: Some(|_| form("User statistics").field(address("Address of the account"))),
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
        node: "http://jabber.org/protocol/admin#get-disabled-users-num",
        name: "Get number of disabled users",
        form: None,
        run: |call, ctx| {
            let count = accounts::disabled(&ctx.store(), call.iq.domain, usize::MAX).len();
            Ok(Done::With(result(Field::plain("disabledusersnum", count.to_string()).label("Disabled users"))))
        },
    },
    Command {
        node: "http://jabber.org/protocol/admin#get-disabled-users-list",
        name: "Get list of disabled users",
        form: None,
        run: |call, ctx| {
            let (most, domain) = (most(call)?, call.iq.domain);
            let users = accounts::disabled(&ctx.store(), domain, most + 1);
            let users = users.into_iter().map(|local| format!("{local}@{domain}")).collect();
            Ok(listed("disableduserjids", users, most))
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
    Command {
        node: "http://jabber.org/protocol/admin#edit-admin",
        name: "Edit admin list",
        form: Some(admins_form),
        run: edit_admins,
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
    let is_admin = call.form.bool(IS_ADMIN).unwrap_or(false);
    if call.form.value(KEYS).is_some() {
        // They come from another server, which may have been ours.
        let filler: Filler = ctx.random();
        let credentials = Credentials::read(call.form.values(KEYS), &filler).map_err(bad_payload)?;
        lifecycle::create(ctx, &jid, credentials, is_admin)?;
        return Ok(Done::Quietly);
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
    all_existing(call.addresses("accountjids")?, ctx)
}

fn all_existing(jids: Vec<Jid>, ctx: &mut Ctx<'_>) -> Result<Vec<Jid>, StanzaError> {
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
        .field(Field::new("onlineresources", FieldType::TextMulti).values(resources))
        .field(Field::boolean(IS_ADMIN, ctx.is_admin(&jid)).label("May administer the server"))
        .field(Field::boolean(IS_DISABLED, account.is_disabled).label("Is disabled"))
        .field(Field::boolean(HAS_OLD_KEYS, account.credentials.lacks_sha256()).label("Has keys of SCRAM-SHA-1 only"));
    Ok(Done::With(form))
}

/// XEP-0133 §4.8: one account at a time, since the result does not tell whose contact is whose.
fn contacts(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let jids = existing(call, ctx)?;
    let [jid] = jids.as_slice() else { return Err(bad_payload("One address at a time.")) };
    let account = accounts::find(&ctx.store(), jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let items = roster::items(&ctx.store(), account.id).into_iter().map(|(contact, item)| {
        let name = Some(item.name).filter(|name| !name.is_empty());
        let ask = item.state.pending_out.then_some("subscribe");
        let subscription = item.state.subscription();
        let element = Element::new("item", ns::ROSTER).attr("jid", contact).attr_if("name", name);
        let element = element.attr("subscription", subscription).attr_if("ask", ask);
        item.groups.into_iter().fold(element, |element, group| element.leaf("group", group))
    });
    let query = Element::new("query", ns::ROSTER).with(items);
    let whose = Field::new("accountjids", FieldType::JidMulti).value(jid.as_str().to_owned());
    Ok(Done::Holding(result(whose), query))
}

/// XEP-0133 §4.29. Those of the settings are not listed: they are changed there.
fn admins_form(ctx: &mut Ctx<'_>) -> Form {
    let admins = accounts::admins(&ctx.store(), limits::COMMAND_TARGETS_MAX);
    let admins = admins.into_iter().map(|jid| jid.as_str().to_owned());
    let label = "Accounts that may administer the server, beside those that its settings name";
    form("Administrators").field(Field::new("adminjids", FieldType::JidMulti).label(label).values(admins))
}

/// XEP-0133 §4.29: all or nothing. Nobody takes the own rights away: the last administrator would do it by mistake.
fn edit_admins(call: &Call<'_>, ctx: &mut Ctx<'_>) -> Result<Done, StanzaError> {
    let field = call.form.get("adminjids").ok_or(bad_payload("The list is missing."))?;
    let after = match field.values.iter().all(|value| value.trim().is_empty()) {
        true => Vec::new(),
        false => all_existing(call.addresses("adminjids")?, ctx)?,
    };
    let before = accounts::admins(&ctx.store(), limits::COMMAND_TARGETS_MAX);
    let lost: Vec<&Jid> = before.iter().filter(|jid| !after.contains(jid)).collect();
    if lost.iter().any(|jid| jid.as_str() == call.iq.from.bare_str()) {
        return Err(StanzaError::new(Condition::NotAllowed).text("Another administrator has to take your rights away."));
    }
    let changes = after.iter().map(|jid| (jid, true)).chain(lost.into_iter().map(|jid| (jid, false)));
    for (jid, is_admin) in changes {
        if let Some(account) = accounts::find(&ctx.store(), jid).filter(|account| account.is_admin != is_admin) {
            accounts::update(&mut ctx.store(), jid, &Account { is_admin, ..account });
        }
    }
    Ok(Done::Quietly)
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
