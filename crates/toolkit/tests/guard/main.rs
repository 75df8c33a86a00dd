//! Classes, lists, shadows, events, overrides and followed files, through the guard.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod builtin;
mod changes;
mod compat;
mod events;
mod lists;
mod overrides;
mod shadow;
mod subjects;
mod text;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sangam::limit::{Guard, Settings, Subject, Verdict};
use sangam::store::Store;
use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Options};

const START_US: u64 = 1_700_000_000_123_456;

/// A store whose time stands still.
fn still() -> (Arc<ManualClock>, Store) {
    let clock = Arc::new(ManualClock::new(START_US));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    (clock, Store::embedded(engine))
}

fn settings(text: &str) -> Settings {
    Settings::parse(text).unwrap()
}

fn guard(text: &str) -> (Arc<ManualClock>, Guard) {
    let (clock, store) = still();
    (clock, Guard::new(store, settings(text)))
}

fn user(user: &str) -> Subject<'_> {
    Subject {
        user: Some(user),
        ..Subject::default()
    }
}

fn address(text: &str) -> Subject<'static> {
    Subject {
        address: Some(text.parse::<IpAddr>().unwrap()),
        ..Subject::default()
    }
}

fn at<'a>(user: &'a str, from: &str) -> Subject<'a> {
    Subject {
        user: Some(user),
        ..address(from)
    }
}

async fn check(guard: &Guard, class: &str, subject: Subject<'_>) -> Verdict {
    guard.check(class, &subject, 1).await.unwrap()
}

/// How many of so many requests are let through.
async fn passed(guard: &Guard, class: &str, subject: Subject<'_>, tries: u32) -> u32 {
    let mut passed = 0;
    for _ in 0..tries {
        passed += u32::from(check(guard, class, subject).await.allowed);
    }
    passed
}

fn whole_millis(time: Duration) -> u64 {
    (time.as_micros() as u64).div_ceil(1000)
}
