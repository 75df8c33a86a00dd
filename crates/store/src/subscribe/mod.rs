//! Messages as a stream that says when some may be missing.
//!
//! All subscribers of a remote store share one connection for messages
//! ([`hub`]); a subscriber of the engine has a mailbox of its own. A break of
//! the connection, and a subscriber that reads too slowly, both end in an
//! [`Event::Gap`], in its place among the messages.

mod hub;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use sangam_engine::mailbox::Post;
use sangam_engine::pubsub::{Message, Topic};
use sangam_engine::session::Session;
use tokio::sync::mpsc;

pub(crate) use hub::Hub;

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Message),
    /// Messages may be missing here; the subscription holds again.
    Gap(Gap),
}

/// Why messages may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// The connection broke and is there again.
    Broken,
    /// The subscriber read too slowly: messages were dropped, at least so many.
    Lagged(u64),
}

/// A subscription; dropping it ends it. A `Stream` of [`Event`]s that ends when
/// the store is dropped, or, over the engine, when a subscriber lets 32 MB wait.
pub struct Subscription(Source);

enum Source {
    Engine(Box<Session>),
    Hub {
        events: mpsc::Receiver<Event>,
        /// Events that found the queue full since the last gap was told.
        missed: Arc<AtomicU64>,
        _places: hub::Places,
    },
}

impl Subscription {
    pub(crate) fn of_engine(mut session: Session, topic: Topic, names: &[&[u8]]) -> Self {
        for name in names {
            session.subscribe(topic, name);
        }
        Subscription(Source::Engine(Box::new(session)))
    }

    fn of_hub(events: mpsc::Receiver<Event>, missed: Arc<AtomicU64>, places: hub::Places) -> Self {
        Subscription(Source::Hub {
            events,
            missed,
            _places: places,
        })
    }

    /// The next event, when it comes; `None` at the end. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// The same for those who poll.
    pub fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        match &mut self.0 {
            Source::Hub { events, missed, .. } => {
                let next = events.poll_recv(context);
                // What was dropped came after all that was in the queue. (A task that
                // has done much is told to wait with the queue not empty.)
                if next.is_pending() && events.is_empty() {
                    let missed = missed.swap(0, Ordering::AcqRel);
                    if missed > 0 {
                        return Poll::Ready(Some(Event::Gap(Gap::Lagged(missed))));
                    }
                }
                next
            }
            Source::Engine(session) => loop {
                match session.client().mailbox.poll_next(context) {
                    Poll::Ready(Some(Post::Message(message))) => {
                        return Poll::Ready(Some(Event::Message(message)));
                    }
                    // For clients that cache or monitor; this one does neither.
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            },
        }
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_event(context)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Subscription")
    }
}
