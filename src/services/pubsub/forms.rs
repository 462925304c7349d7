//! A node's settings as data forms: to be shown, to be changed, to be required by a publisher.
//!
//! Source: XEP-0060 §8.2, §7.1.5, §5.4 and §16.4. Invariant: all forms are made from, and read into, the one table of
//! settings.

use super::{Site, access};
use crate::{
    domain::{
        nodes::{
            Node, Settings,
            members::{Affiliation, Member, SHOWS, Subscription},
            settings::{AccessModel, FIELDS, Holds, Wrong},
        },
        roster,
    },
    router::context::Ctx,
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{FORM_TYPE, Field, FieldType, Form, FormType},
        jid::Jid,
        ns, time,
    },
};

/// FORM_TYPE of a node's settings.
const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// FORM_TYPE of what a publisher requires.
const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// FORM_TYPE of how a subscriber wants to be told.
const SUBSCRIBE_OPTIONS: &str = "http://jabber.org/protocol/pubsub#subscribe_options";
/// FORM_TYPE of what everybody may know of a node.
const META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";
/// What stands before each name.
const PREFIX: &str = "pubsub#";

/// The settings to be filled in by `asker`, or told to everybody if there is none.
pub(super) fn settings(settings: &Settings, site: &Site, asker: Option<&Jid>, ctx: &mut Ctx<'_>) -> Element {
    let kind = if asker.is_some() { FormType::Form } else { FormType::Result };
    let form = Form::typed(kind, NODE_CONFIG);
    FIELDS
        .iter()
        .fold(form, |form, field| {
            let values = field.text(settings);
            let mut shown = Field::new(format!("{PREFIX}{}", field.name), field_type(field.holds)).label(field.label);
            if let Some(asker) = asker {
                let offered = choices((field.name, field.holds), &values, (site, asker), ctx);
                shown = offered.into_iter().fold(shown, |shown, choice| shown.option(choice.clone(), choice));
            }
            form.field(shown.values(values))
        })
        .element()
}

/// What may be chosen: what the node has now is always among it.
fn choices(
    (name, holds): (&str, Holds),
    values: &[String],
    (site, asker): (&Site, &Jid),
    ctx: &mut Ctx<'_>,
) -> Vec<String> {
    let mut offered: Vec<String> = match holds {
        Holds::Choice(choices) => {
            let offered = choices.iter().filter(|choice| name != "access_model" || offers(site, choice));
            return offered.map(|&choice| choice.to_owned()).collect();
        }
        Holds::Suggestion(words) => words.iter().map(|&word| word.to_owned()).collect(),
        // Which groups there are is nobody's business but the account's, whoever may set up one of its nodes.
        Holds::Groups if access::is_host_of(site, asker) => roster::groups(&ctx.store(), site.owner),
        Holds::Groups => Vec::new(),
        Holds::Bool | Holds::Line | Holds::Addresses => return Vec::new(),
    };
    for value in values {
        if !offered.contains(value) {
            offered.insert(0, value.clone());
        }
    }
    offered
}

fn field_type(holds: Holds) -> FieldType {
    match holds {
        Holds::Bool => FieldType::Boolean,
        Holds::Line => FieldType::TextSingle,
        Holds::Choice(_) | Holds::Suggestion(_) => FieldType::ListSingle,
        Holds::Addresses => FieldType::JidMulti,
        Holds::Groups => FieldType::ListMulti,
    }
}

/// A host has no presence and no roster.
fn offers(site: &Site, access: &str) -> bool {
    site.is_personal || !matches!(AccessModel::parse(access), Some(AccessModel::Presence | AccessModel::Roster))
}

/// Settings changed as a form says; fields that nobody knows are left out (XEP-0004 §3.2).
///
/// # Errors
/// `not-acceptable` if a field cannot have its value (XEP-0060 §8.2.5.2).
pub(super) fn changed(form: &Form, settings: &Settings, site: &Site) -> Result<Settings, StanzaError> {
    is_about(form, NODE_CONFIG)?;
    let mut changed = settings.clone();
    for field in named(form) {
        match set(&mut changed, field) {
            Err(Wrong::Value) if field.var == "pubsub#access_model" => return Err(no_such_access_model()),
            Err(Wrong::Value) => return Err(Condition::NotAcceptable.into()),
            Ok(()) | Err(Wrong::Name) => {}
        }
    }
    possible(changed, site)
}

/// What a publisher requires of a node that stands as `settings` say: what the settings would have to be.
///
/// # Errors
/// `conflict` with `precondition-not-met` for fields that nobody knows and values that cannot be (XEP-0060 §7.1.5).
pub(super) fn required(options: &Element, settings: &Settings, site: &Site) -> Result<Settings, StanzaError> {
    let form = Form::find_in(options)?.ok_or(StanzaError::new(Condition::BadRequest))?;
    is_about(&form, PUBLISH_OPTIONS)?;
    let mut required = settings.clone();
    for field in named(&form) {
        set(&mut required, field).map_err(|_| not_met())?;
    }
    possible(required, site)
}

/// XEP-0060 §7.1.5: the node is not as the publisher requires.
pub(super) const fn not_met() -> StanzaError {
    StanzaError::new(Condition::Conflict).app("precondition-not-met", ns::PUBSUB_ERRORS)
}

