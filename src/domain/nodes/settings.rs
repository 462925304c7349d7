//! How a node is set up: every setting once, by the name that forms use for it, as text and as value.
//!
//! Source: XEP-0060 v1.26 §16.4.4. Invariant: what [`Settings::set`] takes, [`Settings::text`] gives back; so a row, a
//! form and a precondition read the same table and mean the same.

use crate::limits;

macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }
        impl $name {
            /// All of them, as forms offer them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The value in forms.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The choice that a value of a form means.
            pub fn parse(text: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|choice| choice.as_str() == text)
            }
        }
    };
}

choices! {
    /// Who may subscribe and read, XEP-0060 §4.5.
    AccessModel {
        /// Whom an owner lets in.
        Authorize => "authorize",
        /// Everybody.
        Open => "open",
        /// Who sees the owner's presence.
        Presence => "presence",
        /// Who sees it and is in one of certain groups of the owner's roster.
        Roster => "roster",
        /// Members.
        Whitelist => "whitelist",
    }
}

choices! {
    /// Who may publish.
    PublishModel {
        /// Publishers and owners.
        Publishers => "publishers",
        /// Subscribers as well.
        Subscribers => "subscribers",
        /// Everybody.
        Open => "open",
    }
}

choices! {
    /// When somebody is sent the last item unasked.
    SendLast {
        /// Never.
        Never => "never",
        /// When they subscribe.
        OnSub => "on_sub",
        /// And when they come online.
        OnSubAndPresence => "on_sub_and_presence",
    }
}

choices! {
    /// What happens to a node that is full when something is published, XEP-0060 §7.1.2.5.
    WhenFull {
        /// The oldest item goes, and subscribers may be told.
        RetractOldest => "retract-oldest",
        /// The oldest item goes without a word.
        DiscardOldest => "discard-oldest",
        /// Nothing more is taken.
        Reject => "reject",
    }
}

choices! {
    /// Who gets the replies to an item.
    ItemReply {
        /// The owners.
        Owner => "owner",
        /// Who published it; items then say who that was.
        Publisher => "publisher",
    }
}

choices! {
    /// The type of the messages that tell of events.
    NotificationType {
        /// Never kept for somebody who is absent.
        Headline => "headline",
        /// An ordinary message.
        Normal => "normal",
    }
}

/// How a node is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who may subscribe and read.
    pub access: AccessModel,
    /// Who may publish.
    pub publish: PublishModel,
    /// When the last item is sent unasked.
    pub send_last: SendLast,
    /// What happens when it is full.
    pub when_full: WhenFull,
    /// Who gets replies.
    pub item_reply: Option<ItemReply>,
    /// Type of the messages.
    pub notification_type: NotificationType,
    /// Whether items are kept.
    pub persist_items: bool,
    /// Whether anybody is told anything.
    pub deliver_notifications: bool,
    /// Whether they are told the payload.
    pub deliver_payloads: bool,
    /// Whether they are told of new settings.
    pub notify_config: bool,
    /// Whether they are told that the node goes.
    pub notify_delete: bool,
    /// Whether they are told that items go.
    pub notify_retract: bool,
    /// Whether owners are told who subscribes.
    pub notify_sub: bool,
    /// Whether only those who are online are told.
    pub presence_based_delivery: bool,
    /// Whether anybody may subscribe.
    pub subscribe: bool,
    /// Items kept; [`limits::NODE_ITEMS_MAX`] is `max`.
    pub max_items: u32,
    /// Bytes of one payload.
    pub max_payload: u32,
    /// Seconds until an item goes; 0: it stays.
    pub expire_s: u64,
    /// A name for people.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// What its items are, usually a namespace.
    pub kind: String,
    /// In which language.
    pub language: String,
    /// Where a transformation to forms is.
    pub dataform_xslt: String,
    /// Where a transformation to text is.
    pub body_xslt: String,
    /// Whom to ask.
    pub contact: Vec<String>,
    /// Groups of the owner's roster that are let in.
    pub roster_groups: Vec<String>,
}

impl Settings {
    /// XEP-0163 §5: what a node of an account is unless somebody says otherwise. One item: the new one takes the place of
    /// the old one, as the formats of personal events mean it.
    pub fn personal() -> Settings {
        Settings { access: AccessModel::Presence, max_items: 1, presence_based_delivery: true, ..Settings::shared() }
    }

    /// What a node of the publish-subscribe host is unless somebody says otherwise.
    pub fn shared() -> Settings {
        Settings {
            access: AccessModel::Open,
            publish: PublishModel::Publishers,
            send_last: SendLast::OnSubAndPresence,
            when_full: WhenFull::RetractOldest,
            item_reply: None,
            notification_type: NotificationType::Headline,
            persist_items: true,
            deliver_notifications: true,
            deliver_payloads: true,
            notify_config: false,
            notify_delete: true,
            notify_retract: true,
            notify_sub: false,
            presence_based_delivery: false,
            subscribe: true,
            max_items: limits::NODE_ITEMS_MAX,
            max_payload: limits::ITEM_BYTES_MAX,
            expire_s: 0,
            title: String::new(),
            description: String::new(),
            kind: String::new(),
            language: String::new(),
            dataform_xslt: String::new(),
            body_xslt: String::new(),
            contact: Vec::new(),
            roster_groups: Vec::new(),
        }
    }

