//! Hats: what occupants are shown to be beside their affiliation.
//!
//! Source: XEP-0317 v0.3.1. Owners and admins make hats and give them to people by ad-hoc commands at the room (XEP-0050);
//! each takes its form with the first request, too, and nothing is remembered in between. Invariant: only the room says who
//! wears a hat.

use std::fmt::Write;

use super::{
    admin,
    messages::is_staff,
    outgoing::{Word, announce},
    room::Room,
};
use crate::{
    domain::rooms::{self, Affiliation, Hat},
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        build,
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns,
    },
};

/// FORM_TYPE of every form here.
const FORM: &str = "urn:xmpp:hats:commands";
const TITLE: &str = "hats#title";
const URI: &str = "hats#uri";
const HUE: &str = "hats#hue";
const WHO: &str = "hats#jid";
/// What a room tells of its hats, §2.
pub(super) const HASH: &str = "hats#hash";

/// What a command is for, and who may run it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Create,
    Destroy,
    List,
    Assign,
    Unassign,
    ListAssigned,
}

impl Command {
    const ALL: [(Command, &str, &str); 6] = [
        (Command::Create, "urn:xmpp:hats:commands:create", "Create or change a hat"),
        (Command::Destroy, "urn:xmpp:hats:commands:destroy", "Destroy a hat"),
        (Command::List, "urn:xmpp:hats:commands:list", "Show hats"),
        (Command::Assign, "urn:xmpp:hats:commands:assign", "Give somebody a hat"),
        (Command::Unassign, "urn:xmpp:hats:commands:unassign", "Take a hat from somebody"),
        (Command::ListAssigned, "urn:xmpp:hats:commands:list-assigned", "Show who wears which hat"),
    ];

    fn of(node: &str) -> Option<Command> {
        Command::ALL.into_iter().find(|(_, known, _)| *known == node).map(|(command, _, _)| command)
    }

    /// Everybody who is in sees hats anyway; whose they are is told where everybody sees real addresses.
    fn is_for(self, room: &Room, who: &Jid) -> bool {
        let own = room.affiliation(who);
        let belongs = own >= Affiliation::Member || room.place(who).is_some();
        match self {
            Command::List => belongs,
            Command::ListAssigned => is_staff(own) || (belongs && room.settings.shows_addresses),
            _ => is_staff(own),
        }
    }
}

/// The commands that somebody may run in the room, by node and name.
pub(super) fn offered(room: &Room, who: &Jid) -> impl Iterator<Item = (&'static str, &'static str)> {
    let may = Command::ALL.into_iter().filter(move |(command, _, _)| command.is_for(room, who));
    may.map(|(_, node, name)| (node, name))
}

/// An ad-hoc command to the room.
pub(super) fn answer(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if !iq.is_set() {
        return Err(Condition::BadRequest.into());
    }
    let node = iq.payload.get("node").unwrap_or_default();
    let command = Command::of(node).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    if !command.is_for(room, iq.from) {
        return Err(Condition::Forbidden.into());
    }
    let id = iq.payload.get("sessionid").map_or_else(|| ctx.token(), str::to_owned);
    let told = |status: &str, form: Option<Form>| {
        let answer = Element::new("command", ns::COMMANDS).attr("node", node).attr("sessionid", id.clone());
        Ok(answer.attr("status", status).with(form.map(|form| form.element())).into())
    };
    match iq.payload.get("action").unwrap_or("execute") {
        "execute" | "complete" => {}
        "cancel" => return told("canceled", None),
        "prev" | "next" => return Err(StanzaError::new(Condition::BadRequest).app("bad-action", ns::COMMANDS)),
        _ => return Err(StanzaError::new(Condition::BadRequest).app("malformed-action", ns::COMMANDS)),
    }
    match command {
        Command::List => return told("completed", Some(list(room))),
        Command::ListAssigned => return told("completed", Some(list_assigned(room))),
        _ => {}
    }
    let Some(form) = Form::find_in(iq.payload)? else { return told("executing", Some(question(room, command))) };
    if form.kind == FormType::Cancel {
        return told("canceled", None);
    }
    if form.form_type().is_some_and(|of| of != FORM) {
        return Err(bad());
    }
    match command {
        Command::Create => create(room, &form, ctx)?,
        Command::Destroy => destroy(room, &form, ctx)?,
        Command::Assign => wear(room, &form, true, ctx)?,
        _ => wear(room, &form, false, ctx)?,
    }
    told("completed", None)
}

