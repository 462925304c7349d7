//! Which rooms there are: the list of a host, and what is found in it.
//!
//! Source: XEP-0045 §6.3, XEP-0059 v1.0, XEP-0433 v0.1.0. Invariant: only rooms that are public are listed or found, whoever
//! asks; administrators have a command for all of them.

use super::NAME;
use crate::{
    domain::rooms::{self, Settings},
    limits,
    router::{
        context::Ctx,
        service::{DiscoAsk, Iq, Scope},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns,
        rsm::{Page, Request},
    },
};

/// The rooms that everybody may find, XEP-0045 §6.3, by name and a page at a time (XEP-0059).
pub(super) fn listed(ask: &DiscoAsk<'_>, ctx: &mut Ctx<'_>) -> Option<Result<Vec<Element>, StanzaError>> {
    let is_ours = ask.iq.scope == Scope::Hosted && ctx.core.hosts.get(ask.iq.domain)?.card.name == NAME;
    if !is_ours || ask.node.is_some() || !ask.items {
        return None;
    }
    let asked = match Request::of(ask.iq.payload) {
        Ok(asked) => asked,
        Err(error) => return Some(Err(error)),
    };
    let mut public = Vec::new();
    each(ask.iq.domain, ctx, &mut |jid, record, _| {
        if record.settings.is_public {
            let name = name(&jid, &record.settings).to_owned();
            public.push(Element::new("item", ns::DISCO_ITEMS).attr("jid", jid.as_str()).attr("name", name));
        }
        public.len() < limits::ROOMS_LISTED_MAX
    });
    // Who asks for no page gets one all the same if there are more, and is told so (§2.1).
    if asked.is_none() && public.len() <= limits::ROOM_LIST_MAX {
        return Some(Ok(public));
    }
    let place = |id: &str| public.iter().position(|item| item.get("jid") == Some(id));
    let window = match asked.unwrap_or_default().window(public.len(), limits::ROOM_LIST_MAX, place) {
        Ok(window) => window,
        Err(error) => return Some(Err(error)),
    };
    let id = |at: usize| public[at].get("jid").unwrap_or_default().to_owned();
    let page = Page::of(&window, public.len(), id).element();
    public.truncate(window.end);
    Some(Ok(public.into_iter().skip(window.start).chain([page]).collect()))
}

/// The host names of rooms.
pub(super) fn hosts(ctx: &Ctx<'_>) -> Vec<String> {
    let own = ctx.core.hosts.iter().filter(|(_, host)| host.card.name == NAME);
    own.map(|(name, _)| name.clone()).collect()
}

