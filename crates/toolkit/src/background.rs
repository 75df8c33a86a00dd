//! Work beside a call, which ends with its owner.

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Tasks of one owner. Dropping it ends those that run.
#[derive(Debug, Default)]
pub(crate) struct Background(Mutex<JoinSet<()>>);

impl Background {
    /// Starts a task; outside of a runtime nothing starts. Callers see to it that
    /// few run at a time.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(work, &runtime);
    }

    /// Waits until those that run have ended.
    pub(crate) async fn finish(&self) {
        let tasks = std::mem::take(&mut *self.0.lock());
        tasks.join_all().await;
    }
}
