//! What caches did, for `/metrics`.

use sangam::cache::{Report, Stats};

use crate::gateway::Page;

pub(super) fn write(report: &Report, page: &mut Page) {
    page.gauge(
        "sangam_cache_connected",
        "1 while the store answers; else values come out of memory alone.",
        &[],
        u8::from(report.connected),
    );
    page.gauge(
        "sangam_cache_unsent",
        "Keys and tags whose change waits for the store.",
        &[],
        report.unsent as f64,
    );
    page.counter(
        "sangam_cache_replayed_total",
        "Changes that waited for the store and were sent.",
        &[],
        report.replayed,
    );
    page.counter(
        "sangam_cache_dropped_total",
        "Changes that waited for the store and never were sent.",
        &[],
        report.dropped,
    );
    page.counter(
        "sangam_cache_verify_commands_total",
        "Commands that comparing memory with the store took, as the store bills them.",
        &[],
        report.commands,
    );
    for (name, stats) in &report.caches {
        one(page, name, stats);
    }
}

fn one(page: &mut Page, name: &str, stats: &Stats) {
    for (tier, count) in [
        ("memory", stats.memory_hits),
        ("store", stats.store_hits),
        ("negative", stats.negative_hits),
    ] {
        page.counter(
            "sangam_cache_hits_total",
            "Reads that found something, by where; `negative` is that there is nothing.",
            &[("cache", name), ("tier", tier)],
            count,
        );
    }
    let cache = [("cache", name)];
    for (metric, help, count) in [
        (
            "sangam_cache_misses_total",
            "Reads that found nothing.",
            stats.misses,
        ),
        (
            "sangam_cache_stale_total",
            "Reads that got a value whose time is over.",
            stats.stale,
        ),
        (
            "sangam_cache_degraded_total",
            "Reads that the store could not confirm.",
            stats.degraded,
        ),
        (
            "sangam_cache_coalesced_total",
            "Reads that waited for another's load.",
            stats.coalesced,
        ),
        ("sangam_cache_loads_total", "Loaders that ran.", stats.loads),
        (
            "sangam_cache_refreshes_total",
            "Of those, the ones that began while a value was served.",
            stats.refreshes,
        ),
        (
            "sangam_cache_load_failures_total",
            "Loaders that failed, or did not end in time.",
            stats.load_failures + stats.load_timeouts,
        ),
        (
            "sangam_cache_sets_total",
            "Values that were written by calls.",
            stats.sets,
        ),
        (
            "sangam_cache_deletes_total",
            "Keys that were deleted by calls.",
            stats.deletes,
        ),
        (
            "sangam_cache_invalidations_total",
            "Tags, and whole caches, that were invalidated by calls.",
            stats.invalidations,
        ),
        (
            "sangam_cache_heard_total",
            "Keys and tags that other instances changed.",
            stats.heard,
        ),
        (
            "sangam_cache_unreadable_total",
            "Values in the store that could not be read.",
            stats.unreadable,
        ),
        (
            "sangam_cache_oversized_total",
            "Loaded values that were too large to be kept.",
            stats.oversized,
        ),
        (
            "sangam_cache_overtaken_total",
            "Loaded values that a write overtook.",
            stats.overtaken,
        ),
        (
            "sangam_cache_commands_total",
            "Commands for the cache, as the store bills them.",
            stats.commands,
        ),
        (
            "sangam_cache_plain_bytes_total",
            "Bytes of values that were written, before compression.",
            stats.bytes_plain,
        ),
        (
            "sangam_cache_sent_bytes_total",
            "Bytes of the same values as they were sent.",
            stats.bytes_sent,
        ),
        (
            "sangam_cache_saved_bytes_total",
            "Bytes that compression saved.",
            stats.bytes_saved(),
        ),
    ] {
        page.counter(metric, help, &cache, count);
    }
    let (items, bytes) = (stats.items as f64, stats.bytes as f64);
    page.gauge("sangam_cache_items", "Values in memory.", &cache, items);
    page.gauge(
        "sangam_cache_memory_bytes",
        "Memory that they take.",
        &cache,
        bytes,
    );
}
