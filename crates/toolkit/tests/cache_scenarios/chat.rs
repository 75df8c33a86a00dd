//! Channels and messages: the list of a user's channels for 5 minutes, the newest
//! messages of a channel for 2. Who opens a channel asks for 20, 50 or 100 messages; a
//! post changes all of these.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sangam::cache::{Cache, Caches, Loaded, Options, Settings, ttl};
use sangam_rig::random::Random;
use sangam_rig::redis::Redis;
use serde::{Deserialize, Serialize};

use super::older::Older;
use super::{PATIENCE, Told, billed, nothing_stays_for_ever, store};

const USERS: u64 = 100;
const CHANNELS: u64 = 20;
const EVENTS: u64 = 6_000;
const MESSAGES: Duration = Duration::from_mins(2);
/// The one window of a channel that is cached; smaller ones are cut out of it.
const WINDOW: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    id: u64,
    author: u64,
    text: String,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    OpensApp { user: u64 },
    OpensChannel { channel: u64, limit: usize },
    Posts { user: u64, channel: u64 },
    Joins { user: u64, channel: u64 },
}

/// The same requests for both.
fn events() -> Vec<(usize, Event)> {
    let mut random = Random::new(7);
    let events = (0..EVENTS).map(|_| {
        let user = random.below(USERS);
        // Some channels are read far more than others.
        let channel = random.below(CHANNELS).min(random.below(CHANNELS));
        let limit = [20, 50, 50, 100][random.below(4) as usize];
        let event = match random.below(100) {
            0..30 => Event::OpensApp { user },
            30..95 => Event::OpensChannel { channel, limit },
            95..99 => Event::Posts { user, channel },
            _ => Event::Joins { user, channel },
        };
        (random.below(2) as usize, event)
    });
    events.collect()
}

/// The database.
#[derive(Debug, Default)]
struct Truth {
    messages: Mutex<Vec<Vec<Message>>>,
    channels: Mutex<Vec<Vec<u64>>>,
    loads: AtomicU64,
}

impl Truth {
    fn new() -> Arc<Self> {
        let truth = Truth::default();
        *truth.messages.lock() = vec![Vec::new(); CHANNELS as usize];
        *truth.channels.lock() = (0..USERS).map(|user| vec![user % CHANNELS]).collect();
        Arc::new(truth)
    }

    fn newest(&self, channel: u64, limit: usize) -> Vec<Message> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.peek(channel, limit)
    }

    fn peek(&self, channel: u64, limit: usize) -> Vec<Message> {
        let messages = self.messages.lock();
        let all = &messages[channel as usize];
        all.iter().rev().take(limit).cloned().collect()
    }

    fn channels_of(&self, user: u64) -> Vec<u64> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.channels.lock()[user as usize].clone()
    }

    fn post(&self, user: u64, channel: u64) {
        let mut messages = self.messages.lock();
        let all = &mut messages[channel as usize];
        all.push(Message {
            id: all.len() as u64,
            author: user,
            text: format!("message {} of user {user}", all.len()),
        });
    }

    fn join(&self, user: u64, channel: u64) {
        let mut channels = self.channels.lock();
        let of_user = &mut channels[user as usize];
        if !of_user.contains(&channel) {
            of_user.push(channel);
        }
    }
}

/// By hand: a key for each limit, and a set of them for each channel.
async fn by_hand(redis: &Redis) -> Told {
    let cache = Older(store(redis).await);
    let truth = Truth::new();
    let before = billed(redis).await;
    let mut reads = 0;
    for (_, event) in events() {
        match event {
            Event::OpensApp { user } => {
                reads += 1;
                let key = format!("user:{user}:channels");
                if cache.get(&key).await.is_none() {
                    let channels = serde_json::json!(truth.channels_of(user));
                    cache.set(&key, &channels, ttl::SHORT, None).await;
                }
            }
            Event::OpensChannel { channel, limit } => {
                reads += 1;
                let key = format!("channel:{channel}:messages:{limit}");
                if cache.get(&key).await.is_none() {
                    let messages = serde_json::json!(truth.newest(channel, limit));
                    let set = format!("channel:{channel}:keys");
                    cache.set(&key, &messages, MESSAGES, Some(&set)).await;
                }
            }
            Event::Posts { user, channel } => {
                truth.post(user, channel);
                cache.invalidate(&format!("channel:{channel}:keys")).await;
            }
            Event::Joins { user, channel } => {
                truth.join(user, channel);
                cache.delete(&format!("user:{user}:channels")).await;
            }
        }
    }
    Told {
        reads,
        loads: truth.loads.load(Ordering::Relaxed),
        billed: billed(redis).await - before,
    }
}