/// Looks at every room of a host that is written down, by name, as long as it is wanted.
pub(super) fn each(host: &str, ctx: &mut Ctx<'_>, look: &mut dyn FnMut(Jid, rooms::Record, &mut Ctx<'_>) -> bool) {
    let mut after = String::new();
    loop {
        let page = rooms::list(&ctx.store(), host, &after, limits::ROOM_LIST_MAX);
        let is_last = page.len() < limits::ROOM_LIST_MAX;
        for (jid, record) in page {
            jid.local().unwrap_or_default().clone_into(&mut after);
            if !look(jid, record, ctx) {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

/// The name of a room for people; that of its address if it has none.
fn name<'a>(room: &'a Jid, settings: &'a Settings) -> &'a str {
    if settings.name.is_empty() { room.local().unwrap_or_default() } else { &settings.name }
}

/// FORM_TYPE of what is searched for.
const PARAMS: &str = "urn:xmpp:channel-search:0:search-params";
const ERRORS: &str = "urn:xmpp:channel-search:0:error";
const BY_PEOPLE: &str = "{urn:xmpp:channel-search:0:order}nusers";
const BY_ADDRESS: &str = "{urn:xmpp:channel-search:0:order}address";
/// The one type of channel that is here.
const ROOMS: &str = "xep-0045";

/// What somebody looks for, XEP-0433 §5.2.
struct Wish {
    /// Each of these is in one of the places; none: all rooms are wanted.
    words: Vec<String>,
    in_name: bool,
    in_description: bool,
    in_address: bool,
    people_min: usize,
    /// They can be rooms.
    rooms: bool,
    by_people: bool,
}

impl Wish {
    fn of(form: &Form) -> Result<Wish, StanzaError> {
        let error = |condition, name| StanzaError::new(condition).kind(ErrorKind::Modify).app(name, ERRORS);
        let text = form.value("q").filter(|text| !text.is_empty());
        let all = form.bool("all") == Some(true);
        let words: Vec<String> = text.unwrap_or_default().split_whitespace().map(str::to_lowercase).collect();
        match (text, all) {
            (Some(_), true) => {
                let fields = ["all", "q"].map(|var| Element::new("var", ERRORS).text(var));
                let conflict = Element::new("conflicting-fields", ERRORS).with(fields);
                let why = "Search for all rooms, or for some.";
                return Err(StanzaError::new(Condition::BadRequest).text(why).with(conflict));
            }
            (None, false) => return Err(error(Condition::BadRequest, "no-search-conditions").kind(ErrorKind::Cancel)),
            (Some(text), _)
                if words.is_empty()
                    || words.len() > limits::ROOM_SEARCH_WORDS_MAX
                    || text.len() > limits::ROOM_SEARCH_BYTES_MAX =>
            {
                let why = "Search for a word, or for a few.";
                return Err(error(Condition::BadRequest, "invalid-search-terms").text(why));
            }
            _ => {}
        }
        let by_people = match form.value("key") {
            None | Some(BY_PEOPLE) => true,
            Some(BY_ADDRESS) => false,
            Some(_) => return Err(error(Condition::FeatureNotImplemented, "invalid-sort-key")),
        };
        let flag = |name| form.bool(name).unwrap_or(true);
        Ok(Wish {
            words,
            in_name: flag("sinname"),
            in_description: flag("sindescription"),
            // The table of §7.1 and its example call it differently.
            in_address: flag("sinaddr") && flag("sinaddress"),
            people_min: form.value("min_users").and_then(|many| many.parse().ok()).unwrap_or(0),
            rooms: form.get("types").is_none_or(|_| form.values("types").any(|ty| ty == ROOMS)),
            by_people,
        })
    }

    fn fits(&self, room: &Jid, settings: &Settings, people: usize) -> bool {
        if !settings.is_public || !self.rooms || people < self.people_min {
            return false;
        }
        let place = |is_searched: bool, text: &str| if is_searched { text.to_lowercase() } else { String::new() };
        let places = [
            place(self.in_name, &settings.name),
            place(self.in_description, &settings.description),
            place(self.in_address, room.as_str()),
        ];
        self.words.iter().all(|word| places.iter().any(|place| place.contains(word.as_str())))
    }
}

/// XEP-0433 §5.2.2.5.
pub(super) fn too_often() -> StanzaError {
    let limit = Element::new("rate-limit", ERRORS).attr("retry-after", "5");
    StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).with(limit)
}

/// A search among the rooms of a host; `people`: how many there are in one.
///
/// # Errors
/// Those of XEP-0433 §5.2.2.
pub(super) fn search(iq: &Iq<'_>, people: &dyn Fn(&Jid) -> usize, ctx: &mut Ctx<'_>) -> Result<Element, StanzaError> {
    let Some(form) = Form::find_in(iq.payload)? else {
        return Ok(Element::new("search", ns::CHANNEL_SEARCH).child(question().element()));
    };
    if form.kind != FormType::Submit || form.form_type().is_some_and(|of| of != PARAMS) {
        return Err(Condition::BadRequest.into());
    }
    let wish = Wish::of(&form)?;
    let asked = Request::of(iq.payload)?.unwrap_or_default();
    let mut found = Vec::new();
    each(iq.domain, ctx, &mut |jid, record, _| {
        let many = people(&jid);
        if wish.fits(&jid, &record.settings, many) {
            found.push((many, item(&jid, &record.settings, many)));
        }
        found.len() < limits::ROOMS_LISTED_MAX
    });
    if wish.by_people {
        // Of rooms with as many people the order stays that of their addresses.
        found.sort_by_key(|(many, _)| std::cmp::Reverse(*many));
    }
    let address = |at: usize| found[at].1.get("address").unwrap_or_default();
    let place = |id: &str| (0..found.len()).find(|at| address(*at) == id);
    let window = asked.window(found.len(), limits::ROOM_SEARCH_PAGE_MAX, place)?;
    let page = Page::of(&window, found.len(), |at| address(at).to_owned()).element();
    let items = found.into_iter().skip(window.start).take(window.len()).map(|(_, item)| item);
    Ok(Element::new("result", ns::CHANNEL_SEARCH).with(items).child(page))
}

/// XEP-0433 §7.2.
fn item(room: &Jid, settings: &Settings, people: usize) -> Element {
    let text = |name, text: &str| (!text.is_empty()).then(|| Element::new(name, ns::CHANNEL_SEARCH).text(text));
    let is_open = !settings.is_members_only && settings.password.is_none();
    let anonymity = match settings.shows_addresses {
        true => "{urn:xmpp:channel-search:0:anonymity}none",
        false => "muc_semianonymous",
    };
    Element::new("item", ns::CHANNEL_SEARCH)
        .attr("address", room.as_str())
        .leaf("name", name(room, settings))
        .with(text("description", &settings.description))
        .with(text("language", &settings.language))
        .leaf("nusers", people.to_string())
        .leaf("service-type", ROOMS)
        .with(is_open.then(|| Element::new("is-open", ns::CHANNEL_SEARCH)))
        .leaf("anonymity-mode", anonymity)
}

/// What can be searched for, XEP-0433 §5.2.1.
fn question() -> Form {
    let flag = |var: &'static str, label: &'static str| Field::boolean(var, true).label(label);
    Form::typed(FormType::Form, PARAMS)
        .field(Field::new("q", FieldType::TextSingle).label("Search for"))
        .field(Field::boolean("all", false).label("Show all rooms"))
        .field(flag("sinname", "Search in names"))
        .field(flag("sindescription", "Search in descriptions"))
        .field(flag("sinaddr", "Search in addresses"))
        .field(Field::new("min_users", FieldType::TextSingle).label("People at least").value("0"))
        .field(Field::new("types", FieldType::ListMulti).label("Types").value(ROOMS).option("Rooms", ROOMS))
        .field(
            Field::new("key", FieldType::ListSingle)
                .label("Order by")
                .value(BY_PEOPLE)
                .option("People", BY_PEOPLE)
                .option("Address", BY_ADDRESS),
        )
}
