//! Keys in the form of other apps, one kind of step at a time.
//!
//! Such a value has no name and a deletion leaves no mark: a load's value that is on its
//! way to the store, or one that is sent later, would come after a write or a deletion
//! that took place meanwhile. So while a write of a key is under way nothing else is
//! sent of it, and the write waits until what was on its way has come to its end. The
//! sets that tags are count as keys.
//!
//! It covers the caches of one [`Caches`](super::Caches), and asks the store nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Names of keys in the store.
type Names = Vec<Vec<u8>>;

/// Who is at which key. Only keys that somebody is at are in it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    users: Mutex<HashMap<Vec<u8>, Users, ahash::RandomState>>,
    /// Told when something that was on its way has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Users {
    fills: usize,
    writes: usize,
}

/// Being at some keys; dropping it ends that.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    names: Names,
    writes: bool,
}

impl Gate {
    /// Something that a write of these keys must not come before; none while one of them
    /// is written.
    pub(super) fn fill(self: &Arc<Self>, names: Names) -> Option<Pass> {
        let mut users = self.users.lock();
        let is_written = |name: &Vec<u8>| users.get(name).is_some_and(|it| it.writes > 0);
        if names.iter().any(is_written) {
            return None;
        }
        for name in &names {
            users.entry(name.clone()).or_default().fills += 1;
        }
        drop(users);
        Some(self.pass(names, false))
    }

    /// A write: begins when nothing is on its way to its keys any more, or that has taken
    /// longer than `patience`.
    pub(super) async fn write(self: &Arc<Self>, names: Names, patience: Duration) -> Pass {
        {
            let mut users = self.users.lock();
            for name in &names {
                users.entry(name.clone()).or_default().writes += 1;
            }
        }
        let pass = self.pass(names, true);
        let alone = async {
            loop {
                let mut ended = std::pin::pin!(self.ended.notified());
                ended.as_mut().enable();
                if self.is_clear(&pass.names) {
                    return;
                }
                ended.await;
            }
        };
        // What takes longer is taken back by who sent it, when it has come to its end.
        let _ = tokio::time::timeout(patience, alone).await;
        pass
    }

    fn pass(self: &Arc<Self>, names: Names, writes: bool) -> Pass {
        Pass {
            gate: self.clone(),
            names,
            writes,
        }
    }

    fn is_clear(&self, names: &Names) -> bool {
        let users = self.users.lock();
        let fills = |name| users.get(name).is_some_and(|it: &Users| it.fills > 0);
        !names.iter().any(fills)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut users = self.gate.users.lock();
        for name in &self.names {
            let Some(at) = users.get_mut(name) else {
                continue;
            };
            let count = if self.writes {
                &mut at.writes
            } else {
                &mut at.fills
            };
            *count -= 1;
            if at.fills == 0 && at.writes == 0 {
                users.remove(name);
            }
        }
        drop(users);
        if !self.writes {
            self.gate.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_mins(5);

    fn names(names: &[&str]) -> Names {
        names.iter().map(|it| it.as_bytes().to_vec()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_waits_for_what_is_on_its_way_and_stops_the_rest() {
        let gate = Arc::new(Gate::default());
        let one = gate.fill(names(&["a", "b"])).unwrap();
        let two = gate.fill(names(&["a"])).unwrap();
        let mut write = Box::pin(gate.write(names(&["a", "c"]), LONG));
        assert!((&mut write).now_or_never().is_none());
        assert!(gate.fill(names(&["x", "a"])).is_none());
        drop(one);
        assert!((&mut write).now_or_never().is_none());
        drop(two);
        let pass = write.now_or_never().unwrap();
        assert!(gate.fill(names(&["c"])).is_none());
        assert!(gate.fill(names(&["b", "x"])).is_some());
        let other = gate.write(names(&["a"]), LONG).now_or_never();
        drop(pass);
        assert!(gate.fill(names(&["c"])).is_some());
        assert!(gate.fill(names(&["a"])).is_none(), "the other one writes");
        drop(other);
        assert!(gate.users.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_does_not_wait_for_ever_nor_after_it_was_given_up() {
        let gate = Arc::new(Gate::default());
        let fill = gate.fill(names(&["a"])).unwrap();
        drop(gate.write(names(&["a"]), LONG).await);
        let given_up = gate.write(names(&["a"]), LONG).now_or_never();
        assert!(given_up.is_none());
        assert!(gate.fill(names(&["a"])).is_some());
        drop(fill);
        assert!(gate.users.lock().is_empty());
    }
}
