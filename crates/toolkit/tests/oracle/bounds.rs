//! What each algorithm promises, checked on a log without knowing in which order the
//! store took the hits.
//!
//! A hit's moment is the asker's, a little after it was `sent`; it is taken at some
//! time until it is `received`. What a store counts by moments that lie a latency
//! back is over by that latency earlier: so bounds on intervals are checked for hits
//! of a latency below `d` in intervals that are shorter by `d`, for several `d`.
//! Bounds on aligned windows, on buckets and on permits need no such allowance.

use std::collections::BTreeMap;

use sangam::limit::{Algorithm, Rule, Ruled};

use crate::log::{Hit, Log};

/// Checks one rule of a log made by so many instances.
pub(crate) fn check(log: &Log, rule: Rule, instances: usize) {
    let hits = log.hits(rule);
    let by = |ruled| hits.iter().copied().filter(move |hit| hit.ruled == ruled);
    // A lease's tokens are those of the store.
    let stored: Vec<Hit> = hits
        .iter()
        .copied()
        .filter(|hit| hit.ruled != Ruled::Local)
        .collect();
    let name = rule.algorithm().as_str();
    assert!(stored.len() > 20, "{name}: only {} hits", stored.len());
    held(&stored, rule, rule.limit(), rule.burst());
    // What a share let through is charged at some time.
    let charged = by(Ruled::Local).next().is_some();
    let leased = by(Ruled::Lease).next().is_some();
    if rule.algorithm() == Algorithm::FixedWindow && !charged && !leased {
        nothing_is_consumed_by_refusals(log, rule, &stored);
    }
    // Those cut off, each within its share.
    let parts = instances as u64;
    let (limit, burst) = (rule.limit() / parts, rule.burst() / parts);
    let mut cut_off = 0;
    for instance in 0..instances {
        let share: Vec<Hit> = by(Ruled::Local)
            .filter(|hit| hit.instance == instance)
            .collect();
        cut_off += u64::from(!share.is_empty());
        if rule.algorithm() == Algorithm::FixedWindow {
            interval(&share, rule, limit);
        } else {
            held(&share, rule, limit, burst);
        }
    }
    // And all together: limit x (1 + cut off / N). Two estimates have no common
    // bound but those that were checked, whose windows are the same.
    if rule.algorithm() != Algorithm::SlidingWindow {
        let limit = rule.limit() + cut_off * limit;
        held(&hits, rule, limit, rule.burst() + cut_off * burst);
    }
}

fn held(hits: &[Hit], rule: Rule, limit: u64, burst: u64) {
    match rule.algorithm() {
        Algorithm::FixedWindow => windows(hits, rule, limit),
        Algorithm::SlidingWindow => estimate(hits, rule, limit),
        Algorithm::SlidingLog => interval(hits, rule, limit),
        Algorithm::TokenBucket | Algorithm::Gcra => bucket(hits, rule, limit, burst),
        Algorithm::Concurrency => permits(hits, rule, limit),
    }
}

fn window_us(rule: Rule) -> u64 {
    rule.window().as_micros() as u64
}

fn sum<'a>(hits: impl IntoIterator<Item = &'a Hit>) -> u64 {
    hits.into_iter().map(|hit| hit.cost).sum()
}

/// Fixed windows as the store aligned them, by their ends, which it tells: at least
/// a window lies between two of them.
fn aligned(hits: &[Hit], rule: Rule) -> Vec<(u64, Vec<Hit>)> {
    let mut stored: Vec<Hit> = hits.to_vec();
    stored.retain(|hit| hit.ruled != Ruled::Local);
    stored.sort_by_key(|hit| hit.reset);
    let mut windows: Vec<(u64, Vec<Hit>)> = Vec::new();
    for hit in stored {
        match windows.last_mut() {
            Some((end, window)) if hit.reset < *end + window_us(rule) / 2 => window.push(hit),
            _ => windows.push((hit.reset, vec![hit])),
        }
    }
    windows
}

