//! What reaches a client unasked: messages, invalidations, MONITOR's lines.
//!
//! Each client has one [`Mailbox`], bounded in bytes: whoever does not read is
//! cut off when it is full, and nobody else waits for it. What is put in under a
//! keyspace's lock is in before any later command of that keyspace runs, so a
//! connection that empties its mailbox before it writes a reply never shows a
//! new value before the word that the old one is gone.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::acl::Account;
use crate::keyspace::Key;
use crate::pubsub::{Message, Topic};
use crate::reply::Reply;
use crate::session::Protocol;

/// Bytes that may wait for one client (Redis' hard limit for pub/sub).
pub(crate) const MAILBOX_BYTES: usize = 32 * 1024 * 1024;

/// What is put beside each post in accounting for it.
const OVERHEAD: usize = 64;

/// The channel in which a RESP2 client hears what another one's cache lost.
const INVALIDATE: &str = "__redis__:invalidate";

/// One thing that a client did not ask for just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Post {
    /// Published to a channel that it listens to.
    Message(Message),
    /// Keys that it may have cached changed.
    Invalidation(Invalidation),
    /// The client with this id, which was to be told of changes in its place, is
    /// gone.
    RedirectBroken(u64),
    /// A command that somebody ran, as MONITOR shows it.
    Line(Arc<str>),
}

/// Keys of a client's cache that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidation {
    /// Which; `None` for all of them.
    pub keys: Option<Arc<[Key]>>,
    /// Told in another client's place (CLIENT TRACKING REDIRECT).
    pub redirected: bool,
    /// By the client's own command, whose reply comes first.
    pub own: bool,
}

impl Post {
    /// What a RESP client reads; `None` where its protocol has no form for it.
    /// RESP2 has one for invalidations only inside a subscription.
    pub fn to_reply(&self, protocol: Protocol, subscribed: bool) -> Option<Reply> {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Post::Message(message) => Some(message.to_reply()),
            Post::Line(line) => Some(Reply::Status(line.to_string().into())),
            Post::RedirectBroken(id) => resp3.then(|| {
                Reply::Push(vec![
                    Reply::bulk("tracking-redir-broken"),
                    Reply::Int(*id as i64),
                ])
            }),
            Post::Invalidation(invalidation) => {
                let keys = match &invalidation.keys {
                    None => Reply::Null,
                    Some(keys) => Reply::Array(keys.iter().map(Reply::bulk).collect()),
                };
                if resp3 {
                    Some(Reply::Push(vec![Reply::bulk("invalidate"), keys]))
                } else if invalidation.redirected && subscribed {
                    let head = [Reply::bulk("message"), Reply::bulk(INVALIDATE)];
                    Some(Reply::Push(head.into_iter().chain([keys]).collect()))
                } else {
                    None
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        let data = match self {
            Post::Message(message) => message.channel.len() + message.payload.len(),
            Post::Line(line) => line.len(),
            Post::RedirectBroken(_) | Post::Invalidation(Invalidation { keys: None, .. }) => 0,
            Post::Invalidation(Invalidation {
                keys: Some(keys), ..
            }) => keys.iter().map(|key| key.len() + OVERHEAD).sum(),
        };
        data + OVERHEAD
    }

    /// Whether the reply to the command that runs comes before it.
    const fn follows_reply(&self) -> bool {
        matches!(self, Post::Invalidation(Invalidation { own: true, .. }))
    }
}

/// Posts waiting for one client, and the word that it is to go.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Waiting>, Mutex<Option<Arc<Account>>>);

#[derive(Debug, Default)]
struct Waiting {
    posts: VecDeque<Post>,
    bytes: usize,
    closed: bool,
    waker: Option<Waker>,
}

impl Waiting {
    fn take(&mut self) -> Option<Post> {
        let post = self.posts.pop_front()?;
        self.bytes -= post.bytes();
        Some(post)
    }

    fn close(&mut self) {
        self.closed = true;
        self.posts.clear();
        self.bytes = 0;
    }
}

impl Mailbox {
    /// Puts a post in; a full mailbox closes. Answers whether it was open.
    pub(crate) fn deliver(&self, post: Post) -> bool {
        let mut waiting = self.0.lock();
        if waiting.closed {
            return false;
        }
        waiting.bytes += post.bytes();
        waiting.posts.push_back(post);
        if waiting.bytes > MAILBOX_BYTES {
            waiting.close();
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whose it is, if a user's.
    pub(crate) fn owner(&self) -> Option<Arc<Account>> {
        self.1.lock().clone()
    }

    pub(crate) fn set_owner(&self, owner: Option<Arc<Account>>) {
        *self.1.lock() = owner;
    }

    /// Closes it if its user may not listen to this.
    pub(crate) fn close_unless_allowed(&self, topic: Topic, name: &[u8]) {
        if let Some(owner) = self.owner()
            && !topic.is_allowed(&owner, name)
        {
            self.close();
        }
    }

    /// Ends it: [`Mailbox::next`] answers `None` from now on.
    pub fn close(&self) {
        let mut waiting = self.0.lock();
        waiting.close();
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it is closed, by CLIENT KILL or since it overflowed.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Posts that wait, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = self.0.lock();
        (waiting.posts.len(), waiting.bytes)
    }

    /// The next post if one is waiting.
    pub fn try_next(&self) -> Option<Post> {
        self.0.lock().take()
    }

    /// The next post that belongs before the reply to a command that has run.
    pub fn try_next_before_reply(&self) -> Option<Post> {
        let mut waiting = self.0.lock();
        if waiting.posts.front()?.follows_reply() {
            return None;
        }
        waiting.take()
    }

    /// The next post, or `None` when the mailbox is closed.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Post>> {
        let mut waiting = self.0.lock();
        if let Some(post) = waiting.take() {
            return Poll::Ready(Some(post));
        }
        if waiting.closed {
            return Poll::Ready(None);
        }
        match &mut waiting.waker {
            // Which clones only a waker of another task.
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for the next post; `None` when the mailbox is closed.
    pub async fn next(&self) -> Option<Post> {
        poll_fn(|context| self.poll_next(context)).await
    }
}
