//! What the store pushes, so that words come at once.
//!
//! Nothing depends on it. A message that cannot be read, a gap in the subscription or
//! in an instance's numbers starts a comparison; numbers that come in another order
//! have a moment to come first.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sangam_store::{Event, Store, Subscription, Topic};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Coherence, Shared, message, soon};
use crate::background::Background;

/// Shortest and longest pause between two tries to subscribe.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long a missing number is waited for.
const GRACE: Duration = Duration::from_millis(100);

/// The one task that listens; another may begin when it is dropped.
struct Only {
    shared: Weak<Shared>,
    tasks: Weak<Background>,
}

impl Drop for Only {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.listening.store(false, Ordering::Release);
        }
    }
}

/// Starts to listen, where that is wanted and was not begun.
pub(super) fn start(shared: &Arc<Shared>, tasks: &Arc<Background>) {
    if shared.coherence != Coherence::Push || shared.listening.swap(true, Ordering::AcqRel) {
        return;
    }
    let only = Only {
        shared: Arc::downgrade(shared),
        tasks: Arc::downgrade(tasks),
    };
    let (store, channel) = (shared.store.clone(), shared.name.clone());
    tasks.start(async move { only.run(store, channel).await });
}

impl Only {
    async fn run(&self, store: Store, channel: Vec<u8>) {
        let mut pause = PAUSE.0;
        let mut ended = false;
        loop {
            if let Ok(subscription) = store.subscribe(Topic::Channel, &[&channel]).await {
                pause = PAUSE.0;
                self.hear(subscription, ended).await;
                ended = true;
            }
            if self.shared.strong_count() == 0 {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Hears until the subscription ends; `missed` is whether words were missed before.
    async fn hear(&self, mut subscription: Subscription, mut missed: bool) {
        let mut deadline = None;
        loop {
            let Some((shared, tasks)) = self.shared.upgrade().zip(self.tasks.upgrade()) else {
                return;
            };
            if deadline.is_some_and(|it| Instant::now() >= it) {
                deadline = None;
                missed |= shared.heard.lock().is_missing();
            }
            if std::mem::take(&mut missed) {
                soon::start_another(&shared, &tasks);
            }
            drop((shared, tasks));
            let next = match deadline {
                Some(deadline) => timeout_at(deadline, subscription.next()).await,
                None => Ok(subscription.next().await),
            };
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            if matches!(next, Ok(Some(Event::Message(_)))) {
                shared.count_pushed();
            }
            match next {
                Ok(Some(Event::Message(message))) => match message::read(&message.payload) {
                    Some(message) => {
                        let listener = shared.listener.upgrade();
                        if listener.is_some_and(|it| shared.apply(&*it, &message)) {
                            deadline.get_or_insert_with(|| Instant::now() + GRACE);
                        }
                    }
                    None => missed = true,
                },
                Ok(Some(Event::Gap(_))) => missed = true,
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }
}
