//! Publish-subscribe nodes as facts: settings, items, and who stands how to a node. XEP-0060, XEP-0163.
//!
//! Rows of an owner, which is an account or a publish-subscribe host, all under the letter `n`, by their second part:
//!
//! | behind `n` owner | value |
//! |---|---|
//! | `t` | totals of the owner: [`Totals`] |
//! | `n` name | the node: number, creator, settings |
//! | `c` node | how many items the node has, how many bytes |
//! | `i` node sequence | an item: id, publisher, when, payload |
//! | `x` node item-id | the sequence number of the item |
//! | `m` node address | an entity's affiliation and subscriptions ([`members`]) |
//!
//! A node's number is never used again by its owner, and sequence numbers grow with each publication: so items stand in
//! the order in which they were published last. Invariant: for each item there is exactly one row under `x`, and
//! counts and totals are those of the rows.

pub mod members;
pub mod settings;

use super::{ids::AccountId, keys, store::Store};
use crate::limits;
pub use settings::Settings;
use settings::{AccessModel, SendLast};

/// A node's number, unique with its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: Box<str>,
    /// Bare address of who made it.
    pub creator: String,
    /// Seconds since 1970 when it was made.
    pub created_s: u64,
    /// How it is set up.
    pub settings: Settings,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place among the node's items; greater is later.
    pub sequence: u64,
    /// Its name.
    pub id: String,
    /// Full address of who published it.
    pub publisher: String,
    /// Microseconds since 1970 when it was published.
    pub published_us: u64,
    /// The payload, serialised so that it means the same anywhere; empty if there is none.
    pub payload: Vec<u8>,
}

/// What an owner's nodes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The next node's number.
    pub next_node: u32,
    /// Nodes.
    pub nodes: u32,
    /// Bytes of all items, ids included.
    pub bytes: u64,
}

/// What one node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Items.
    pub items: u32,
    /// Bytes of them.
    pub bytes: u64,
}

const VERSION: u8 = 1;

/// Which defaults the settings in a row differ from.
const PERSONAL: u8 = 1;

fn key(owner: AccountId, part: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = keys::row(keys::NODE, owner, &[part]);
    key.extend_from_slice(rest);
    key
}

