//! The forms of a room: how it is set up, what it tells.
//!
//! Source: XEP-0045 §10.1.3, §10.2, §15.5.3, §15.5.4; XEP-0313 for the archive's field as clients know it. Invariant: a
//! field that is not known is passed over, and one that is not sent leaves things as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{activity, admin, hats, lists, room::Room};
use crate::{
    domain::rooms::{Affiliation, Settings, Standing, Whisper},
    limits,
    router::context::Ctx,
    wire::{
        element::{Element, Node},
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns,
    },
};

/// What owners fill in.
pub(super) const CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
/// What a room tells.
const INFO: &str = "http://jabber.org/protocol/muc#roominfo";

macro_rules! name {
    ($rest:literal) => {
        concat!("muc#roomconfig_", $rest)
    };
}

const NAME: &str = name!("roomname");
const DESCRIPTION: &str = name!("roomdesc");
const LANGUAGE: &str = name!("lang");
const PERSISTENT: &str = name!("persistentroom");
const PUBLIC: &str = name!("publicroom");
const PROTECTED: &str = name!("passwordprotectedroom");
const SECRET: &str = name!("roomsecret");
const MEMBERS_ONLY: &str = name!("membersonly");
const MODERATED: &str = name!("moderatedroom");
const WHO_IS: &str = name!("whois");
const INVITES: &str = name!("allowinvites");
const SUBJECT: &str = name!("changesubject");
const WHISPER: &str = name!("allowpm");
const MANY: &str = name!("maxusers");
const LOGGING: &str = name!("enablelogging");
const ARCHIVE: &str = name!("enablearchiving");
const MAM: &str = "mam";
const CONFIG_MAM: &str = name!("mam");
/// As Conversations sends it beside [`INVITES`].
const MEMBERS_INVITE: &str = "{http://prosody.im/protocol/muc}roomconfig_allowmemberinvites";
const VOICE: &str = "muc#roomconfig_allow_voice_requests";
const HISTORY: &str = "muc#maxhistoryfetch";
/// XEP-0122.
const VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
/// XEP-0500 §4.1.
const SLOW: &str = name!("slow_mode_duration");
const OWNERS: &str = name!("roomowners");
const ADMINS: &str = name!("roomadmins");

/// What an owner is asked.
fn owners(settings: &Settings, room: &Room) -> Form {
    let who = |affiliation| {
        let listed = room.standings.iter().filter(move |(_, standing)| standing.affiliation() == affiliation);
        listed.map(|(who, _)| who.to_string()).collect::<Vec<_>>()
    };
    let flag = |name, label: &'static str, value| Field::boolean(name, value).label(label);
    let text = |name, label: &'static str, value: &str| {
        Field::new(name, FieldType::TextSingle).label(label).value(value.to_owned())
    };
    let whisper = Field::new(WHISPER, FieldType::ListSingle).label("Who may write privately to others");
    let whisper = Whisper::ALL.iter().fold(whisper, |field, one| field.option(one.as_str(), one.as_str()));
    let many = Field::new(MANY, FieldType::ListSingle).label("Most people at once");
    // XEP-0004 §3.3: what is chosen is one of them.
    let choices: BTreeSet<u16> = [10, 20, 30, 50, 100, 200, 500, 1000, settings.occupants_max].into();
    let many = choices.iter().fold(many, |field, n| field.option(n.to_string(), n.to_string()));
    Form::typed(FormType::Form, CONFIG)
        .title("Room configuration")
        .field(text(NAME, "Name", &settings.name))
        .field(text(DESCRIPTION, "Description", &settings.description))
        .field(text(LANGUAGE, "Language", &settings.language))
        .field(flag(PERSISTENT, "Stays when everybody has left", settings.is_persistent))
        .field(flag(PUBLIC, "Shown in lists of rooms", settings.is_public))
        .field(flag(MEMBERS_ONLY, "Only members may enter", settings.is_members_only))
        .field(flag(INVITES, "Members may invite others", settings.members_invite))
        .field(flag(PROTECTED, "A password is needed to enter", settings.password.is_some()))
        .field(
            Field::new(SECRET, FieldType::TextPrivate)
                .label("Password")
                .value(settings.password.clone().unwrap_or_default()),
        )
        .field(
            Field::new(WHO_IS, FieldType::ListSingle)
                .label("Who sees real addresses")
                .value(if settings.shows_addresses { "anyone" } else { "moderators" })
                .option("Moderators only", "moderators")
                .option("Anyone", "anyone"),
        )
        .field(flag(MODERATED, "Newcomers have no voice", settings.is_moderated))
        .field(flag(VOICE, "Visitors may ask for a voice", settings.visitors_ask))
        .field(flag(SUBJECT, "Everybody with a voice may change the subject", settings.participants_set_subject))
        .field(whisper.value(settings.whisper.as_str()))
        .field(many.value(settings.occupants_max.to_string()))
        .field(flag(ARCHIVE, "What is said is archived", settings.keeps_archive))
        .field(text(SLOW, "Seconds between two messages of one person", &settings.slow_s.to_string()))
        .field(text(HISTORY, "Messages shown to newcomers", &settings.history.to_string()))
        .field(Field::new(ADMINS, FieldType::JidMulti).label("Administrators").values(who(Affiliation::Admin)))
        .field(Field::new(OWNERS, FieldType::JidMulti).label("Owners").values(who(Affiliation::Owner)))
}

