//! Lets administrators run commands, from any client or from the command line, and everybody a few for their own account.
//!
//! Source: XEP-0050 v1.3.0, XEP-0133 v1.3.1. Invariant: every step of every command that is for administrators asks anew
//! whether the sender is one (S17b), and those at an account are for its owner; what waits for a form or for the world
//! outside is bounded. Each command has at most one form, and takes it filled in with the first request as well.

mod accounts;
mod archives;
mod devices;
mod invitations;
mod rooms;
mod server;

use std::collections::VecDeque;

use crate::{
    domain::ids::{QueryId, Time},
    limits,
    proto::scram::Credentials,
    router::{
        context::Ctx,
        lifecycle,
        service::{Card, Discloses, DiscoAsk, Iq, Notice, Origin, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        form::{Form, FormType},
        jid::Jid,
        ns,
    },
};

/// XEP-0050 with the commands of XEP-0133 and our own.
#[derive(Debug, Default)]
pub struct Commands {
    /// Forms that were handed out, oldest first.
    open: VecDeque<Open>,
    /// Commands that wait for the world outside.
    pending: Vec<Pending>,
}

/// A form that somebody has to fill in.
#[derive(Debug)]
struct Open {
    id: String,
    node: &'static str,
    from: Jid,
    expires: Time,
}

#[derive(Debug)]
struct Pending {
    query: QueryId,
    origin: Origin,
    id: String,
    node: &'static str,
    then: Then,
}

/// What to do with an answer of the world outside.
#[derive(Debug)]
enum Then {
    /// Make an account with the credentials.
    Create {
        /// Its bare address.
        jid: Jid,
        /// Whether it may administer the server.
        is_admin: bool,
    },
    /// Give the credentials to an account.
    ChangePassword(Jid),
    /// Tell how it went.
    Report,
}

/// One command.
struct Command {
    node: &'static str,
    name: &'static str,
    /// What has to be known to run it, filled in with what is so now; `None`: nothing.
    form: Option<fn(&mut Ctx<'_>) -> Form>,
    run: fn(&Call<'_>, &mut Ctx<'_>) -> Result<Done, StanzaError>,
}

/// A command that is run.
struct Call<'a> {
    iq: &'a Iq<'a>,
    /// The submitted form; empty if the command needs none.
    form: Form,
}

/// How a command ended.
enum Done {
    /// Well; there is nothing to tell.
    Quietly,
    /// Well, with a result.
    With(Form),
    /// Well, with a result that holds something beside its fields.
    Holding(Form, Element),
    /// Well, with a word about it.
    Saying(String),
    /// Well, with a result that is not complete.
    Partly(Form, &'static str),
    /// It goes on when this question is answered.
    Later(QueryId, Then),
}

/// For an account's owner, at the account.
const FOR_OWNER: [&[Command]; 1] = [archives::OWN];
/// For everybody who lives here, at the server, where clients look: what they may do with their own account, too.
const FOR_ALL: [&[Command]; 3] = [server::FOR_ALL, archives::OWN, invitations::FOR_ALL];
/// For administrators, at the server.
const FOR_ADMINS: [&[Command]; 7] = [
    invitations::TO_ACCOUNTS,
    invitations::COMMANDS,
    accounts::COMMANDS,
    archives::COMMANDS,
    devices::COMMANDS,
    rooms::COMMANDS,
    server::COMMANDS,
];
/// For who may invite to an account here without being an administrator.
const FOR_HOSTS: [&[Command]; 1] = [invitations::TO_ACCOUNTS];

/// The commands that the sender may run there, in the order in which they are listed.
fn offered(iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> impl Iterator<Item = &'static Command> {
    let lives_here = ctx.is_local(iq.from) && iq.from.local().is_some();
    let is_admin = iq.scope == Scope::Host && ctx.is_admin(iq.from);
    let personal: &[&[Command]] = match iq.scope {
        Scope::Own if iq.account.is_some() => &FOR_OWNER,
        Scope::Host if lives_here => &FOR_ALL,
        _ => &[],
    };
    let is_host = lives_here && iq.scope == Scope::Host && lifecycle::may_give_accounts(ctx, Some(iq.from));
    let more: &[&[Command]] = match (is_admin, is_host) {
        (true, _) => &FOR_ADMINS,
        (false, true) => &FOR_HOSTS,
        (false, false) => &[],
    };
    personal.iter().chain(more).copied().flatten()
}

/// The command of a node.
///
/// # Errors
/// `forbidden` if it is for administrators and the sender is none, `item-not-found` if nobody has it.
fn find(iq: &Iq<'_>, node: &str, ctx: &mut Ctx<'_>) -> Result<&'static Command, StanzaError> {
    if let Some(command) = offered(iq, ctx).find(|command| command.node == node) {
        return Ok(command);
    }
    let is_for_others = iq.scope == Scope::Host && FOR_ADMINS.into_iter().flatten().any(|command| command.node == node);
    Err(if is_for_others { Condition::Forbidden } else { Condition::ItemNotFound }.into())
}

static CARD: Card = Card {
    name: "commands",
    source: "XEP-0050 v1.3.0, XEP-0133 v1.3.1",
    features: &[(Scope::Host, ns::COMMANDS), (Scope::Own, ns::COMMANDS)],
    stream_features: &[],
    iq: &[(Scope::Host, ns::COMMANDS, "command"), (Scope::Own, ns::COMMANDS, "command")],
    passes: &[],
};

impl Service for Commands {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        if !iq.is_set() {
            return Err(Condition::BadRequest.into());
        }
        let command = find(iq, iq.payload.get("node").unwrap_or_default(), ctx)?;
        let form = Form::find_in(iq.payload)?;
        let action = iq.payload.get("action").unwrap_or("execute");
        if let Some(id) = iq.payload.get("sessionid") {
            return self.proceed(command, id, action, Call { iq, form: submitted(form, action)? }, ctx);
        }
        match (action, form, command.form) {
            ("execute", None, Some(form)) => {
                let form = form(ctx);
                Ok(self.open(command, iq, form, ctx))
            }
            ("execute" | "complete", Some(form), _) => {
                let id = ctx.token();
                self.run(command, id, Call { iq, form }, ctx)
            }
            ("execute" | "complete", None, None) => {
                let id = ctx.token();
                self.run(command, id, Call { iq, form: Form::new(FormType::Submit) }, ctx)
            }
            _ => Err(bad_action(action)),
        }
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::Derived(query, credentials) => {
                if let Some(pending) = self.take(*query) {
                    derived(pending, (**credentials).clone(), ctx);
                }
            }
            Notice::BackedUp(query, outcome) => {
                if let Some(pending) = self.take(*query) {
                    let note = outcome.as_ref().err().map(|why| note("error", why.clone()));
                    let answer = command("completed", pending.node, &pending.id).with(note);
                    ctx.answer(&pending.origin, Ok(answer.into()));
                }
            }
            _ => {}
        }
    }

    fn discloses(&self) -> Option<Discloses> {
        Some(disclose)
    }
}