fn of_node(owner: AccountId, part: u8, node: NodeId, rest: &[u8]) -> Vec<u8> {
    let mut key = key(owner, part, &node.0.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

fn meta_of_host(host: &str) -> Vec<u8> {
    keys::meta(&format!("host {host}"))
}

/// The owner of the nodes of a publish-subscribe host; `None` while it never had one.
pub fn host(store: &Store<'_>, host: &str) -> Option<AccountId> {
    let row = store.read(&meta_of_host(host))?;
    Some(AccountId(u32::from_be_bytes(row.try_into().ok()?)))
}

/// The same; it gets a number like an account's if it has none. `None`: all numbers are used.
pub fn make_host(store: &mut Store<'_>, name: &str) -> Option<AccountId> {
    if let Some(owner) = host(store, name) {
        return Some(owner);
    }
    let owner = super::accounts::take_number(store)?;
    store.put(&meta_of_host(name), &owner.0.to_be_bytes());
    Some(owner)
}

/// What the owner's nodes hold.
pub fn totals(store: &Store<'_>, owner: AccountId) -> Totals {
    let row = store.read(&key(owner, b't', &[])).unwrap_or_default();
    let mut numbers = row.chunks_exact(8).filter_map(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
    let mut next = || numbers.next().unwrap_or_default();
    Totals { next_node: next() as u32, nodes: next() as u32, bytes: next() }
}

fn put_totals(store: &mut Store<'_>, owner: AccountId, totals: Totals) {
    let row = [u64::from(totals.next_node), u64::from(totals.nodes), totals.bytes].map(u64::to_be_bytes).concat();
    store.put(&key(owner, b't', &[]), &row);
}

/// A node by its name.
pub fn find(store: &Store<'_>, owner: AccountId, name: &str) -> Option<Node> {
    if name.is_empty() || name.len() > limits::NODE_NAME_BYTES_MAX {
        return None;
    }
    decode(name, &store.read(&key(owner, b'n', name.as_bytes()))?)
}

/// At most `limit` nodes by name, those whose name comes after `after`.
pub fn list(store: &Store<'_>, owner: AccountId, after: &str, limit: usize) -> Vec<Node> {
    let prefix = key(owner, b'n', &[]);
    let from = [&prefix[..], after.as_bytes(), if after.is_empty() { &[] } else { &[0] }].concat();
    let rows = store.scan(&from, &super::store::after_prefix(&prefix), false, limit);
    rows.iter().filter_map(|(row, value)| decode(std::str::from_utf8(row.get(prefix.len()..)?).ok()?, value)).collect()
}

/// Makes a node. `None` if the name is taken, empty or too long; the caller counts.
pub fn create(
    store: &mut Store<'_>,
    owner: AccountId,
    name: &str,
    creator: &str,
    settings: Settings,
    now_s: u64,
) -> Option<Node> {
    let fits = !name.is_empty() && name.len() <= limits::NODE_NAME_BYTES_MAX;
    if !fits || store.has(&key(owner, b'n', name.as_bytes())) {
        return None;
    }
    let mut totals = totals(store, owner);
    let id = NodeId(totals.next_node);
    (totals.next_node, totals.nodes) = (id.0.checked_add(1)?, totals.nodes + 1);
    let node = Node { id, name: name.into(), creator: creator.into(), created_s: now_s, settings };
    update(store, owner, &node);
    put_totals(store, owner, totals);
    Some(node)
}

/// Writes a node whose settings changed.
pub fn update(store: &mut Store<'_>, owner: AccountId, node: &Node) {
    store.put(&key(owner, b'n', node.name.as_bytes()), &encode(node));
}

/// Lets nobody but its owner, and whom they named one by one, read a node, if it is there, and lets it keep `items` items
/// that are sent to nobody unasked unless it is one alone: before a service publishes what is private (XEP-0223 §3).
pub fn close(store: &mut Store<'_>, owner: AccountId, name: &str, items: u32) {
    let Some(node) = find(store, owner, name) else { return };
    let mut settings = Settings { access: AccessModel::Whitelist, persist_items: true, ..node.settings.clone() };
    settings.max_items = settings.max_items.max(items);
    if items > 1 {
        settings.send_last = SendLast::Never;
    }
    if settings != node.settings {
        update(store, owner, &Node { settings, ..node });
    }
}

/// Removes a node with all that belongs to it.
pub fn remove(store: &mut Store<'_>, owner: AccountId, node: &Node) {
    purge(store, owner, node.id);
    for (member, _) in store.prefix(&of_node(owner, b'm', node.id, &[]), usize::MAX) {
        store.remove(&member);
    }
    store.remove(&of_node(owner, b'c', node.id, &[]));
    store.remove(&key(owner, b'n', node.name.as_bytes()));
    let mut totals = totals(store, owner);
    totals.nodes = totals.nodes.saturating_sub(1);
    put_totals(store, owner, totals);
}

/// What a node holds.
pub fn count(store: &Store<'_>, owner: AccountId, node: NodeId) -> Count {
    let row = store.read(&of_node(owner, b'c', node, &[])).unwrap_or_default();
    match row.split_first_chunk::<4>() {
        Some((items, bytes)) => Count {
            items: u32::from_be_bytes(*items),
            bytes: bytes.try_into().map(u64::from_be_bytes).unwrap_or_default(),
        },
        None => Count::default(),
    }
}

/// Counts items and bytes that came or went.
fn weigh(store: &mut Store<'_>, owner: AccountId, node: NodeId, items: i64, bytes: i64) {
    let mut count = count(store, owner, node);
    count.items = i64::from(count.items).saturating_add(items).max(0) as u32;
    count.bytes = count.bytes.saturating_add_signed(bytes);
    store.put(&of_node(owner, b'c', node, &[]), &[&count.items.to_be_bytes()[..], &count.bytes.to_be_bytes()].concat());
    let mut totals = totals(store, owner);
    totals.bytes = totals.bytes.saturating_add_signed(bytes);
    put_totals(store, owner, totals);
}

/// What an item weighs in totals.
pub fn weight(id: &str, payload: &[u8]) -> u64 {
    (id.len() + payload.len()) as u64
}

/// Keeps an item; one with the same id goes. Its sequence number comes back.
pub fn put_item(
    store: &mut Store<'_>,
    owner: AccountId,
    node: NodeId,
    (id, publisher, payload): (&str, &str, &[u8]),
    now_us: u64,
) -> u64 {
    let old = sequence(store, owner, node, id).and_then(|sequence| item_at(store, owner, node, sequence));
    let last = page(store, owner, node, Span::default(), true, 1).pop().map_or(0, |item| item.sequence);
    let sequence = now_us.max(last + 1);
    let mut bytes = weight(id, payload) as i64;
    if let Some(old) = &old {
        store.remove(&of_node(owner, b'i', node, &old.sequence.to_be_bytes()));
        bytes -= weight(&old.id, &old.payload) as i64;
    }
    let mut value = vec![VERSION];
    value.extend_from_slice(&now_us.to_be_bytes());
    text(&mut value, id);
    text(&mut value, publisher);
    value.extend_from_slice(payload);
    store.put(&of_node(owner, b'i', node, &sequence.to_be_bytes()), &value);
    store.put(&of_node(owner, b'x', node, id.as_bytes()), &sequence.to_be_bytes());
    weigh(store, owner, node, i64::from(old.is_none()), bytes);
    sequence
}

/// Where an item stands, by its id.
pub fn sequence(store: &Store<'_>, owner: AccountId, node: NodeId, id: &str) -> Option<u64> {
    if id.len() > limits::ITEM_ID_BYTES_MAX {
        return None;
    }
    let row = store.read(&of_node(owner, b'x', node, id.as_bytes()))?;
    Some(u64::from_be_bytes(row.try_into().ok()?))
}

fn item_at(store: &Store<'_>, owner: AccountId, node: NodeId, sequence: u64) -> Option<Item> {
    decode_item(sequence, &store.read(&of_node(owner, b'i', node, &sequence.to_be_bytes()))?)
}

/// An item by its id.
pub fn item(store: &Store<'_>, owner: AccountId, node: NodeId, id: &str) -> Option<Item> {
    item_at(store, owner, node, sequence(store, owner, node, id)?)
}

/// What was published last.
pub fn last(store: &Store<'_>, owner: AccountId, node: NodeId) -> Option<Item> {
    page(store, owner, node, Span::default(), true, 1).pop()
}

/// A stretch of a node's items, both ends left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Only later ones.
    pub above: Option<u64>,
    /// Only earlier ones.
    pub below: Option<u64>,
}

/// At most `limit` items of a stretch, oldest first, or newest first if `back`.
pub fn page(store: &Store<'_>, owner: AccountId, node: NodeId, span: Span, back: bool, limit: usize) -> Vec<Item> {
    let prefix = of_node(owner, b'i', node, &[]);
    let at = |sequence: u64| of_node(owner, b'i', node, &sequence.to_be_bytes());
    let from = span.above.map_or_else(|| prefix.clone(), |above| at(above.saturating_add(1)));
    let to = span.below.map_or_else(|| super::store::after_prefix(&prefix), at);
    let rows = store.scan(&from, &to, back, limit);
    rows.iter()
        .filter_map(|(row, value)| {
            let sequence = u64::from_be_bytes(row.get(prefix.len()..)?.try_into().ok()?);
            decode_item(sequence, value)
        })
        .collect()
}

/// Removes an item.
pub fn remove_item(store: &mut Store<'_>, owner: AccountId, node: NodeId, item: &Item) {
    store.remove(&of_node(owner, b'i', node, &item.sequence.to_be_bytes()));
    store.remove(&of_node(owner, b'x', node, item.id.as_bytes()));
    weigh(store, owner, node, -1, -(weight(&item.id, &item.payload) as i64));
}

/// Removes all items of a node.
pub fn purge(store: &mut Store<'_>, owner: AccountId, node: NodeId) {
    let held = count(store, owner, node);
    let prefix = of_node(owner, b'i', node, &[]);
    let (mut from, end) = (prefix.clone(), super::store::after_prefix(&prefix));
    loop {
        // In pages, so that a large node is never in memory as a whole.
        let rows = store.scan(&from, &end, false, limits::ITEMS_PAGE);
        rows.iter().for_each(|(row, _)| store.remove(row));
        match rows.into_iter().nth(limits::ITEMS_PAGE - 1) {
            Some((last, _)) => from = [&last[..], &[0]].concat(),
            None => break,
        }
    }
    for (row, _) in store.prefix(&of_node(owner, b'x', node, &[]), usize::MAX) {
        store.remove(&row);
    }
    if held.items > 0 {
        weigh(store, owner, node, -i64::from(held.items), -(held.bytes as i64));
    }
}

/// A text and its length; what is stored is far shorter than 64 KiB.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*len) as usize)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn decode_item(sequence: u64, value: &[u8]) -> Option<Item> {
    let (&[VERSION], rest) = value.split_first_chunk::<1>()? else { return None };
    let (published, mut rest) = rest.split_first_chunk::<8>()?;
    Some(Item {
        sequence,
        published_us: u64::from_be_bytes(*published),
        id: take_text(&mut rest)?,
        publisher: take_text(&mut rest)?,
        payload: rest.to_vec(),
    })
}

/// A node's row holds only the settings that differ from one of the defaults, by name: most nodes differ in a few.
fn encode(node: &Node) -> Vec<u8> {
    let (personal, shared) = (Settings::personal(), Settings::shared());
    let is_personal = node.settings.differing(&personal).count() <= node.settings.differing(&shared).count();
    let defaults = if is_personal { personal } else { shared };
    let mut out = vec![VERSION, if is_personal { PERSONAL } else { 0 }];
    out.extend_from_slice(&node.id.0.to_be_bytes());
    out.extend_from_slice(&node.created_s.to_be_bytes());
    text(&mut out, &node.creator);
    for (name, values) in node.settings.differing(&defaults) {
        text(&mut out, name);
        // `NODE_LINES_MAX` fits.
        out.push(values.len() as u8);
        values.iter().for_each(|value| text(&mut out, value));
    }
    out
}

fn decode(name: &str, value: &[u8]) -> Option<Node> {
    let (&[VERSION, flags], rest) = value.split_first_chunk::<2>()? else { return None };
    let (id, rest) = rest.split_first_chunk::<4>()?;
    let (created, mut rest) = rest.split_first_chunk::<8>()?;
    let creator = take_text(&mut rest)?;
    let mut settings = if flags & PERSONAL != 0 { Settings::personal() } else { Settings::shared() };
    while !rest.is_empty() {
        let field = take_text(&mut rest)?;
        let (count, tail) = rest.split_first()?;
        rest = tail;
        let values: Vec<String> = (0..*count).map(|_| take_text(&mut rest)).collect::<Option<_>>()?;
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        // A setting that a later version dropped is none.
        let _ = settings.set(&field, &values);
    }
    let (id, created_s) = (NodeId(u32::from_be_bytes(*id)), u64::from_be_bytes(*created));
    Some(Node { id, name: name.into(), creator, created_s, settings })
}

#[cfg(test)]
mod tests;
