//! What is kept, the same in each run.

use sangam_rig::random::Random;
use serde::{Deserialize, Serialize};

/// Keys of what is read.
pub fn keys(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("user:{at:08}")).collect()
}

/// Places in a list of `count`, drawn so that the n-th is asked for in proportion to
/// n^-0.99; which place is the n-th is left to chance.
pub fn skewed(count: usize, draws: usize) -> Vec<u32> {
    let mut random = Random::new(7);
    let mut places: Vec<u32> = (0..count as u32).collect();
    for at in (1..count).rev() {
        places.swap(at, random.below(at as u64 + 1) as usize);
    }
    let mut sums = Vec::with_capacity(count);
    let mut sum = 0.0;
    for nth in 1..=count {
        sum += (nth as f64).powf(-0.99);
        sums.push(sum);
    }
    let draw = |_| {
        let chance = random.below(1 << 52) as f64 / (1_u64 << 52) as f64 * sum;
        let nth = sums.partition_point(|it| *it <= chance);
        places[nth.min(count - 1)]
    };
    (0..draws).map(draw).collect()
}

/// A record as apps keep them, some 250 bytes of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub roles: Vec<String>,
    pub score: f64,
    pub about: String,
}

pub fn record(id: u64) -> Record {
    Record {
        id,
        name: format!("Name {id:06}"),
        email: format!("name.{id:06}@example.org"),
        roles: vec!["reader".to_owned(), "writer".to_owned()],
        score: id as f64 / 7.0,
        about: words(&mut Random::new(id), 16),
    }
}

/// A chat's last messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    pub room: String,
    pub author: String,
    pub sent_at: u64,
    pub text: String,
    pub likes: u32,
}

pub fn chat(seed: u64, count: usize) -> Vec<Message> {
    let mut random = Random::new(seed);
    let message = |at: usize| Message {
        id: format!("{:016x}", random.below(u64::MAX)),
        room: format!("room-{seed}"),
        author: format!("user:{:06}", random.below(40)),
        sent_at: 1_790_000_000_000 + 1000 * at as u64 + random.below(1000),
        likes: random.below(9) as u32,
        text: {
            let count = 4 + random.below(28);
            words(&mut random, count)
        },
    };
    (0..count).map(message).collect()
}

fn words(random: &mut Random, count: u64) -> String {
    const SYLLABLES: [&str; 32] = [
        "a", "be", "con", "da", "en", "for", "gre", "hal", "in", "ju", "ka", "lo", "mi", "nor",
        "on", "pre", "qui", "ra", "ste", "tion", "un", "ver", "wi", "xa", "yet", "zo", "ing", "ed",
        "ly", "ment", "able", "the",
    ];
    let mut text = String::new();
    for at in 0..count {
        if at > 0 {
            text.push(' ');
        }
        // A language of 400 words.
        let mut word = Random::new(random.below(20) * random.below(20));
        for _ in 0..=word.below(3) {
            text.push_str(SYLLABLES[word.below(32) as usize]);
        }
    }
    text
}
