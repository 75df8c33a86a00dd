//! The policy `local` on a real server behind a network that fails: what passes
//! while it is away, and what is charged when it is back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::num::NonZeroU32;
use std::time::Duration;

use sangam::limit::{Algorithm, Limit, Limiter, Policy, Rule, Ruled, Terms};
use sangam::store::{Options, Status, Store, Target};
use sangam_rig::proxy::{Cut, Proxy};
use sangam_rig::redis::{Answer, Client, Redis};
use sangam_rig::wait::until;

const MINUTE: Duration = Duration::from_mins(1);

fn rule(algorithm: Algorithm, limit: u64) -> Rule {
    Rule::new(algorithm, limit, MINUTE).unwrap()
}

fn limit(name: &str, rule: Rule) -> Limit<'_> {
    Limit {
        name,
        rule,
        id: b"somebody",
    }
}

async fn connect(url: &str) -> Store {
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    let options = Options {
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        breaker_failures: 1,
        ..Options::default()
    };
    Store::connect(&target, options).await.unwrap()
}

fn limiter(store: Store, instances: u32) -> Limiter {
    Limiter::new(store)
        .with_policy(Policy::Local)
        .with_instances(NonZeroU32::new(instances).unwrap())
}

/// An instance whose line to the server can be cut.
struct Instance {
    proxy: Proxy,
    store: Store,
    limiter: Limiter,
}

impl Instance {
    async fn start(redis: &Redis, instances: u32) -> Self {
        let proxy = Proxy::start(redis.addr());
        let store = connect(&format!("redis://{}", proxy.addr())).await;
        store.ping().await.unwrap();
        Instance {
            limiter: limiter(store.clone(), instances),
            proxy,
            store,
        }
    }

    async fn cut(&self) {
        self.proxy.stop_listening().await;
        self.proxy.cut(Cut::Reset);
        self.until("down", |status| status == Status::Down).await;
    }

    async fn heal(&self) {
        self.proxy.listen_again().await;
        self.until("up", |status| status == Status::Up).await;
    }

    async fn until(&self, what: &str, is: impl Fn(Status) -> bool) {
        until(what, || async {
            let _ = self.store.ping().await;
            let status = self.store.state().status;
            if is(status) {
                Ok(())
            } else {
                Err(format!("{status}"))
            }
        })
        .await;
    }

    /// How many of some checks pass, all of which are to be decided by `ruled`.
    async fn passes(&self, limits: &[Limit<'_>], ruled: Ruled) -> u32 {
        let mut passed = 0;
        for _ in 0..10 {
            let decision = self.limiter.check(limits, 1).await.unwrap();
            assert_eq!(decision.ruled, ruled);
            passed += u32::from(decision.allowed);
        }
        passed
    }
}

/// What others may still have of a limit.
async fn remaining(others: &Limiter, limit: Limit<'_>) -> u64 {
    let decision = others.peek(&[limit], 1).await.unwrap();
    assert_eq!(decision.ruled, Ruled::Store);
    decision.outcomes[0].remaining
}

#[tokio::test]
async fn a_share_passes_and_is_charged_once_the_store_is_back() {
    let redis = Redis::start().await;
    let instance = Instance::start(&redis, 4).await;
    let others = limiter(connect(&redis.url()).await, 4);
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        let limit = limit(algorithm.as_str(), rule(algorithm, 20));
        assert!(others.check(&[limit], 10).await.unwrap().allowed);
    }
    instance.cut().await;
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        let limit = limit(algorithm.as_str(), rule(algorithm, 20));
        let passed = instance.passes(&[limit], Ruled::Local).await;
        assert_eq!(passed, 5, "{algorithm:?}: a quarter");
        let refused = instance.limiter.check(&[limit], 1).await.unwrap();
        let outcome = refused.outcomes[0];
        assert_eq!((outcome.rule, outcome.fits), (limit.rule, false));
        assert!(refused.retry_after.unwrap() > Duration::ZERO);
    }
    instance.heal().await;
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        let limit = limit(algorithm.as_str(), rule(algorithm, 20));
        until("what passed to be charged", || async {
            match remaining(&others, limit).await {
                // A bucket has filled up a little since.
                5 | 6 => Ok(()),
                other => Err(format!("{algorithm:?}: {other} remain")),
            }
        })
        .await;
    }
    // A second cut has what is left of the share: nothing; and nothing is charged
    // twice.
    instance.cut().await;
    let fixed = limit("fixed-window", rule(Algorithm::FixedWindow, 20));
    assert_eq!(instance.passes(&[fixed], Ruled::Local).await, 0);
    instance.heal().await;
    instance.limiter.close(Duration::from_secs(5)).await;
    assert_eq!(remaining(&others, fixed).await, 5);
}

