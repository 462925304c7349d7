//! Invitations: tokens that make one account, one contact, one new password, or show one page; XEP-0401, XEP-0445.
//!
//! Invariant: a token is a row, and the row goes in the turn that uses it up; so no token does two things, nor one twice.

use super::{keys, store::Store};
use crate::{limits, wire::jid::Jid};

/// What a token is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// One new account, XEP-0401 §4.
    #[default]
    Account,
    /// One contact of whoever invites, XEP-0401 §3, who may make an account for it if that is said.
    Contact,
    /// One new password for an account.
    Password,
    /// The page for administrators, any number of times.
    Status,
}

/// An invitation as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invitation {
    /// What for.
    pub purpose: Purpose,
    /// Whether the account becomes an administrator.
    pub is_admin: bool,
    /// Seconds since 1970.
    pub created_s: u64,
    /// Seconds since 1970; may be redeemed before.
    pub expires_s: u64,
    /// The domain of the account.
    pub domain: String,
    /// Bare address of who invites.
    pub inviter: Option<String>,
    /// Whether the new account and who invites become contacts.
    pub befriends: bool,
    /// Whether who is to be a contact may make an account here (`ibr=y`).
    pub is_for_all: bool,
    /// The account's name, if it is given: reserved for this token, or the one whose password is meant.
    pub username: Option<String>,
}

const VERSION: u8 = 2;
/// The first version had no more than the flag, the times and the domain.
const VERSION_1: u8 = 1;

const ADMIN: u8 = 1;
const BEFRIENDS: u8 = 2;
const FOR_ALL: u8 = 4;

/// Seconds that an expired invitation is still known: a registration that began in time may end later
/// (XEP-0445 §4), and no stream lasts that long before sign-in.
const KEPT_S: u64 = 3_600;

impl Invitation {
    /// Whether it is good now for this.
    pub fn is_good(&self, purpose: Purpose, now_s: u64) -> bool {
        self.purpose == purpose && self.expires_s > now_s
    }

    /// Whether an account may be made with it.
    pub fn makes_account(&self) -> bool {
        self.purpose == Purpose::Account || (self.purpose == Purpose::Contact && self.is_for_all)
    }

    /// Whether it is good now for an account.
    pub fn makes_account_now(&self, now_s: u64) -> bool {
        self.makes_account() && self.expires_s > now_s
    }

    /// Whether it is about this name.
    fn names(&self, jid: &Jid) -> bool {
        self.domain == jid.domain() && self.username.as_deref() == jid.local()
    }

