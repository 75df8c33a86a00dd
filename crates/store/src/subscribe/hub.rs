//! One connection for the messages of all subscribers of a remote store.
//!
//! A task owns the connection while anybody subscribes. It hears of new and
//! ended subscriptions over a channel, subscribes a topic with its first
//! subscriber and gives it up with its last. When the connection breaks it makes
//! another, subscribes everything again and tells everybody that there was a gap;
//! it tries for as long as there are subscribers.
//!
//! A message is one allocation however many receive it; each subscriber has a
//! queue with a limit, beyond which messages are dropped and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sangam_engine::pubsub::{Message, Topic};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Event, Gap, Subscription};
use crate::backend::{Failure, Listener};
use crate::error::{Error, Why};
use crate::resilience::{Backoff, Guarded};

/// Requests that may wait for the task.
const REQUESTS: usize = 1024;

type Key = (Topic, Arc<[u8]>);

/// The way to the task, which is there while it has something to do.
#[derive(Default)]
pub(crate) struct Hub(Mutex<Option<mpsc::Sender<Request>>>);

enum Request {
    Join {
        place: Place,
        joined: oneshot::Sender<Result<(), Error>>,
    },
    Leave {
        number: u64,
    },
}

/// A subscriber: its topics and its queue.
struct Place {
    number: u64,
    topics: Vec<Key>,
    queue: mpsc::Sender<Event>,
    /// Events dropped since it was told last; the subscriber looks too, where its
    /// queue is empty.
    missed: Arc<AtomicU64>,
}

/// Ends a subscription when it is dropped.
pub(super) struct Places {
    number: u64,
    requests: mpsc::Sender<Request>,
}

impl Drop for Places {
    fn drop(&mut self) {
        // Where the queue is full, the task finds the receiver gone.
        let _ = self.requests.try_send(Request::Leave {
            number: self.number,
        });
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Hub {
    /// Subscribes to `names`; returns when the store has confirmed it.
    pub(crate) async fn subscribe(
        &self,
        store: &Arc<Guarded>,
        topic: Topic,
        names: &[&[u8]],
    ) -> Result<Subscription, Error> {
        let limit = store.options.connect_timeout + store.options.command_timeout;
        let deadline = Instant::now() + limit;
        let late = || Error::Unavailable(Why::Timeout(limit));
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let (queue, events) = mpsc::channel(store.options.subscriber_queue.max(2));
            let (joined, outcome) = oneshot::channel();
            let missed = Arc::new(AtomicU64::new(0));
            let topics = names.iter().map(|name| (topic, Arc::from(*name))).collect();
            let place = Place {
                number,
                topics,
                queue,
                missed: missed.clone(),
            };
            let requests = self.task(store);
            let join = requests.send(Request::Join { place, joined });
            let sent = timeout_at(deadline, join).await.map_err(|_| late())?;
            let subscription = Subscription::of_hub(events, missed, Places { number, requests });
            if sent.is_ok()
                && let Ok(outcome) = timeout_at(deadline, outcome).await.map_err(|_| late())?
            {
                return outcome.map(|()| subscription);
            }
            // That task ended just then, with its last subscriber.
        }
    }

    fn task(&self, store: &Arc<Guarded>) -> mpsc::Sender<Request> {
        let mut task = self.0.lock();
        if let Some(requests) = task.as_ref().filter(|requests| !requests.is_closed()) {
            return requests.clone();
        }
        let (requests, receiver) = mpsc::channel(REQUESTS);
        tokio::spawn(Task::new(store).run(receiver));
        *task = Some(requests.clone());
        requests
    }
}

struct Task {
    store: std::sync::Weak<Guarded>,
    places: HashMap<u64, Place>,
    topics: HashMap<Key, Vec<u64>>,
    /// Subscribers that were found gone.
    gone: Vec<u64>,
}

/// Why a connection is left.
enum End {
    /// Nobody subscribes any more.
    Idle,
    Broken(Failure),
}

impl Task {
    fn new(store: &Arc<Guarded>) -> Self {
        Task {
            store: Arc::downgrade(store),
            places: HashMap::new(),
            topics: HashMap::new(),
            gone: Vec::new(),
        }
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let Some(mut backoff) = self.backoff() else {
            return;
        };
        let mut had_one = false;
        loop {
            let Some(store) = self.store.upgrade() else {
                return;
            };
            let failure = match store.listen().await {
                Err(failure) => failure,
                Ok(mut listener) => {
                    let good_after = store.options.backoff_max;
                    drop(store);
                    let began = Instant::now();
                    match self.serve(listener.as_mut(), &mut requests, had_one).await {
                        End::Idle => return,
                        End::Broken(failure) => {
                            had_one = true;
                            // One that breaks at once waits longer each time.
                            if began.elapsed() >= good_after
                                && let Some(fresh) = self.backoff()
                            {
                                backoff = fresh;
                            }
                            failure
                        }
                    }
                }
            };
            tracing::debug!("the connection for messages is down: {failure:?}");
            // Whoever waits for the first confirmation is told why there is none.
            let pause = sleep(backoff.wait());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    request = requests.recv() => match request {
                        None => return,
                        Some(Request::Leave { number }) => {
                            self.take_out(number);
                        }
                        Some(Request::Join { joined, .. }) => {
                            let _ = joined.send(Err(unavailable(&failure)));
                        }
                    },
                }
                if self.places.is_empty() {
                    return;
                }
            }
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let store = self.store.upgrade()?;
        Some(Backoff::new(
            store.options.backoff_min,
            store.options.backoff_max,
        ))
    }