fn bad() -> StanzaError {
    StanzaError::new(Condition::BadRequest).app("bad-payload", ns::COMMANDS)
}

/// The form of a command.
fn question(room: &Room, command: Command) -> Form {
    let who = || Field::new(WHO, FieldType::JidSingle).label("User address").required();
    let which = || {
        let field = Field::new(URI, FieldType::ListSingle).label("The hat").required();
        room.hats.all.iter().fold(field, |field, (uri, hat)| field.option(hat.title.clone(), uri.to_string()))
    };
    let line = |var, label: &'static str| Field::new(var, FieldType::TextSingle).label(label);
    let form = Form::typed(FormType::Form, FORM);
    match command {
        Command::Create => form
            .title("Creating a hat")
            .instructions("A hat whose URI is known is changed.")
            .field(line(TITLE, "Title").required())
            .field(line(URI, "URI").required())
            .field(line(HUE, "Colour, an angle in degrees")),
        Command::Destroy => form.title("Destroying a hat").field(which()),
        Command::Assign => form.title("Giving somebody a hat").field(who()).field(which()),
        _ => form.title("Taking a hat from somebody").field(who()).field(which()),
    }
}

/// §3.2: a new hat, or another title or colour of one.
fn create(room: &mut Room, form: &Form, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let text = |var, most| form.value(var).map(str::trim).filter(|text| !text.is_empty() && text.len() <= most);
    let uri = text(URI, limits::ROOM_HAT_URI_BYTES_MAX).ok_or_else(bad)?;
    let title = text(TITLE, limits::ROOM_HAT_TITLE_BYTES_MAX).ok_or_else(bad)?;
    let hue = form.value(HUE).unwrap_or_default().trim();
    // XEP-0392 §4: an angle in degrees.
    let is_angle = hue.len() <= 16 && hue.parse::<f64>().is_ok_and(|hue| (0.0..=360.0).contains(&hue));
    if !hue.is_empty() && !is_angle {
        return Err(bad());
    }
    if !room.hats.all.contains_key(uri) && room.hats.all.len() >= limits::ROOM_HATS_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text("Too many hats."));
    }
    let hat = Hat { title: title.to_owned(), hue: hue.to_owned() };
    rooms::put_hat(&mut ctx.store(), room.id, uri, Some(&hat));
    if room.hats.all.insert(uri.into(), hat.clone()).is_none_or(|before| before != hat) {
        announce(room, &[104], ctx);
        show(room, &wearers(room, uri), ctx);
    }
    Ok(())
}

/// The hat that a form names.
fn named(room: &Room, form: &Form) -> Result<Box<str>, StanzaError> {
    // §3.3 calls the field of the form that it shows otherwise.
    let uri = form.value(URI).or(form.value("hat")).ok_or_else(bad)?;
    match room.hats.all.contains_key(uri) {
        true => Ok(uri.into()),
        false => Err(Condition::ItemNotFound.into()),
    }
}

/// §3.3: nobody wears it any more, either.
fn destroy(room: &mut Room, form: &Form, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let uri = named(room, form)?;
    let wearers = wearers(room, &uri);
    room.hats.all.remove(&uri);
    rooms::put_hat(&mut ctx.store(), room.id, &uri, None);
    for who in &wearers {
        take(room, who, &uri, ctx);
    }
    announce(room, &[104], ctx);
    show(room, &wearers, ctx);
    Ok(())
}

