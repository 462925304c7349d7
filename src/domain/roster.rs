//! The contact list and the subscription states of RFC 6121 Appendix A.
//!
//! Invariant: every change of an item raises the roster's version in the same turn, so a client that knows a version
//! can be told exactly what came after it (RFC 6121 §2.6).

use super::{ids::AccountId, keys, store::Store};
use crate::limits;

/// The four kinds of presence stanzas that manage subscriptions, RFC 6121 §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks to see the other's presence.
    Subscribe,
    /// Allows the other to see ours.
    Subscribed,
    /// Wants to see the other's presence no longer.
    Unsubscribe,
    /// Denies or withdraws.
    Unsubscribed,
}

/// One contact's state from the owner's side, RFC 6121 Appendix A.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The owner sees the contact's presence.
    pub to: bool,
    /// The contact sees the owner's presence.
    pub from: bool,
    /// The owner asked and the contact has not answered (`ask='subscribe'`).
    pub pending_out: bool,
    /// The contact asked and the owner has not answered.
    pub pending_in: bool,
    /// The owner approved before being asked, RFC 6121 §3.4.
    pub approved: bool,
}

/// What a server does with an outbound subscription stanza, RFC 6121 A.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Whether it travels on to the contact.
    pub route: bool,
    /// The state afterwards.
    pub state: State,
}

/// What a server does with an inbound subscription stanza, RFC 6121 A.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Whether the owner's clients see it.
    pub deliver: bool,
    /// What is sent back on the owner's behalf.
    pub reply: Option<Action>,
    /// The state afterwards.
    pub state: State,
}

impl State {
    /// The `subscription` attribute.
    pub const fn subscription(self) -> &'static str {
        match (self.to, self.from) {
            (false, false) => "none",
            (true, false) => "to",
            (false, true) => "from",
            (true, true) => "both",
        }
    }

    /// The owner sends this stanza, RFC 6121 A.2.
    pub fn outbound(self, action: Action) -> Outbound {
        let mut state = self;
        let route = match action {
            Action::Subscribe => {
                state.pending_out |= !self.to;
                true
            }
            Action::Unsubscribe => {
                (state.to, state.pending_out) = (false, false);
                true
            }
            Action::Subscribed if self.pending_in => {
                (state.from, state.pending_in) = (true, false);
                true
            }
            Action::Subscribed => {
                state.approved |= !self.from;
                false
            }
            Action::Unsubscribed => {
                (state.from, state.pending_in, state.approved) = (false, false, false);
                self.from || self.pending_in
            }
        };
        Outbound { route, state }
    }

    /// The contact sent this stanza, RFC 6121 A.3.
    pub fn inbound(self, action: Action) -> Inbound {
        let mut state = self;
        let (deliver, reply) = match action {
            Action::Subscribe if self.from => (false, Some(Action::Subscribed)),
            Action::Subscribe if self.approved => {
                state.from = true;
                (false, Some(Action::Subscribed))
            }
            Action::Subscribe => {
                state.pending_in = true;
                (!self.pending_in, None)
            }
            Action::Unsubscribe => {
                (state.from, state.pending_in) = (false, false);
                let changes = self.from || self.pending_in;
                (changes, changes.then_some(Action::Unsubscribed))
            }
            Action::Subscribed if self.pending_out => {
                (state.to, state.pending_out) = (true, false);
                (true, None)
            }
            Action::Subscribed => (false, None),
            Action::Unsubscribed => {
                (state.to, state.pending_out) = (false, false);
                (self.to || self.pending_out, None)
            }
        };
        Inbound { deliver, reply, state }
    }
}

/// One row of the contact list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterItem {
    /// Subscription; `pending_in` is kept apart and false here.
    pub state: State,
    /// Name that the owner gave.
    pub name: String,
    /// Groups, without doubles.
    pub groups: Vec<String>,
    /// The roster's version when this item last changed.
    pub changed: u64,
}

const VERSION: u8 = 1;