    /// Serves subscribers over one connection to its end.
    async fn serve(
        &mut self,
        listener: &mut dyn Listener,
        requests: &mut mpsc::Receiver<Request>,
        again: bool,
    ) -> End {
        let known: Vec<Key> = self.topics.keys().cloned().collect();
        for key in &known {
            match self.within(listener.subscribe(key.0, &key.1)).await {
                Ok(()) => {}
                // The connection is good, but this is allowed no longer.
                Err(Failure::Setting(_) | Failure::Unsupported(_)) => self.refuse(key),
                Err(failure) => return End::Broken(failure),
            }
        }
        if again {
            let all: Vec<u64> = self.places.keys().copied().collect();
            for number in all {
                self.tell(number, Event::Gap(Gap::Broken));
            }
        }
        let Some(mut states) = self.store.upgrade().map(|store| store.states()) else {
            return End::Idle;
        };
        let mut idle = false;
        loop {
            while let Some(number) = self.gone.pop() {
                if let Err(failure) = self.end(listener, number).await {
                    return End::Broken(failure);
                }
                idle = self.places.is_empty();
            }
            if idle && requests.is_empty() {
                return End::Idle;
            }
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    None => return End::Idle,
                    Some(Request::Leave { number }) => self.gone.push(number),
                    Some(Request::Join { place, joined }) => {
                        if let Err(failure) = self.join(listener, place, joined).await {
                            return End::Broken(failure);
                        }
                        idle = self.places.is_empty();
                    }
                },
                // Only the store's end is of interest.
                state = states.changed() => if state.is_err() {
                    return End::Idle;
                },
                message = listener.next() => match message {
                    Ok(message) => self.deliver(&message),
                    Err(failure) => return End::Broken(failure),
                },
            }
        }
    }

    /// Ends the streams of all who listen to what the store refuses now.
    fn refuse(&mut self, key: &Key) {
        for number in self.topics.get(key).cloned().unwrap_or_default() {
            self.gone
                .extend(self.places.contains_key(&number).then_some(number));
        }
    }

    /// Takes a subscriber out, and gives up the topics that nobody else has.
    async fn end(&mut self, listener: &mut dyn Listener, number: u64) -> Result<(), Failure> {
        for (topic, name) in self.take_out(number) {
            self.within(listener.unsubscribe(topic, &name)).await?;
        }
        Ok(())
    }

    async fn join(
        &mut self,
        listener: &mut dyn Listener,
        place: Place,
        joined: oneshot::Sender<Result<(), Error>>,
    ) -> Result<(), Failure> {
        let mut fresh = Vec::new();
        for (topic, name) in &place.topics {
            let key = (*topic, name.clone());
            if self.topics.contains_key(&key) || fresh.contains(&key) {
                continue;
            }
            match self.within(listener.subscribe(*topic, name)).await {
                Ok(()) => fresh.push(key),
                // The connection is good: this subscription alone is refused.
                Err(failure @ (Failure::Setting(_) | Failure::Unsupported(_))) => {
                    let _ = joined.send(Err(unavailable(&failure)));
                    for (topic, name) in fresh {
                        self.within(listener.unsubscribe(topic, &name)).await?;
                    }
                    return Ok(());
                }
                Err(failure) => {
                    let _ = joined.send(Err(unavailable(&failure)));
                    return Err(failure);
                }
            }
        }
        for key in &place.topics {
            self.topics
                .entry(key.clone())
                .or_default()
                .push(place.number);
        }
        self.places.insert(place.number, place);
        let _ = joined.send(Ok(()));
        Ok(())
    }

    fn deliver(&mut self, message: &Message) {
        let key = match &message.pattern {
            Some(pattern) => (Topic::Pattern, pattern.clone()),
            None => (Topic::Channel, message.channel.clone()),
        };
        for number in self.topics.get(&key).cloned().unwrap_or_default() {
            self.tell(number, Event::Message(message.clone()));
        }
    }

    /// Puts an event into a subscriber's queue, behind the word of what it missed.
    fn tell(&mut self, number: u64, event: Event) {
        let Some(place) = self.places.get_mut(&number) else {
            return;
        };
        let missed = place.missed.swap(0, Ordering::AcqRel);
        if missed > 0 {
            match place.queue.try_send(Event::Gap(Gap::Lagged(missed))) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    place.missed.fetch_add(missed + 1, Ordering::AcqRel);
                    return;
                }
                Err(TrySendError::Closed(_)) => return self.gone.push(number),
            }
        }
        match place.queue.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                place.missed.fetch_add(1, Ordering::AcqRel);
            }
            Err(TrySendError::Closed(_)) => self.gone.push(number),
        }
    }

    /// Takes a subscriber out; answers the topics that nobody has any more.
    fn take_out(&mut self, number: u64) -> Vec<Key> {
        let Some(place) = self.places.remove(&number) else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        for key in place.topics {
            let Some(numbers) = self.topics.get_mut(&key) else {
                continue;
            };
            numbers.retain(|it| *it != number);
            if numbers.is_empty() {
                self.topics.remove(&key);
                ended.push(key);
            }
        }
        ended
    }

    /// A step of the connection, within its time.
    async fn within(&self, step: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let Some(limit) = self.store.upgrade().map(|it| it.options.command_timeout) else {
            return step.await;
        };
        let outcome = tokio::time::timeout(limit, step).await;
        outcome.unwrap_or(Err(Failure::Lost(Why::Timeout(limit))))
    }
}

fn unavailable(failure: &Failure) -> Error {
    match failure.clone() {
        Failure::NotSent(why) | Failure::Lost(why) => Error::Unavailable(why),
        Failure::Setting(text) => Error::Setting(text),
        Failure::Unsupported(text) => Error::Unsupported(text),
    }
}