/// One instance of the app.
struct Instance {
    channels: Cache<Vec<u64>>,
    messages: Cache<Vec<Message>>,
    truth: Arc<Truth>,
}

impl Instance {
    async fn new(redis: &Redis, truth: &Arc<Truth>) -> Self {
        let options = Options {
            heartbeat: Some(PATIENCE),
            ..Options::default()
        };
        let caches = Caches::with_options(store(redis).await, &options);
        let of_messages = Settings {
            ttl: MESSAGES,
            ..Settings::default()
        };
        Instance {
            channels: caches.cache("channels", Settings::default()).unwrap(),
            messages: caches.cache("messages", of_messages).unwrap(),
            truth: truth.clone(),
        }
    }

    async fn channels_of(&self, user: u64) -> Vec<u64> {
        let truth = self.truth.clone();
        let load = move |_| async move { Ok::<_, String>(truth.channels_of(user)) };
        let found = self.channels.get_or_set(&user.to_string(), load).await;
        found.unwrap().into_value()
    }

    async fn newest(&self, channel: u64, limit: usize) -> Vec<Message> {
        let truth = self.truth.clone();
        let load = move |_| async move {
            let messages = Loaded::value(truth.newest(channel, WINDOW));
            Ok::<_, String>(messages.tags([format!("channel:{channel}")]))
        };
        let found = self.messages.get_or_set(&channel.to_string(), load).await;
        let found = found.unwrap();
        assert!(!found.degraded);
        found.iter().take(limit).cloned().collect()
    }

    async fn post(&self, user: u64, channel: u64) {
        self.truth.post(user, channel);
        self.messages.delete(&channel.to_string()).await.unwrap();
    }

    async fn join(&self, user: u64, channel: u64) {
        self.truth.join(user, channel);
        self.channels.delete(&user.to_string()).await.unwrap();
    }
}

/// By this crate, in two instances. None ever reads what it wrote over itself, and
/// nothing that is older than the heartbeat.
async fn by_caches(redis: &Redis) -> Told {
    let truth = Truth::new();
    let instances = [
        Instance::new(redis, &truth).await,
        Instance::new(redis, &truth).await,
    ];
    let before = billed(redis).await;
    let mut reads = 0;
    let mut posted: Vec<Option<(usize, Instant)>> = vec![None; CHANNELS as usize];
    let mut latest = Duration::ZERO;
    for (at, event) in events() {
        let instance = &instances[at];
        match event {
            Event::OpensApp { user } => {
                reads += 1;
                instance.channels_of(user).await;
            }
            Event::OpensChannel { channel, limit } => {
                reads += 1;
                let read = instance.newest(channel, limit).await;
                if read != truth.peek(channel, limit) {
                    let (by, when) = posted[channel as usize].unwrap();
                    assert_ne!(by, at, "an instance has not read its own post");
                    latest = latest.max(when.elapsed());
                }
            }
            Event::Posts { user, channel } => {
                instance.post(user, channel).await;
                posted[channel as usize] = Some((at, Instant::now()));
            }
            Event::Joins { user, channel } => instance.join(user, channel).await,
        }
    }
    println!("the other instance read a post at most {latest:?} late");
    assert!(latest < PATIENCE);
    Told {
        reads,
        loads: truth.loads.load(Ordering::Relaxed),
        billed: billed(redis).await - before,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_and_messages_are_fresh_and_cost_less() {
    let redis = Redis::start().await;
    let by_hand = by_hand(&redis).await;
    redis.call(&["FLUSHALL"]).await;
    let by_caches = by_caches(&redis).await;
    by_hand.print("chat by hand");
    by_caches.print("chat by caches, two instances");
    assert!(by_caches.hit_ratio() > 0.8);
    assert!(by_caches.hit_ratio() >= by_hand.hit_ratio());
    assert!(by_caches.billed * 2 < by_hand.billed);
    nothing_stays_for_ever(&redis).await;
}
