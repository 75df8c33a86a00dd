//! How small values become: a window of a chat, an object, a small object.
//!
//! Figures are printed; run with `--nocapture`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use sangam_rig::random::Random;
use serde_json::{Value, json};

use super::super::super::settings::{Compression, Encoding, Method};
use super::super::{Envelope, Kind, Stamp, encode, read, write_shared};

const MAX: usize = 32 << 20;

/// The more often a word is said, the further ahead it stands.
const WORDS: &str = "the I you to a and it is that of in for on this was have not be we with so \
    but are just like do they what can my me at if all good know one your out get no up there \
    about as really think or from time how see now when here an would some go then more will \
    want yeah people too right because well stream game still much had been thanks today why \
    who could make play back again never love always great need look going new way first last \
    night their only over even after should wait tomorrow pretty work did got lol nice where \
    anyone watch better next long maybe guys everyone show same very off thing something down \
    before start hope also feel through happy other which had music best share question song \
    friend weekend chat finally update server honestly probably tonight week morning playing \
    somebody level sound minutes later hello congratulations awesome beautiful favourite \
    definitely already learn picture camera story coffee weather dinner project actually \
    remember keep understand microphone schedule recording episode strange another hours \
    different believe season perfect quality special problem idea amazing laugh winner please \
    support channel subscribe message moderator welcome birthday country language question";

const NAMES: [&str; 12] = [
    "Mira Kowalski",
    "tobias_91",
    "JadeFox",
    "Søren H.",
    "PixelPenny",
    "marco.r",
    "nightowl77",
    "Anika",
    "BigLou",
    "Yuki さん",
    "the_real_ferdi",
    "Lena",
];

/// As long as a UUID, and as hard to guess.
fn id(random: &mut Random) -> String {
    let mut digits = |count: u32| {
        format!(
            "{:0w$x}",
            random.below(1 << (4 * count)),
            w = count as usize
        )
    };
    let parts = [digits(8), digits(4), digits(4), digits(4), digits(12)];
    parts.join("-")
}

fn sentence(random: &mut Random, longest: u64) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut text = String::new();
    for _ in 0..3 + random.below(longest) {
        // Often one of the first, seldom one of the last.
        let below = 1 + random.below(words.len() as u64);
        let word = words[random.below(below) as usize];
        if !text.is_empty() {
            text.push_str(if random.below(9) == 0 { ", " } else { " " });
        }
        text.push_str(word);
    }
    text.push_str(["", "", "!", ".", "?", " 😂"][random.below(6) as usize]);
    text
}

/// A window of so many messages, as a chat's API answers it.
fn chat(seed: u64, messages: u64) -> Value {
    let mut random = Random::new(seed);
    let channel = id(&mut random);
    let users: Vec<(String, &str)> = NAMES.map(|name| (id(&mut random), name)).to_vec();
    let mut at_ms = 0;
    let messages = (0..messages).map(|_| {
        at_ms += random.below(19_000);
        let (user, name) = &users[random.below(users.len() as u64) as usize];
        let (minute, second, milli) = (at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000);
        let reactions: Vec<Value> = (0..random.below(3))
            .map(|_| {
                let emoji = ["👍", "❤️", "😂", "🔥"][random.below(4) as usize];
                json!({ "emoji": emoji, "count": 1 + random.below(12) })
            })
            .collect();
        json!({
            "id": id(&mut random),
            "channelId": channel,
            "userId": user,
            "displayName": name,
            "content": sentence(&mut random, 22),
            "createdAt": format!("2025-03-14T19:{minute:02}:{second:02}.{milli:03}Z"),
            "reactions": reactions,
        })
    });
    messages.collect()
}

/// An object of about 2 KB: a profile.
fn profile() -> Value {
    let mut random = Random::new(7);
    let links = ["site", "videos", "photos", "shop"].map(|kind| {
        json!({ "kind": kind, "url": format!("https://{kind}.example/{}", id(&mut random)) })
    });
    json!({
        "id": id(&mut random),
        "displayName": "PixelPenny",
        "bio": (0..16).map(|_| sentence(&mut random, 20)).collect::<Vec<_>>().join(". "),
        "avatarUrl": format!("https://images.example/avatars/{}.webp", id(&mut random)),
        "bannerUrl": format!("https://images.example/banners/{}.webp", id(&mut random)),
        "links": links,
        "tags": ["music", "games", "late night", "cooking"],
        "followers": 48_213,
        "following": 312,
        "isLive": false,
        "settings": { "chat": "followers", "slowModeSeconds": 5, "mature": false },
        "createdAt": "2023-08-02T11:05:44.120Z",
        "updatedAt": "2025-03-14T18:59:01.004Z",
    })
}

