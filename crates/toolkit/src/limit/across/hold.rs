//! What is reserved in several slots, and its end: whoever gives up waiting has
//! taken nothing.

use std::mem::take;

use futures_util::future::join_all;
use sangam_store::{Error, Store};
use tokio::runtime::Handle;

use super::step::{Reserved, Settle, Settlement, Taken};
use super::worst;
use crate::limit::algorithm::Now;

/// Reservations that may stand. Dropped, it gives back what it holds, in a task of
/// its own that ends with the store's time-outs.
pub(super) struct Hold {
    store: Store,
    token: Vec<u8>,
    groups: Vec<Vec<Taken>>,
    /// How what is held is given back; `None` where nothing is.
    back: Option<Settlement>,
}

impl Hold {
    pub(super) fn new(store: Store, token: Vec<u8>, groups: Vec<Vec<Taken>>) -> Self {
        Hold {
            store,
            token,
            groups,
            back: Some(Settlement::Refund),
        }
    }

    /// Leaves the hits where they are.
    pub(super) fn keep(&mut self) {
        self.back = None;
    }

    /// Commits everywhere, or nowhere as far as it can be said: whether it did. A
    /// group whose reservation was given back by then refuses.
    pub(super) async fn commit(&mut self) -> Result<bool, Error> {
        let outcomes = settle(&self.store, &self.token, &self.groups, Settlement::Commit).await;
        if outcomes.iter().all(|outcome| *outcome == Ok(true)) {
            self.back = Some(Settlement::Revoke);
            return Ok(true);
        }
        let mut committed = Vec::new();
        let mut unknown = Vec::new();
        let failure = worst(outcomes.iter().filter_map(|it| it.as_ref().err())).cloned();
        let mut lost = false;
        for (group, outcome) in take(&mut self.groups).into_iter().zip(outcomes) {
            match outcome {
                Ok(true) => committed.push(group),
                Ok(false) => lost = true,
                Err(_) => unknown.push(group),
            }
        }
        self.back = None;
        settle(&self.store, &self.token, &committed, Settlement::Revoke).await;
        settle(&self.store, &self.token, &unknown, Settlement::Refund).await;
        match failure {
            Some(error) if !lost => Err(error),
            _ => Ok(false),
        }
    }

    /// Learns where the hits are.
    pub(super) fn mark(&mut self, reserved: &[Reserved]) {
        for (group, reserved) in self.groups.iter_mut().zip(reserved) {
            for (hit, mark) in group.iter_mut().zip(&reserved.marks) {
                hit.mark = *mark;
            }
        }
    }

    /// Gives back what was taken, or may have been, as far as the store can be asked.
    pub(super) async fn refund(&mut self, outcomes: &[Result<Reserved, Error>]) {
        let mut outcomes = outcomes.iter();
        self.groups.retain(|_| match outcomes.next() {
            Some(Ok(reserved)) => reserved.checked.admitted,
            Some(Err(error)) => !error.had_no_effect(),
            None => true,
        });
        settle(&self.store, &self.token, &self.groups, Settlement::Refund).await;
        self.back = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let (Some(how), Ok(runtime)) = (self.back, Handle::try_current()) else {
            return;
        };
        let (store, token) = (self.store.clone(), take(&mut self.token));
        let groups = take(&mut self.groups);
        runtime.spawn(async move {
            settle(&store, &token, &groups, how).await;
        });
    }
}

async fn settle(
    store: &Store,
    token: &[u8],
    groups: &[Vec<Taken>],
    how: Settlement,
) -> Vec<Result<bool, Error>> {
    let now = Now(store.now() as i64);
    let steps: Vec<Settle<'_>> = groups
        .iter()
        .map(|hits| Settle {
            hits,
            token,
            now,
            how,
        })
        .collect();
    join_all(steps.iter().map(|step| store.atomic(step))).await
}