/// What an owner is asked, serialised with what XEP-0122 says of numbers.
pub(super) fn asked(settings: &Settings, room: &Room) -> Element {
    let mut form = owners(settings, room).element();
    for node in &mut form.nodes {
        if let Node::Element(field) = node
            && field.get("var") == Some(SLOW)
        {
            let range = Element::new("range", VALIDATE).attr("min", "0");
            let integer = Element::new("validate", VALIDATE).attr("datatype", "xs:integer").child(range);
            field.nodes.push(Node::Element(integer));
        }
    }
    form
}

/// How the room is to be set up after this form.
///
/// # Errors
/// `not-acceptable` where a field says what cannot be.
pub(super) fn read(form: &Form, before: &Settings) -> Result<Settings, StanzaError> {
    let refused = || StanzaError::new(Condition::NotAcceptable);
    if form.form_type().is_some_and(|of| of != CONFIG) {
        return Err(Condition::BadRequest.into());
    }
    let mut settings = before.clone();
    let flag = |name: &str, place: &mut bool| {
        if let Some(value) = form.bool(name) {
            *place = value;
        }
    };
    flag(PERSISTENT, &mut settings.is_persistent);
    flag(PUBLIC, &mut settings.is_public);
    flag(MEMBERS_ONLY, &mut settings.is_members_only);
    for name in [INVITES, MEMBERS_INVITE] {
        flag(name, &mut settings.members_invite);
    }
    flag(MODERATED, &mut settings.is_moderated);
    flag(VOICE, &mut settings.visitors_ask);
    flag(SUBJECT, &mut settings.participants_set_subject);
    // Clients know one field or another (Conversations sends the last three, older ones the first).
    for name in [LOGGING, MAM, CONFIG_MAM, ARCHIVE] {
        flag(name, &mut settings.keeps_archive);
    }
    for (name, place, most) in [
        (NAME, &mut settings.name, limits::ROOM_NAME_BYTES_MAX),
        (DESCRIPTION, &mut settings.description, limits::ROOM_DESCRIPTION_BYTES_MAX),
        (LANGUAGE, &mut settings.language, limits::ROOM_LANGUAGE_BYTES_MAX),
    ] {
        if let Some(text) = form.text(name) {
            if text.len() > most {
                return Err(refused());
            }
            *place = text;
        }
    }
    match form.value(WHO_IS) {
        Some("anyone") => settings.shows_addresses = true,
        Some("moderators") => settings.shows_addresses = false,
        Some(_) => return Err(refused()),
        None => {}
    }
    if let Some(whisper) = form.value(WHISPER) {
        settings.whisper = Whisper::ALL.into_iter().find(|one| one.as_str() == whisper).ok_or_else(refused)?;
    }
    if let Some(many) = form.value(MANY).filter(|many| !many.is_empty() && *many != "none") {
        let many = many.parse::<u16>().map_err(|_| refused())?;
        settings.occupants_max = many.clamp(1, limits::ROOM_OCCUPANTS_MAX as u16);
    }
    // XEP-0500 §7: what is no number is passed over.
    if let Some(slow) = form.value(SLOW).and_then(|slow| slow.parse::<u64>().ok()) {
        settings.slow_s = slow.min(u64::from(limits::ROOM_SLOW_S_MAX)) as u16;
    }
    if let Some(history) = form.value(HISTORY) {
        let history = history.parse::<usize>().map_err(|_| refused())?;
        settings.history = history.min(limits::ROOM_HISTORY_MAX) as u8;
    }
    password(form, &mut settings)?;
    Ok(settings)
}

fn password(form: &Form, settings: &mut Settings) -> Result<(), StanzaError> {
    let given = form.value(SECRET).filter(|word| !word.is_empty());
    if given.is_some_and(|word| word.len() > limits::ROOM_PASSWORD_BYTES_MAX) {
        return Err(Condition::NotAcceptable.into());
    }
    match (form.bool(PROTECTED), given) {
        (Some(false), _) => settings.password = None,
        // XEP-0045 §10.1.3: a password is wanted and none is there.
        (Some(true), None) if settings.password.is_none() => return Err(Condition::NotAcceptable.into()),
        (Some(true) | None, Some(word)) => settings.password = Some(word.to_owned()),
        (None, None) if form.get(SECRET).is_some() => settings.password = None,
        _ => {}
    }
    Ok(())
}

/// The lists in a form: who is an admin, who an owner, if it says so.
pub(super) fn lists(form: &Form) -> Result<Vec<(Affiliation, Vec<Jid>)>, StanzaError> {
    let mut lists = Vec::new();
    for (name, affiliation) in [(OWNERS, Affiliation::Owner), (ADMINS, Affiliation::Admin)] {
        if form.get(name).is_none() {
            continue;
        }
        let mut jids = Vec::new();
        for text in form.values(name).filter(|text| !text.is_empty()) {
            let jid = Jid::parse(text).map_err(|_| StanzaError::new(Condition::JidMalformed))?.bare();
            if jid.local().is_none() {
                // A whole domain can be banned, and nothing else.
                return Err(StanzaError::new(Condition::NotAllowed).kind(ErrorKind::Cancel));
            }
            jids.push(jid);
        }
        lists.push((affiliation, jids));
    }
    Ok(lists)
}