    /// The values of a setting as text, by the name that it has in forms behind `pubsub#`; `None`: no such setting.
    pub fn text(&self, name: &str) -> Option<Vec<String>> {
        Some(FIELDS.iter().find(|field| field.name == name)?.text(self))
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// [`Wrong`] if there is no such setting, or if it cannot have this value. Numbers that are too large become the
    /// largest.
    pub fn set(&mut self, name: &str, values: &[&str]) -> Result<(), Wrong> {
        let field = FIELDS.iter().find(|field| field.name == name).ok_or(Wrong::Name)?;
        (field.set)(self, values).ok_or(Wrong::Value)
    }

    /// Names and values of what differs from `from`: what a row holds.
    pub fn differing<'a>(&'a self, from: &'a Settings) -> impl Iterator<Item = (&'static str, Vec<String>)> + 'a {
        FIELDS
            .iter()
            .map(|field| (field.name, field.text(self)))
            .filter(|(name, text)| from.text(name).as_ref() != Some(text))
    }
}

/// Why a setting was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is no such setting.
    Name,
    /// It cannot have that value.
    Value,
}

/// One setting.
pub struct Field {
    /// Its name in forms, behind `pubsub#`.
    pub name: &'static str,
    /// What a person reads beside it.
    pub label: &'static str,
    /// What it holds.
    pub holds: Holds,
    text: fn(&Settings) -> Vec<String>,
    set: fn(&mut Settings, &[&str]) -> Option<()>,
}

impl Field {
    /// Its values.
    pub fn text(&self, settings: &Settings) -> Vec<String> {
        (self.text)(settings)
    }
}

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Yes or no.
    Bool,
    /// A line.
    Line,
    /// One of these.
    Choice(&'static [&'static str]),
    /// One of these, or another word.
    Suggestion(&'static [&'static str]),
    /// Addresses.
    Addresses,
    /// Groups of the owner's roster.
    Groups,
}

fn flag(value: bool) -> Vec<String> {
    vec![if value { "1" } else { "0" }.into()]
}

fn read_flag(values: &[&str]) -> Option<bool> {
    match values {
        ["1" | "true"] => Some(true),
        ["0" | "false"] => Some(false),
        _ => None,
    }
}

/// A line, empty if it is not given.
fn read_line(values: &[&str]) -> Option<String> {
    match values {
        [] => Some(String::new()),
        [line] if line.len() <= limits::NODE_TEXT_BYTES_MAX => Some((*line).to_owned()),
        _ => None,
    }
}

fn read_lines(values: &[&str]) -> Option<Vec<String>> {
    let fits = values.len() <= limits::NODE_LINES_MAX;
    let values = values.iter().filter(|line| !line.is_empty());
    fits.then(|| values.map(|line| read_line(&[line])).collect())?
}

/// A number, or `max`; more than `max` is `max`.
fn read_number(values: &[&str], max: u64) -> Option<u64> {
    match values {
        ["max"] => Some(max),
        [digits] => digits.parse::<u64>().ok().map(|number| number.min(max)),
        _ => None,
    }
}

fn number(value: u64, max: u64) -> Vec<String> {
    vec![if value == max { "max".into() } else { value.to_string() }]
}

/// Titles and links are short; an empty one is none.
macro_rules! line {
    ($name:literal, $label:literal, $field:ident) => {
        Field {
            name: $name,
            label: $label,
            holds: Holds::Line,
            text: |settings| vec![settings.$field.clone()],
            set: |settings, values| read_line(values).map(|line| settings.$field = line),
        }
    };
}

macro_rules! boolean {
    ($name:literal, $label:literal, $field:ident) => {
        Field {
            name: $name,
            label: $label,
            holds: Holds::Bool,
            text: |settings| flag(settings.$field),
            set: |settings, values| read_flag(values).map(|value| settings.$field = value),
        }
    };
}

macro_rules! choice {
    ($name:literal, $label:literal, $field:ident, $type:ident, $values:expr) => {
        Field {
            name: $name,
            label: $label,
            holds: Holds::Choice($values),
            text: |settings| vec![settings.$field.as_str().into()],
            set: |settings, values| {
                let [value] = values else { return None };
                $type::parse(value).map(|value| settings.$field = value)
            },
        }
    };
}

/// Languages that forms offer; nodes may have others.
const LANGUAGES: &[&str] = &[
    "ar", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "it", "ja", "ko", "nl", "no", "pl",
    "pt", "ro", "ru", "sv", "tr", "uk", "zh",
];

/// Ten years: later is never.
const EXPIRE_S_MAX: u64 = 10 * 365 * 86_400;

