//! Writes that the journal holds and the database does not yet.

use super::store::View;

/// A frozen set of writes on its way into the database; shared with the store's thread, read only.
#[derive(Debug, Default)]
pub struct Layer {}

/// Two layers over the database: one that grows, one that is being flushed.
#[derive(Debug, Default)]
pub struct Overlay {}

impl Overlay {
    /// See [`super::store::Store::read`].
    pub fn read(&self, view: &dyn View, key: &[u8]) -> Option<Vec<u8>> {
        let _ = (view, key);
        todo!()
    }
    /// See [`super::store::Store::scan`].
    pub fn scan(&self, view: &dyn View, from: &[u8], to: &[u8], back: bool, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let _ = (view, from, to, back, limit);
        todo!()
    }
    /// See [`super::store::Store::put`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let _ = (key, value);
        todo!()
    }
    /// See [`super::store::Store::put_new`].
    pub fn put_new(&mut self, key: &[u8], value: &[u8]) {
        let _ = (key, value);
        todo!()
    }
    /// See [`super::store::Store::remove`].
    pub fn remove(&mut self, key: &[u8]) {
        let _ = key;
        todo!()
    }

    /// Removes a row without making the batch urgent.
    pub fn forget(&mut self, key: &[u8]) {
        let _ = key;
        todo!()
    }
    /// Counts urgent writes since the start.
    pub fn puts(&self) -> u64 {
        0
    }
    /// Whether the open batch holds urgent writes.
    pub fn has_open(&self) -> bool {
        false
    }
    /// x
    pub fn has_lazy(&self) -> bool { false }
    /// x
    pub fn is_empty(&self) -> bool { true }
    /// x
    pub fn is_full(&self) -> bool { false }
    /// x
    pub fn open_bytes(&self) -> usize { 0 }
    /// x
    pub fn freeze(&mut self) -> Option<std::sync::Arc<Layer>> { None }
    /// x
    pub fn take_batch(&mut self, _: crate::router::event::BatchId) -> Option<Vec<u8>> { None }
    /// x
    pub fn committed(&mut self, _: crate::router::event::BatchId) {  }
    /// x
    pub fn refused(&mut self, _: crate::router::event::BatchId) {  }
    /// x
    pub fn flushed(&mut self, _: bool) {  }
}