impl Commands {
    /// Hands out a form, XEP-0050 §2.4.2.
    fn open(&mut self, entry: &'static Command, iq: &Iq<'_>, form: Form, ctx: &mut Ctx<'_>) -> Reply {
        if self.open.len() >= limits::COMMANDS_OPEN_MAX {
            self.open.pop_front();
        }
        let id = ctx.token();
        let expires = ctx.now.plus_ms(limits::COMMAND_MS_MAX);
        self.open.push_back(Open { id: id.clone(), node: entry.node, from: iq.from.clone(), expires });
        let complete = Element::new("complete", ns::COMMANDS);
        let actions = Element::new("actions", ns::COMMANDS).attr("execute", "complete").child(complete);
        command("executing", entry.node, &id).child(actions).child(form.element()).into()
    }

    /// The second stage: the form comes back, or nobody wants to fill it in.
    fn proceed(
        &mut self,
        entry: &'static Command,
        id: &str,
        action: &str,
        call: Call<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Result<Reply, StanzaError> {
        // XEP-0050 §3.2: valid between one requester and us.
        let known = |open: &Open| open.id == id && open.node == entry.node && open.from == *call.iq.from;
        let at = self.open.iter().position(known);
        let at = at.ok_or(StanzaError::new(Condition::BadRequest).app("bad-sessionid", ns::COMMANDS))?;
        if self.open[at].expires <= ctx.now {
            self.open.remove(at);
            return Err(StanzaError::new(Condition::NotAllowed).app("session-expired", ns::COMMANDS));
        }
        if action == "cancel" {
            self.open.remove(at);
            return Ok(command("canceled", entry.node, id).into());
        }
        // A form with a mistake may be sent again: only success ends the session.
        let reply = self.run(entry, id.to_owned(), call, ctx)?;
        self.open.remove(at);
        Ok(reply)
    }

    fn run(
        &mut self,
        entry: &'static Command,
        id: String,
        call: Call<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Result<Reply, StanzaError> {
        if self.pending.len() >= limits::DERIVING_MAX {
            return Err(Condition::ResourceConstraint.into());
        }
        Ok(match (entry.run)(&call, ctx)? {
            Done::Later(query, then) => {
                self.pending.push(Pending { query, origin: call.iq.origin(), id, node: entry.node, then });
                Reply::Later
            }
            Done::Quietly => command("completed", entry.node, &id).into(),
            Done::With(form) => command("completed", entry.node, &id).child(form.element()).into(),
            Done::Holding(form, element) => {
                command("completed", entry.node, &id).child(form.element().child(element)).into()
            }
            Done::Saying(text) => command("completed", entry.node, &id).child(note("info", text)).into(),
            Done::Partly(form, why) => {
                command("completed", entry.node, &id).child(note("warn", why)).child(form.element()).into()
            }
        })
    }

    fn take(&mut self, query: QueryId) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.query == query)?;
        Some(self.pending.swap_remove(at))
    }
}

