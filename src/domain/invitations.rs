//! Invitations to make an account: tokens that are good for one registration, XEP-0401 and XEP-0445.
//!
//! Invariant: a token is a row, and the row goes in the turn that makes the account; so no token makes two.

use super::{keys, store::Store};
use crate::limits;

/// An invitation as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Whether the account becomes an administrator.
    pub is_admin: bool,
    /// Seconds since 1970.
    pub created_s: u64,
    /// Seconds since 1970; may be redeemed before.
    pub expires_s: u64,
    /// The domain of the account.
    pub domain: String,
}

const VERSION: u8 = 1;

/// Seconds that an expired invitation is still known: a registration that began in time may end later
/// (XEP-0445 §4), and no stream lasts that long before sign-in.
const KEPT_S: u64 = 3_600;

impl Invitation {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.is_admin)];
        out.extend_from_slice(&self.created_s.to_be_bytes());
        out.extend_from_slice(&self.expires_s.to_be_bytes());
        out.extend_from_slice(self.domain.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Invitation> {
        let (&[VERSION, flags], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        Some(Invitation {
            is_admin: flags & 1 != 0,
            created_s: u64::from_be_bytes(*created),
            expires_s: u64::from_be_bytes(*expires),
            domain: String::from_utf8(rest.to_vec()).ok()?,
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

/// Keeps an invitation; `false` if too many are open.
pub fn create(store: &mut Store<'_>, token: &str, invitation: &Invitation) -> bool {
    let now_s = invitation.created_s;
    let mut open = 0;
    for (token, other) in list(store) {
        if other.expires_s.saturating_add(KEPT_S) < now_s {
            store.remove(&key(&token));
        } else {
            open += 1;
        }
    }
    if open >= limits::INVITATIONS_MAX {
        return false;
    }
    store.put(&key(token), &invitation.encode());
    true
}

/// Uses the token up; `None` if it was used before.
pub fn consume(store: &mut Store<'_>, token: &str) -> Option<Invitation> {
    let invitation = find(store, token)?;
    store.remove(&key(token));
    Some(invitation)
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
        let invitation = Invitation { is_admin: true, created_s: 7, expires_s: 9, domain: "capulet.lit".into() };
        assert_eq!(Invitation::decode(&invitation.encode()), Some(invitation));
    }
}