/// Makes the lists true. A room keeps an owner.
pub(super) fn apply_lists(
    room: &mut Room,
    by: &Jid,
    lists: &[(Affiliation, Vec<Jid>)],
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    // Admins come last: an owner who is named among them is one no longer. Who sets the room up stays what they are unless
    // they are.
    let named = lists.iter().flat_map(|(affiliation, jids)| jids.iter().map(|jid| (jid.as_str(), *affiliation)));
    let none = lists.iter().any(|(affiliation, jids)| *affiliation == Affiliation::Owner && jids.is_empty());
    if none || room.loses_its_owners(named) {
        return Err(StanzaError::new(Condition::Conflict).kind(ErrorKind::Cancel));
    }
    let mut becomes: BTreeMap<&str, Affiliation> = BTreeMap::new();
    for (affiliation, jids) in lists {
        let listed: BTreeSet<&str> = jids.iter().map(Jid::as_str).collect();
        let of = room.standings.iter().filter(|(_, standing)| standing.affiliation() == *affiliation);
        let gone = of.map(|(who, _)| &**who).filter(|who| !listed.contains(who));
        let goes = gone.filter(|who| *who != by.bare_str() || *affiliation != Affiliation::Owner);
        becomes.extend(goes.map(|who| (who, Affiliation::None)));
        becomes.extend(listed.into_iter().map(|who| (who, *affiliation)));
    }
    let is = |who: &str| room.standings.get(who).map_or(Affiliation::None, Standing::affiliation);
    becomes.retain(|who, affiliation| is(who) != *affiliation);
    if becomes.len() > limits::ROOM_CHANGES_MAX {
        return Err(Condition::PolicyViolation.into());
    }
    let standing = |affiliation| Standing { affiliation: Some(affiliation), ..Standing::default() };
    let changes: Option<Vec<(Jid, Standing)>> =
        becomes.into_iter().map(|(who, affiliation)| Some((Jid::parse(who).ok()?, standing(affiliation)))).collect();
    let changes = changes.ok_or(StanzaError::new(Condition::JidMalformed))?;
    lists::fit(room, changes.iter().map(|(who, standing)| (who.as_str(), standing)))?;
    let tells = changes.len() <= limits::ROOM_TOLD_MAX;
    for (who, standing) in changes {
        admin::stand(room, &who, standing, None, tells, ctx);
    }
    Ok(())
}

/// What a room tells of itself, XEP-0045 §6.4 and §15.5.4.
/// `opens`: to somebody who could come in.
pub(super) fn info(room: &Room, opens: bool, pictures: Vec<String>, per_hour: Option<String>) -> Form {
    let settings = &room.settings;
    let text = |name: &'static str, value: String| Field::new(name, FieldType::TextSingle).value(value);
    let form = Form::typed(FormType::Result, INFO)
        .field(text("muc#roominfo_description", settings.description.clone()).label("Description"))
        .field(
            Field::boolean("muc#roominfo_subjectmod", settings.participants_set_subject)
                .label("Occupants may change the subject"),
        )
        .field(text("muc#roominfo_lang", settings.language.clone()).label("Language"))
        .field(text("muc#roominfo_slow_mode_duration", settings.slow_s.to_string()))
        .field(text("muc#maxhistoryfetch", settings.history.to_string()).label("Messages shown to newcomers"))
        .field(text(NAME, settings.name.clone()).label("Name"))
        .field(Field::boolean(SUBJECT, settings.participants_set_subject))
        .field(Field::boolean(INVITES, settings.members_invite))
        .field(text(WHISPER, settings.whisper.as_str().to_owned()))
        .field(Field::boolean("muc#roominfo_logs", settings.keeps_archive).label("What is said is archived"));
    let form = if opens {
        let said = [b"<message>", room.subject.elements.as_slice(), b"</message>"].concat();
        let said = Element::parse(&said, ns::CLIENT).ok();
        let subject = said.and_then(|said| said.leaf_text("subject")).unwrap_or_default();
        form.field(text("muc#roominfo_subject", subject).label("Subject"))
            .field(text("muc#roominfo_occupants", room.occupants.len().to_string()).label("People in the room"))
    } else {
        form
    };
    let form = match hats::hash(room) {
        Some(hash) => form.field(text(hats::HASH, hash).label("Hats hash")),
        None => form,
    };
    let form = match per_hour {
        Some(rate) => form.field(text(activity::FIELD, rate).label("Messages per hour")),
        None => form,
    };
    if pictures.is_empty() {
        return form;
    }
    let field = Field::new("muc#roominfo_avatarhash", FieldType::TextMulti).label("Picture");
    form.field(pictures.into_iter().fold(field, Field::value))
}