    fn encode(&self) -> Vec<u8> {
        let flags = [(self.is_admin, ADMIN), (self.befriends, BEFRIENDS), (self.is_for_all, FOR_ALL)];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        let mut out = vec![VERSION, flags, self.purpose as u8];
        out.extend_from_slice(&self.created_s.to_be_bytes());
        out.extend_from_slice(&self.expires_s.to_be_bytes());
        // No name of a host, an account or both holds a line feed.
        let [inviter, username] = [&self.inviter, &self.username].map(|text| text.as_deref().unwrap_or_default());
        out.extend_from_slice([&self.domain, inviter, username].join("\n").as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Invitation> {
        let (&[version, flags], rest) = bytes.split_first_chunk::<2>()?;
        let (purpose, rest) = match version {
            VERSION_1 => (0, rest),
            VERSION => rest.split_first().map(|(purpose, rest)| (*purpose, rest))?,
            _ => return None,
        };
        let all = [Purpose::Account, Purpose::Contact, Purpose::Password, Purpose::Status];
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let mut texts = std::str::from_utf8(rest).ok()?.split('\n');
        let mut text = || texts.next().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Invitation {
            purpose: all.into_iter().find(|one| *one as u8 == purpose)?,
            is_admin: flags & ADMIN != 0,
            created_s: u64::from_be_bytes(*created),
            expires_s: u64::from_be_bytes(*expires),
            domain: text()?,
            inviter: text(),
            befriends: flags & BEFRIENDS != 0,
            is_for_all: flags & FOR_ALL != 0,
            username: text(),
        })
    }
}

fn key(token: &str) -> Vec<u8> {
    [&[keys::INVITATION], token.as_bytes()].concat()
}

/// The invitation of this token, expired or not.
pub fn find(store: &Store<'_>, token: &str) -> Option<Invitation> {
    // What a stranger sends is no key unless it looks like ours.
    if token.is_empty() || token.len() > limits::TOKEN_BYTES_MAX {
        return None;
    }
    Invitation::decode(&store.read(&key(token))?)
}

/// Keeps an invitation; `false` if too many are open, in all or of who invites.
pub fn create(store: &mut Store<'_>, token: &str, invitation: &Invitation) -> bool {
    let now_s = invitation.created_s;
    let (mut open, mut own) = (0, 0);
    for (token, other) in list(store) {
        if other.expires_s.saturating_add(KEPT_S) < now_s {
            store.remove(&key(&token));
        } else {
            open += 1;
            own += usize::from(other.inviter.is_some() && other.inviter == invitation.inviter);
        }
    }
    if open >= limits::INVITATIONS_MAX || own >= limits::INVITATIONS_PER_ACCOUNT_MAX {
        return false;
    }
    store.put(&key(token), &invitation.encode());
    true
}

/// Uses the token up; `None` if it was used before, or is for something else.
pub fn consume(store: &mut Store<'_>, token: &str, fits: impl Fn(&Invitation) -> bool) -> Option<Invitation> {
    let invitation = find(store, token).filter(|invitation| fits(invitation))?;
    store.remove(&key(token));
    Some(invitation)
}

/// Whether somebody may make an account with a token that is open.
pub fn any_account(store: &Store<'_>, now_s: u64) -> bool {
    list(store).iter().any(|(_, invitation)| invitation.makes_account_now(now_s))
}

/// Whether the name is promised to the holder of another token, XEP-0401 §4.
pub fn is_reserved(store: &Store<'_>, jid: &Jid, token: &str, now_s: u64) -> bool {
    let promises = |(other, invitation): &(String, Invitation)| {
        other != token && invitation.makes_account_now(now_s) && invitation.names(jid)
    };
    list(store).iter().any(promises)
}

/// Takes back what leads to a new password for this account.
pub fn forget_passwords(store: &mut Store<'_>, jid: &Jid) {
    forget(store, |invitation| invitation.purpose == Purpose::Password && invitation.names(jid));
}

/// Takes back what makes administrators: of no use to anybody but a stranger once the house has its first account (S40).
pub fn forget_admins(store: &mut Store<'_>) {
    forget(store, |invitation| invitation.is_admin);
}

/// Takes back what this account has given out, and what leads to a new password for it.
pub fn forget_of(store: &mut Store<'_>, jid: &Jid) {
    forget_passwords(store, jid);
    forget(store, |invitation| invitation.inviter.as_deref() == Some(jid.bare_str()));
}

fn forget(store: &mut Store<'_>, is_meant: impl Fn(&Invitation) -> bool) {
    for (token, _) in list(store).into_iter().filter(|(_, invitation)| is_meant(invitation)) {
        store.remove(&key(&token));
    }
}

/// All invitations by token, bounded by `limits::INVITATIONS_MAX` when they were written.
pub fn list(store: &Store<'_>) -> Vec<(String, Invitation)> {
    let rows = store.prefix(&[keys::INVITATION], limits::INVITATIONS_MAX);
    rows.into_iter()
        .filter_map(|(key, value)| Some((String::from_utf8(key.get(1..)?.to_vec()).ok()?, Invitation::decode(&value)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_survives_its_encoding() {
        let invitation = Invitation {
            is_admin: true,
            created_s: 7,
            expires_s: 9,
            domain: "capulet.lit".into(),
            ..Invitation::default()
        };
        assert_eq!(Invitation::decode(&invitation.encode()), Some(invitation.clone()));
        let whole = Invitation {
            purpose: Purpose::Password,
            befriends: true,
            inviter: Some("romeo@capulet.lit".into()),
            username: Some("juliet".into()),
            ..invitation
        };
        assert_eq!(Invitation::decode(&whole.encode()), Some(whole));
    }

    #[test]
    fn an_invitation_of_the_first_version_is_still_good() {
        let row = [&[1, 1][..], &7u64.to_be_bytes(), &9u64.to_be_bytes(), b"capulet.lit"].concat();
        let invitation = Invitation::decode(&row).unwrap();
        assert!(invitation.is_admin && invitation.makes_account_now(8) && invitation.inviter.is_none());
        assert_eq!(invitation.domain, "capulet.lit");
    }
}