impl RosterItem {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.flags()];
        out.extend_from_slice(&self.changed.to_be_bytes());
        for text in std::iter::once(&self.name).chain(&self.groups) {
            // `ROSTER_TEXT_BYTES_MAX` fits.
            out.extend_from_slice(&(text.len() as u16).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<RosterItem> {
        let (&[VERSION, flags], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (changed, mut rest) = rest.split_first_chunk::<8>()?;
        let mut texts = Vec::new();
        while let Some((len, tail)) = rest.split_first_chunk::<2>() {
            let len = u16::from_be_bytes(*len) as usize;
            texts.push(String::from_utf8(tail.get(..len)?.to_vec()).ok()?);
            rest = &tail[len..];
        }
        let mut texts = texts.into_iter();
        Some(RosterItem {
            state: State {
                to: flags & 1 != 0,
                from: flags & 2 != 0,
                pending_out: flags & 4 != 0,
                pending_in: false,
                approved: flags & 8 != 0,
            },
            name: texts.next()?,
            groups: texts.collect(),
            changed: u64::from_be_bytes(*changed),
        })
    }

    fn flags(&self) -> u8 {
        u8::from(self.state.to)
            | u8::from(self.state.from) << 1
            | u8::from(self.state.pending_out) << 2
            | u8::from(self.state.approved) << 3
    }
}

/// The roster's version and the version at which an item was last removed; changes from there on are known one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Raised by every change.
    pub current: u64,
    /// Versions below this one cannot be caught up by single items.
    pub removed: u64,
}

/// The roster's versions.
pub fn versions(store: &Store<'_>, owner: AccountId) -> Versions {
    let bytes = store.read(&keys::owned(keys::ROSTER_VERSION, owner)).unwrap_or_default();
    let number = |at: usize| bytes.get(at..at + 8).and_then(|b| Some(u64::from_be_bytes(b.try_into().ok()?)));
    Versions { current: number(0).unwrap_or(0), removed: number(8).unwrap_or(0) }
}

fn raise(store: &mut Store<'_>, owner: AccountId, removed: bool) -> u64 {
    let mut versions = versions(store, owner);
    versions.current += 1;
    if removed {
        versions.removed = versions.current;
    }
    let value = [versions.current.to_be_bytes(), versions.removed.to_be_bytes()].concat();
    store.put(&keys::owned(keys::ROSTER_VERSION, owner), &value);
    versions.current
}

/// One item.
pub fn item(store: &Store<'_>, owner: AccountId, contact: &str) -> Option<RosterItem> {
    RosterItem::decode(&store.read(&keys::row(keys::ROSTER, owner, contact.as_bytes()))?)
}

/// The groups into which contacts are sorted, each once, in order.
pub fn groups(store: &Store<'_>, owner: AccountId) -> Vec<String> {
    let groups = items(store, owner).into_iter().flat_map(|(_, item)| item.groups);
    groups.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// All items by contact, bounded by `limits::ROSTER_ITEMS_MAX` when they were written.
pub fn items(store: &Store<'_>, owner: AccountId) -> Vec<(String, RosterItem)> {
    let prefix = keys::owned(keys::ROSTER, owner);
    store
        .prefix(&prefix, usize::MAX)
        .into_iter()
        .filter_map(|(key, value)| {
            Some((String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?, RosterItem::decode(&value)?))
        })
        .collect()
}

/// Whether there is room for this item, which may take the place of an older one.
pub fn has_room(store: &Store<'_>, owner: AccountId, contact: &str, item: &RosterItem) -> bool {
    let key = keys::row(keys::ROSTER, owner, contact.as_bytes());
    let before = store.read(&key).map(|row| row.len());
    let after = item.encode().len();
    if before.is_some_and(|before| after <= before) {
        return true;
    }
    let kept = store.tally(&keys::owned(keys::ROSTER, owner), limits::ROSTER_ITEMS_MAX);
    let more = after - before.unwrap_or(0) + if before.is_some() { 0 } else { key.len() };
    (before.is_some() || kept.rows < limits::ROSTER_ITEMS_MAX) && kept.bytes + more <= limits::ROSTER_BYTES_MAX
}

/// Writes an item and raises the version; the item comes back with its version.
pub fn put(store: &mut Store<'_>, owner: AccountId, contact: &str, mut item: RosterItem) -> RosterItem {
    item.changed = raise(store, owner, false);
    store.put(&keys::row(keys::ROSTER, owner, contact.as_bytes()), &item.encode());
    item
}

/// Removes an item and raises the version; the version comes back.
pub fn remove(store: &mut Store<'_>, owner: AccountId, contact: &str) -> u64 {
    store.remove(&keys::row(keys::ROSTER, owner, contact.as_bytes()));
    raise(store, owner, true)
}

/// The contact's state, with what waits; default if the contact is unknown.
pub fn state(store: &Store<'_>, owner: AccountId, contact: &str) -> State {
    let mut state = item(store, owner, contact).map(|item| item.state).unwrap_or_default();
    state.pending_in = store.has(&keys::row(keys::REQUEST, owner, contact.as_bytes()));
    state
}

/// Keeps a subscription request; `false` if too many wait already.
pub fn keep_request(store: &mut Store<'_>, owner: AccountId, contact: &str, stanza: &[u8]) -> bool {
    let waiting = store.tally(&keys::owned(keys::REQUEST, owner), limits::PENDING_IN_MAX);
    if waiting.rows >= limits::PENDING_IN_MAX {
        return false;
    }
    store.put(&keys::row(keys::REQUEST, owner, contact.as_bytes()), stanza);
    true
}

/// Forgets a subscription request.
pub fn drop_request(store: &mut Store<'_>, owner: AccountId, contact: &str) {
    let key = keys::row(keys::REQUEST, owner, contact.as_bytes());
    if store.has(&key) {
        store.remove(&key);
    }
}

/// The subscription requests that wait, by contact, as they came.
pub fn requests(store: &Store<'_>, owner: AccountId) -> Vec<(String, Vec<u8>)> {
    let prefix = keys::owned(keys::REQUEST, owner);
    let rows = store.prefix(&prefix, limits::PENDING_IN_MAX);
    rows.into_iter()
        .filter_map(|(key, stanza)| Some((String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?, stanza)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Action::*, *};

    const NONE: State = State { to: false, from: false, pending_out: false, pending_in: false, approved: false };
    const OUT: State = State { pending_out: true, ..NONE };
    const IN: State = State { pending_in: true, ..NONE };
    const OUT_IN: State = State { pending_in: true, ..OUT };
    const TO: State = State { to: true, ..NONE };
    const TO_IN: State = State { pending_in: true, ..TO };
    const FROM: State = State { from: true, ..NONE };
    const FROM_OUT: State = State { pending_out: true, ..FROM };
    const BOTH: State = State { to: true, from: true, ..NONE };
    const ALL: [State; 9] = [NONE, OUT, IN, OUT_IN, TO, TO_IN, FROM, FROM_OUT, BOTH];

    fn check_outbound(action: Action, route: [bool; 9], after: [State; 9]) {
        for ((before, route), after) in ALL.into_iter().zip(route).zip(after) {
            let got = before.outbound(action);
            let state = State { approved: false, ..got.state };
            assert_eq!((got.route, state), (route, after), "{action:?} out of {before:?}");
        }
    }

    fn check_inbound(action: Action, deliver: [bool; 9], after: [State; 9]) {
        for ((before, deliver), after) in ALL.into_iter().zip(deliver).zip(after) {
            let got = before.inbound(action);
            assert_eq!((got.deliver, got.state), (deliver, after), "{action:?} into {before:?}");
        }
    }

    const T: bool = true;
    const F: bool = false;

    #[test]
    fn table_2_outbound_subscribe() {
        check_outbound(Subscribe, [T; 9], [OUT, OUT, OUT_IN, OUT_IN, TO, TO_IN, FROM_OUT, FROM_OUT, BOTH]);
    }

    #[test]
    fn table_3_outbound_unsubscribe() {
        check_outbound(Unsubscribe, [T; 9], [NONE, NONE, IN, IN, NONE, IN, FROM, FROM, FROM]);
    }

    #[test]
    fn table_4_outbound_subscribed() {
        check_outbound(
            Subscribed,
            [F, F, T, T, F, T, F, F, F],
            [NONE, OUT, FROM, FROM_OUT, TO, BOTH, FROM, FROM_OUT, BOTH],
        );
        for (state, approved) in ALL.into_iter().zip([T, T, F, F, T, F, F, F, F]) {
            assert_eq!(state.outbound(Subscribed).state.approved, approved, "pre-approval in {state:?}");
        }
    }

    #[test]
    fn table_5_outbound_unsubscribed() {
        check_outbound(Unsubscribed, [F, F, T, T, F, T, T, T, T], [NONE, OUT, NONE, OUT, TO, TO, NONE, OUT, TO]);
    }

    #[test]
    fn table_6_inbound_subscribe() {
        check_inbound(
            Subscribe,
            [T, T, F, F, T, F, F, F, F],
            [IN, OUT_IN, IN, OUT_IN, TO_IN, TO_IN, FROM, FROM_OUT, BOTH],
        );
        for state in [FROM, FROM_OUT, BOTH] {
            assert_eq!(state.inbound(Subscribe).reply, Some(Subscribed));
        }
    }

    #[test]
    fn table_7_inbound_unsubscribe() {
        check_inbound(Unsubscribe, [F, F, T, T, F, T, T, T, T], [NONE, OUT, NONE, OUT, TO, TO, NONE, OUT, TO]);
    }

    #[test]
    fn table_8_inbound_subscribed() {
        check_inbound(Subscribed, [F, T, F, T, F, F, F, T, F], [NONE, TO, IN, TO_IN, TO, TO_IN, FROM, BOTH, BOTH]);
    }

    #[test]
    fn table_9_inbound_unsubscribed() {
        check_inbound(Unsubscribed, [F, T, F, T, T, T, F, T, T], [NONE, NONE, IN, IN, NONE, IN, FROM, FROM, FROM]);
    }

    #[test]
    fn a_pre_approved_contact_is_answered_without_asking() {
        let got = State { approved: true, ..NONE }.inbound(Subscribe);
        assert_eq!((got.deliver, got.reply, got.state.from), (false, Some(Subscribed), true));
    }

    #[test]
    fn an_item_survives_its_encoding() {
        let item = RosterItem {
            state: FROM_OUT,
            name: "Romeo ü".into(),
            groups: vec!["Friends".into(), "".into()],
            changed: 7,
        };
        assert_eq!(RosterItem::decode(&item.encode()), Some(item));
    }
}
