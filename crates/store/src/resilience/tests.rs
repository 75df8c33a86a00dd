//! Calls, breaker and state over a back end that does as it is told, on a clock
//! that jumps.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sangam_engine::Reply;
use sangam_engine::clock::ManualClock;
use sangam_engine::pubsub::{Message, Topic};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Guarded, Status};
use crate::backend::{ClockSample, Coming, Failure, Listener, Remote, Sent};
use crate::commands::Commands;
use crate::error::{Error, Why};
use crate::options::Options;
use crate::subscribe::{Event, Gap, Hub};

/// What happens to the next command, or ping.
#[derive(Clone)]
enum Next {
    Answer(Reply),
    After(Duration, Reply),
    NotSent,
    Lost,
    SilentBefore,
    SilentAfter,
}

#[derive(Clone, Default)]
struct Puppet(Arc<Strings>);

#[derive(Default)]
struct Strings {
    /// What a listener hears, where there is one.
    messages: Mutex<Option<mpsc::UnboundedReceiver<Message>>>,
    next: Mutex<VecDeque<Next>>,
    calls: AtomicUsize,
    pings: AtomicUsize,
    /// Whether pings are answered.
    alive: Mutex<bool>,
}

impl Puppet {
    fn will(&self, next: impl IntoIterator<Item = Next>) {
        self.0.next.lock().extend(next);
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    async fn act(&self, sent: &Sent) -> Result<Reply, Failure> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let next = self.0.next.lock().pop_front();
        match next.unwrap_or(Next::Answer(Reply::OK)) {
            Next::Answer(reply) => {
                sent.set();
                Ok(reply)
            }
            Next::After(wait, reply) => {
                sent.set();
                sleep(wait).await;
                Ok(reply)
            }
            Next::NotSent => Err(Failure::NotSent(refused())),
            Next::Lost => {
                sent.set();
                Err(Failure::Lost(refused()))
            }
            Next::SilentBefore => std::future::pending().await,
            Next::SilentAfter => {
                sent.set();
                std::future::pending().await
            }
        }
    }
}

fn refused() -> Why {
    Why::Connect {
        place: "here".to_owned(),
        reason: "refused".to_owned(),
    }
}

impl Remote for Puppet {
    fn call<'a>(&'a self, _: &'a [&'a [u8]], sent: &'a Sent) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(self.act(sent))
    }

    fn call_blocking<'a>(
        &'a self,
        _: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(self.act(sent))
    }

    fn pipeline<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Vec<Result<Reply, Failure>>> {
        Box::pin(async move {
            let mut replies = Vec::new();
            for _ in 0..commands.len() {
                replies.push(self.act(sent).await);
            }
            replies
        })
    }

    fn transaction<'a>(
        &'a self,
        _: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(self.act(sent))
    }

    fn listen(&self) -> Coming<'_, Result<Box<dyn Listener>, Failure>> {
        Box::pin(async {
            match self.0.messages.lock().take() {
                Some(messages) => Ok(Box::new(Ear(messages)) as Box<dyn Listener>),
                None => Err(Failure::Unsupported("no messages here".to_owned())),
            }
        })
    }

    fn ping(&self) -> Coming<'_, Result<(), Failure>> {
        Box::pin(async {
            self.0.pings.fetch_add(1, Ordering::Relaxed);
            let alive = *self.0.alive.lock();
            if alive {
                return Ok(());
            }
            Err(Failure::NotSent(refused()))
        })
    }

    fn clock(&self) -> Coming<'_, Result<ClockSample, Failure>> {
        Box::pin(async { Ok(ClockSample { min: 70, max: 80 }) })
    }
}

/// Hears what it is told to.
struct Ear(mpsc::UnboundedReceiver<Message>);

