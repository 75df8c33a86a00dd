//! A store's messages as a stream of events.
//!
//! A break of the store's connection does not end the stream: the SDK would not
//! open it again, and say nothing. It goes on, and says where messages may be
//! missing.

use std::collections::HashSet;
use std::task::{Context, Poll};

use sangam_store::{Event, Gap, Subscription};

use super::super::commands::{Feed, Subscribed, Told};

/// A subscription to `names` that the store has confirmed.
pub(super) fn subscribed(subscription: Subscription, names: &[&[u8]]) -> Subscribed {
    let mut different = HashSet::new();
    let count = |name: &&[u8]| {
        different.insert(name.to_vec());
        different.len()
    };
    Subscribed {
        counts: names.iter().map(count).collect(),
        feed: Box::new(Messages(subscription)),
    }
}

struct Messages(Subscription);

impl Feed for Messages {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Told>> {
        self.0.poll_event(context).map(|event| {
            Some(match event? {
                Event::Message(message) => Told::Message(message),
                Event::Gap(Gap::Broken) => {
                    Told::Gap("the connection to the store broke and is there again".to_owned())
                }
                Event::Gap(Gap::Lagged(count)) => Told::Gap(format!(
                    "at least {count} messages were dropped, this client reads too slowly"
                )),
            })
        })
    }

    /// The tokens hold as long as the server runs.
    fn is_permitted(&mut self) -> bool {
        true
    }
}