#[tokio::test]
async fn who_closes_pays() {
    let redis = Redis::start().await;
    let instance = Instance::start(&redis, 2).await;
    let others = limiter(connect(&redis.url()).await, 2);
    let log = limit("log", rule(Algorithm::SlidingLog, 8));
    instance.cut().await;
    assert_eq!(instance.passes(&[log], Ruled::Local).await, 4);
    instance.limiter.close(Duration::from_secs(1)).await;
    assert_eq!(remaining(&others, log).await, 8, "it does not answer");
    instance.heal().await;
    instance.limiter.close(Duration::from_secs(5)).await;
    assert_eq!(remaining(&others, log).await, 4);
    // What comes after it is nobody's: not charged, and not in the instances' list.
    let later = limit("later", rule(Algorithm::SlidingLog, 8));
    instance.cut().await;
    assert_eq!(instance.passes(&[later], Ruled::Local).await, 4);
    instance.heal().await;
    assert!(instance.limiter.check(&[log], 1).await.unwrap().allowed);
    instance.limiter.close(Duration::from_secs(5)).await;
    assert_eq!(remaining(&others, later).await, 8);
    assert_eq!(remaining(&others, log).await, 3);
}

/// A payment that is on its way when the instance closes is neither lost nor made
/// twice.
#[tokio::test]
async fn who_closes_while_it_pays_pays_once() {
    let redis = Redis::start().await;
    let others = limiter(connect(&redis.url()).await, 2);
    let instance = Instance::start(&redis, 2).await;
    instance.cut().await;
    let names: Vec<String> = (0..20).map(|at| format!("log-{at}")).collect();
    let logs = names
        .iter()
        .map(|name| limit(name, rule(Algorithm::SlidingLog, 8)));
    let logs: Vec<Limit<'_>> = logs.collect();
    for log in &logs {
        assert!(instance.limiter.check(&[*log], 3).await.unwrap().allowed);
    }
    instance.heal().await;
    instance.limiter.close(Duration::from_secs(10)).await;
    for log in &logs {
        assert_eq!(remaining(&others, *log).await, 5, "{}", log.name);
    }
}