/// §3.5 and §3.6: somebody puts a hat on, or takes it off.
fn wear(room: &mut Room, form: &Form, on: bool, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let who = form.value(WHO).ok_or_else(bad)?;
    let who = Jid::parse(who.trim()).map_err(|_| StanzaError::new(Condition::JidMalformed))?.bare();
    if who.local().is_none() {
        return Err(bad());
    }
    let uri = named(room, form)?;
    let worn = room.hats.worn.get(who.as_str());
    if worn.is_some_and(|worn| worn.contains(&uri)) == on {
        return Ok(());
    }
    if !on {
        take(room, who.as_str(), &uri, ctx);
    } else {
        let is_full = match worn {
            Some(worn) => worn.len() >= limits::ROOM_HATS_WORN_MAX,
            None => room.hats.worn.len() >= limits::ROOM_HAT_WEARERS_MAX,
        };
        if is_full {
            return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text("Too many hats."));
        }
        let worn = room.hats.worn.entry(who.as_str().into()).or_default();
        worn.insert(uri);
        rooms::put_worn(&mut ctx.store(), room.id, who.as_str(), worn);
    }
    show(room, &[who.as_str().into()], ctx);
    Ok(())
}

fn wearers(room: &Room, uri: &str) -> Vec<Box<str>> {
    room.hats.worn.iter().filter(|(_, worn)| worn.contains(uri)).map(|(who, _)| who.clone()).collect()
}

fn take(room: &mut Room, who: &str, uri: &str, ctx: &mut Ctx<'_>) {
    let Some(worn) = room.hats.worn.get_mut(who) else { return };
    worn.remove(uri);
    rooms::put_worn(&mut ctx.store(), room.id, who, worn);
    if worn.is_empty() {
        room.hats.worn.remove(who);
    }
}

/// Everybody sees what they wear now.
fn show(room: &Room, who: &[Box<str>], ctx: &mut Ctx<'_>) {
    for at in who.iter().flat_map(|who| room.of(who)) {
        admin::show_again(room, at, Word::default(), ctx);
    }
}

fn columns(hat: &Hat, uri: &str) -> [Field; 3] {
    let columns = [(TITLE, hat.title.as_str()), (URI, uri), (HUE, hat.hue.as_str())];
    columns.map(|(var, value)| Field::plain(var, value.to_owned()))
}

fn list(room: &Room) -> Form {
    let form = [TITLE, URI, HUE].into_iter().fold(Form::typed(FormType::Result, FORM).title("Hats"), |form, var| {
        form.report(Field::new(var, FieldType::TextSingle))
    });
    room.hats.all.iter().fold(form, |form, (uri, hat)| form.item(columns(hat, uri).into()))
}

fn list_assigned(room: &Room) -> Form {
    let form = Form::typed(FormType::Result, FORM).title("Who wears which hat");
    let form = form.report(Field::new(WHO, FieldType::JidSingle));
    let form =
        [TITLE, URI, HUE].into_iter().fold(form, |form, var| form.report(Field::new(var, FieldType::TextSingle)));
    let each = room.hats.worn.iter().flat_map(|(who, worn)| worn.iter().map(move |uri| (who, uri)));
    each.fold(form, |form, (who, uri)| {
        let Some(hat) = room.hats.all.get(uri) else { return form };
        let row = std::iter::once(Field::plain(WHO, who.to_string())).chain(columns(hat, uri));
        form.item(row.collect())
    })
}

/// `<hats/>` of somebody's presence, §3.1; nothing if they wear none.
pub(super) fn stamp(room: &Room, bare: &str, out: &mut Vec<u8>) {
    let Some(worn) = room.hats.worn.get(bare) else { return };
    out.extend_from_slice(b"<hats xmlns='urn:xmpp:hats:0'>");
    for (uri, hat) in worn.iter().filter_map(|uri| Some((uri, room.hats.all.get(uri)?))) {
        out.extend_from_slice(b"<hat");
        build::attr("title", &hat.title, out);
        build::attr("uri", uri, out);
        if !hat.hue.is_empty() {
            build::attr("hue", &hat.hue, out);
        }
        out.extend_from_slice(b"/>");
    }
    out.extend_from_slice(b"</hats>");
}

/// By what clients know that the hats are others than they remember, §2; `None`: there are none.
pub(super) fn hash(room: &Room) -> Option<String> {
    if room.hats.all.is_empty() {
        return None;
    }
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for (uri, hat) in &room.hats.all {
        for part in [&**uri, &hat.title, &hat.hue] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    Some(context.finish().as_ref().iter().take(20).fold(String::with_capacity(40), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    }))
}
