//! Sides that take turns.

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// Rounds that count.
pub const ROUNDS: usize = 9;

/// What one caller does in one round.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// The number of the round; the first one counts for nothing.
    pub round: usize,
    pub caller: usize,
    /// How many calls it makes.
    pub calls: usize,
}

impl Turn {
    /// The numbers of its calls among those of all callers.
    pub fn numbers(self) -> impl Iterator<Item = usize> + Send {
        let first = self.caller * self.calls;
        first..first + self.calls
    }
}

type Calls = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A way to do the work.
pub struct Side {
    pub name: &'static str,
    run: Box<dyn Fn(Turn) -> Calls + Sync>,
}

impl Side {
    pub fn new<F>(name: &'static str, run: impl Fn(Turn) -> F + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Side {
            name,
            run: Box::new(move |turn| Box::pin(run(turn))),
        }
    }

    async fn round(&self, round: usize, callers: usize, calls: usize) -> Duration {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for caller in 0..callers {
            let calls = calls / callers;
            tasks.spawn((self.run)(Turn {
                round,
                caller,
                calls,
            }));
        }
        tasks.join_all().await;
        began.elapsed()
    }
}

/// Times of `calls` calls by so many callers, in seconds a call: the median of each side.
pub async fn compare(sides: &[Side], callers: usize, calls: usize) -> Vec<f64> {
    let calls = calls / callers * callers;
    alternate(sides.len(), async |side, round| {
        let took = sides[side].round(round, callers, calls).await;
        took.as_secs_f64() / calls as f64
    })
    .await
}

/// Runs sides in turns, each time in the other order; the median of each.
pub async fn alternate(sides: usize, mut run: impl AsyncFnMut(usize, usize) -> f64) -> Vec<f64> {
    let mut figures = vec![Vec::new(); sides];
    for round in 0..=ROUNDS {
        for nth in 0..sides {
            let side = if round % 2 == 0 { nth } else { sides - 1 - nth };
            let figure = run(side, round).await;
            if round > 0 {
                figures[side].push(figure);
            }
        }
    }
    figures.into_iter().map(median).collect()
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A time as it is read best.
pub fn shown(seconds: f64) -> String {
    let nanos = seconds * 1e9;
    match nanos {
        _ if nanos < 10_000.0 => format!("{nanos:.0} ns"),
        _ if nanos < 10_000_000.0 => format!("{:.1} us", nanos / 1e3),
        _ => format!("{:.1} ms", nanos / 1e6),
    }
}