fn derived(pending: Pending, credentials: Credentials, ctx: &mut Ctx<'_>) {
    let outcome = match &pending.then {
        Then::Create { jid, is_admin } => lifecycle::create(ctx, jid, credentials, *is_admin).map(drop),
        Then::ChangePassword(jid) => lifecycle::change_password(ctx, jid, credentials, None),
        Then::Report => Ok(()),
    };
    let answer = outcome.map(|()| command("completed", pending.node, &pending.id).into());
    ctx.answer(&pending.origin, answer);
}

/// What a request with a session brings; XEP-0050 §3.4.1 takes any form as submitted.
fn submitted(form: Option<Form>, action: &str) -> Result<Form, StanzaError> {
    match (action, form) {
        ("cancel", _) => Ok(Form::new(FormType::Cancel)),
        ("execute" | "complete", Some(form)) => Ok(form),
        ("execute" | "complete", None) => Err(bad_payload("The form is missing.")),
        (action, _) => Err(bad_action(action)),
    }
}

/// XEP-0050 §4: an action that exists and does not fit here, or one that does not exist.
fn bad_action(action: &str) -> StanzaError {
    let app = match action {
        "execute" | "cancel" | "prev" | "next" | "complete" => "bad-action",
        _ => "malformed-action",
    };
    StanzaError::new(Condition::BadRequest).app(app, ns::COMMANDS)
}

/// XEP-0050 §4: the form does not make sense.
fn bad_payload(why: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(why).app("bad-payload", ns::COMMANDS)
}

fn command(status: &str, node: &str, id: &str) -> Element {
    Element::new("command", ns::COMMANDS).attr("node", node).attr("sessionid", id).attr("status", status)
}

fn note(kind: &str, text: impl Into<String>) -> Element {
    Element::new("note", ns::COMMANDS).attr("type", kind).text(text)
}

/// XEP-0050 §2.2 and §2.3.
fn disclose(ask: &DiscoAsk<'_>, ctx: &mut Ctx<'_>) -> Option<Result<Vec<Element>, StanzaError>> {
    let scope = ask.iq.scope;
    let here = match scope {
        Scope::Host => ask.iq.domain,
        Scope::Own => ask.iq.from.bare_str(),
        Scope::Other | Scope::Hosted => return None,
    };
    let item = |node: &str, name: &str| {
        let item = Element::new("item", ns::DISCO_ITEMS).attr("jid", here);
        item.attr("node", node).attr("name", name)
    };
    let identity = |ty: &str, name: &str| {
        let identity = Element::new("identity", ns::DISCO_INFO).attr("category", "automation");
        identity.attr("type", ty).attr("name", name)
    };
    let feature = |var: &str| Element::new("feature", ns::DISCO_INFO).attr("var", var);
    let Some(node) = ask.node else {
        // What an account lists without a node are its own nodes, and everybody's few commands need no sign there.
        let lists = scope == Scope::Host && ctx.is_admin(ask.iq.from);
        return lists.then(|| Ok(vec![item(ns::COMMANDS, "Commands")]));
    };
    if node == ns::COMMANDS {
        return Some(Ok(match ask.items {
            true => offered(ask.iq, ctx).map(|command| item(command.node, command.name)).collect(),
            false => vec![identity("command-list", "Commands"), feature(ns::DISCO_INFO), feature(ns::DISCO_ITEMS)],
        }));
    }
    match find(ask.iq, node, ctx) {
        Ok(_) if ask.items => Some(Ok(Vec::new())),
        Ok(command) => Some(Ok(vec![identity("command-node", command.name), feature(ns::COMMANDS), feature(ns::DATA)])),
        // Whether there is no such node is not ours alone to say.
        Err(error) if error.condition == Condition::ItemNotFound => None,
        Err(error) => Some(Err(error)),
    }
}

impl Call<'_> {
    /// The bare address of an account here, whether it exists or not.
    fn account(&self) -> Result<Jid, StanzaError> {
        let text = self.form.value("accountjid").ok_or(bad_payload("The address is missing."))?;
        let jid = Jid::parse(text.trim()).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        match jid.local().is_some() && jid.is_bare() {
            true => Ok(jid),
            false => Err(bad_payload("An address of the form user@domain is needed.")),
        }
    }

    /// The addresses in a field, without doubles.
    fn addresses(&self, var: &str) -> Result<Vec<Jid>, StanzaError> {
        let texts = self.form.values(var).map(str::trim).filter(|text| !text.is_empty());
        let jids: Result<Vec<Jid>, _> = texts.map(Jid::parse).collect();
        let mut jids = jids.map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        jids.sort_unstable();
        jids.dedup();
        match jids.len() {
            0 => Err(bad_payload("No address is given.")),
            1..=limits::COMMAND_TARGETS_MAX => Ok(jids),
            _ => Err(StanzaError::new(Condition::PolicyViolation).text("Too many addresses at once.")),
        }
    }
}

#[cfg(test)]
mod tests;