impl Listener for Ear {
    fn subscribe<'a>(&'a mut self, _: Topic, _: &'a [u8]) -> Coming<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn unsubscribe<'a>(&'a mut self, _: Topic, _: &'a [u8]) -> Coming<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn next(&mut self) -> Coming<'_, Result<Message, Failure>> {
        Box::pin(async { self.0.recv().await.ok_or(Failure::Lost(refused())) })
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_is_told_even_when_nothing_follows() {
    let (puppet, store) = guarded();
    let (speak, messages) = mpsc::unbounded_channel();
    *puppet.0.messages.lock() = Some(messages);
    let hub = Hub::default();
    let mut slow = hub
        .subscribe(&store, Topic::Channel, &[b"c"])
        .await
        .unwrap();
    let room = store.options.subscriber_queue as u64;
    for _ in 0..room + 7 {
        let message = Message {
            pattern: None,
            channel: b"c".as_slice().into(),
            payload: b"x".as_slice().into(),
        };
        speak.send(message).unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    for _ in 0..room {
        assert!(matches!(slow.next().await, Some(Event::Message(_))));
    }
    assert_eq!(slow.next().await, Some(Event::Gap(Gap::Lagged(7))));

    // The store's end is the stream's.
    drop(store);
    assert_eq!(slow.next().await, None);
}

fn guarded() -> (Puppet, Arc<Guarded>) {
    let puppet = Puppet::default();
    *puppet.0.alive.lock() = true;
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = Options {
        breaker_failures: 3,
        retries: 1,
        queue_calls: 2,
        ..Options::default()
    };
    let place = "redis://here".to_owned();
    (
        puppet.clone(),
        Guarded::new(Box::new(puppet), place, options, clock),
    )
}

const GET: &[&[u8]] = &[b"GET", b"k"];
const INCR: &[&[u8]] = &[b"INCR", b"k"];

#[tokio::test(start_paused = true)]
async fn only_what_had_no_effect_is_repeated() {
    let (puppet, store) = guarded();
    puppet.will([Next::NotSent, Next::Answer(Reply::Int(1))]);
    assert_eq!(store.call(INCR).await, Ok(Reply::Int(1)));
    assert_eq!(puppet.calls(), 2);

    puppet.will([Next::Lost]);
    assert_eq!(store.call(INCR).await, Err(Error::Indeterminate(refused())));
    assert_eq!(puppet.calls(), 3);

    puppet.will([Next::Lost, Next::Answer(Reply::Null)]);
    assert_eq!(store.call(GET).await, Ok(Reply::Null));
    assert_eq!(puppet.calls(), 5);

    // A script's own error is an answer.
    puppet.will([Next::Answer(Reply::error("BUSY with something else"))]);
    let own = store.call(&[b"EVAL", b"return 1", b"0"]).await;
    assert_eq!(own.unwrap_err().code(), Some("BUSY"));
    assert_eq!(puppet.calls(), 6);

    let loading = Reply::error("LOADING Redis is loading the dataset in memory");
    puppet.will([Next::Answer(loading), Next::Answer(Reply::Int(2))]);
    assert_eq!(store.call(INCR).await, Ok(Reply::Int(2)));
    assert_eq!(store.metrics().repeated, 3);
    assert_eq!(store.metrics().indeterminate, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_in_its_time_and_knows_whether_it_left() {
    let (puppet, store) = guarded();
    let limit = store.options.command_timeout;
    for (next, argv, unknown) in [
        (Next::SilentBefore, INCR, false),
        (Next::SilentAfter, INCR, true),
        (Next::SilentAfter, GET, false),
    ] {
        puppet.will([next]);
        let began = Instant::now();
        let error = store.call(argv).await.unwrap_err();
        assert_eq!(began.elapsed(), limit);
        let why = Why::Timeout(limit);
        let expected = if unknown {
            Error::Indeterminate(why)
        } else {
            Error::Unavailable(why)
        };
        assert_eq!(error, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn blocking_commands_get_their_own_time_on_top() {
    let (puppet, store) = guarded();
    let limit = store.options.command_timeout;
    for (argv, wait) in [
        (&[&b"BLPOP"[..], b"a", b"7"][..], 7),
        (&[b"BLMPOP", b"2.0", b"1", b"a", b"LEFT"], 2),
        (&[b"XREAD", b"BLOCK", b"5000", b"STREAMS", b"s", b"$"], 5),
    ] {
        puppet.will([Next::SilentAfter]);
        let began = Instant::now();
        assert!(store.call(argv).await.is_err());
        assert_eq!(began.elapsed(), limit + Duration::from_secs(wait));
        store.ping().await.unwrap();
    }
    puppet.will(vec![Next::After(Duration::from_hours(1), Reply::Int(5)); 2]);
    let beyond = store.call(&[b"BLPOP", b"a", b"1e19"]).await;
    assert_eq!(beyond, Ok(Reply::Int(5)), "no clock says so far");
    let forever = store.call(&[b"BLPOP", b"a", b"0"]).await;
    assert_eq!(forever, Ok(Reply::Int(5)));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_fails_fast_and_closes_by_a_probe() {
    let (puppet, store) = guarded();
    let mut states = store.states();
    *puppet.0.alive.lock() = false;
    puppet.will([Next::NotSent, Next::NotSent, Next::NotSent]);
    assert!(store.call(INCR).await.is_err());
    assert_eq!(states.borrow_and_update().status, Status::Up);
    let error = store.call(INCR).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let state = states.borrow_and_update().clone();
    assert_eq!(state.status, Status::Down);
    assert_eq!(state.reason, "cannot connect to here: refused");
    assert_eq!(state.since_ms, 1000);

    let calls = puppet.calls();
    let began = Instant::now();
    assert!(matches!(
        store.call(INCR).await,
        Err(Error::Unavailable(Why::Open(_)))
    ));
    assert_eq!((puppet.calls(), began.elapsed()), (calls, Duration::ZERO));

    sleep(Duration::from_mins(1)).await;
    let probes = puppet.0.pings.load(Ordering::Relaxed);
    assert!((12..40).contains(&probes), "{probes} probes in a minute");
    *puppet.0.alive.lock() = true;
    store.until_closed().await;
    assert!(began.elapsed() <= Duration::from_secs(66));
    assert_eq!(states.borrow_and_update().status, Status::Up);
    assert_eq!(store.call(INCR).await, Ok(Reply::OK));
    assert_eq!(store.metrics().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_only_refuses_is_down() {
    let (puppet, store) = guarded();
    *puppet.0.alive.lock() = false;
    let quota = "ERR max requests limit exceeded. Limit: 500000, Usage: 500000.";
    puppet.will(vec![Next::Answer(Reply::error(quota)); 3]);
    let mut commands = Commands::new();
    commands.push(INCR);
    for _ in 0..3 {
        let replies = store.pipeline(&commands).await;
        assert!(matches!(
            replies[0],
            Err(Error::Unavailable(Why::Refusing(_)))
        ));
    }
    let state = store.states().borrow().clone();
    assert_eq!(state.status, Status::Down);
    assert!(
        state.reason.contains("max requests limit"),
        "{}",
        state.reason
    );
    let calls = puppet.calls();
    assert!(store.call(GET).await.is_err());
    assert_eq!(puppet.calls(), calls, "nothing more is spent on it");
    let cure: &[&[u8]] = &[b"SCRIPT", b"KILL"];
    assert_eq!(
        store.call(cure).await,
        Ok(Reply::OK),
        "but what may help is sent"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_others_is_not_slow() {
    let (puppet, store) = guarded();
    puppet.will([Next::After(Duration::from_mins(5), Reply::Null)]);
    store.call(&[b"BLPOP", b"list", b"0"]).await.unwrap();
    assert_eq!(store.states().borrow().status, Status::Up);
    assert_eq!(store.metrics().latency_us, 0);
}

#[tokio::test(start_paused = true)]
async fn late_replies_make_it_slow_and_early_ones_up_again() {
    let (puppet, store) = guarded();
    let late = Next::After(Duration::from_secs(1), Reply::OK);
    puppet.will([late.clone(), late.clone(), late]);
    for _ in 0..3 {
        store.call(INCR).await.unwrap();
    }
    let state = store.states().borrow().clone();
    assert_eq!(state.status, Status::Slow);
    assert!(state.reason.contains("on average"), "{}", state.reason);
    for _ in 0..20 {
        store.call(INCR).await.unwrap();
    }
    assert_eq!(store.states().borrow().status, Status::Up);
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_refused_at_once() {
    let (puppet, store) = guarded();
    puppet.will([Next::SilentAfter, Next::SilentAfter]);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.call(GET).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let error = store.call(GET).await.unwrap_err();
    assert_eq!(error, Error::Unavailable(Why::Full { calls: 2 }));
    for call in waiting {
        call.abort();
        let _ = call.await;
    }
    assert_eq!(
        store.call(GET).await,
        Ok(Reply::OK),
        "who gave up left its place"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_judges_each_command_by_itself() {
    let (puppet, store) = guarded();
    let mut commands = Commands::new();
    commands.push(INCR).push(GET).push(INCR).push(GET);
    puppet.will([Next::Answer(Reply::Int(1)), Next::Lost, Next::Lost]);
    let replies = store.pipeline(&commands).await;
    assert_eq!(replies[0], Ok(Reply::Int(1)));
    assert_eq!(replies[1], Err(Error::Unavailable(refused())));
    assert_eq!(replies[2], Err(Error::Indeterminate(refused())));
    assert_eq!(replies[3], Ok(Reply::OK));
}

#[tokio::test(start_paused = true)]
async fn the_servers_clock_is_known_after_the_first_greeting() {
    let (puppet, store) = guarded();
    assert_eq!(store.clock.now_micros(), 1_000_000);
    store.greet().await.unwrap();
    assert_eq!(store.clock.now_micros(), 1_000_075);
    assert!(puppet.listen().await.is_err());
    let hub = Hub::default();
    let refused = hub.subscribe(&store, Topic::Channel, &[b"c"]).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
}
