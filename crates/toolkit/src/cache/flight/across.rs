//! One load for all instances: a claim in the store, which ends by itself if its holder
//! does.
//!
//! It saves loads; it excludes nobody. A holder that pauses for longer than the lease is
//! joined by another, and whoever cannot ask the store loads.
//!
//! Cost: a claim 1, giving it back 3; a long load extends it for 3 each third of the
//! lease. Who waits asks again for 2 commands each time, after 20 ms and then ever
//! longer, up to 250 ms, or a second over Upstash.

use std::time::Duration;

use sangam_store::op::{CompareAndDelete, CompareAndExtend};
use sangam_store::{Error, Store, Ttl};
use tokio::task::AbortHandle;

/// A load that this process does for all.
#[derive(Debug)]
pub(in super::super) struct Claim {
    store: Store,
    key: Vec<u8>,
    token: [u8; 16],
    extending: AbortHandle,
}

/// Claims the load of a key for `lease`, which is extended until the claim is dropped;
/// none, if another instance has it.
pub(in super::super) async fn claim(
    store: &Store,
    key: Vec<u8>,
    lease: Duration,
) -> Result<Option<Claim>, Error> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| Error::Setting(format!("chance: {error}")))?;
    if !store.set_if_absent(&key, &token, Ttl::In(lease)).await? {
        return Ok(None);
    }
    let (extended, its_key) = (store.clone(), key.clone());
    let extending = tokio::spawn(async move {
        loop {
            tokio::time::sleep(lease / 3).await;
            let op = CompareAndExtend {
                key: &its_key,
                expected: &token,
                ttl: Ttl::In(lease),
            };
            // Lost: somebody else loads too, and that is all.
            if let Ok(false) = extended.atomic(&op).await {
                return;
            }
        }
    });
    Ok(Some(Claim {
        store: store.clone(),
        key,
        token,
        extending: extending.abort_handle(),
    }))
}

impl Claim {
    /// Gives it back.
    pub(in super::super) async fn give_back(self) {
        self.extending.abort();
        let op = CompareAndDelete {
            key: &self.key,
            expected: &self.token,
        };
        // Else it ends by itself.
        let _ = self.store.atomic(&op).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.extending.abort();
    }
}
