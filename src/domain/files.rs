//! Uploaded files: what is known of them. Their bytes are files of their own, named by their id.
//!
//! Two rows for each: its record by id, and its size by account and id. Ids begin with the time, so that the oldest come
//! first and what an account has stored lately stands together. Rows go before the file does: a record without a file
//! answers that there is nothing, a file without a record is removed at the next start.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    ids::AccountId,
    keys,
    store::{Store, after_prefix},
};

/// Bytes of an id: seconds since 1970, then 128 bits of chance (S13).
pub const ID_BYTES: usize = 21;
const TIME_BYTES: usize = 5;

/// Names a stored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId([u8; ID_BYTES]);

impl FileId {
    /// An id that nobody can guess.
    pub fn new(now_s: u64, chance: [u8; ID_BYTES - TIME_BYTES]) -> FileId {
        let mut id = [0; ID_BYTES];
        id[..TIME_BYTES].copy_from_slice(&now_s.to_be_bytes()[8 - TIME_BYTES..]);
        id[TIME_BYTES..].copy_from_slice(&chance);
        FileId(id)
    }

    /// Reads what [`FileId::name`] wrote.
    pub fn parse(name: &str) -> Option<FileId> {
        let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
        Some(FileId(bytes.try_into().ok()?))
    }

    /// As it stands in URLs and in the folder of files: 28 characters.
    pub fn name(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// When the slot was given, seconds since 1970.
    pub fn made_s(&self) -> u64 {
        self.0.iter().take(TIME_BYTES).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// Its bytes, for seals.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who uploaded it.
    pub account: AccountId,
    /// Its bytes.
    pub bytes: u64,
    /// Its type.
    pub kind: String,
    /// Its name.
    pub name: String,
}

const VERSION: u8 = 1;

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.account.0.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.push(self.kind.len() as u8);
        out.extend_from_slice(self.kind.as_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (account, rest) = rest.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (kind, rest) = rest.split_first()?;
        let (kind, name) = rest.split_at_checked(usize::from(*kind))?;
        Some(Record {
            account: AccountId(u32::from_be_bytes(*account)),
            bytes: u64::from_be_bytes(*size),
            kind: String::from_utf8(kind.to_vec()).ok()?,
            name: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}

/// Bytes of a type, so that its length fits into one.
pub const KIND_BYTES_MAX: usize = 127;

fn key(id: FileId) -> Vec<u8> {
    [&[keys::FILE], id.0.as_slice()].concat()
}

/// What is known of this file.
pub fn find(store: &Store<'_>, id: FileId) -> Option<Record> {
    Record::decode(&store.read(&key(id))?)
}

/// Keeps a record.
pub fn put(store: &mut Store<'_>, id: FileId, record: &Record) {
    store.put(&key(id), &record.encode());
    store.put(&keys::row(keys::FILE_OF, record.account, &id.0), &record.bytes.to_be_bytes());
}

/// Forgets a file; what was known of it.
pub fn remove(store: &mut Store<'_>, id: FileId) -> Option<Record> {
    let record = find(store, id)?;
    store.remove(&key(id));
    store.remove(&keys::row(keys::FILE_OF, record.account, &id.0));
    Some(record)
}

/// At most `limit` files of which the slot was given before this second, oldest first.
pub fn older_than(store: &Store<'_>, before_s: u64, limit: usize) -> Vec<FileId> {
    let end = key(FileId::new(before_s, [0; ID_BYTES - TIME_BYTES]));
    let rows = store.scan(&[keys::FILE], &end, false, limit);
    rows.into_iter().filter_map(|(key, _)| Some(FileId(key.get(1..)?.try_into().ok()?))).collect()
}

/// At most `limit` files of an account.
pub fn of_account(store: &Store<'_>, account: AccountId, limit: usize) -> Vec<FileId> {
    let rows = store.prefix(&keys::owned(keys::FILE_OF, account), limit);
    rows.into_iter().filter_map(|(key, _)| Some(FileId(key.get(5..)?.try_into().ok()?))).collect()
}

/// How many files an account has stored of which the slot was given since this second, and how many bytes they have;
/// counted up to `limit` files.
pub fn stored_since(store: &Store<'_>, account: AccountId, since_s: u64, limit: usize) -> (usize, u64) {
    let from = keys::row(keys::FILE_OF, account, &FileId::new(since_s, [0; ID_BYTES - TIME_BYTES]).0);
    let to = after_prefix(&keys::owned(keys::FILE_OF, account));
    let rows = store.scan(&from, &to, false, limit);
    let size = |value: &[u8]| value.try_into().map(u64::from_be_bytes).unwrap_or_default();
    (rows.len(), rows.iter().map(|(_, value)| size(value)).sum())
}

/// How many files there are and how many bytes they have; counted up to `limit` files.
pub fn stored(store: &Store<'_>, limit: usize) -> (usize, u64) {
    let mut bytes = 0u64;
    let mut rows = 0;
    store.visit_prefix(&[keys::FILE], limit, &mut |_, value| {
        rows += 1;
        bytes += Record::decode(value).map_or(0, |record| record.bytes);
    });
    (rows, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_name_and_tells_its_time() {
        let id = FileId::new(1_700_000_000, [9; 16]);
        assert_eq!(FileId::parse(&id.name()), Some(id));
        assert_eq!((id.name().len(), id.made_s()), (28, 1_700_000_000));
        for odd in ["", "../../../../../../etc/passwd", "AAAA", &"A".repeat(29)] {
            assert_eq!(FileId::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_record_survives_its_encoding() {
        let record =
            Record { account: AccountId(7), bytes: 1 << 40, kind: "image/jpeg".into(), name: "très.jpg".into() };
        assert_eq!(Record::decode(&record.encode()), Some(record));
    }
}
