//! Work beside a check: at most one task of a kind at a time, and none that
//! outlives its owner.

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A task that runs now and then. Dropping it ends the one that runs.
#[derive(Debug, Default)]
pub(super) struct Background(Mutex<Option<JoinHandle<()>>>);

impl Background {
    /// Starts `work` unless the last one still runs; whether it did. Outside of a
    /// runtime nothing starts.
    pub(super) fn start<F>(&self, work: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let mut task = self.0.lock();
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return false;
        }
        *task = Some(runtime.spawn(work()));
        true
    }

    /// Waits until the one that runs has ended.
    pub(super) async fn finish(&self) {
        let task = self.0.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(task) = self.0.get_mut() {
            task.abort();
        }
    }
}
