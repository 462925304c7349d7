//! Tokens with which people become members of a room without being known to whoever invites them.
//!
//! Source: XEP-0488 v0.1.0. Invariant: a token that is used up has no row; one that has expired has one until somebody looks.

use super::{
    super::{ids::AccountId, keys, store::Store},
    settings::{read_text, text},
};
use crate::limits;

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The bare address of who asked for it.
    pub creator: String,
    /// How many people it still lets in; `None`: as many as come.
    pub uses: Option<u32>,
    /// Until when, seconds since 1970.
    pub expires_s: u64,
}

const VERSION: u8 = 1;

fn key(room: AccountId, token: &str) -> Vec<u8> {
    keys::row(keys::ROOM_TOKEN, room, token.as_bytes())
}

/// What a token is good for, if it is one.
pub fn token(store: &Store<'_>, room: AccountId, token: &str) -> Option<Token> {
    decode(&store.read(&key(room, token))?)
}

/// All tokens of a room.
pub fn tokens(store: &Store<'_>, room: AccountId) -> Vec<(String, Token)> {
    let prefix = keys::owned(keys::ROOM_TOKEN, room);
    let one = |(key, value): (Vec<u8>, Vec<u8>)| {
        Some((String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?, decode(&value)?))
    };
    store.prefix(&prefix, limits::ROOM_TOKENS_MAX).into_iter().filter_map(one).collect()
}

/// Writes a token down; `None`: it is good for nothing any more.
pub fn put_token(store: &mut Store<'_>, room: AccountId, name: &str, token: Option<&Token>) {
    let key = key(room, name);
    let Some(token) = token else { return store.remove(&key) };
    let mut out = vec![VERSION];
    out.extend_from_slice(&token.uses.unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&token.expires_s.to_be_bytes());
    text(&token.creator, &mut out);
    store.put(&key, &out);
}

fn decode(value: &[u8]) -> Option<Token> {
    let (&[VERSION], rest) = value.split_first_chunk::<1>()? else { return None };
    let (uses, rest) = rest.split_first_chunk::<4>()?;
    let (expires, mut rest) = rest.split_first_chunk::<8>()?;
    let uses = Some(u32::from_be_bytes(*uses)).filter(|uses| *uses > 0);
    Some(Token { creator: read_text(&mut rest)?, uses, expires_s: u64::from_be_bytes(*expires) })
}

/// No token is left.
pub(super) fn forget(store: &mut Store<'_>, room: AccountId) {
    for (key, _) in store.prefix(&keys::owned(keys::ROOM_TOKEN, room), limits::ROOM_TOKENS_MAX) {
        store.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let room = AccountId(9);
        let few = Token { creator: "louise@example.org".into(), uses: Some(5), expires_s: 1_700_000_000 };
        let many = Token { uses: None, ..few.clone() };
        put_token(&mut store, room, "a", Some(&few));
        put_token(&mut store, room, "b", Some(&many));
        assert_eq!(token(&store, room, "a"), Some(few.clone()));
        assert_eq!(tokens(&store, room), [("a".into(), few), ("b".into(), many)]);
        put_token(&mut store, room, "a", None);
        assert_eq!(token(&store, room, "a"), None);
        forget(&mut store, room);
        assert_eq!(tokens(&store, room), []);
    }
}
