//! What caches do on every store: each case runs on each back end, and leaves no key
//! without an end.
//!
//! A case is a function over a [`Place`](place::Place); a back end is a function
//! that makes one. Adding either is one line here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod foreign;
mod input;
mod instances;
mod left;
#[path = "../support/line/mod.rs"]
mod line;
mod loads;
mod many;
#[path = "../support/place/mod.rs"]
mod place;
#[path = "../support/plain.rs"]
mod plain;
mod races;
mod raw;
mod shared;
mod tags;
mod times;
mod values;

/// A test for each case on one back end.
macro_rules! on {
    ($place:ident) => {
        mod $place {
            on! { $place:
                values::what_is_written_is_read
                values::types_come_back_as_they_were
                values::types_that_json_cannot_hold
                values::floats_come_back_to_the_last_bit
                values::what_is_large_is_compressed
                loads::a_miss_is_loaded_and_kept
                loads::loads_that_fail
                loads::nothing_is_remembered
                loads::what_is_not_modified_is_kept
                loads::a_loader_says_for_how_long
                loads::a_thousand_at_once_load_once
                many::several_keys_at_once
                many::half_of_a_hundred_are_loaded_by_one_call
                many::a_batch_that_fails
                tags::tags_are_invalidated_one_by_one_and_together
                tags::all_of_a_cache_is_cleared
                tags::thousands_of_tags
                races::a_load_that_was_overtaken_is_never_served
                races::a_batch_that_was_overtaken_is_never_served
                races::a_write_that_has_ended_is_what_is_read
                instances::a_write_here_is_pushed_there
                instances::a_write_here_is_noticed_there_within_the_heartbeat
                instances::instances_load_once_for_all
                times::what_is_old
                input::keys
                input::sizes_of_values
                input::times_to_live
                input::tags
                input::names
                foreign::bytes_that_are_no_value_are_loaded_over
                foreign::values_of_another_type_or_schema
                foreign::a_key_of_another_kind
                shared::other_apps_values_are_read
                shared::other_apps_read_what_is_written
                shared::tags_are_sets
                shared::loads_that_are_overtaken
            }
        }
    };
    ($place:ident: $($subject:ident::$case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = crate::place::$place().await;
                crate::$subject::$case(&place).await;
                crate::left::nothing_stays_for_ever(&place).await;
            }
        )+
    };
}

on!(embedded);
on!(own_gateway);
on!(own_gateway_behind_a_proxy);
on!(strict_gateway);
on!(gateway_of_a_gateway);

on!(redis);
on!(redis_in_resp2);
on!(redis_behind_a_proxy);
on!(cluster);
on!(cluster_behind_proxies);
on!(sentinel);
on!(sentinel_behind_proxies);
on!(own_resp);
on!(gateway_of_redis);
on!(gateway_of_a_cluster);

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::time::Duration;

use place::Place;
use sangam::cache::{Cache, CacheError, Caches, Found, Loaded, Options, Settings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_hours(1);
/// The name of the cache of most cases.
const NAME: &str = "things";

/// Settings as they are by default, on a machine on which much else may run.
fn usual() -> Settings {
    Settings {
        store_timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

/// The caches of one more instance of an app on a place.
fn caches(place: &Place) -> Caches {
    let options = Options {
        prefix: place.prefix(),
        ..Options::default()
    };
    Caches::with_options(place.store.clone(), &options)
}

/// The cache of one more instance.
fn cache<T>(place: &Place, settings: Settings) -> Cache<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    caches(place).cache(NAME, settings).unwrap()
}

/// The same of a name that only caches of these settings have: words of what was
/// invalidated in others may come late.
fn apart<T>(place: &Place, settings: &Settings) -> Cache<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let name = format!("{NAME}-{}", settings.memory);
    caches(place).cache(&name, settings.clone()).unwrap()
}

fn without_memory(settings: Settings) -> Settings {
    Settings {
        memory: 0,
        ..settings
    }
}

/// Both tiers, and the store alone.
fn tiers() -> [Settings; 2] {
    [usual(), without_memory(usual())]
}

/// A loader's answer.
fn ok<V>(value: V) -> Ready<Result<V, Infallible>> {
    ready(Ok(value))
}

/// The answer of a loader that should not run.
fn not_loaded<T>() -> Ready<io::Result<Loaded<T>>> {
    ready(Err(io::Error::other("it was loaded again")))
}

/// A load that has begun and ends when it is told to.
struct Load<T> {
    go: oneshot::Sender<()>,
    found: JoinHandle<Result<Option<Found<T>>, CacheError>>,
}

impl<T> Load<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    async fn begin(cache: &Cache<T>, key: &str, loaded: Loaded<T>) -> Self {
        let (begins, begun) = oneshot::channel();
        let (go, may_go) = oneshot::channel();
        let (cache, key) = (cache.clone(), key.to_owned());
        let found = tokio::spawn(async move {
            let loader = |_| async move {
                begins.send(()).unwrap();
                may_go.await.map(|()| loaded)
            };
            cache.find(&key, loader).await
        });
        begun.await.unwrap();
        Load { go, found }
    }

    async fn end(self) -> Found<T> {
        self.go.send(()).unwrap();
        self.found.await.unwrap().unwrap().unwrap()
    }
}
