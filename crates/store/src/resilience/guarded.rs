//! A back end over a network, guarded.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sangam_engine::Reply;
use sangam_engine::clock::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ServerClock;
use super::backoff::Backoff;
use super::breaker::Breaker;
use super::gate::{Gate, Pass};
use super::state::{Counters, Metrics, State, Status};
use crate::backend::{Coming, Failure, Listener, Remote, Sent};
use crate::commands::Commands;
use crate::error::{Error, Why, checked};
use crate::kind::Kind;
use crate::options::Options;

/// What a server says that cannot serve now, and Upstash of a plan that is used up:
/// the command had no effect. The words are the server's own, so that a script's own
/// error with such a code is not taken for one.
const REFUSING: &[&[u8]] = &[
    b"LOADING Redis is loading the dataset in memory",
    b"BUSY Redis is busy running a script.",
    b"BUSY Redis is busy running a function.",
    b"CLUSTERDOWN The cluster is down",
    b"CLUSTERDOWN Hash slot not served",
    b"MASTERDOWN Link with MASTER is down",
    b"TRYAGAIN Multiple keys request during rehashing of slot",
    b"READONLY You can't write against a read only replica.",
    b"ERR max requests limit exceeded",
    b"ERR max daily request limit exceeded",
    b"ERR This database has been suspended",
    b"ERR max concurrent connections exceeded",
];

pub(crate) struct Guarded {
    pub(crate) remote: Box<dyn Remote>,
    pub(crate) options: Options,
    pub(crate) clock: ServerClock,
    place: String,
    gate: Gate,
    breaker: Breaker,
    counters: Counters,
    state: watch::Sender<State>,
    /// Of this very value, for its tasks.
    this: Weak<Guarded>,
}

impl Guarded {
    /// Takes a back end; its clock and, where it is down, its probes run as long
    /// as the value lives.
    pub(crate) fn new(
        remote: Box<dyn Remote>,
        place: String,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let clock = ServerClock::new(clock);
        let (state, _) = watch::channel(State {
            status: Status::Up,
            reason: String::new(),
            since_ms: clock.local_micros() / 1000,
        });
        let guarded = Arc::new_cyclic(|this| Guarded {
            gate: Gate::new(options.queue_calls, options.queue_bytes),
            breaker: Breaker::new(options.breaker_failures),
            counters: Counters::default(),
            remote,
            options,
            clock,
            place,
            state,
            this: this.clone(),
        });
        tokio::spawn(keep_clock(Arc::downgrade(&guarded)));
        guarded
    }

    /// Looks whether the store is there. What does not heal by itself is an
    /// error; a store that cannot be reached is `down`, and probed from now on.
    pub(crate) async fn greet(&self) -> Result<(), Error> {
        match self.ask().await {
            Ok(()) => {
                self.read_clock().await;
                Ok(())
            }
            Err(Failure::Setting(text)) => Err(Error::Setting(text)),
            Err(failure) => {
                if self.breaker.trip() {
                    self.opened(reason(&failure));
                }
                Ok(())
            }
        }
    }

    pub(crate) async fn call(&self, argv: &[&[u8]]) -> Result<Reply, Error> {
        let kind = Kind::of(argv);
        let bytes = argv.iter().map(|arg| arg.len()).sum();
        let pass = self.enter(bytes)?;
        let repeatable = kind == Kind::Read;
        let mut deadline = Some(Instant::now() + self.options.command_timeout);
        if kind == Kind::Blocking {
            // One that lies beyond what a clock can say is none.
            deadline = block_time(argv)
                .and_then(|wait| wait.checked_add(self.options.command_timeout))
                .and_then(|wait| Instant::now().checked_add(wait));
        }
        let outcome = self
            .attempts(deadline, repeatable, Work::Command(kind, argv))
            .await;
        drop(pass);
        self.count(&outcome);
        outcome.and_then(checked)
    }

