//! stub
use super::bus::Bus;
use super::key::TagId;
use super::value::Stamp;
use sangam_store::Store;
use std::sync::Arc;

/// What could not be sent.
#[derive(Debug, Clone)]
pub(super) enum Unsent {
    /// a value written (bytes as in the store); once ends_ms is over it is replayed as deleted
    Value {
        stamp: Stamp,
        bytes: Vec<u8>,
        ends_ms: u64,
    },
    Deleted {
        stamp: Stamp,
    },
}

#[derive(Debug)]
pub(super) struct Pending {
    inner: Arc<()>,
}
impl Pending {
    pub(super) fn new(store: Store, bus: Arc<Bus>) -> Self {
        let _ = (store, bus);
        Pending {
            inner: Arc::new(()),
        }
    }
    pub(super) fn key(&self, cache: &Arc<PendingCache>, key: &str, unsent: Unsent) {
        let _ = (cache, key, unsent, &self.inner);
        unimplemented!()
    }
    pub(super) fn tag(&self, cache: &Arc<PendingCache>, tag: TagId) {
        let _ = (cache, tag);
        unimplemented!()
    }
    /// whether the store's value of a key must not be believed; one atomic load where nothing waits
    pub(super) fn has_key(&self, cache: &str, key: &str) -> bool {
        let _ = (cache, key);
        unimplemented!()
    }
    pub(super) fn has_tag(&self, cache: &str, tag: TagId) -> bool {
        let _ = (cache, tag);
        unimplemented!()
    }
    pub(super) fn len(&self) -> usize {
        unimplemented!()
    }
}
/// What replaying needs to know of a cache.
#[derive(Debug)]
pub(super) struct PendingCache {
    pub(super) name: Box<str>,
    pub(super) keys: super::key::Keys,
    /** how long a deleted mark stays */
    pub(super) deleted_ms: u64,
    /** how long a tag's version lives */
    pub(super) tag_ms: u64,
    pub(super) shared: bool,
}
