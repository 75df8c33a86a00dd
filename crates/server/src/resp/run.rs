//! From received bytes to replies in the output, without waiting for anything.
//!
//! The lock is held from the first command that needs it to the end of the
//! turn, and is never held where this returns.

use std::sync::Arc;
use std::time::Duration;

use sangam_engine::keyspace::Keyspace;
use sangam_engine::mailbox::Post;
use sangam_engine::session::{self, Blocked, Session};
use sangam_engine::{Batch, Engine, Reply, Seq};
use sangam_wire::Argv;
use sangam_wire::resp::{Decoded, Decoder, Protocol, encode};

use super::{KEEP_MAX, OUT_HIGH, READ_SIZE, TURN_COMMANDS, TURN_MICROS};

/// Why not all commands ran.
pub(super) enum Pause {
    /// The next command lacks at least this many bytes.
    Starved(usize),
    /// The command at the front needs the lock of this keyspace.
    Locked(Arc<Keyspace>),
    /// Replies have to be written first.
    Full,
    /// Others are to have the lock first.
    Turn,
    /// Commands are paused; worth asking again after this time.
    Held(Duration),
    /// The session waits for its reply.
    Blocked(Blocked),
    /// The connection is to end.
    Closing,
}

/// A session with its received bytes and its replies.
pub(super) struct Desk {
    pub(super) session: Session,
    /// The session's keyspace, apart from it so that the lock can be held
    /// while the session changes.
    keyspace: Option<Arc<Keyspace>>,
    pub(super) input: Vec<u8>,
    /// Bytes of `input` that were consumed.
    start: usize,
    pub(super) out: Vec<u8>,
    decoder: Decoder,
    /// The last write that the output may depend on, and whether one of its
    /// commands wrote.
    pub(super) seq: Seq,
    pub(super) wrote: bool,
}

impl Desk {
    pub(super) fn new(session: Session) -> Self {
        Desk {
            session,
            keyspace: None,
            input: Vec::new(),
            start: 0,
            out: Vec::new(),
            decoder: Decoder::new(),
            seq: Seq::default(),
            wrote: false,
        }
    }

    /// Runs commands until something stands in the way. `batch` is the lock,
    /// where the caller has waited for it.
    pub(super) fn run(&mut self, engine: &Engine, mut batch: Option<Batch<'_>>) -> Pause {
        loop {
            // AUTH, HELLO and RESET change it.
            if !same(self.keyspace.as_ref(), self.session.keyspace()) {
                self.keyspace = self.session.keyspace().cloned();
            }
            if let Some(pause) = self.turn(engine, batch.take()) {
                return pause;
            }
        }
    }

