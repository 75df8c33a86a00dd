//! Comparing with the stream.

use std::sync::atomic::Ordering;

use sangam_engine::Reply;
use sangam_store::{Commands, Error};

use super::message::{self, Message};
use super::{Coherence, FIELD, Listener, Shared, TTL};

/// Entries that are read at once, the last known one included.
const COUNT: usize = 1001;
/// How often, one after another: more, and it is cheaper to invalidate everything.
const PAGES: usize = 16;

/// An entry of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    id: Vec<u8>,
    /// What it says: a stream that was made anew may come to have the same id.
    text: Vec<u8>,
}

/// What became of reading some entries.
enum Page {
    /// There may be more.
    Full,
    /// There are no more.
    Last,
    /// The last known one is not there.
    Lost,
}

impl Shared {
    /// Applies what was said after the last known entry; whether that could be told.
    pub(super) async fn follow(&self) -> Result<bool, Error> {
        for _ in 0..PAGES {
            let Some(last) = self.position.lock().clone() else {
                return Ok(false);
            };
            match self.follow_page(last).await? {
                Page::Full => {}
                Page::Last => {
                    self.heard.lock().settle();
                    return Ok(true);
                }
                Page::Lost => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn follow_page(&self, last: Position) -> Result<Page, Error> {
        let count = COUNT.to_string();
        let argv: [&[u8]; 6] = [
            b"XRANGE",
            &self.name,
            &last.id,
            b"+",
            b"COUNT",
            count.as_bytes(),
        ];
        let read = self.read(&argv).await.and_then(entries);
        let read = read.inspect_err(|error| self.doubt(error))?;
        let (Some(first), Some(end)) = (read.first(), read.last()) else {
            return Ok(Page::Lost);
        };
        if *first != last {
            return Ok(Page::Lost);
        }
        let Some(listener) = self.listener.upgrade() else {
            return Ok(Page::Last);
        };
        let mut is_lost = false;
        for entry in read.iter().skip(1) {
            match message::read(&entry.text) {
                Some(message) => {
                    self.apply(&*listener, &message);
                }
                None => is_lost = true,
            }
        }
        if is_lost {
            listener.lost();
        }
        *self.position.lock() = Some(end.clone());
        Ok(if read.len() < COUNT {
            Page::Last
        } else {
            Page::Full
        })
    }

    /// Finds the end of the stream, or begins one. Whatever was said before may have
    /// been missed.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        *self.position.lock() = None;
        let argv: [&[u8]; 6] = [b"XREVRANGE", &self.name, b"+", b"-", b"COUNT", b"1"];
        let read = self.read(&argv).await.and_then(entries)?;
        let end = match read.into_iter().next() {
            Some(end) => end,
            None => self.found().await?,
        };
        // From here on the position tells what is missed.
        *self.position.lock() = Some(end);
        self.heard.lock().clear();
        if let Some(listener) = self.listener.upgrade() {
            listener.lost();
        }
        Ok(())
    }

    /// Begins a stream; its first entry.
    async fn found(&self) -> Result<Position, Error> {
        let text = message::hello();
        let mut commands = Commands::new();
        commands
            .push(&[b"XADD", &self.name, b"*", FIELD, &text])
            .push(&[b"EXPIRE", &self.name, TTL]);
        self.commands.fetch_add(2, Ordering::Relaxed);
        let now = self.store.now().max(1);
        let mut replies = self.store.transaction(&commands).await?.into_iter();
        let added = replies.next().unwrap_or_else(|| Err(unexpected()))?;
        let id = bytes(added).ok_or_else(unexpected)?;
        replies.next().unwrap_or_else(|| Err(unexpected()))?;
        self.renewed_us.store(now, Ordering::Relaxed);
        Ok(Position { id, text })
    }

    /// A reading of the stream, with which its time to live is renewed now and then.
    async fn read(&self, argv: &[&[u8]]) -> Result<Reply, Error> {
        if !self.renews() {
            self.commands.fetch_add(1, Ordering::Relaxed);
            return self.store.call(argv).await;
        }
        let mut commands = Commands::new();
        commands.push(argv).push(&[b"EXPIRE", &self.name, TTL]);
        self.commands.fetch_add(2, Ordering::Relaxed);
        let replies = self.store.pipeline(&commands).await;
        replies
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(unexpected()))
    }

    /// An answer that will come again the same way: the next comparison finds the end.
    fn doubt(&self, error: &Error) {
        if !matches!(error, Error::Unavailable(_) | Error::Indeterminate(_)) {
            *self.position.lock() = None;
        }
    }

    /// Tells what others said, unless it was heard already; whether a message before it
    /// is missing.
    pub(super) fn apply(&self, listener: &dyn Listener, message: &Message) -> bool {
        let Message {
            instance,
            sequence,
            changes,
        } = message;
        if *instance == self.instance || changes.changes.is_empty() {
            return false;
        }
        if self.coherence != Coherence::Push {
            listener.changed(changes);
            return false;
        }
        if self.heard.lock().has(instance, *sequence) {
            return false;
        }
        listener.changed(changes);
        self.heard.lock().add(*instance, *sequence)
    }
}

/// A reply's entries.
fn entries(reply: Reply) -> Result<Vec<Position>, Error> {
    array(reply.unpacked())?.into_iter().map(entry).collect()
}

/// An entry; one of other fields says nothing that can be read.
fn entry(reply: Reply) -> Result<Position, Error> {
    let mut parts = array(reply)?.into_iter();
    let mut next = || parts.next().ok_or_else(unexpected);
    let id = bytes(next()?).ok_or_else(unexpected)?;
    let mut fields = array(next()?)?.into_iter().map(bytes);
    let text = match (fields.next().flatten(), fields.next().flatten()) {
        (Some(field), Some(text)) if field == FIELD => text,
        _ => Vec::new(),
    };
    Ok(Position { id, text })
}

fn array(reply: Reply) -> Result<Vec<Reply>, Error> {
    match reply {
        Reply::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

fn bytes(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => Some(bytes),
        Reply::Status(text) => Some(text.into_owned().into_bytes()),
        _ => None,
    }
}

fn unexpected() -> Error {
    Error::Reply("entries of a stream were expected".to_owned())
}
