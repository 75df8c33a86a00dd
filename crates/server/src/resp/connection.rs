//! One connection's life: read, run, write.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use sangam_engine::Engine;
use sangam_engine::keyspace::{Busy, Keyspace};
use sangam_engine::session::Blocked;
use sangam_wire::resp::limits::QUERY_BUFFER_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::run::{Desk, Pause};
use super::{AHEAD_MAX, KEEP_MAX, OUT_HIGH, PUSH_MAX, READ_FIRST, READ_MIN, READ_SIZE};
use crate::listener::{Ends, Transport};

/// A connection; dropping it takes it off the engine's list.
pub(super) struct Connection<'e, S> {
    engine: &'e Engine,
    stream: S,
    desk: Desk,
    /// Cancelled when the server stops.
    stop: CancellationToken,
    /// Bytes of `desk.out` that were written.
    written: usize,
    /// Bytes that `desk.out` may have before the client is given up.
    ceiling: usize,
}

/// What a wait brought.
enum Arrival {
    /// Bytes were read.
    Bytes,
    /// Messages were put into the output.
    Pushes,
    /// The client closed its side.
    End,
    /// The mailbox was closed: the connection is to go.
    Dismissed,
}

impl<'e, S: Transport> Connection<'e, S> {
    pub(super) fn new(engine: &'e Engine, stream: S, ends: Ends, stop: CancellationToken) -> Self {
        let session = engine.connect(ends.remote.to_string(), ends.local.to_string());
        Connection {
            engine,
            stream,
            desk: Desk::new(session),
            stop,
            written: 0,
            ceiling: 0,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(&mut self) -> io::Result<()> {
        let mut need = 1;
        loop {
            let missing = std::mem::replace(&mut need, 1);
            self.make_room(missing)?;
            match self.wait().await? {
                Arrival::Bytes => match self.run_all().await? {
                    Some(more) => need = more,
                    None => break,
                },
                Arrival::Pushes => self.flush().await?,
                Arrival::End | Arrival::Dismissed => break,
            }
        }
        self.flush().await?;
        self.stream.shutdown().await
    }

    /// Runs every complete command and writes the replies. Answers how many
    /// bytes the next command lacks, or `None` when the connection is to end.
    async fn run_all(&mut self) -> io::Result<Option<usize>> {
        loop {
            let mut pause = self.desk.run(self.engine, None);
            if let Pause::Locked(keyspace) = pause {
                // What was answered so far must not wait for the lock.
                self.flush().await?;
                pause = wait_for_lock(self.engine, &keyspace, &mut self.desk).await;
            }
            match pause {
                Pause::Starved(need) => {
                    // The others that have something to read go first, so that
                    // a client of many connections wakes once for many replies.
                    tokio::task::yield_now().await;
                    self.flush().await?;
                    self.desk.shrink();
                    if self.desk.has_part() {
                        self.touch();
                    }
                    return Ok(Some(need));
                }
                Pause::Full => self.flush().await?,
                Pause::Turn => {
                    self.flush().await?;
                    tokio::task::yield_now().await;
                }
                Pause::Held(wait) => {
                    self.flush().await?;
                    let client = self.desk.session.client().clone();
                    client.set_blocked(true);
                    let goes_on = self.wait_until_unblocked(&Blocked::for_time(wait)).await;
                    client.set_blocked(false);
                    if !goes_on? {
                        return Ok(None);
                    }
                }
                Pause::Blocked(blocked) => {
                    self.flush().await?;
                    let client = self.desk.session.client().clone();
                    client.set_blocked(true);
                    let goes_on = self.wait_until_unblocked(&blocked).await;
                    client.touch(self.engine.now_micros());
                    client.set_blocked(false);
                    if !goes_on? {
                        return Ok(None);
                    }
                    let (reply, seq) = self.engine.blocked_reply(&blocked);
                    self.desk.answer_later(&reply, seq);
                }
                Pause::Locked(_) => tokio::task::yield_now().await,
                Pause::Closing => return Ok(None),
            }
        }
    }

    /// Room for `need` more bytes, or for as many as are worth a read. A client
    /// only gets as much more as it has already sent, whatever it announces.
    fn make_room(&mut self, need: usize) -> io::Result<()> {
        let desk = &mut self.desk;
        desk.discard_consumed();
        if desk.input.len() > QUERY_BUFFER_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "query buffer limit reached",
            ));
        }
        // Before authentication there is little to say, and many may connect.
        let (least, usual) = match desk.session.principal() {
            Some(_) => (READ_MIN, READ_SIZE),
            None => (READ_FIRST / 4, READ_FIRST),
        };
        let room = need.min(desk.input.len()).max(usual);
        if desk.input.capacity() - desk.input.len() < need.min(room).max(least) {
            desk.input.reserve(room);
        }
        Ok(())
    }

    fn touch(&self) {
        let client = self.desk.session.client();
        client.touch(self.engine.now_micros());
    }

    /// Waits for bytes or messages. Nothing is lost if it is dropped midway.
    async fn wait(&mut self) -> io::Result<Arrival> {
        poll_fn(|context| self.poll_arrival(true, context)).await
    }

    fn poll_arrival(
        &mut self,
        may_read: bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Arrival>> {
        let Connection { stream, desk, .. } = self;
        match desk.take_messages(OUT_HIGH, context) {
            Poll::Ready(true) => return Poll::Ready(Ok(Arrival::Pushes)),
            Poll::Ready(false) => return Poll::Ready(Ok(Arrival::Dismissed)),
            Poll::Pending => {}
        }
        if !may_read {
            return Poll::Pending;
        }
        let read = pin!(stream.read_buf(&mut desk.input));
        read.poll(context).map_ok(|count| match count {
            0 => Arrival::End,
            _ => Arrival::Bytes,
        })
    }

    /// Waits until a blocked session may have its reply; false where the client
    /// goes meanwhile. Its further commands are read and wait.
    async fn wait_until_unblocked(&mut self, blocked: &Blocked) -> io::Result<bool> {
        let engine = self.engine;
        let mut unblocked = pin!(engine.unblocked(blocked));
        let mut patience = pin!(async {
            match blocked.patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        });
        loop {
            let arrival = poll_fn(|context| {
                let over = unblocked.as_mut().poll(context).is_ready()
                    || patience.as_mut().poll(context).is_ready();
                if over {
                    return Poll::Ready(Ok(None));
                }
                let has_room = self.desk.input.len() < AHEAD_MAX;
                self.poll_arrival(has_room, context).map_ok(Some)
            })
            .await?;
            match arrival {
                None => return Ok(true),
                Some(Arrival::Bytes) => self.desk.input.reserve(READ_MIN),
                Some(Arrival::Pushes) => self.flush().await?,
                Some(Arrival::End | Arrival::Dismissed) => return Ok(false),
            }
        }
    }

    /// Writes what is in the output. While the client does not read, messages
    /// that come in are added.
    async fn flush(&mut self) -> io::Result<()> {
        if self.desk.out.is_empty() {
            return Ok(());
        }
        if self.engine.must_wait(self.desk.seq) {
            self.wait_until_durable().await?;
        }
        self.desk.wrote = false;
        self.ceiling = self.desk.out.len() + PUSH_MAX;
        poll_fn(|context| self.poll_flush(context)).await?;
        self.desk.out.clear();
        if self.desk.out.capacity() > KEEP_MAX {
            self.desk.out = Vec::with_capacity(READ_SIZE);
        }
        self.written = 0;
        Ok(())
    }

    /// Holds the output back until what it tells of is durable. If that fails,
    /// nobody knows which of its writes will be there after a restart: instead
    /// of their replies the client gets one error, and the connection ends.
    async fn wait_until_durable(&mut self) -> io::Result<()> {
        if self.engine.durable(self.desk.seq).await.is_ok() || !self.desk.wrote {
            return Ok(());
        }
        self.desk.out.clear();
        self.desk.write(&self.engine.lost_reply());
        self.stream.write_all(&self.desk.out).await?;
        self.stream.shutdown().await?;
        Err(io::Error::other("the journal failed"))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .desk
            .out
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut self.stream).poll_write(context, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => {
                    if self.written > 0 {
                        self.touch();
                    }
                    self.written += count;
                }
                Poll::Pending if self.desk.out.len() > self.ceiling => {
                    return Poll::Ready(Err(too_slow()));
                }
                Poll::Pending => match self.desk.take_messages(self.ceiling, context) {
                    Poll::Ready(true) => {}
                    // A stop closes mailboxes too, but what was answered goes out.
                    Poll::Ready(false) if !self.stop.is_cancelled() => {
                        return Poll::Ready(Err(too_slow()));
                    }
                    Poll::Ready(false) | Poll::Pending => return Poll::Pending,
                },
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S> Drop for Connection<'_, S> {
    fn drop(&mut self) {
        let nobody = self.engine.rest_session();
        self.engine
            .disconnect(std::mem::replace(&mut self.desk.session, nobody));
    }
}

/// Runs on with the lock once it is free; the command at the front gets BUSY
/// if a script holds it past its limit.
async fn wait_for_lock(engine: &Engine, keyspace: &Arc<Keyspace>, desk: &mut Desk) -> Pause {
    match engine.batch(keyspace).await {
        Ok(batch) => desk.run(engine, Some(batch)),
        Err(Busy) => desk.refuse_busy(),
    }
}

fn too_slow() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "closed, or does not read its messages",
    )
}

impl Desk {
    /// Puts waiting messages into the output until it has `limit` bytes.
    /// Answers false when the mailbox is closed.
    fn take_messages(&mut self, limit: usize, context: &mut Context<'_>) -> Poll<bool> {
        let mut any = false;
        loop {
            if self.out.len() > limit && any {
                return Poll::Ready(true);
            }
            match self.session.client().mailbox.poll_next(context) {
                Poll::Ready(Some(post)) => {
                    self.push(&post);
                    any = true;
                }
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending if any => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
