//! Creators' profiles, by identifier and by name, and what they earned: profiles for 30
//! and 5 minutes, earnings for 30. A changed profile or a new payment is seen at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sangam::cache::{Cache, Caches, Loaded, Settings, ttl};
use sangam_rig::random::Random;
use sangam_rig::redis::Redis;
use serde::{Deserialize, Serialize};

use super::older::Older;
use super::{Told, billed, nothing_stays_for_ever, store};

const CREATORS: u64 = 50;
const EVENTS: u64 = 4_000;

/// What the public may see of a creator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Profile {
    id: u64,
    username: String,
    bio: String,
}

/// What was earned on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    date: String,
    total: u64,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Visits { creator: u64 },
    VisitsNobody { number: u64 },
    Looks { creator: u64 },
    LooksAtEarnings { creator: u64 },
    Changes { creator: u64 },
    Pays { creator: u64 },
}

fn events() -> Vec<Event> {
    let mut random = Random::new(11);
    let events = (0..EVENTS).map(|_| {
        let creator = random.below(CREATORS).min(random.below(CREATORS));
        match random.below(100) {
            0..50 => Event::Visits { creator },
            50..60 => Event::VisitsNobody {
                number: random.below(10),
            },
            60..75 => Event::Looks { creator },
            75..97 => Event::LooksAtEarnings { creator },
            97 => Event::Changes { creator },
            _ => Event::Pays { creator },
        }
    });
    events.collect()
}

#[derive(Debug, Default)]
struct Truth {
    versions: Mutex<BTreeMap<u64, u64>>,
    earned: Mutex<BTreeMap<u64, u64>>,
    loads: AtomicU64,
}

impl Truth {
    fn peek(&self, id: u64) -> Profile {
        let version = self.versions.lock().get(&id).copied().unwrap_or(0);
        Profile {
            id,
            username: format!("creator{id}"),
            bio: format!("version {version} of what creator {id} says of themselves"),
        }
    }

    fn by_id(&self, id: u64) -> Profile {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.peek(id)
    }

    fn by_name(&self, name: &str) -> Option<Profile> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let id = name.strip_prefix("creator")?.parse().ok()?;
        Some(self.peek(id))
    }

    fn earnings(&self, id: u64) -> Vec<Day> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.peek_earnings(id)
    }

    fn peek_earnings(&self, id: u64) -> Vec<Day> {
        vec![Day {
            date: "2026-11-01".to_owned(),
            total: self.earned.lock().get(&id).copied().unwrap_or(0),
        }]
    }

    fn change(&self, id: u64) {
        *self.versions.lock().entry(id).or_default() += 1;
    }

    fn pay(&self, id: u64) {
        *self.earned.lock().entry(id).or_default() += 5;
    }
}

/// By hand, as it is usually done: nothing is invalidated but by its time, and that
/// there is no such creator is asked each time.
async fn by_hand(redis: &Redis) -> (Told, u64) {
    let cache = Older(store(redis).await);
    let truth = Truth::default();
    let before = billed(redis).await;
    let (mut reads, mut stale) = (0, 0);
    for event in events() {
        let (key, lives) = match event {
            Event::Visits { creator } => (format!("creator:creator{creator}"), ttl::SHORT),
            Event::VisitsNobody { number } => (format!("creator:nobody{number}"), ttl::SHORT),
            Event::Looks { creator } => (format!("creator:{creator}"), ttl::MEDIUM),
            Event::LooksAtEarnings { creator } => {
                (format!("analytics:earnings:{creator}"), ttl::MEDIUM)
            }
            Event::Changes { creator } => {
                truth.change(creator);
                continue;
            }
            Event::Pays { creator } => {
                truth.pay(creator);
                continue;
            }
        };
        reads += 1;
        let now = match event {
            Event::Visits { creator } | Event::Looks { creator } => {
                Some(serde_json::json!(truth.peek(creator)))
            }
            Event::LooksAtEarnings { creator } => {
                Some(serde_json::json!(truth.peek_earnings(creator)))
            }
            _ => None,
        };
        if let Some(cached) = cache.get(&key).await {
            stale += u64::from(Some(cached) != now);
            continue;
        }
        truth.loads.fetch_add(1, Ordering::Relaxed);
        if let Some(now) = now {
            cache.set(&key, &now, lives, None).await;
        }
    }
    let told = Told {
        reads,
        loads: truth.loads.load(Ordering::Relaxed),
        billed: billed(redis).await - before,
    };
    (told, stale)
}