    /// One turn; `None` when the session's keyspace has changed.
    fn turn<'a>(&'a mut self, engine: &'a Engine, mut batch: Option<Batch<'a>>) -> Option<Pause> {
        let Desk {
            session,
            keyspace,
            input,
            start,
            out,
            decoder,
            seq,
            wrote,
        } = self;
        let mut began = batch.as_ref().map_or(0, Batch::clock_micros);
        let mut argv = Argv::new();
        let pause = 'turn: {
            for _ in 0..TURN_COMMANDS {
                let rest = input.get(*start..).unwrap_or_default();
                let authenticated = session.principal().is_some();
                let (consumed, quoted) = match decoder.decode(rest, authenticated, &mut argv) {
                    Ok(Decoded::Command { consumed }) => (consumed, Vec::new()),
                    Ok(Decoded::Quoted { consumed, args }) => (consumed, args),
                    Ok(Decoded::Incomplete { consumed, need }) => {
                        *start += consumed;
                        break 'turn Some(Pause::Starved(need));
                    }
                    Err(error) => {
                        if session.wants_reply() {
                            error.write_reply(out);
                        }
                        break 'turn Some(Pause::Closing);
                    }
                };
                let words: Argv<'_>;
                let argv = if quoted.is_empty() {
                    argv.as_slice()
                } else {
                    words = quoted.iter().map(Vec::as_slice).collect();
                    words.as_slice()
                };
                if let Some(wait) = engine.paused(session, argv) {
                    break 'turn Some(Pause::Held(wait));
                }
                let listening = Listening::of(session);
                let reply = match &mut batch {
                    Some(batch) if batch.serves(session) => {
                        deliver_waiting(session, out);
                        batch.run(session, argv)
                    }
                    _ => {
                        if !same(keyspace.as_ref(), session.keyspace()) {
                            break 'turn None;
                        }
                        batch = keyspace
                            .as_ref()
                            .and_then(|keyspace| engine.try_batch(keyspace));
                        match &mut batch {
                            Some(batch) => {
                                began = batch.clock_micros();
                                deliver_waiting(session, out);
                                batch.run(session, argv)
                            }
                            None => match engine.call_unlocked(session, argv) {
                                Some(reply) => reply,
                                None => {
                                    break 'turn Some(
                                        keyspace.clone().map_or(Pause::Turn, Pause::Locked),
                                    );
                                }
                            },
                        }
                    }
                };
                *start += consumed;
                if let Some(blocked) = session.take_blocked() {
                    break 'turn Some(Pause::Blocked(blocked));
                }
                deliver_before(session, &listening, out);
                if session.wants_reply() || is_push(&reply) {
                    encode(&reply, protocol(session), out);
                }
                // What it changed itself, in the same write as its reply.
                deliver_waiting(session, out);
                if session.is_closing() {
                    break 'turn Some(Pause::Closing);
                }
                if out.len() > OUT_HIGH {
                    break 'turn Some(Pause::Full);
                }
                if let Some(batch) = &batch
                    && batch.clock_micros().saturating_sub(began) > TURN_MICROS
                {
                    break;
                }
            }
            Some(Pause::Turn)
        };
        if let Some(batch) = &batch {
            *seq = batch.seq();
            *wrote |= batch.wrote();
        }
        pause
    }

    /// Answers the command at the front with BUSY.
    pub(super) fn refuse_busy(&mut self) -> Pause {
        let rest = self.input.get(self.start..).unwrap_or_default();
        let authenticated = self.session.principal().is_some();
        let mut argv = Argv::new();
        let (consumed, reply) = match self.decoder.decode(rest, authenticated, &mut argv) {
            Ok(Decoded::Command { consumed }) => {
                (consumed, Engine::refuse_busy(&mut self.session, &argv))
            }
            Ok(Decoded::Quoted { consumed, args }) => {
                let argv: Argv<'_> = args.iter().map(Vec::as_slice).collect();
                (consumed, Engine::refuse_busy(&mut self.session, &argv))
            }
            Ok(Decoded::Incomplete { need, .. }) => return Pause::Starved(need),
            Err(error) => {
                if self.session.wants_reply() {
                    error.write_reply(&mut self.out);
                }
                return Pause::Closing;
            }
        };
        drop(argv);
        self.start += consumed;
        self.answer(&reply);
        Pause::Turn
    }

    /// Puts a post into the output.
    pub(super) fn push(&mut self, post: &Post) {
        Listening::of(&self.session).push(post, &mut self.out);
    }

    /// Puts the reply to a command into the output, unless it is not wanted.
    pub(super) fn answer(&mut self, reply: &Reply) {
        if self.session.wants_reply() || is_push(reply) {
            self.write(reply);
        }
    }

    /// The reply of a session that was blocked; `seq` is the last write that it
    /// tells of.
    pub(super) fn answer_later(&mut self, reply: &Reply, seq: Seq) {
        if seq > self.seq {
            self.seq = seq;
            self.wrote = true;
        }
        self.answer(reply);
    }

    pub(super) fn write(&mut self, reply: &Reply) {
        encode(reply, protocol(&self.session), &mut self.out);
    }

    /// Moves what was not consumed to the front, if that makes room worth it.
    pub(super) fn discard_consumed(&mut self) {
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        } else if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
    }

    /// Whether a part of a command waits for the rest.
    pub(super) fn has_part(&self) -> bool {
        self.start < self.input.len()
    }

    /// Gives back a large buffer that is empty.
    pub(super) fn shrink(&mut self) {
        if self.start == self.input.len() && self.input.capacity() > KEEP_MAX {
            self.input = Vec::with_capacity(READ_SIZE);
            self.start = 0;
        }
    }
}

/// What a session is told unasked, and how.
struct Listening {
    subscriptions: usize,
    monitoring: bool,
    protocol: session::Protocol,
}

impl Listening {
    fn of(session: &Session) -> Self {
        Listening {
            subscriptions: session.subscriptions(),
            monitoring: session.is_monitoring(),
            protocol: session.protocol,
        }
    }

    fn push(&self, post: &Post, out: &mut Vec<u8>) {
        if let Some(reply) = post.to_reply(self.protocol, self.subscriptions > 0) {
            encode(&reply, wire(self.protocol), out);
        }
    }
}

/// Puts what a client that caches was told so far into the output: before a command
/// runs, whose reply may show the new values, and behind its reply. A client that has
/// read one write of ours has so read all that its cache lost. To be called under
/// the lock.
fn deliver_waiting(session: &Session, out: &mut Vec<u8>) {
    if session.hears_of_changes() {
        let listening = Listening::of(session);
        while let Some(post) = session.client().mailbox.try_next() {
            listening.push(&post, out);
        }
    }
}

/// Puts the messages of subscriptions that a command found before those of its
/// reply, as they came: a client that reads that it is no longer subscribed
/// gets none after that, and RESP2 could not tell one from a reply. A command
/// that subscribes leaves them where they are, since messages to its own
/// channels may be among them. The same goes for a monitor that is none any more.
fn deliver_before(session: &Session, before: &Listening, out: &mut Vec<u8>) {
    let listens = before.subscriptions > 0 && session.subscriptions() <= before.subscriptions;
    if listens || session.hears_of_changes() || before.monitoring && !session.is_monitoring() {
        while let Some(post) = session.client().mailbox.try_next_before_reply() {
            before.push(&post, out);
        }
    }
}

/// Whether it is told even to those who do without replies.
fn is_push(reply: &Reply) -> bool {
    match reply {
        Reply::Push(_) => true,
        Reply::Many(replies) => replies.iter().any(is_push),
        _ => false,
    }
}

fn same(one: Option<&Arc<Keyspace>>, other: Option<&Arc<Keyspace>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn protocol(session: &Session) -> Protocol {
    wire(session.protocol)
}

fn wire(protocol: session::Protocol) -> Protocol {
    match protocol {
        session::Protocol::Resp2 => Protocol::Resp2,
        session::Protocol::Resp3 => Protocol::Resp3,
    }
}