    pub(crate) async fn pipeline(&self, commands: &Commands) -> Vec<Result<Reply, Error>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let all = |error: Error| vec![Err(error); commands.len()];
        let pass = match self.enter(commands.bytes()) {
            Ok(pass) => pass,
            Err(error) => return all(error),
        };
        if let Err(why) = self.admit() {
            let error = Error::Unavailable(why);
            Counters::add(&self.counters.unavailable);
            return all(error);
        }
        let sent = Sent::default();
        let began = Instant::now();
        let wait = timeout(
            self.options.command_timeout,
            self.remote.pipeline(commands, &sent),
        );
        let outcomes = wait.await.unwrap_or_else(|_| {
            let failure = self.timed_out(&sent);
            vec![Err(failure); commands.len()]
        });
        drop(pass);
        let took = began.elapsed();
        let broken = outcomes.iter().find_map(|it| it.as_ref().err().cloned());
        let judged: Vec<_> = commands
            .iter()
            .zip(outcomes)
            .map(|(argv, outcome)| match outcome {
                Ok(reply) => checked(reply).map_err(refusing),
                Err(failure) => Err(judge(failure, Kind::of(&argv) == Kind::Read)),
            })
            .collect();
        let refused = |it: &&Result<Reply, Error>| is_refusing(it);
        // A cluster that lacks one of its masters is not down.
        let served = judged.iter().any(Result::is_ok);
        match (broken, judged.iter().find(refused).or(judged.first())) {
            (Some(_), _) if served => self.succeeded(None),
            (Some(failure), _) => self.failed(&failure),
            (None, Some(outcome)) => self.heard(outcome, Some(took)),
            (None, None) => {}
        }
        let worst = judged.iter().find_map(|it| match it {
            Err(error @ Error::Indeterminate(_)) => Some(error),
            _ => None,
        });
        let worst = worst.or_else(|| judged.iter().find_map(|it| it.as_ref().err()));
        match worst {
            Some(error) => self.count_error(error),
            None => Counters::add(&self.counters.answered),
        }
        judged
    }

    pub(crate) async fn transaction(
        &self,
        commands: &Commands,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let pass = self.enter(commands.bytes())?;
        let repeatable = commands.iter().all(|argv| Kind::of(&argv) == Kind::Read);
        let deadline = Instant::now() + self.options.command_timeout;
        let outcome = self
            .attempts(Some(deadline), repeatable, Work::Transaction(commands))
            .await;
        drop(pass);
        self.count(&outcome);
        match checked(outcome?)?.unpacked() {
            Reply::Array(replies) => Ok(replies.into_iter().map(checked).collect()),
            other => Err(Error::Reply(format!("an array of replies, not {other:?}"))),
        }
    }

    /// Whether the store answers now, within its time-out.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        if let Err(why) = self.admit() {
            return Err(Error::Unavailable(why));
        }
        let began = Instant::now();
        match self.ask().await {
            Ok(()) => {
                self.succeeded(Some(began.elapsed()));
                Ok(())
            }
            Err(failure) => {
                self.failed(&failure);
                Err(judge(failure, true))
            }
        }
    }

    /// A connection for messages, within the time for it.
    pub(crate) async fn listen(&self) -> Result<Box<dyn Listener>, Failure> {
        let limit = self.options.connect_timeout;
        let outcome = timeout(limit, self.remote.listen()).await;
        outcome.unwrap_or(Err(Failure::NotSent(Why::Timeout(limit))))
    }

    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.counters.snapshot(self.gate.calls())
    }

    /// Until the breaker is closed.
    #[cfg(test)]
    pub(crate) async fn until_closed(&self) {
        let mut states = self.states();
        while self.breaker.is_open() {
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tries until there is a reply, an effect is possible, or the time is over.
    async fn attempts(
        &self,
        deadline: Option<Instant>,
        repeatable: bool,
        work: Work<'_>,
    ) -> Result<Reply, Error> {
        let mut backoff = Backoff::new(self.options.backoff_min, self.options.backoff_max);
        let mut left = self.options.retries;
        loop {
            if !work.is_cure() {
                self.admit().map_err(Error::Unavailable)?;
            }
            let sent = Sent::default();
            let began = Instant::now();
            let running = work.run(&*self.remote, &sent);
            let outcome = match deadline {
                Some(deadline) => match timeout_at(deadline, running).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(self.timed_out(&sent)),
                },
                None => running.await,
            };
            let error = match outcome {
                Ok(reply) => {
                    let outcome = checked(reply).map_err(refusing);
                    self.heard(&outcome, work.latency(began));
                    match outcome {
                        Ok(reply) => return Ok(reply),
                        Err(error) => error,
                    }
                }
                Err(failure) => {
                    self.failed(&failure);
                    judge(failure, repeatable)
                }
            };
            let wait = backoff.wait();
            let in_time = deadline.is_none_or(|deadline| Instant::now() + wait < deadline);
            if !matches!(error, Error::Unavailable(_)) || left == 0 || !in_time {
                return Err(error);
            }
            left -= 1;
            Counters::add(&self.counters.repeated);
            sleep(wait).await;
        }
    }

    fn enter(&self, bytes: usize) -> Result<Pass<'_>, Error> {
        self.gate.enter(bytes).map_err(|why| {
            Counters::add(&self.counters.unavailable);
            Error::Unavailable(why)
        })
    }

    fn admit(&self) -> Result<(), Why> {
        if self.breaker.is_open() {
            return Err(Why::Open(self.state.borrow().reason.clone()));
        }
        Ok(())
    }

    fn timed_out(&self, sent: &Sent) -> Failure {
        let why = Why::Timeout(self.options.command_timeout);
        if sent.is_set() {
            Failure::Lost(why)
        } else {
            Failure::NotSent(why)
        }
    }

    /// Takes an answer into account: of a store that serves, or of one that says
    /// it cannot.
    fn heard(&self, outcome: &Result<Reply, Error>, latency: Option<Duration>) {
        match outcome {
            Err(Error::Unavailable(why)) => self.failed(&Failure::NotSent(why.clone())),
            _ => self.succeeded(latency),
        }
    }

    /// The store served; how long that took, unless the command waited by itself.
    fn succeeded(&self, latency: Option<Duration>) {
        self.breaker.succeeded();
        let Some(latency) = latency else {
            return;
        };
        let mean = self.counters.latency(latency.as_micros() as u64);
        let slow = self.options.slow_after.as_micros() as u64;
        let status = self.state.borrow().status;
        if status == Status::Up && mean > slow {
            let reason = format!("a reply takes {} ms on average", mean / 1000);
            self.pass(Status::Up, Status::Slow, reason);
        } else if status == Status::Slow && mean < slow / 2 {
            self.pass(Status::Slow, Status::Up, String::new());
        }
    }

    fn failed(&self, failure: &Failure) {
        if !matches!(failure, Failure::Unsupported(_)) && self.breaker.failed() {
            self.opened(reason(failure));
        }
    }

    /// The breaker was opened: says so, and begins to probe.
    fn opened(&self, reason: String) {
        Counters::add(&self.counters.opened);
        tracing::warn!(store = %self.place, "the store is down: {reason}");
        self.set(Status::Down, reason);
        tokio::spawn(probe(self.this.clone()));
    }

    fn set(&self, status: Status, reason: String) {
        let now = self.clock.local_micros() / 1000;
        self.state
            .send_modify(|state| state.turn(status, reason, now));
    }

    /// From one status to another, unless it is a third one by now.
    fn pass(&self, from: Status, to: Status, reason: String) {
        let now = self.clock.local_micros() / 1000;
        self.state.send_if_modified(|state| {
            let is_so = state.status == from;
            if is_so {
                state.turn(to, reason, now);
            }
            is_so
        });
    }

    /// A probe was answered. Who opens the breaker again says so after this.
    fn recovered(&self) {
        let now = self.clock.local_micros() / 1000;
        self.state.send_modify(|state| {
            self.breaker.close();
            state.turn(Status::Up, String::new(), now);
        });
    }

    async fn ask(&self) -> Result<(), Failure> {
        let limit = self.options.connect_timeout;
        let outcome = timeout(limit, self.remote.ping()).await;
        outcome.unwrap_or(Err(Failure::NotSent(Why::Timeout(limit))))
    }

    async fn read_clock(&self) {
        let limit = self.options.command_timeout;
        if let Ok(Ok(sample)) = timeout(limit, self.remote.clock()).await {
            self.clock.seen(sample);
        }
    }

    fn count(&self, outcome: &Result<Reply, Error>) {
        match outcome {
            Ok(_) => Counters::add(&self.counters.answered),
            Err(error) => self.count_error(error),
        }
    }

    fn count_error(&self, error: &Error) {
        Counters::add(match error {
            Error::Indeterminate(_) => &self.counters.indeterminate,
            Error::Command(_) | Error::Reply(_) => &self.counters.answered,
            _ => &self.counters.unavailable,
        });
    }
}

