//! Compression of a chat's window: bytes in the store, and time.

use std::time::Duration;

use sangam::cache::{Caches, Compression, Method, Settings};

use crate::data::{Message, chat};
use crate::place::Place;
use crate::turns::{Side, compare, shown};

const CHATS: usize = 200;
const MESSAGES: usize = 50;
const CALLS: usize = 2_000;

type Way = (&'static str, Option<Method>);
const WAYS: [Way; 3] = [
    ("none", None),
    ("zstd", Some(Method::Zstd)),
    ("gzip", Some(Method::Gzip)),
];

pub async fn measure() {
    println!("### Compression: JSON of {MESSAGES} chat messages, nothing held in memory\n");
    println!("| store | method | bytes | of plain | `set` | `get` |");
    println!("|--|--|--|--|--|--|");
    let chats: Vec<Vec<Message>> = (0..CHATS as u64).map(|it| chat(it, MESSAGES)).collect();
    let chats: &'static [Vec<Message>] = chats.leak();
    for place in Place::both().await {
        let caches = Caches::new(place.store.clone());
        let mut sizes = Vec::new();
        let (mut sets, mut gets) = (Vec::new(), Vec::new());
        for (name, method) in WAYS {
            let settings = Settings {
                ttl: Duration::from_hours(1),
                memory: 0,
                compression: Compression {
                    method,
                    ..Compression::default()
                },
                ..Settings::default()
            };
            let cache = caches.cache::<Vec<Message>>(name, settings).unwrap();
            for (at, chat) in chats.iter().enumerate() {
                cache.set(&at.to_string(), chat.clone()).await.unwrap();
            }
            sizes.push(cache.stats());
            let writer = cache.clone();
            sets.push(Side::new(name, move |turn| {
                let cache = writer.clone();
                async move {
                    for number in turn.numbers() {
                        let at = number % CHATS;
                        let chat = chats[at].clone();
                        cache.set(&at.to_string(), chat).await.unwrap();
                    }
                }
            }));
            gets.push(Side::new(name, move |turn| {
                let cache = cache.clone();
                async move {
                    for number in turn.numbers() {
                        let at = number % CHATS;
                        let found = cache.get(&at.to_string()).await.unwrap().unwrap();
                        assert_eq!(found.len(), MESSAGES);
                    }
                }
            }));
        }
        let sets = compare(&sets, 1, CALLS).await;
        let gets = compare(&gets, 1, CALLS).await;
        for (((name, _), stats), (set, get)) in WAYS.iter().zip(sizes).zip(sets.iter().zip(gets)) {
            println!(
                "| {} | {name} | {} | {:.2} | {} | {} |",
                place.name,
                stats.bytes_sent / CHATS as u64,
                stats.bytes_sent as f64 / stats.bytes_plain as f64,
                shown(*set),
                shown(get),
            );
        }
    }
    println!();
}
