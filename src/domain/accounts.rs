//! Local accounts: who may sign in, and with which number their rows are kept.
//!
//! Invariant: a number is never used twice, so rows that a deletion has not reached yet belong to nobody.

use super::{ids::AccountId, keys, store::Store};
use crate::{
    limits,
    proto::scram::{Credentials, Foreign},
    wire::jid::Jid,
};

/// An account as stored.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Made an administrator by an invitation or by another admin; the configuration may name more.
    pub is_admin: bool,
    /// Nobody can sign in to it until it is enabled again, XEP-0133 §4.3.
    pub is_disabled: bool,
    /// Seconds since 1970.
    pub created_s: u64,
    /// SCRAM keys.
    pub credentials: Credentials,
}

const VERSION: u8 = 1;

/// Prefix of all accounts.
const ALL: &[u8] = b"a";
/// Rows that are read at a time.
const PAGE: usize = 500;
/// Rows of an account that are removed at a time.
const PURGED: usize = 16;

impl Account {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.push(VERSION);
        out.extend_from_slice(&self.id.0.to_be_bytes());
        out.push(u8::from(self.is_admin) | u8::from(self.is_disabled) << 1);
        out.extend_from_slice(&self.created_s.to_be_bytes());
        self.credentials.encode(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Account> {
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (id, rest) = rest.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first_chunk::<1>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        Some(Account {
            id: AccountId(u32::from_be_bytes(*id)),
            is_admin: flags[0] & 1 != 0,
            is_disabled: flags[0] & 2 != 0,
            created_s: u64::from_be_bytes(*created),
            credentials: Credentials::decode(rest)?,
        })
    }
}

fn key(jid: &Jid) -> Option<Vec<u8>> {
    Some(keys::account(jid.domain(), jid.local()?))
}

/// The account of this address; its resource does not matter.
pub fn find(store: &Store<'_>, jid: &Jid) -> Option<Account> {
    Account::decode(&store.read(&key(jid)?)?)
}

/// Whether there is such an account.
pub fn exists(store: &Store<'_>, jid: &Jid) -> bool {
    key(jid).is_some_and(|key| store.has(&key))
}

/// The bare address of an account.
pub fn address(store: &Store<'_>, id: AccountId) -> Option<Jid> {
    let text = store.read(&keys::owned(keys::ADDRESS, id))?;
    Jid::parse(std::str::from_utf8(&text).ok()?).ok()
}

/// Makes an account. `None` if the address is taken or has no localpart.
pub fn create(
    store: &mut Store<'_>,
    jid: &Jid,
    credentials: Credentials,
    is_admin: bool,
    now_s: u64,
) -> Option<Account> {
    let key = key(jid)?;
    if store.has(&key) {
        return None;
    }
    let id = take_number(store)?;
    let account = Account { id, is_admin, is_disabled: false, created_s: now_s, credentials };
    store.put(&key, &account.encode());
    store.put(&keys::owned(keys::ADDRESS, account.id), jid.bare_str().as_bytes());
    note_keys(store, &account);
    if let Some(foreign) = account.credentials.foreign() {
        store.put(&keys::meta("foreign-keys"), &foreign.encode());
    }
    Some(account)
}

/// What the keys of an account look like that came from another server, if any ever came.
pub fn foreign(store: &Store<'_>) -> Option<Foreign> {
    let lacks_sha256 = any_lacks_sha256(store);
    let mut foreign = store.read(&keys::meta("foreign-keys")).and_then(|value| Foreign::decode(&value))?;
    foreign.lacks_sha256 = lacks_sha256;
    Some(foreign)
}

/// Notes whether the account has old keys only, so that nobody has to look at all accounts.
fn note_keys(store: &mut Store<'_>, account: &Account) {
    let key = keys::owned(keys::OLD_KEYS, account.id);
    match account.credentials.lacks_sha256() {
        true => store.put(&key, &[]),
        false if store.has(&key) => store.remove(&key),
        false => {}
    }
}

/// Whether an account has keys for SCRAM-SHA-1 only.
pub fn any_lacks_sha256(store: &Store<'_>) -> bool {
    !store.prefix(&[keys::OLD_KEYS], 1).is_empty()
}

/// Gives an account more keys for the same password: what vouches for it stays. `None` if there is no such account.
pub fn complete(store: &mut Store<'_>, jid: &Jid, credentials: Credentials) -> Option<Account> {
    let account = Account { credentials, ..find(store, jid)? };
    update(store, jid, &account);
    note_keys(store, &account);
    Some(account)
}

/// A number that no account and no host of the store has had; `None`: all are used.
pub fn take_number(store: &mut Store<'_>) -> Option<AccountId> {
    let counter = keys::meta("next-account");
    let id = store.read(&counter).and_then(|v| Some(u32::from_be_bytes(v.try_into().ok()?))).unwrap_or(1);
    store.put(&counter, &id.checked_add(1)?.to_be_bytes());
    Some(AccountId(id))
}

/// Writes a changed account.
pub fn update(store: &mut Store<'_>, jid: &Jid, account: &Account) {
    if let Some(key) = key(jid) {
        store.put(&key, &account.encode());
    }
}

/// Gives an account a new password; what vouched for the old one goes. `None` if there is no such account.
pub fn change_password(store: &mut Store<'_>, jid: &Jid, credentials: Credentials) -> Option<Account> {
    let account = complete(store, jid, credentials)?;
    distrust(store, account.id);
    Some(account)
}

/// Removes all that stands for the password in a sign-in, and the devices that have shown it.
pub fn distrust(store: &mut Store<'_>, id: AccountId) {
    purge_rows(store, id, keys::VOUCHING);
}

/// Removes the account itself: nobody can sign in from now on. Its other rows are left to [`purge`].
pub fn close(store: &mut Store<'_>, jid: &Jid) -> Option<Account> {
    let account = find(store, jid)?;
    store.remove(&key(jid)?);
    Some(account)
}

/// Removes all rows that belong to an account.
pub fn purge(store: &mut Store<'_>, id: AccountId) {
    purge_rows(store, id, keys::OWNED);
}

fn purge_rows(store: &mut Store<'_>, id: AccountId, tags: &[u8]) {
    for tag in tags {
        let (mut from, end) = (keys::owned(*tag, id), super::store::after_prefix(&keys::owned(*tag, id)));
        loop {
            // A few at a time: each may be as large as a stanza.
            let page = store.scan(&from, &end, false, PURGED);
            page.iter().for_each(|(key, _)| store.remove(key));
            match page.into_iter().nth(PURGED - 1) {
                Some((last, _)) => from = [&last[..], &[0]].concat(),
                None => break,
            }
        }
    }
}

/// Removes an account and all rows that belong to it.
pub fn remove(store: &mut Store<'_>, jid: &Jid) -> Option<Account> {
    let account = close(store, jid)?;
    purge(store, account.id);
    Some(account)
}

/// Whether any account is here.
pub fn any(store: &Store<'_>) -> bool {
    !store.prefix(ALL, 1).is_empty()
}

/// How many accounts a domain has.
pub fn count(store: &Store<'_>, domain: &str) -> usize {
    let prefix = keys::accounts_of(domain);
    let end = super::store::after_prefix(&prefix);
    let (mut from, mut count) = (prefix, 0);
    loop {
        let page = store.scan(&from, &end, false, PAGE);
        count += page.len();
        match page.into_iter().nth(PAGE - 1) {
            Some((last, _)) => from = [&last[..], &[0]].concat(),
            None => return count,
        }
    }
}

/// Addresses of at most `limit` accounts that were made administrators, of all domains, looked for among the first
/// [`limits::ADMIN_SEARCH_MAX`] accounts. Those of the settings are not among them unless they were made so as well.
pub fn admins(store: &Store<'_>, limit: usize) -> Vec<Jid> {
    let mut found = Vec::new();
    let (mut from, mut seen) = (ALL.to_vec(), 0);
    while seen < limits::ADMIN_SEARCH_MAX && found.len() < limit {
        let page = store.scan(&from, &super::store::after_prefix(ALL), false, PAGE);
        found.extend(page.iter().filter_map(|(key, value)| {
            Account::decode(value).filter(|account| account.is_admin)?;
            let (domain, local) = std::str::from_utf8(key.get(ALL.len()..)?).ok()?.split_once('\0')?;
            Jid::from_parts(Some(local), domain, None).ok()
        }));
        seen += page.len();
        match page.into_iter().nth(PAGE - 1) {
            Some((last, _)) => from = [&last[..], &[0]].concat(),
            None => break,
        }
    }
    found.truncate(limit);
    found
}

/// Localparts of at most `limit` accounts of a domain to which nobody can sign in, in order.
pub fn disabled(store: &Store<'_>, domain: &str, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    while found.len() < limit {
        let page = list(store, domain, after.as_deref(), PAGE);
        let is_last = page.len() < PAGE;
        after = page.last().map(|(local, _)| local.clone());
        found.extend(page.into_iter().filter(|(_, account)| account.is_disabled).map(|(local, _)| local));
        if is_last {
            break;
        }
    }
    found.truncate(limit);
    found
}

