//! Random requests of all instances, some given up in the middle.

use std::sync::Arc;
use std::time::Duration;

use sangam::limit::{Algorithm, Limit, Rule};
use sangam_rig::random::Random;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::instance::Instance;
use crate::log::{Log, Request};

/// Tasks of an instance that make requests, and those that take permits.
const WORKERS: u64 = 3;

/// A rule as the traffic checks it.
pub(crate) fn limit(rule: Rule) -> Limit<'static> {
    Limit {
        name: rule.algorithm().as_str(),
        rule,
        id: b"everybody",
    }
}

/// How long the traffic keeps its pace: dense, so that all is used up at once, then
/// sparse, so that it is used up late in a window.
const PACE: Duration = Duration::from_millis(600);

/// When there is traffic.
#[derive(Clone, Copy)]
struct Times {
    began: Instant,
    /// Until then nobody gives up.
    calm: Instant,
    end: Instant,
}

impl Times {
    /// The time to the next request of a task.
    fn pause(self, random: &mut Random) -> Duration {
        let turn = self.began.elapsed().as_millis() / PACE.as_millis();
        let longest = if turn.is_multiple_of(2) { 5 } else { 240 };
        Duration::from_millis(random.below(longest))
    }
}

pub(crate) async fn run(
    instances: &[Arc<Instance>],
    rules: [Rule; 6],
    calm: Duration,
    whole: Duration,
    seed: u64,
) -> Log {
    let times = Times {
        began: Instant::now(),
        calm: Instant::now() + calm,
        end: Instant::now() + whole,
    };
    let mut workers = JoinSet::new();
    for (at, instance) in instances.iter().enumerate() {
        for worker in 0..WORKERS {
            let random = Random::new(seed ^ ((at as u64) << 32) ^ (worker << 16));
            workers.spawn(requests(instance.clone(), at, rules, times, random.clone()));
            workers.spawn(permits(
                instance.clone(),
                at,
                rules[5],
                worker,
                times,
                random,
            ));
        }
    }
    Log(workers.join_all().await.concat())
}

/// Checks of one rule or several, as fast as they are answered.
async fn requests(
    instance: Arc<Instance>,
    at: usize,
    rules: [Rule; 6],
    times: Times,
    mut random: Random,
) -> Vec<Request> {
    let mut log = Vec::new();
    while Instant::now() < times.end {
        let mut chosen: Vec<Rule> = vec![rules[random.below(5) as usize]];
        if random.below(4) == 0 {
            let other = rules[random.below(5) as usize];
            chosen.extend((other != chosen[0]).then_some(other));
        }
        let limits: Vec<Limit<'_>> = chosen.iter().copied().map(limit).collect();
        let cost = 1 + random.below(8) / 7;
        let sent = instance.store.now();
        let check = instance.limiter.check(&limits, cost);
        let decision = patiently(times, &mut random, check).await;
        log.push(Request {
            instance: at,
            rules: chosen,
            cost,
            sent,
            received: instance.store.now(),
            decision: decision.map(Result::unwrap),
            ended: None,
        });
        sleep(times.pause(&mut random)).await;
    }
    log
}

/// Permits that are taken, held for a while, and returned or forgotten.
async fn permits(
    instance: Arc<Instance>,
    at: usize,
    rule: Rule,
    worker: u64,
    times: Times,
    mut random: Random,
) -> Vec<Request> {
    assert_eq!(rule.algorithm(), Algorithm::Concurrency);
    let mut log = Vec::new();
    for number in 0.. {
        if Instant::now() >= times.end {
            break;
        }
        let permit = format!("{at}x{worker}x{number}");
        let sent = instance.store.now();
        let limits = [limit(rule)];
        let acquire = instance.limiter.acquire(&limits, &permit);
        let decision = patiently(times, &mut random, acquire).await;
        let received = instance.store.now();
        let allowed = matches!(&decision, Some(Ok(decision)) if decision.allowed);
        let mut ended = None;
        if allowed {
            sleep(Duration::from_millis(random.below(120))).await;
            ended = Some(instance.store.now());
            if random.below(5) > 0 {
                let release = instance.limiter.release(&limits[0], &permit);
                let _ = timeout(Duration::from_millis(200), release).await;
            } else {
                ended = None;
            }
        } else {
            sleep(Duration::from_millis(5 + random.below(10))).await;
        }
        log.push(Request {
            instance: at,
            rules: vec![rule],
            cost: 1,
            sent,
            received,
            decision: decision.map(Result::unwrap),
            ended,
        });
    }
    log
}

/// Waits for an answer, or now and then not long enough.
async fn patiently<T>(
    times: Times,
    random: &mut Random,
    check: impl Future<Output = T>,
) -> Option<T> {
    if Instant::now() < times.calm || random.below(12) > 0 {
        return Some(check.await);
    }
    timeout(Duration::from_micros(random.below(2_000)), check)
        .await
        .ok()
}
