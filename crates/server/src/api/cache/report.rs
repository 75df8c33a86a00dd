//! What caches did, and hold.

use axum::Json;
use axum::extract::State;
use sangam::cache::Stats;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::App;
use crate::api::problem::Problem;

/// What the caches of this server did since it began, and hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheReport {
    /// Whether the store answers; where it does not, memory answers alone.
    connected: bool,
    /// Why it does not; empty where it does.
    reason: String,
    /// Keys and tags whose change waits to be sent to the store.
    unsent: u64,
    /// Of those that waited, how many were sent in the end.
    replayed: u64,
    /// How many never were, for the store refused them, or for there were too many.
    dropped: u64,
    /// All caches together; its `commands` has those of comparing memory with the store
    /// too.
    total: CacheStats,
    /// Each cache: those that the settings name, and others that were used.
    caches: Vec<NamedStats>,
}

/// What a cache did, and holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedStats {
    /// Its name.
    #[schema(example = "users")]
    name: String,
    #[serde(flatten)]
    stats: CacheStats,
}

/// Numbers of a cache, or of all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheStats {
    /// The share of reads that found something, from 0 to 1.
    hit_rate: f64,
    /// Reads that found a value in memory.
    memory_hits: u64,
    /// Reads that found one in the store.
    store_hits: u64,
    /// Reads that found that there is nothing, remembered.
    negative_hits: u64,
    /// Reads that found none.
    misses: u64,
    /// Of all reads, those that got a value whose time is over.
    stale: u64,
    /// Of all reads, those that the store could not confirm.
    degraded: u64,
    /// Of all reads, those that waited for another's load.
    coalesced: u64,
    /// Loaders that ran.
    loads: u64,
    /// Of those, the ones that began while a value was served.
    refreshes: u64,
    /// Loaders that failed.
    load_failures: u64,
    /// Loaders that did not end in time.
    load_timeouts: u64,
    /// Values that were written.
    sets: u64,
    /// Keys that were deleted.
    deletes: u64,
    /// Tags, and whole caches, that were invalidated.
    invalidations: u64,
    /// Keys and tags that other instances changed.
    heard: u64,
    /// Values in the store that could not be read.
    unreadable: u64,
    /// Loaded values that were too large to be kept.
    oversized: u64,
    /// Loaded values that a write overtook.
    overtaken: u64,
    /// Commands that were sent to the store, as it bills them.
    commands: u64,
    /// Bytes of values before compression.
    bytes_plain: u64,
    /// Bytes of the same values as they were sent.
    bytes_sent: u64,
    /// Bytes that compression saved.
    bytes_saved: u64,
    /// The mean age of values that were served, in milliseconds.
    mean_age_ms: u64,
    /// Values in memory now.
    items: u64,
    /// Bytes of memory that they take now.
    bytes: u64,
}

impl From<&Stats> for CacheStats {
    fn from(stats: &Stats) -> Self {
        CacheStats {
            hit_rate: stats.hit_rate(),
            memory_hits: stats.memory_hits,
            store_hits: stats.store_hits,
            negative_hits: stats.negative_hits,
            misses: stats.misses,
            stale: stats.stale,
            degraded: stats.degraded,
            coalesced: stats.coalesced,
            loads: stats.loads,
            refreshes: stats.refreshes,
            load_failures: stats.load_failures,
            load_timeouts: stats.load_timeouts,
            sets: stats.sets,
            deletes: stats.deletes,
            invalidations: stats.invalidations,
            heard: stats.heard,
            unreadable: stats.unreadable,
            oversized: stats.oversized,
            overtaken: stats.overtaken,
            commands: stats.commands,
            bytes_plain: stats.bytes_plain,
            bytes_sent: stats.bytes_sent,
            bytes_saved: stats.bytes_saved(),
            mean_age_ms: stats.mean_age_ms(),
            items: stats.items,
            bytes: stats.bytes,
        }
    }
}

/// What caches did since this server began, and hold.
#[utoipa::path(
    get,
    path = "/v1/cache",
    operation_id = "reportCaches",
    tag = "cache",
    responses((status = 200, body = CacheReport), (status = 401, body = Problem), (status = 403, body = Problem)),
    security(("bearer" = ["cache:read"]))
)]
pub(crate) async fn report(State(app): State<App>) -> Json<CacheReport> {
    let report = app.caching.report();
    let caches = report.caches.iter().map(|(name, stats)| NamedStats {
        name: name.clone(),
        stats: stats.into(),
    });
    Json(CacheReport {
        connected: report.connected,
        reason: report.reason.clone(),
        unsent: report.unsent,
        replayed: report.replayed,
        dropped: report.dropped,
        total: (&report.total()).into(),
        caches: caches.collect(),
    })
}
