//! What the tests stand on: guards whose time stands still.

use std::sync::Arc;
use std::time::Duration;

use sangam::limit::class::{By, Class, Classes, Tier};
use sangam::limit::{Algorithm, Guard, Rule, Settings};
use sangam::store::Store;
use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Options};

pub(crate) const START_US: u64 = 1_700_000_000_123_456;

/// A guard whose time stands still.
pub(crate) fn still(settings: impl Into<Settings>) -> (Arc<ManualClock>, Guard) {
    let clock = Arc::new(ManualClock::new(START_US));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    (clock, Guard::new(Store::embedded(engine), settings))
}

pub(crate) fn rule(algorithm: Algorithm, limit: u64, millis: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_millis(millis)).unwrap()
}

pub(crate) fn tier(by: By, rule: Rule) -> Tier {
    Tier {
        name: by.as_str().to_owned(),
        by,
        rule,
        shadow: false,
    }
}

pub(crate) fn one(class: Class) -> Classes {
    Classes::new([class])
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}
