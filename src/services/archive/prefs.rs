//! Whose messages the owner of an archive wants kept.
//!
//! Source: XEP-0441 v0.2.0. Without preferences everybody's are. An address on both lists is not archived: who was
//! asked to forget somebody forgets them.

use super::worth::Worth;
use crate::{
    domain::{ids::AccountId, keys, roster},
    limits,
    router::{context::Ctx, service::Reply},
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    },
};

const VERSION: u8 = 1;

/// What happens to messages of those on neither list, §2.1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Otherwise {
    #[default]
    Always,
    Never,
    Roster,
}

/// The preferences of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefs {
    default: Otherwise,
    always: Vec<String>,
    never: Vec<String>,
}

impl Otherwise {
    const ALL: [(Otherwise, &'static str); 3] =
        [(Otherwise::Always, "always"), (Otherwise::Never, "never"), (Otherwise::Roster, "roster")];
}

impl Prefs {
    /// The `<prefs/>` element.
    pub fn element(&self) -> Element {
        let name = Otherwise::ALL.iter().find(|(default, _)| *default == self.default).map(|(_, name)| *name);
        let list = |name: &'static str, jids: &[String]| {
            jids.iter().fold(Element::new(name, ns::MAM), |list, jid| list.leaf("jid", jid))
        };
        Element::new("prefs", ns::MAM)
            .attr_if("default", name)
            .child(list("always", &self.always))
            .child(list("never", &self.never))
    }

    fn read(element: &Element) -> Result<Prefs, StanzaError> {
        let bad = |text| StanzaError::new(Condition::BadRequest).text(text);
        let default = Otherwise::ALL.iter().find(|(_, name)| element.get("default") == Some(name));
        let (default, _) = default.ok_or(bad("The default is one of always, never and roster."))?;
        let list = |name| -> Result<Vec<String>, StanzaError> {
            let Some(list) = element.find(name, ns::MAM) else { return Ok(Vec::new()) };
            let mut jids = Vec::new();
            for entry in list.children().filter(|entry| entry.is("jid", ns::MAM)) {
                let jid = Jid::parse(entry.content().trim()).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
                jids.push(jid.as_str().to_owned());
            }
            jids.sort_unstable();
            jids.dedup();
            Ok(jids)
        };
        let prefs = Prefs { default: *default, always: list("always")?, never: list("never")? };
        if prefs.always.len() + prefs.never.len() > limits::ARCHIVE_PREFS_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint).text("Too many addresses."));
        }
        Ok(prefs)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.default as u8];
        for list in [&self.always, &self.never] {
            out.extend_from_slice(&(list.len() as u16).to_be_bytes());
            for jid in list {
                out.extend_from_slice(&(jid.len() as u16).to_be_bytes());
                out.extend_from_slice(jid.as_bytes());
            }
        }
        out
    }

    fn decode(value: &[u8]) -> Option<Prefs> {
        fn number(rest: &mut &[u8]) -> Option<usize> {
            let (number, tail) = rest.split_first_chunk::<2>()?;
            *rest = tail;
            Some(usize::from(u16::from_be_bytes(*number)))
        }
        let (&[VERSION, default], mut rest) = value.split_first_chunk::<2>()? else { return None };
        let mut list = || -> Option<Vec<String>> {
            let count = number(&mut rest)?;
            (0..count)
                .map(|_| {
                    let length = number(&mut rest)?;
                    let (jid, tail) = rest.split_at_checked(length)?;
                    rest = tail;
                    String::from_utf8(jid.to_vec()).ok()
                })
                .collect()
        };
        let (default, _) = *Otherwise::ALL.get(usize::from(default))?;
        Some(Prefs { default, always: list()?, never: list()? })
    }
}

/// An account's preferences.
pub fn of(owner: AccountId, ctx: &mut Ctx<'_>) -> Prefs {
    let row = ctx.store().read(&keys::owned(keys::ARCHIVE_PREFS, owner));
    row.and_then(|row| Prefs::decode(&row)).unwrap_or_default()
}

/// Sets them, and tells what they are now.
pub fn change(owner: AccountId, of: &Jid, element: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let prefs = Prefs::read(element)?;
    ctx.store().put(&keys::owned(keys::ARCHIVE_PREFS, owner), &prefs.encode());
    if let Some(online) = ctx.core.sessions.online_mut(of.bare_str()) {
        online.lists.archive = true;
    }
    Ok(prefs.element().into())
}

/// Whether the owner, whose address is `of`, wants messages exchanged with this contact kept, §2.3.
pub fn allow(owner: AccountId, of: &Jid, contact: &Jid, ctx: &mut Ctx<'_>) -> Worth {
    if ctx.sessions().online(of.bare_str()).is_some_and(|online| !online.lists.archive) {
        return Worth::Keeping;
    }
    let row = ctx.store().read(&keys::owned(keys::ARCHIVE_PREFS, owner));
    let Some(prefs) = row.and_then(|row| Prefs::decode(&row)) else { return Worth::Keeping };
    // A listed bare address stands for all its resources.
    let lists = |list: &[String]| list.iter().any(|jid| jid == contact.as_str() || jid == contact.bare_str());
    if lists(&prefs.never) {
        return Worth::Nothing("the owner keeps nothing of this contact");
    }
    if lists(&prefs.always) {
        return Worth::Keeping;
    }
    match prefs.default {
        Otherwise::Always => Worth::Keeping,
        Otherwise::Never => Worth::Nothing("the owner keeps nothing unless told to"),
        Otherwise::Roster if roster::item(&ctx.store(), owner, contact.bare_str()).is_some() => Worth::Keeping,
        Otherwise::Roster => Worth::Nothing("the owner keeps only what contacts write"),
    }
}
