//! Components: programs beside the server that speak for a domain of their own, such as bridges to other networks.
//!
//! Source: XEP-0114; XEP-0356 v0.4.1 for what a component may do for accounts here, XEP-0355 v0.5 §4.1 for what it answers in
//! place of this server.

use std::collections::BTreeMap;

use crate::wire::ns;

/// Characters of a secret: fewer can be guessed, as the handshake of XEP-0114 is heard by whoever hears the network.
pub(super) const SECRET_CHARS_MIN: usize = 12;
/// More are no secret but a slip.
pub(super) const SECRET_CHARS_MAX: usize = 256;

/// What the admin lets a component do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// What it proves itself by.
    pub secret: String,
    /// Access to the rosters of accounts here, XEP-0356 §3.
    pub roster: Access,
    /// May send messages in the name of accounts here, XEP-0356 §4.
    pub message: bool,
    /// Payloads of requests that it may send in the name of accounts here, by namespace, XEP-0356 §5.
    pub iq: BTreeMap<String, Access>,
    /// Is shown who of the accounts here is there, XEP-0356 §6.
    pub presence: bool,
    /// Which requests to this server and to accounts here it answers, by namespace, XEP-0355 §4.1: those whose payload has
    /// all of these attributes.
    pub delegate: BTreeMap<String, Vec<String>>,
}

impl Component {
    /// Whether it is told of anything that it may do.
    pub fn is_privileged(&self) -> bool {
        self.roster != Access::None || self.message || !self.iq.is_empty() || self.presence
    }
}

impl super::Config {
    /// The component that answers requests of this namespace in place of this server, and the attributes that their payloads
    /// must have for that.
    pub fn delegate(&self, ns: &str) -> Option<(&str, &[String])> {
        let mut all = self.components.iter();
        all.find_map(|(domain, settings)| Some((domain.as_str(), settings.delegate.get(ns)?.as_slice())))
    }
}

/// Which requests are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// None.
    #[default]
    None,
    /// Those that read.
    Get,
    /// Those that write.
    Set,
    /// All.
    Both,
}

impl Access {
    /// Words of settings and of XEP-0356.
    pub(super) const WORDS: [(&'static str, Access); 4] =
        [("none", Access::None), ("get", Access::Get), ("set", Access::Set), ("both", Access::Both)];

    /// Whether a request of this kind is allowed.
    pub fn allows(self, is_set: bool) -> bool {
        match self {
            Access::None => false,
            Access::Get => !is_set,
            Access::Set => is_set,
            Access::Both => true,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, access)| *access == self).map_or("none", |(word, _)| word)
    }
}

/// `http://jabber.org/protocol/pubsub`, or `get jabber:iq:private`: a namespace and which requests of it.
pub(super) fn grant(text: &str) -> Result<(String, Access), String> {
    let (access, ns) = match text.split_once(' ') {
        Some((word, ns)) => match Access::WORDS.iter().find(|(known, _)| *known == word) {
            Some((_, access)) if *access != Access::None => (*access, ns.trim()),
            _ => return Err("no namespace".into()),
        },
        None => (Access::Both, text),
    };
    namespace(ns).map(|ns| (ns, access))
}

/// `urn:xmpp:mam:2`, or `urn:xmpp:mam:2 node`: a namespace, and attributes without which a request stays here.
pub(super) fn delegation(text: &str) -> Result<(String, Vec<String>), String> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let ns = namespace(words.next().unwrap_or_default())?;
    let is_special = matches!(&*ns, ns::DELEGATED_INFO | ns::DELEGATED_ITEMS);
    if ns.starts_with(ns::DELEGATION) && !is_special {
        // XEP-0355 §8.
        return Err("what speaks of delegation itself".into());
    }
    if matches!(&*ns, ns::DISCO_INFO | ns::DISCO_ITEMS) {
        return Err(format!("what this server puts together itself; {} may be meant", ns::DELEGATED_ITEMS));
    }
    let attributes: Vec<String> = words.map(str::to_owned).collect();
    let is_name = |word: &String| word.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    match attributes.iter().all(is_name) && (attributes.is_empty() || !is_special) {
        true => Ok((ns, attributes)),
        false => Err("no names of attributes behind the namespace".into()),
    }
}

/// A namespace as it stands in XML: with a scheme, without blanks.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    match text.contains(':') && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Ok(text.to_owned()),
        false => Err("no namespace".into()),
    }
}