/// In no window of the store more than the limit, with what shares let through
/// certainly within it.
fn windows(hits: &[Hit], rule: Rule, limit: u64) {
    for (end, window) in aligned(hits, rule) {
        let start = end - window_us(rule);
        let inside =
            |hit: &&Hit| hit.ruled == Ruled::Local && hit.sent >= start && hit.received < end;
        let admitted = sum(&window) + sum(hits.iter().filter(inside));
        assert!(admitted <= limit, "{admitted} of {limit} in a window");
    }
}

/// What a window counts was admitted, or is of a request whose fate is unknown.
fn nothing_is_consumed_by_refusals(log: &Log, rule: Rule, stored: &[Hit]) {
    let mut certain = 0;
    for (end, window) in aligned(stored, rule) {
        let start = end - window_us(rule);
        let counted = window.iter().map(|hit| rule.limit() - hit.remaining).max();
        // What was sent before may be taken now.
        let uncertain = log.uncertain(rule, start - 2 * window_us(rule), end);
        let counted = counted.unwrap_or_default();
        let known = sum(&window) + uncertain;
        assert!(counted <= known, "{counted} counted of {known} hits");
        let refusals = log.refusals(rule, start, end);
        certain += usize::from(refusals > 0 && uncertain < rule.limit() / 2);
    }
    assert!(certain > 0, "no window without faults was seen");
}

/// In no interval of the window's length more than the limit.
fn interval(hits: &[Hit], rule: Rule, limit: u64) {
    let window = window_us(rule);
    for part in [16, 8, 4, 2] {
        let latency = window / part;
        let mut quick = hits.to_vec();
        quick.retain(|hit| hit.received - hit.sent < latency);
        let mut first = 0;
        for (at, last) in quick.iter().enumerate() {
            while quick[first].sent + window - latency < last.sent {
                first += 1;
            }
            let within = sum(&quick[first..=at]);
            assert!(within <= limit, "{within} of {limit} in a window");
        }
    }
}

/// The former window's hits, weighted by what is left of it, and this one's: as they
/// came evenly, no more than the limit.
fn estimate(hits: &[Hit], rule: Rule, limit: u64) {
    let span = window_us(rule);
    // What is counted lasts until the end of the next window.
    let number = |hit: &Hit| (hit.reset + span / 2) / span - 2;
    let mut windows: BTreeMap<u64, Vec<Hit>> = BTreeMap::new();
    for hit in hits {
        windows.entry(number(hit)).or_default().push(*hit);
    }
    for (index, window) in &windows {
        let former = index.checked_sub(1).and_then(|index| windows.get(&index));
        let former = former.map_or(0, sum);
        assert!(sum(window) <= limit, "{} of {limit}", sum(window));
        for hit in window {
            let before = window.iter().filter(|other| other.received < hit.sent);
            let counted = sum(before) + hit.cost;
            // It was asked after that: less of the former window was left.
            let left = ((index + 1) * span).saturating_sub(hit.received).min(span);
            let used = former * left + counted * span;
            assert!(used <= limit * span, "{used} of {}", limit * span);
        }
    }
}

/// In any time no more than the burst and what flows in meanwhile.
fn bucket(hits: &[Hit], rule: Rule, limit: u64, burst: u64) {
    let mut by_end = hits.to_vec();
    by_end.sort_by_key(|hit| hit.received);
    for first in hits {
        let mut admitted = 0;
        for hit in by_end.iter().filter(|hit| hit.sent >= first.sent) {
            admitted += hit.cost;
            let time = hit.received - first.sent;
            // In hits times microseconds, so that nothing is rounded.
            let bound = burst * window_us(rule) + time * limit;
            let used = admitted * window_us(rule);
            assert!(used <= bound, "{admitted} in {time} us");
        }
    }
}

/// At no moment are more permits certainly held.
fn permits(hits: &[Hit], rule: Rule, limit: u64) {
    let held: Vec<(u64, u64)> = hits
        .iter()
        .map(|hit| {
            let lease = hit.sent + window_us(rule);
            (hit.received, hit.ended.unwrap_or(lease).min(lease))
        })
        .collect();
    for (moment, _) in &held {
        let at = held
            .iter()
            .filter(|(from, to)| from <= moment && moment < to);
        assert!(at.count() as u64 <= limit, "more than {limit} at once");
    }
}