/// An object of about 300 bytes: a session.
fn session() -> Value {
    let mut random = Random::new(9);
    json!({
        "id": id(&mut random),
        "userId": id(&mut random),
        "displayName": "Anika",
        "roles": ["member", "moderator"],
        "createdAt": "2025-03-14T18:59:01.004Z",
        "expiresAt": "2025-03-21T18:59:01.004Z",
        "device": { "os": "Android 15", "app": "4.12.0" },
    })
}

fn written(body: &[u8], compression: Compression) -> Vec<u8> {
    let envelope = Envelope {
        kind: Kind::Value,
        stamp: Stamp {
            time_us: 1_741_978_741_004_000,
            writer: 7,
        },
        schema: 0,
        fresh_until_ms: 0,
        ends_ms: 0,
        tags: &[],
        validator: None,
        encoding: Encoding::Json,
        body,
    };
    envelope.write(compression)
}

fn by(method: Method) -> Compression {
    Compression {
        method: Some(method),
        ..Compression::default()
    }
}

/// The quickest of a few runs.
fn quickest(mut run: impl FnMut()) -> Duration {
    let timed = |()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    [(); 5].map(timed).into_iter().min().unwrap_or_default()
}

/// The part that is saved, in percent.
fn saved(name: &str, value: &Value, method: Method) -> f64 {
    let body = encode(value, Encoding::Json, MAX).unwrap();
    let bytes = written(&body, by(method));
    let saved = 100.0 - 100.0 * bytes.len() as f64 / body.len() as f64;
    let writing = quickest(|| drop(written(&body, by(method))));
    let reading = quickest(|| drop(read(bytes.clone(), MAX)));
    println!(
        "{name}, {method:?}: {} of {} bytes, {saved:.1} % saved; written in {writing:?}, \
         read in {reading:?}",
        bytes.len(),
        body.len(),
    );
    assert_eq!(read(bytes, MAX).unwrap().body, body);
    saved
}

#[test]
fn a_window_of_a_chat_becomes_small() {
    for seed in 1..=3 {
        let window = chat(seed, 50);
        assert!(saved("50 messages", &window, Method::Zstd) >= 60.0);
        assert!(saved("50 messages", &window, Method::Gzip) >= 60.0);
        let json = encode(&window, Encoding::Json, MAX).unwrap();
        let shared = write_shared(json.clone(), by(Method::Gzip)).len();
        println!("50 messages, shared: {shared} of {} bytes", json.len());
        assert!(shared * 10 <= json.len() * 6, "base64 takes a third more");
    }
}

#[test]
fn an_object_becomes_smaller_and_a_small_one_is_left_alone() {
    for method in [Method::Zstd, Method::Gzip] {
        assert!(saved("a profile", &profile(), method) >= 10.0);
        let small = encode(&session(), Encoding::Json, MAX).unwrap();
        assert!((250..400).contains(&small.len()), "{}", small.len());
        assert_eq!(written(&small, by(method)).len(), 49 + small.len());
    }
}

/// Chance does not become smaller, and what repeats does, so that the share of it
/// says whether compression pays.
#[test]
fn what_saves_less_than_a_tenth_is_left_alone() {
    let mut random = Random::new(3);
    let chance: Vec<u8> = (0..4000).map(|_| random.below(256) as u8).collect();
    let with = |repeated: usize| [&chance[..], &vec![b' '; repeated]].concat();
    for method in [Method::Zstd, Method::Gzip] {
        for repeated in [0, 100, 350] {
            let body = with(repeated);
            assert_eq!(written(&body, by(method)).len(), 49 + body.len());
        }
        let body = with(550);
        assert!(written(&body, by(method)).len() * 10 <= body.len() * 9 + 490);
    }
}

/// A value of some megabytes takes no special time, nor does one of chance, which is
/// left as it is.
#[test]
fn large_values_are_there_and_back() {
    let large = chat(4, 12_000);
    assert!(saved("12,000 messages", &large, Method::Zstd) >= 60.0);
    let mut random = Random::new(5);
    let chance: Vec<u8> = (0..4 << 20).map(|_| random.below(256) as u8).collect();
    let bytes = written(&chance, Compression::default());
    assert_eq!(bytes.len(), 49 + chance.len());
    assert_eq!(read(bytes, MAX).unwrap().body, chance);
}