/// What an attempt sends.
#[derive(Clone, Copy)]
enum Work<'a> {
    Command(Kind, &'a [&'a [u8]]),
    Transaction(&'a Commands),
}

impl<'a> Work<'a> {
    /// Whether it ends what keeps the store from serving: it is sent to one that is
    /// down, too.
    fn is_cure(self) -> bool {
        let Work::Command(_, [name, what]) = self else {
            return false;
        };
        what.eq_ignore_ascii_case(b"kill")
            && (name.eq_ignore_ascii_case(b"script") || name.eq_ignore_ascii_case(b"function"))
    }

    /// How long it took, where that says something of the store.
    fn latency(self, began: Instant) -> Option<Duration> {
        (!matches!(self, Work::Command(Kind::Blocking, _))).then(|| began.elapsed())
    }

    fn run(self, remote: &'a dyn Remote, sent: &'a Sent) -> Coming<'a, Result<Reply, Failure>> {
        match self {
            Work::Command(Kind::Blocking, argv) => remote.call_blocking(argv, sent),
            Work::Command(_, argv) => remote.call(argv, sent),
            Work::Transaction(commands) => remote.transaction(commands, sent),
        }
    }
}

/// What a failure means to the caller of a command.
fn judge(failure: Failure, repeatable: bool) -> Error {
    match failure {
        Failure::Lost(why) if !repeatable => Error::Indeterminate(why),
        Failure::Lost(why) | Failure::NotSent(why) => Error::Unavailable(why),
        Failure::Setting(text) => Error::Setting(text),
        Failure::Unsupported(text) => Error::Unsupported(text),
    }
}

