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
//! | `q` account, message id | message not yet delivered ([`super::waiting`]) |
//! | `m` message id | text of an archived message ([`super::archive`]) |
//! | `x` account, message id | the account's archive holds this message |
//! | `y` account, contact, message id | the same by contact |
//! | `o` account | what is archived (XEP-0441) |
//! | `o` account `f` | number of the first message that its owner has not wanted forgotten |
//! | `v` account | vCard (XEP-0054); a room's as well |
//! | `v` account `photo` | the picture in it ([`super::photo`]); SHA-1 of a room's |
//! | `p` account, namespace 0 name | private element (XEP-0049) |
//! | `b` account, JID | blocked address (XEP-0191) |
//! | `e` account | its password has no keys for SCRAM-SHA-256 yet ([`super::accounts`]) |
//! | `l` account | last logout: seconds since 1970, status (XEP-0012) |
//! | `d` account, device | a device that has signed in ([`super::devices`]) |
//! | `f` account, device | tokens of a device, XEP-0484 ([`crate::proto::fast`]) |
//! | `w` account, service 0 node | a device that is woken by push (XEP-0357, [`super::push`]) |
//! | `n` account … | publish-subscribe nodes and what is in them ([`super::nodes`]) |
//! | `F` file | an uploaded file ([`super::files`]) |
//! | `u` account, file | its bytes |
//! | `g` host 0 localpart | room ([`super::rooms`]) |
//! | `h` room, JID | what somebody is to a room |
//! | `H` room … | hats, and who wears some ([`super::rooms`]) |
//! | `V` room, message id | whose affiliation changed ([`super::rooms`]) |
//! | `T` room, token | who becomes a member by it ([`super::rooms`]) |
//! | `k` account, room | a room that the account has made |
//! | `C` hash | nodes that clients of this capability hash want to hear of (XEP-0115) |
//! | `O` message id | stanza on its way to another server ([`super::peers`]) |
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

/// Key of the hash of the picture in an account's vCard.
pub fn photo(account: AccountId) -> Vec<u8> {
    row(VCARD, account, b"photo")
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

/// Key of a stanza on its way to another server.
pub fn outgoing(message: MessageId) -> [u8; 9] {
    let mut key = text(message);
    key[0] = OUTGOING;
    key
}

/// Key of the text of an archived message.
pub fn text(message: MessageId) -> [u8; 9] {
    let mut key = [b'm'; 9];
    key[1..].copy_from_slice(&message.0.to_be_bytes());
    key
}

/// Key of a message in an archive.
pub fn archived(account: AccountId, message: MessageId) -> [u8; 13] {
    let mut key = waiting(account, message);
    key[0] = ARCHIVE;
    key
}

/// Key of a message in the part of an archive that one contact has.
pub fn archived_with(account: AccountId, contact: [u8; 8], message: MessageId) -> [u8; 21] {
    let mut key = [ARCHIVE_WITH; 21];
    key[1..5].copy_from_slice(&account.0.to_be_bytes());
    key[5..13].copy_from_slice(&contact);
    key[13..].copy_from_slice(&message.0.to_be_bytes());
    key
}

/// Bytes of a key's group, for tags whose keys all are a group and a message's number and come in crowds: rows of one
/// group may be kept together.
pub const fn packed(tag: u8) -> Option<usize> {
    match tag {
        b'm' => Some(1),
        ARCHIVE => Some(5),
        ARCHIVE_WITH => Some(13),
        _ => None,
    }
}

/// Tags of all rows that belong to one account and go with it. The archive and uploaded files are not among them: they
/// may be many, and go in steps ([`super::archive::forget_oldest`], [`super::files`]).
pub const OWNED: &[u8] = b"irRsqvpbldfonwke";

/// Tags of those among them that stand for the password in a sign-in, as tokens do, or serve whoever signed in with it,
/// and go when it changes (S15).
pub const VOUCHING: &[u8] = b"dfw";

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
/// Archived messages.
pub const ARCHIVE: u8 = b'x';
/// Archived messages by contact.
pub const ARCHIVE_WITH: u8 = b'y';
/// What is archived.
pub const ARCHIVE_PREFS: u8 = b'o';
/// vCard.
pub const VCARD: u8 = b'v';
/// Private elements.
pub const PRIVATE: u8 = b'p';
/// Blocked addresses.
pub const BLOCKED: u8 = b'b';
/// Keys for SCRAM-SHA-256 are missing.
pub const OLD_KEYS: u8 = b'e';
/// Last logout.
pub const LAST: u8 = b'l';
/// Devices that have signed in.
pub const DEVICE: u8 = b'd';
/// Tokens of devices.
pub const TOKENS: u8 = b'f';
/// Publish-subscribe nodes, all their rows.
pub const NODE: u8 = b'n';
/// Capability hashes, not owned by an account.
pub const CAPS: u8 = b'C';
/// Uploaded files, not owned by an account.
pub const FILE: u8 = b'F';
/// Uploaded files by account.
pub const FILE_OF: u8 = b'u';
/// Registrations with push services.
pub const PUSH: u8 = b'w';
/// Rooms, not owned by an account.
pub const ROOM: u8 = b'g';
/// What somebody is to a room; the owner is the room.
pub const ROOM_STANDING: u8 = b'h';
/// Hats of a room, and who wears some; the owner is the room.
pub const ROOM_HAT: u8 = b'H';
/// Changes of a room's lists; the owner is the room.
pub const ROOM_VERSION: u8 = b'V';
/// Tokens by which people become members; the owner is the room.
pub const ROOM_TOKEN: u8 = b'T';
/// Rooms that an account has made.
pub const ROOM_MADE: u8 = b'k';
/// Invitations, not owned by an account.
pub const INVITATION: u8 = b't';
/// Stanzas on their way to other servers, not owned by an account.
pub const OUTGOING: u8 = b'O';