/// A server that has no memory left is as good as one that is away.
#[tokio::test]
async fn a_store_that_takes_no_writes_leaves_it_to_the_policy() {
    let redis = Redis::start().await;
    let mut client = redis.client().await;
    let set = async |client: &mut Client, bytes: &str| {
        let set = client.call(&["CONFIG", "SET", "maxmemory", bytes]).await;
        assert_eq!(set.unwrap(), Answer::Status("OK".to_owned()));
    };
    let others = limiter(connect(&redis.url()).await, 2);
    let limiter = limiter(connect(&redis.url()).await, 2);
    for (name, algorithm) in Algorithm::ALL.map(|it| (it.as_str(), it)) {
        let limit = limit(name, rule(algorithm, 4));
        let ask = async |policy| {
            let terms = Terms {
                policy,
                ..Terms::default()
            };
            let limits = [limit];
            let asked = if algorithm == Algorithm::Concurrency {
                limiter.acquire_with(terms, &limits, "a").await
            } else {
                limiter.check_with(terms, &limits, 1).await
            };
            let decision = asked.unwrap();
            (decision.allowed, decision.ruled)
        };
        set(&mut client, "1").await;
        assert_eq!(ask(Policy::Open).await, (true, Ruled::Open), "{name}");
        assert_eq!(ask(Policy::Closed).await, (false, Ruled::Closed), "{name}");
        for _ in 0..2 {
            assert_eq!(ask(Policy::Local).await, (true, Ruled::Local), "{name}");
        }
        if algorithm == Algorithm::Concurrency {
            assert!(limiter.release(&limit, "a").await.unwrap());
            continue;
        }
        assert_eq!(ask(Policy::Local).await, (false, Ruled::Local), "{name}");
        set(&mut client, "0").await;
        until("what passed to be charged", || async {
            match remaining(&others, limit).await {
                2 => Ok(()),
                other => Err(format!("{name}: {other} remain")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn permits_of_a_share_are_returned_to_it() {
    let redis = Redis::start().await;
    let instance = Instance::start(&redis, 2).await;
    let others = limiter(connect(&redis.url()).await, 2);
    let calls = limit("calls", rule(Algorithm::Concurrency, 5));
    let taken = async |permit: &str| {
        let decision = instance.limiter.acquire(&[calls], permit).await.unwrap();
        (decision.allowed, decision.ruled)
    };
    assert_eq!(taken("a").await, (true, Ruled::Store));
    instance.cut().await;
    assert_eq!(taken("b").await, (true, Ruled::Local));
    assert_eq!(taken("c").await, (true, Ruled::Local));
    assert_eq!(taken("d").await, (false, Ruled::Local));
    assert!(instance.limiter.release(&calls, "b").await.unwrap());
    assert!(instance.limiter.release(&calls, "b").await.is_err());
    assert_eq!(taken("d").await, (true, Ruled::Local));
    instance.heal().await;
    assert_eq!(remaining(&others, calls).await, 4, "they are not charged");
    assert_eq!(taken("c").await, (true, Ruled::Store), "a renewal is");
    assert_eq!(remaining(&others, calls).await, 3);
    assert!(instance.limiter.release(&calls, "c").await.unwrap());
    assert!(instance.limiter.release(&calls, "d").await.unwrap());
    assert!(!instance.limiter.release(&calls, "d").await.unwrap());
}

#[tokio::test]
async fn without_a_number_or_a_share_nothing_passes() {
    let small = limit("small", rule(Algorithm::TokenBucket, 3));
    let alone = Limiter::new(Store::disabled()).with_policy(Policy::Local);
    let decision = alone.check(&[small], 1).await.unwrap();
    assert_eq!((decision.allowed, decision.ruled), (false, Ruled::Closed));
    let one_of_four = limiter(Store::disabled(), 4);
    let decision = one_of_four.check(&[small], 1).await.unwrap();
    assert_eq!((decision.allowed, decision.ruled), (false, Ruled::Local));
    assert_eq!((decision.outcomes.len(), decision.retry_after), (1, None));
}

#[tokio::test]
async fn the_number_is_seen_in_the_store() {
    let redis = Redis::start().await;
    let (mut client, mut all) = (redis.client().await, Vec::new());
    let share = limit("seen", rule(Algorithm::SlidingWindow, 30));
    for number in 1..=3 {
        let store = connect(&redis.url()).await;
        let limiter = Limiter::new(store).with_policy(Policy::Local);
        assert_eq!(limiter.instances(), None);
        limiter.check(&[share], 1).await.unwrap();
        until("the first beat", || async {
            match limiter.instances().map(NonZeroU32::get) {
                Some(seen) if seen == number => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        all.push(limiter);
    }
    // A second check within the interval is no second beat.
    for limiter in &all {
        limiter.check(&[share], 1).await.unwrap();
    }
    let list = client
        .call(&["GET", "limit-instances:{all}"])
        .await
        .unwrap();
    assert_eq!(list.text().matches(',').count(), 3, "{list:?}");
    for limiter in all {
        limiter.close(Duration::from_secs(5)).await;
    }
    let gone = client.call(&["GET", "limit-instances:{all}"]).await;
    assert_eq!(gone.unwrap(), Answer::Nil);
}
