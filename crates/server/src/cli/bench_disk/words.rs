//! The figures, and what they mean.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::measure::{Group, Measured, Times};
use crate::cli::figures::{about, bytes, milliseconds};

/// No disk that keeps what it is told answers a sync faster.
const TOO_FAST: Duration = Duration::from_micros(5);
/// Callers begin to feel a wait like this.
const SLOW: Duration = Duration::from_millis(5);

pub(super) fn tell(out: &mut impl Write, folder: &Path, measured: &Measured) -> io::Result<()> {
    let Measured {
        allocated, filled, ..
    } = measured;
    writeln!(out, "{}:", folder.display())?;
    writeln!(
        out,
        "  sync of a small append, allocated   {}",
        times(allocated)
    )?;
    writeln!(
        out,
        "  sync of a small append, filled      {}",
        times(filled)
    )?;
    for group in &measured.always {
        let (writers, rate) = (group.writers, about(group.rate));
        writeln!(
            out,
            "  always, {writers:>2} at once                  {rate:>6} writes/s   reply {}",
            times(&group.reply)
        )?;
    }
    writeln!(
        out,
        "  everysec, 1 at once                 {:>6} writes/s",
        about(measured.everysec.rate)
    )?;
    writeln!(
        out,
        "  written in order and synced         {}/s",
        bytes(measured.stream as u64)
    )?;
    writeln!(
        out,
        "  free                                {}\n",
        bytes(measured.free)
    )?;
    for line in promises(measured) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn times(times: &Times) -> String {
    format!(
        "p50 {}, p99 {}, max {}",
        milliseconds(times.p50),
        milliseconds(times.p99),
        milliseconds(times.max)
    )
}

fn promises(measured: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(one), Some(many)) = (measured.always.first(), measured.always.last()) {
        lines.push(always(one, many));
    }
    lines.push(format!(
        "everysec: about {} writes/s from one caller in the same process; a reply does not wait \
         for the disk. A crash of the process costs a few milliseconds of writes, or those of one \
         sync; a loss of power at most a second, or two while a sync is slow.",
        about(measured.everysec.rate)
    ));
    if measured.filled.p50 < TOO_FAST {
        lines.push(
            "Careful: no disk syncs this fast. This folder is in memory, or its syncs are not \
             carried out; a loss of power costs everything in it, whatever `fsync` says."
                .to_owned(),
        );
    } else if measured.filled.p50 > SLOW {
        lines.push(
            "This disk is slow to sync: take `always` only where callers can wait that long."
                .to_owned(),
        );
    }
    lines
}

fn always(one: &Group, many: &Group) -> String {
    let reply = |group: &Group| {
        let (p50, p99) = (milliseconds(group.reply.p50), milliseconds(group.reply.p99));
        format!("{p50} (p99 {p99})")
    };
    format!(
        "always: about {} writes/s with {} callers, {}/s with one; a reply waits {}, with {} \
         callers {}. Nothing that was acknowledged is lost, with the power neither.",
        about(many.rate),
        many.writers,
        about(one.rate),
        reply(one),
        many.writers,
        reply(many)
    )
}

pub(super) fn as_json(folder: &Path, measured: &Measured) -> Value {
    let group = |group: &Group| {
        json!({
            "writers": group.writers,
            "writes_per_second": group.rate,
            "reply": times_json(&group.reply),
        })
    };
    json!({
        "folder": folder.to_string_lossy(),
        "sync_allocated": times_json(&measured.allocated),
        "sync_filled": times_json(&measured.filled),
        "always": measured.always.iter().map(group).collect::<Vec<_>>(),
        "everysec": group(&measured.everysec),
        "sequential_bytes_per_second": measured.stream,
        "free_bytes": measured.free,
        "promises": promises(measured),
    })
}

fn times_json(times: &Times) -> Value {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "count": times.count,
        "p50_ms": ms(times.p50),
        "p99_ms": ms(times.p99),
        "max_ms": ms(times.max),
    })
}