struct App {
    by_id: Cache<Profile>,
    by_name: Cache<Profile>,
    earnings: Cache<Vec<Day>>,
    truth: Arc<Truth>,
}

impl App {
    async fn new(redis: &Redis) -> Self {
        let caches = Caches::new(store(redis).await);
        let lives = |ttl: Duration| Settings {
            ttl,
            ..Settings::default()
        };
        App {
            by_id: caches.cache("creators", lives(ttl::MEDIUM)).unwrap(),
            by_name: caches.cache("names", lives(ttl::SHORT)).unwrap(),
            earnings: caches.cache("earnings", lives(ttl::MEDIUM)).unwrap(),
            truth: Arc::default(),
        }
    }

    async fn visit(&self, name: &str) -> Option<Profile> {
        let (truth, asked) = (self.truth.clone(), name.to_owned());
        let load = move |_| async move {
            let loaded: Loaded<Profile> = match truth.by_name(&asked) {
                Some(found) => {
                    let tag = format!("creator:{}", found.id);
                    Loaded::value(found).tags([tag])
                }
                None => Loaded::nothing(),
            };
            Ok::<_, String>(loaded)
        };
        let found = self.by_name.find(name, load).await.unwrap();
        found.map(sangam::cache::Found::into_value)
    }

    async fn look(&self, id: u64) -> Profile {
        let truth = self.truth.clone();
        let load = move |_| async move { Ok::<_, String>(truth.by_id(id)) };
        let found = self.by_id.get_or_set(&id.to_string(), load).await.unwrap();
        found.into_value()
    }

    async fn earnings(&self, id: u64) -> Vec<Day> {
        let truth = self.truth.clone();
        let load = move |_| async move { Ok::<_, String>(truth.earnings(id)) };
        let found = self.earnings.get_or_set(&id.to_string(), load).await;
        found.unwrap().into_value()
    }

    async fn change(&self, id: u64) {
        self.truth.change(id);
        self.by_id.delete(&id.to_string()).await.unwrap();
        let tag = format!("creator:{id}");
        self.by_name.invalidate_tag(&tag).await.unwrap();
    }

    async fn pay(&self, id: u64) {
        self.truth.pay(id);
        self.earnings.delete(&id.to_string()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_and_earnings_are_never_stale_and_cost_less() {
    let redis = Redis::start().await;
    let (by_hand, stale) = by_hand(&redis).await;
    redis.call(&["FLUSHALL"]).await;

    let app = App::new(&redis).await;
    let before = billed(&redis).await;
    let mut reads = 0;
    for event in events() {
        match event {
            Event::Visits { creator } => {
                reads += 1;
                let found = app.visit(&format!("creator{creator}")).await;
                assert_eq!(found, Some(app.truth.peek(creator)));
            }
            Event::VisitsNobody { number } => {
                reads += 1;
                assert_eq!(app.visit(&format!("nobody{number}")).await, None);
            }
            Event::Looks { creator } => {
                reads += 1;
                assert_eq!(app.look(creator).await, app.truth.peek(creator));
            }
            Event::LooksAtEarnings { creator } => {
                reads += 1;
                let found = app.earnings(creator).await;
                assert_eq!(found, app.truth.peek_earnings(creator));
            }
            Event::Changes { creator } => app.change(creator).await,
            Event::Pays { creator } => app.pay(creator).await,
        }
    }
    let by_caches = Told {
        reads,
        loads: app.truth.loads.load(Ordering::Relaxed),
        billed: billed(&redis).await - before,
    };
    by_hand.print(&format!("creators by hand, {stale} stale reads"));
    by_caches.print("creators by caches, 0 stale reads");
    assert!(stale > 0, "the requests change nothing");
    assert!(by_caches.hit_ratio() > 0.8);
    assert!(by_caches.billed * 2 < by_hand.billed);
    nothing_stays_for_ever(&redis).await;
}