const fn no_such_access_model() -> StanzaError {
    StanzaError::new(Condition::NotAcceptable)
        .kind(ErrorKind::Modify)
        .app("unsupported-access-model", ns::PUBSUB_ERRORS)
}

fn possible(settings: Settings, site: &Site) -> Result<Settings, StanzaError> {
    if offers(site, settings.access.as_str()) { Ok(settings) } else { Err(no_such_access_model()) }
}

/// A form without a type is taken for the right one.
fn is_about(form: &Form, form_type: &str) -> Result<(), StanzaError> {
    match form.form_type() {
        Some(other) if other != form_type => Err(Condition::BadRequest.into()),
        _ => Ok(()),
    }
}

fn named(form: &Form) -> impl Iterator<Item = &Field> {
    form.fields.iter().filter(|field| !field.var.is_empty() && field.var != FORM_TYPE)
}

fn set(settings: &mut Settings, field: &Field) -> Result<(), Wrong> {
    let name = field.var.strip_prefix(PREFIX).ok_or(Wrong::Name)?;
    let values: Vec<&str> = field.values.iter().map(AsRef::as_ref).collect();
    settings.set(name, &values)
}

/// How a subscriber wants to be told, XEP-0060 §16.4.2: to be filled in, or (`FormType::Result`) as it stands.
pub(super) fn options(subscription: &Subscription, kind: FormType) -> Element {
    let shown =
        SHOWS.iter().enumerate().filter(|(at, _)| subscription.shows == 0 || subscription.shows & (1 << at) != 0);
    let shows = Field::new("pubsub#show-values", FieldType::ListMulti)
        .label("The states of presence in which events are wanted")
        .values(shown.map(|(_, show)| *show));
    let offered: &[&'static str] = if kind == FormType::Form { &SHOWS } else { &[] };
    Form::typed(kind, SUBSCRIBE_OPTIONS)
        .field(Field::boolean("pubsub#deliver", subscription.delivers).label("Whether events are wanted"))
        .field(offered.iter().fold(shows, |field, show| field.option(*show, *show)))
        .element()
}

/// Reads what [`options`] asks for.
///
/// # Errors
/// `bad-request` with `invalid-options` for values that cannot be, and for digests and leases, which there are not.
pub(super) fn set_options(form: &Form, subscription: &mut Subscription) -> Result<(), StanzaError> {
    is_about(form, SUBSCRIBE_OPTIONS)?;
    let invalid = super::bad_request("invalid-options");
    for field in named(form) {
        match field.var.as_ref() {
            "pubsub#deliver" => subscription.delivers = form.bool(&field.var).ok_or(invalid.clone())?,
            "pubsub#show-values" => {
                let mut shows = 0u8;
                for value in &field.values {
                    let at = SHOWS.iter().position(|show| show == value).ok_or(invalid.clone())?;
                    shows |= 1 << at;
                }
                // In all states is how it is without a word.
                subscription.shows = if shows.count_ones() as usize == SHOWS.len() { 0 } else { shows };
            }
            "pubsub#digest" | "pubsub#include_body" if form.bool(&field.var) != Some(false) => return Err(invalid),
            "pubsub#expire" if field.values.iter().any(|value| !value.is_empty()) => return Err(invalid),
            _ => {}
        }
    }
    Ok(())
}

/// What everybody who may read a node may know of it, XEP-0060 §5.4.
pub(super) fn meta_data(node: &Node, site: &Site, members: &[(String, Member)]) -> Element {
    let settings = &node.settings;
    let text = |name: &str| settings.text(name).unwrap_or_default();
    let of = |affiliation: Affiliation| {
        members.iter().filter(move |(_, member)| member.affiliation == affiliation).map(|(jid, _)| jid.clone())
    };
    let mut owners: Vec<String> = of(Affiliation::Owner).collect();
    if site.is_personal {
        owners.insert(0, site.jid.as_str().to_owned());
    }
    let subscribers = members.iter().filter(|(_, member)| member.is_subscribed()).count();
    let line = |name: &'static str| Field::new(name, FieldType::TextSingle);
    let created = time::stamp(node.created_s * 1000);
    Form::typed(FormType::Result, META_DATA)
        .field(line("pubsub#type").values(text("type")))
        .field(line("pubsub#title").values(text("title")))
        .field(line("pubsub#description").values(text("description")))
        .field(Field::new("pubsub#language", FieldType::ListSingle).values(text("language")))
        .field(Field::new("pubsub#creator", FieldType::JidSingle).value(node.creator.clone()))
        .field(line("pubsub#creation_date").value(created.to_string()))
        .field(Field::new("pubsub#owner", FieldType::JidMulti).values(owners))
        .field(Field::new("pubsub#publisher", FieldType::JidMulti).values(of(Affiliation::Publisher)))
        .field(Field::new("pubsub#contact", FieldType::JidMulti).values(text("contact")))
        .field(Field::new("pubsub#access_model", FieldType::ListSingle).values(text("access_model")))
        .field(Field::new("pubsub#publish_model", FieldType::ListSingle).values(text("publish_model")))
        .field(line("pubsub#max_items").values(text("max_items")))
        .field(line("pubsub#num_subscribers").value(subscribers.to_string()))
        .element()
}
