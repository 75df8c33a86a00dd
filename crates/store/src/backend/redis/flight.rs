//! Something that is made once for all who ask for it at the same time.

use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::watch;

/// What is being made, if anything is. It is made in a task of its own, so that
/// who gives up waiting ends it for nobody.
pub(super) struct Flight<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Flight(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Waits for what is being made, or has it made. `None` where that panicked.
    pub(super) async fn join<F>(&self, make: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut coming = self.coming(make);
        let made = coming.wait_for(Option::is_some).await.ok()?;
        made.clone()
    }

    /// Has it made, unless it is being made already; does not wait.
    pub(super) fn start<F>(&self, make: impl FnOnce() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        drop(self.coming(make));
    }

    fn coming<F>(&self, make: impl FnOnce() -> F) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flight = self.0.lock();
        if let Some(coming) = flight.as_ref()
            && coming.borrow().is_none()
            && coming.has_changed().is_ok()
        {
            return coming.clone();
        }
        let (done, coming) = watch::channel(None);
        let making = make();
        tokio::spawn(async move {
            let made = making.await;
            done.send_replace(Some(made));
        });
        *flight = Some(coming.clone());
        coming
    }
}