/// A store's error that says it cannot serve now is no answer to the command.
fn refusing(error: Error) -> Error {
    let Error::Command(refusal) = &error else {
        return error;
    };
    let text = refusal.as_bytes();
    if REFUSING.iter().any(|refusal| text.starts_with(refusal)) {
        return Error::Unavailable(Why::Refusing(refusal.to_string()));
    }
    error
}

fn is_refusing(outcome: &Result<Reply, Error>) -> bool {
    matches!(outcome, Err(Error::Unavailable(Why::Refusing(_))))
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(why) | Failure::Lost(why) => why.to_string(),
        Failure::Setting(text) | Failure::Unsupported(text) => text.clone(),
    }
}

/// How long a blocking command may wait by itself; `None` without limit.
fn block_time(argv: &[&[u8]]) -> Option<Duration> {
    let name = argv
        .first()
        .copied()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let number = |arg: Option<&&[u8]>| -> Option<f64> {
        let value: f64 = std::str::from_utf8(arg?).ok()?.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(value)
    };
    let seconds = match name.as_slice() {
        b"xread" | b"xreadgroup" => {
            let at = argv
                .iter()
                .position(|arg| arg.eq_ignore_ascii_case(b"block"))?;
            number(argv.get(at + 1)).map(|millis| millis / 1000.0)
        }
        b"blmpop" | b"bzmpop" => number(argv.get(1)),
        b"wait" | b"waitaof" => number(argv.last()).map(|millis| millis / 1000.0),
        _ => number(argv.last()),
    };
    // What is no number comes back as an error at once.
    let seconds = seconds.unwrap_or(1.0);
    (seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

/// Asks an unreachable store until it answers.
async fn probe(guarded: Weak<Guarded>) {
    let Some(mut backoff) = guarded
        .upgrade()
        .map(|guarded| Backoff::new(guarded.options.backoff_min, guarded.options.backoff_max))
    else {
        return;
    };
    loop {
        sleep(backoff.wait()).await;
        let Some(guarded) = guarded.upgrade() else {
            return;
        };
        match guarded.ask().await {
            Ok(()) => {
                guarded.recovered();
                tracing::info!(store = %guarded.place, "the store answers again");
                guarded.read_clock().await;
                return;
            }
            Err(failure) => guarded.set(Status::Down, reason(&failure)),
        }
    }
}

/// Reads the server's clock now and then.
async fn keep_clock(guarded: Weak<Guarded>) {
    loop {
        let Some(every) = guarded.upgrade().map(|it| it.options.clock_every) else {
            return;
        };
        sleep(every).await;
        let Some(guarded) = guarded.upgrade() else {
            return;
        };
        if !guarded.breaker.is_open() {
            guarded.read_clock().await;
        }
    }
}