/// At most `limit` accounts of a domain whose localpart is greater than `after`, in order.
pub fn list(store: &Store<'_>, domain: &str, after: Option<&str>, limit: usize) -> Vec<(String, Account)> {
    let prefix = keys::accounts_of(domain);
    let from = match after {
        Some(after) => [&prefix, after.as_bytes(), &[0]].concat(),
        None => prefix.clone(),
    };
    store
        .scan(&from, &super::store::after_prefix(&prefix), false, limit)
        .into_iter()
        .filter_map(|(key, value)| {
            let local = String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?;
            Some((local, Account::decode(&value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    #[test]
    fn admins_are_found_among_many_accounts() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let credentials = Credentials::fake(&[1; 32], "x", None);
        for n in 0..2 * PAGE {
            let jid = Jid::parse(&format!("a{n:04}@{}.lit", if n < PAGE { "capulet" } else { "montague" })).unwrap();
            create(&mut store, &jid, credentials.clone(), n % PAGE == PAGE - 1, 0).unwrap();
        }
        let found: Vec<String> = admins(&store, 9).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a0499@capulet.lit", "a0999@montague.lit"]);
        assert_eq!(admins(&store, 1).len(), 1);
    }

    #[test]
    fn an_account_survives_its_encoding() {
        for (is_admin, is_disabled) in [(false, false), (true, false), (false, true), (true, true)] {
            let credentials = Credentials::fake(&[1; 32], "x", None);
            let account = Account { id: AccountId(7), is_admin, is_disabled, created_s: 9, credentials };
            let read = Account::decode(&account.encode()).unwrap();
            assert_eq!(
                (read.id, read.is_admin, read.is_disabled, read.created_s),
                (AccountId(7), is_admin, is_disabled, 9)
            );
        }
    }
}
