//! Callers that keep asking, and what must hold for each of them whatever the
//! network does.
//!
//! Every caller counts in a key of its own, so that each sum it is told lies
//! between what was acknowledged and what may have been applied besides: a
//! reply to somebody else, a write that was applied twice and one that was
//! acknowledged and lost all show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sangam_store::{Error, Store};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::plain::{Plain, ask, try_ask};

const CALLERS: usize = 8;
/// Beyond the store's own time-out, for a machine that does much else.
const SLACK: Duration = Duration::from_secs(2);
/// Between two calls of a caller whom the store refuses at once.
const PAUSE: Duration = Duration::from_millis(3);

/// What has become of all callers' calls until now.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Calls answered by each caller in a row, the smallest of them.
    rows: [AtomicU64; CALLERS],
}

impl Tally {
    pub(super) fn failed(&self) -> u64 {
        self.unknown.load(Ordering::SeqCst) + self.refused.load(Ordering::SeqCst)
    }

    pub(super) fn calls(&self) -> u64 {
        self.answered.load(Ordering::SeqCst) + self.failed()
    }

    fn shortest_row(&self) -> u64 {
        let rows = self.rows.iter().map(|row| row.load(Ordering::SeqCst));
        rows.min().unwrap_or(0)
    }
}

/// What one caller knows of its counter.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    acknowledged: i64,
    unknown: i64,
}

/// The callers at work.
pub(super) struct Load {
    pub(super) tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    /// Acknowledged writes may be lost from now on: an asynchronous replica
    /// takes over.
    forgets: Arc<AtomicBool>,
    callers: Vec<JoinHandle<(String, Count)>>,
    store: Store,
}

impl Load {
    /// Starts them; `limit` is the longest that a call may take.
    pub(super) fn start(store: &Store, limit: Duration) -> Self {
        let tally = Arc::new(Tally::default());
        let stop = Arc::new(AtomicBool::new(false));
        let forgets = Arc::new(AtomicBool::new(false));
        let callers = (0..CALLERS).map(|number| {
            let caller = Caller {
                number,
                store: store.clone(),
                counter: format!("n{number}"),
                value: format!("v{number}"),
                limit: limit + SLACK,
                tally: Arc::clone(&tally),
                forgets: Arc::clone(&forgets),
                count: Count::default(),
            };
            tokio::spawn(caller.run(Arc::clone(&stop)))
        });
        Self {
            callers: callers.collect(),
            tally,
            stop,
            forgets,
            store: store.clone(),
        }
    }

    /// From now on the server may lose what it has acknowledged.
    pub(super) fn forgives_losses(&self) {
        self.forgets.store(true, Ordering::SeqCst);
    }

    /// Waits until `when`; ends with the first caller that fails.
    pub(super) async fn until(&self, what: &str, mut when: impl FnMut(&Tally) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !when(&self.tally) {
            assert!(
                !self.callers.iter().any(JoinHandle::is_finished),
                "a caller has failed"
            );
            assert!(
                Instant::now() < end,
                "waited for {what}, in vain: {:?}, {:?}",
                self.tally,
                self.store.state()
            );
            sleep(PAUSE).await;
        }
    }

    /// Waits until every caller has got this many answers in a row.
    pub(super) async fn until_all_is_well(&self, row: u64) {
        for own in &self.tally.rows {
            own.store(0, Ordering::SeqCst);
        }
        self.until("everybody to be answered", |tally| {
            tally.shortest_row() >= row
        })
        .await;
    }

    /// Stops them and compares every counter with what its caller was told.
    pub(super) async fn settle(self) {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            let (key, count) = caller.await.unwrap();
            let found = match ask(&self.store, &["GET", &key]).await {
                Plain::Text(text) => String::from_utf8(text).unwrap().parse().unwrap(),
                other => panic!("{other:?}"),
            };
            let fewest = if self.forgets.load(Ordering::SeqCst) {
                0
            } else {
                count.acknowledged
            };
            let most = count.acknowledged + count.unknown;
            assert!(
                (fewest..=most).contains(&found),
                "{key} is {found}, its caller knows {count:?}"
            );
        }
    }
}

struct Caller {
    number: usize,
    store: Store,
    counter: String,
    value: String,
    limit: Duration,
    tally: Arc<Tally>,
    forgets: Arc<AtomicBool>,
    count: Count,
}

impl Caller {
    async fn run(mut self, stop: Arc<AtomicBool>) -> (String, Count) {
        let mut turn = 0_u64;
        while !stop.load(Ordering::SeqCst) {
            turn += 1;
            self.increment().await;
            self.echo(turn).await;
            self.write_and_read(turn).await;
        }
        (self.counter, self.count)
    }

    async fn increment(&mut self) {
        let argv = ["INCR", self.counter.as_str()];
        match self.call(&argv).await {
            Ok(sum) => {
                let fewest = self.count.acknowledged + 1;
                let most = fewest + self.count.unknown;
                let Plain::Int(sum) = sum else {
                    panic!("INCR answered {sum:?}");
                };
                let forgotten = self.forgets.load(Ordering::SeqCst) && sum < fewest;
                assert!(
                    (fewest..=most).contains(&sum) || forgotten,
                    "caller {} was told {sum}, and knows {:?}",
                    self.number,
                    self.count
                );
                self.count.acknowledged += 1;
            }
            Err(Error::Indeterminate(_)) => self.count.unknown += 1,
            Err(_) => {}
        }
    }

    async fn echo(&mut self, turn: u64) {
        let mine = format!("{}:{turn}", self.number);
        if let Ok(reply) = self.call(&["ECHO", mine.as_str()]).await {
            assert_eq!(reply, mine.as_str().into());
        }
    }

    async fn write_and_read(&mut self, turn: u64) {
        let mine = format!("{}:{turn}", self.number);
        let key = self.value.clone();
        let written = self.call(&["SET", &key, &mine]).await;
        match self.call(&["GET", &key]).await {
            // An older write whose fate is unknown may arrive late.
            Ok(Plain::Text(found)) => {
                let prefix = format!("{}:", self.number);
                assert!(found.starts_with(prefix.as_bytes()), "{found:?}");
            }
            Ok(Plain::Nil) => assert!(
                written.is_err() || self.forgets.load(Ordering::SeqCst) || turn == 1,
                "a value is gone"
            ),
            Ok(other) => panic!("GET answered {other:?}"),
            Err(_) => {}
        }
    }

    async fn call(&self, argv: &[&str]) -> Result<Plain, Error> {
        let began = Instant::now();
        let outcome = try_ask(&self.store, argv).await;
        let took = began.elapsed();
        assert!(took < self.limit, "{argv:?} took {took:?}");
        let tally = &self.tally;
        match &outcome {
            Ok(_) => {
                tally.answered.fetch_add(1, Ordering::SeqCst);
                if let Some(row) = tally.rows.get(self.number) {
                    row.fetch_add(1, Ordering::SeqCst);
                }
                return outcome;
            }
            Err(Error::Indeterminate(_)) => tally.unknown.fetch_add(1, Ordering::SeqCst),
            // A token that a gateway calls wrong for a while is a setting.
            Err(Error::Unavailable(_) | Error::Setting(_)) => {
                tally.refused.fetch_add(1, Ordering::SeqCst)
            }
            Err(other) => panic!("{argv:?}: {other:?}"),
        };
        if let Some(row) = tally.rows.get(self.number) {
            row.store(0, Ordering::SeqCst);
        }
        sleep(PAUSE).await;
        outcome
    }
}
