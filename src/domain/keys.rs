//! Key layout of the store. One letter, then the owner, then the rest; numbers big-endian, so that a prefix is a range.
//!
//! | key | value |
//! |---|---|
//! | `!` name | meta: schema version, journal sequence, counters, secrets |
//! | `a` domain 0 localpart | account: id, flags, credentials ([`super::accounts`]) |
//! | `i` account | bare JID of the account |
//! | `r` account, contact | roster item ([`super::roster`]) |
//! | `R` account | roster version |
//! | `s` account, contact | subscription request that waits: the presence stanza |
//! | `q` account, message id | message not yet delivered |
//! | `v` account | vCard (XEP-0054) |
//! | `p` account, namespace 0 name | private element (XEP-0049) |
//! | `b` account, JID | blocked address (XEP-0191) |
//! | `l` account | last logout: seconds since 1970, status (XEP-0012) |
//! | `d` account, device | a device that has signed in ([`super::devices`]) |
//! | `f` account, device | tokens of a device, XEP-0484 ([`crate::proto::fast`]) |
//! | `t` token | invitation ([`super::invitations`]) |

use super::ids::{AccountId, MessageId};

/// Key of a meta row.
pub fn meta(name: &str) -> Vec<u8> {
    [b"!", name.as_bytes()].concat()
}

/// Key of an account by its prepared address parts.
pub fn account(domain: &str, local: &str) -> Vec<u8> {
    [b"a", domain.as_bytes(), &[0], local.as_bytes()].concat()
}

/// Prefix of all accounts of a domain.
pub fn accounts_of(domain: &str) -> Vec<u8> {
    [b"a", domain.as_bytes(), &[0]].concat()
}

/// Key of a single row that belongs to an account.
pub fn owned(tag: u8, account: AccountId) -> Vec<u8> {
    let mut key = Vec::with_capacity(5);
    key.push(tag);
    key.extend_from_slice(&account.0.to_be_bytes());
    key
}

/// Key of one of many rows that belong to an account.
pub fn row(tag: u8, account: AccountId, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + rest.len());
    key.push(tag);
    key.extend_from_slice(&account.0.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

/// Key of a message that waits.
pub fn waiting(account: AccountId, message: MessageId) -> [u8; 13] {
    let mut key = [b'q'; 13];
    key[1..5].copy_from_slice(&account.0.to_be_bytes());
    key[5..].copy_from_slice(&message.0.to_be_bytes());
    key
}

/// Tags of all rows that belong to one account and go with it.
pub const OWNED: &[u8] = b"irRsqvpbldf";

/// Tags of those among them that stand for the password in a sign-in, as tokens do, and go when it changes (S15).
pub const VOUCHING: &[u8] = b"df";

/// Address of the account by its number.
pub const ADDRESS: u8 = b'i';
/// Roster items.
pub const ROSTER: u8 = b'r';
/// Roster version.
pub const ROSTER_VERSION: u8 = b'R';
/// Subscription requests that wait.
pub const REQUEST: u8 = b's';
/// Messages that wait.
pub const WAITING: u8 = b'q';
/// vCard.
pub const VCARD: u8 = b'v';
/// Private elements.
pub const PRIVATE: u8 = b'p';
/// Blocked addresses.
pub const BLOCKED: u8 = b'b';
/// Last logout.
pub const LAST: u8 = b'l';
/// Devices that have signed in.
pub const DEVICE: u8 = b'd';
/// Tokens of devices.
pub const TOKENS: u8 = b'f';
/// Invitations, not owned by an account.
pub const INVITATION: u8 = b't';