/// All settings, in the order of forms.
pub static FIELDS: &[Field] = &[
    line!("title", "A friendly name for the node", title),
    line!("description", "A description of the node", description),
    line!("type", "The type of the node's data, usually the namespace of the payload", kind),
    Field {
        name: "language",
        label: "The default language of the node",
        holds: Holds::Suggestion(LANGUAGES),
        text: |settings| vec![settings.language.clone()],
        set: |settings, values| read_line(values).map(|language| settings.language = language),
    },
    choice!(
        "access_model",
        "Who may subscribe and retrieve items",
        access,
        AccessModel,
        &["authorize", "open", "presence", "roster", "whitelist"]
    ),
    Field {
        name: "roster_groups_allowed",
        label: "The roster groups allowed to subscribe and retrieve items",
        holds: Holds::Groups,
        text: |settings| settings.roster_groups.clone(),
        set: |settings, values| read_lines(values).map(|groups| settings.roster_groups = groups),
    },
    choice!("publish_model", "Who may publish", publish, PublishModel, &["publishers", "subscribers", "open"]),
    boolean!("persist_items", "Whether items are kept", persist_items),
    Field {
        name: "max_items",
        label: "The largest number of items kept",
        holds: Holds::Line,
        text: |settings| number(settings.max_items.into(), limits::NODE_ITEMS_MAX.into()),
        set: |settings, values| {
            read_number(values, limits::NODE_ITEMS_MAX.into()).map(|number| settings.max_items = number as u32)
        },
    },
    Field {
        name: "item_expire",
        label: "Seconds after which items go",
        holds: Holds::Line,
        // No limit is `max` (XEP-0060 §16.4.4).
        text: |settings| match settings.expire_s {
            0 => vec!["max".into()],
            seconds => vec![seconds.to_string()],
        },
        set: |settings, values| {
            let seconds = match values {
                [""] => 0,
                values => read_number(values, EXPIRE_S_MAX)?,
            };
            settings.expire_s = if seconds == EXPIRE_S_MAX { 0 } else { seconds };
            Some(())
        },
    },
    choice!(
        "publish_node_full",
        "What happens when something is published to a full node",
        when_full,
        WhenFull,
        &["retract-oldest", "discard-oldest", "reject"]
    ),
    Field {
        name: "max_payload_size",
        label: "The largest payload in bytes",
        holds: Holds::Line,
        text: |settings| vec![settings.max_payload.to_string()],
        set: |settings, values| {
            read_number(values, limits::ITEM_BYTES_MAX.into()).map(|number| settings.max_payload = number as u32)
        },
    },
    choice!(
        "send_last_published_item",
        "When to send the last published item",
        send_last,
        SendLast,
        &["never", "on_sub", "on_sub_and_presence"]
    ),
    boolean!("deliver_notifications", "Whether to deliver event notifications", deliver_notifications),
    boolean!("deliver_payloads", "Whether to deliver payloads with event notifications", deliver_payloads),
    boolean!("notify_retract", "Whether to tell subscribers when items are removed", notify_retract),
    boolean!("notify_delete", "Whether to tell subscribers when the node is deleted", notify_delete),
    boolean!("notify_config", "Whether to tell subscribers when the node's configuration changes", notify_config),
    boolean!("notify_sub", "Whether to tell owners about new subscribers and unsubscribes", notify_sub),
    boolean!("presence_based_delivery", "Whether to tell available users only", presence_based_delivery),
    choice!(
        "notification_type",
        "The type of the messages",
        notification_type,
        NotificationType,
        &["headline", "normal"]
    ),
    boolean!("subscribe", "Whether to allow subscriptions", subscribe),
    Field {
        name: "itemreply",
        label: "Whether owners or publisher should receive replies to items",
        // XEP-0060 §12.17: the third value means the same as no value.
        holds: Holds::Choice(&["owner", "publisher", "none"]),
        text: |settings| vec![settings.item_reply.map_or("none", |reply| reply.as_str()).into()],
        set: |settings, values| {
            settings.item_reply = match values {
                [] | ["" | "none"] => None,
                [value] => Some(ItemReply::parse(value)?),
                _ => return None,
            };
            Some(())
        },
    },
    Field {
        name: "contact",
        label: "The addresses of those to contact with questions",
        holds: Holds::Addresses,
        text: |settings| settings.contact.clone(),
        set: |settings, values| read_lines(values).map(|contact| settings.contact = contact),
    },
    line!("dataform_xslt", "The URL of a transformation of payloads to data forms", dataform_xslt),
    line!("body_xslt", "The URL of a transformation of payloads to text", body_xslt),
    // Fixed: what has only one value here. A client that states it is right, one that wants another is not.
    fixed("node_type", "Whether the node is a leaf", Holds::Choice(&["leaf"])),
    fixed("tempsub", "Whether all subscriptions are temporary", Holds::Bool),
    fixed("purge_offline", "Whether items go when their publisher goes offline", Holds::Bool),
];

const fn fixed(name: &'static str, label: &'static str, holds: Holds) -> Field {
    match holds {
        Holds::Choice(_) => Field {
            name,
            label,
            holds,
            text: |_| vec!["leaf".into()],
            set: |_, values| (values == ["leaf"]).then_some(()),
        },
        _ => Field {
            name,
            label,
            holds,
            text: |_| flag(false),
            set: |_, values| (read_flag(values) == Some(false)).then_some(()),
        },
    }
}

#[cfg(test)]
mod tests;
