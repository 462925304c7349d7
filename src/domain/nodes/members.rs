//! How entities stand to a node: affiliation and subscriptions, XEP-0060 §4.1 and §4.2.
//!
//! Invariant: one row for each entity, by its bare address, and none for an entity that is nothing to the node.

use super::{NodeId, Store, VERSION, of_node, take_text, text};
use crate::{domain::ids::AccountId, limits};

/// What an entity may do, XEP-0060 §4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affiliation {
    /// Everything.
    Owner,
    /// Publish, and remove what others published.
    Publisher,
    /// Publish, but not read.
    PublishOnly,
    /// Read; on the whitelist.
    Member,
    /// What the access model allows.
    #[default]
    None,
    /// Nothing.
    Outcast,
}

impl Affiliation {
    /// All, by the number in rows.
    const ALL: [Affiliation; 6] = {
        use Affiliation::*;
        [None, Owner, Publisher, PublishOnly, Member, Outcast]
    };

    /// The value of the attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Affiliation::Owner => "owner",
            Affiliation::Publisher => "publisher",
            Affiliation::PublishOnly => "publish-only",
            Affiliation::Member => "member",
            Affiliation::None => "none",
            Affiliation::Outcast => "outcast",
        }
    }

    /// The affiliation that a value means.
    pub fn parse(text: &str) -> Option<Affiliation> {
        Affiliation::ALL.into_iter().find(|affiliation| affiliation.as_str() == text)
    }
}

/// One subscription of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The resource that subscribed; `None`: the bare address.
    pub resource: Option<String>,
    /// Its name, made by the server.
    pub id: String,
    /// Whether an owner still has to agree.
    pub is_pending: bool,
    /// Whether events are wanted, `pubsub#deliver`.
    pub delivers: bool,
    /// The states of presence in which they are, `pubsub#show-values`, as bits of [`SHOWS`]; 0: in all.
    pub shows: u8,
}

/// Values of `pubsub#show-values`, in the order of their bits.
pub const SHOWS: [&str; 5] = ["away", "chat", "dnd", "online", "xa"];

/// How an entity stands to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub affiliation: Affiliation,
    /// What it subscribed to, oldest first.
    pub subscriptions: Vec<Subscription>,
}

impl Member {
    /// Whether it has a subscription that an owner agreed to, or that needed no agreement.
    pub fn is_subscribed(&self) -> bool {
        self.subscriptions.iter().any(|subscription| !subscription.is_pending)
    }

    /// The subscription of this resource, or of the bare address.
    pub fn subscription(&self, resource: Option<&str>) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.resource.as_deref() == resource)
    }

    fn is_nobody(&self) -> bool {
        self.affiliation == Affiliation::None && self.subscriptions.is_empty()
    }

    fn encode(&self) -> Vec<u8> {
        let affiliation = Affiliation::ALL.iter().position(|other| *other == self.affiliation).unwrap_or_default();
        let mut out = vec![VERSION, affiliation as u8];
        for subscription in &self.subscriptions {
            out.push(u8::from(subscription.is_pending) | u8::from(subscription.delivers) << 1);
            out.push(subscription.shows);
            text(&mut out, subscription.resource.as_deref().unwrap_or_default());
            text(&mut out, &subscription.id);
        }
        out
    }

    fn decode(value: &[u8]) -> Option<Member> {
        let (&[VERSION, affiliation], mut rest) = value.split_first_chunk::<2>()? else { return None };
        let mut member = Member { affiliation: *Affiliation::ALL.get(affiliation as usize)?, ..Member::default() };
        while let Some(([flags, shows], tail)) = rest.split_first_chunk::<2>() {
            rest = tail;
            member.subscriptions.push(Subscription {
                resource: Some(take_text(&mut rest)?).filter(|resource| !resource.is_empty()),
                id: take_text(&mut rest)?,
                is_pending: flags & 1 != 0,
                delivers: flags & 2 != 0,
                shows: *shows,
            });
        }
        Some(member)
    }
}

/// How the entity of this bare address stands to a node.
pub fn member(store: &Store<'_>, owner: AccountId, node: NodeId, bare: &str) -> Member {
    let row = store.read(&of_node(owner, b'm', node, bare.as_bytes()));
    row.and_then(|row| Member::decode(&row)).unwrap_or_default()
}

/// All who are something to a node, by bare address; bounded by `limits::NODE_MEMBERS_MAX` when they were written.
pub fn members(store: &Store<'_>, owner: AccountId, node: NodeId) -> Vec<(String, Member)> {
    let prefix = of_node(owner, b'm', node, &[]);
    let rows = store.prefix(&prefix, limits::NODE_MEMBERS_MAX);
    rows.into_iter()
        .filter_map(|(row, value)| {
            Some((String::from_utf8(row.get(prefix.len()..)?.to_vec()).ok()?, Member::decode(&value)?))
        })
        .collect()
}

/// Writes down how an entity stands to a node; `false`: there are too many already.
pub fn put(store: &mut Store<'_>, owner: AccountId, node: NodeId, bare: &str, member: &Member) -> bool {
    let key = of_node(owner, b'm', node, bare.as_bytes());
    let is_known = store.has(&key);
    if member.is_nobody() {
        if is_known {
            store.remove(&key);
        }
        return true;
    }
    if !is_known
        && store.prefix(&of_node(owner, b'm', node, &[]), limits::NODE_MEMBERS_MAX).len() >= limits::NODE_MEMBERS_MAX
    {
        return false;
    }
    store.put(&key, &member.encode());
    true
}
