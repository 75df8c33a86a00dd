//! INFO: sections of `name:value` lines.
//!
//! Only what is known is shown, under Redis' names; memory, statistics and
//! keys are those of the caller's keyspace.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

use super::super::Ctx;
use super::super::connection::REDIS_VERSION;
use super::super::spec::{Outcome, command_by_id};
use super::super::stat::CommandStats;
use crate::acl::Reason;
use crate::config::{EvictionPolicy, PARAMETERS};
use crate::journal::Health;
use crate::keyspace::Tracking;
use crate::reply::Reply;

/// One section: its name, whether plain INFO shows it, its lines.
struct Section {
    name: &'static str,
    by_default: bool,
    write: fn(&mut Lines, &Ctx<'_>),
}

const SECTIONS: &[Section] = &[
    Section {
        name: "Server",
        by_default: true,
        write: server,
    },
    Section {
        name: "Clients",
        by_default: true,
        write: clients,
    },
    Section {
        name: "Memory",
        by_default: true,
        write: memory,
    },
    Section {
        name: "Persistence",
        by_default: true,
        write: persistence,
    },
    Section {
        name: "Stats",
        by_default: true,
        write: stats,
    },
    Section {
        name: "Replication",
        by_default: true,
        write: replication,
    },
    Section {
        name: "CPU",
        by_default: true,
        write: cpu,
    },
    Section {
        name: "Modules",
        by_default: true,
        write: |_, _| {},
    },
    Section {
        name: "Commandstats",
        by_default: false,
        write: commandstats,
    },
    Section {
        name: "Errorstats",
        by_default: true,
        write: errorstats,
    },
    Section {
        name: "Cluster",
        by_default: true,
        write: |lines, _| lines.add("cluster_enabled", 0),
    },
    Section {
        name: "Keyspace",
        by_default: true,
        write: keyspace,
    },
];

/// The text as it grows.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// A number of bytes, and the same for humans.
    fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        let _ = write!(self.0, "{name}_human:{}\r\n", human(bytes));
    }
}

pub(super) fn info(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let asked = argv.get(1..).unwrap_or_default();
    let names = |name: &str| {
        asked
            .iter()
            .any(|arg| arg.eq_ignore_ascii_case(name.as_bytes()))
    };
    let all = names("all") || names("everything");
    let default = asked.is_empty() || names("default");
    ctx.db.peak = ctx.db.peak.max(ctx.db.used_memory());
    let mut lines = Lines(String::with_capacity(4096));
    for section in SECTIONS {
        if all || (default && section.by_default) || names(section.name) {
            if !lines.0.is_empty() {
                lines.0.push_str("\r\n");
            }
            let _ = write!(lines.0, "# {}\r\n", section.name);
            (section.write)(&mut lines, ctx);
        }
    }
    Ok(Reply::Verbatim(*b"txt", lines.0.into_bytes()))
}

fn server(lines: &mut Lines, ctx: &Ctx<'_>) {
    let shared = &ctx.engine.0;
    let now_us = ctx.db.now_us;
    let uptime = now_us.saturating_sub(shared.started_us) / 1_000_000;
    lines.add("redis_version", REDIS_VERSION);
    lines.add("sangam_version", env!("CARGO_PKG_VERSION"));
    lines.add("redis_mode", "standalone");
    lines.add(
        "os",
        format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    );
    lines.add("arch_bits", usize::BITS);
    lines.add("process_id", std::process::id());
    lines.add("run_id", &shared.run_id);
    lines.add("tcp_port", shared.port);
    lines.add("server_time_usec", now_us);
    lines.add("uptime_in_seconds", uptime);
    lines.add("uptime_in_days", uptime / 86_400);
    lines.add("lru_clock", (now_us / 1_000_000) & 0xff_ffff);
    lines.add("config_file", "");
}

fn clients(lines: &mut Lines, ctx: &Ctx<'_>) {
    let clients = ctx.engine.clients();
    let blocked = clients.iter().filter(|client| client.is_blocked()).count();
    let tracking = clients.iter().filter(|client| client.tracking.is_on());
    lines.add("connected_clients", clients.len());
    lines.add("cluster_connections", 0);
    lines.add("blocked_clients", blocked);
    lines.add("tracking_clients", tracking.count());
}

fn memory(lines: &mut Lines, ctx: &Ctx<'_>) {
    let used = ctx.db.used_memory() as u64;
    let resident = proc_kibibytes("/proc/self/status", "VmRSS:").unwrap_or(0) * 1024;
    let peak = ctx.db.peak as u64;
    lines.add_bytes("used_memory", used);
    lines.add_bytes("used_memory_rss", resident);
    lines.add_bytes("used_memory_peak", peak);
    lines.add(
        "used_memory_peak_perc",
        format_args!("{:.2}%", used as f64 * 100.0 / peak.max(1) as f64),
    );
    if let Some(total) = proc_kibibytes("/proc/meminfo", "MemTotal:") {
        lines.add_bytes("total_system_memory", total * 1024);
    }
    let settings = &ctx.db.settings;
    lines.add_bytes("maxmemory", settings.maxmemory as u64);
    let policy = PARAMETERS
        .iter()
        .find(|parameter| parameter.name == "maxmemory-policy");
    lines.add(
        "maxmemory_policy",
        policy
            .map(|policy| (policy.get)(settings))
            .unwrap_or_default(),
    );
    lines.add(
        "mem_fragmentation_ratio",
        format_args!("{:.2}", resident as f64 / used.max(1) as f64),
    );
    let evicting = settings.maxmemory > 0 && settings.policy != EvictionPolicy::NoEviction;
    lines.add("sangam_evicting", u8::from(evicting));
    let scripts = ctx.db.scripts.as_ref();
    lines.add(
        "used_memory_vm_eval",
        scripts.map_or(0, |scripts| scripts.memory()),
    );
    lines.add(
        "number_of_cached_scripts",
        scripts.map_or(0, |scripts| scripts.len()),
    );
    let libraries = ctx.db.libraries();
    lines.add("number_of_functions", libraries.function_count());
    lines.add("number_of_libraries", libraries.len());
    let functions = ctx.db.functions.as_ref();
    lines.add(
        "used_memory_vm_functions",
        functions.map_or(0, |functions| functions.memory()),
    );
    lines.add("used_memory_functions", libraries.bytes());
}

fn persistence(lines: &mut Lines, ctx: &Ctx<'_>) {
    let saves = ctx.engine.saves();
    let running = u8::from(saves.is_running());
    let last = saves.last();
    let status = |good: bool| if good { "ok" } else { "err" };
    let saved = status(!matches!(last, Some(Err(_))));
    let seconds = match &last {
        Some(Ok(saved)) => (saved.took_us / 1_000_000) as i64,
        _ => -1,
    };
    lines.add("loading", 0);
    lines.add("async_loading", 0);
    lines.add("rdb_changes_since_last_save", ctx.db.dirty);
    lines.add("rdb_bgsave_in_progress", running);
    lines.add("rdb_last_save_time", saves.last_good_us() / 1_000_000);
    lines.add("rdb_last_bgsave_status", saved);
    lines.add("rdb_last_bgsave_time_sec", seconds);
    lines.add("rdb_current_bgsave_time_sec", -1);
    if let Some(Ok(saved)) = &last {
        lines.add("sangam_snapshot_keys", saved.made.records);
        lines.add("sangam_snapshot_longest_hold_us", saved.longest_hold_us);
    }
    let journal = ctx.engine.journal();
    lines.add("aof_enabled", u8::from(journal.is_some()));
    lines.add("aof_rewrite_in_progress", running);
    lines.add("aof_rewrite_scheduled", 0);
    lines.add("aof_last_rewrite_time_sec", seconds);
    lines.add("aof_current_rewrite_time_sec", -1);
    lines.add("aof_last_bgrewrite_status", saved);
    let good = journal.is_none_or(|journal| journal.health() == Health::Good);
    lines.add("aof_last_write_status", status(good));
    if let Some(journal) = journal {
        let (syncs, slow) = journal.syncs();
        let base = journal.snapshot_bytes();
        lines.add("aof_current_size", base + journal.log_bytes());
        lines.add("aof_base_size", base);
        lines.add("aof_pending_rewrite", 0);
        lines.add("aof_buffer_length", journal.queued_bytes());
        lines.add(
            "aof_pending_bio_fsync",
            u8::from(journal.durable() < journal.last()),
        );
        lines.add("aof_delayed_fsync", slow);
        lines.add("sangam_fsyncs", syncs);
        lines.add("sangam_last_seq", journal.last().0);
        lines.add("sangam_durable_seq", journal.durable().0);
        if let Health::Poisoned(reason) = journal.health() {
            lines.add("sangam_journal_error", reason);
        }
    }
}

/// All counts of the keyspace, those kept beside its lock among them.
fn all_commands(ctx: &Ctx<'_>) -> CommandStats {
    let mut sum = ctx.db.commands.clone();
    sum.add(&ctx.keyspace.unlocked.lock());
    sum
}

fn stats(lines: &mut Lines, ctx: &Ctx<'_>) {
    let (stats, commands) = (&ctx.db.stats, all_commands(ctx));
    let hub = &ctx.keyspace.hub;
    lines.add(
        "total_connections_received",
        ctx.engine.0.connections.load(Ordering::Relaxed),
    );
    let calls: u64 = commands.iter().map(|(_, stat)| stat.calls).sum();
    lines.add("total_commands_processed", calls);
    lines.add("expired_keys", stats.expired);
    lines.add("expired_subkeys", stats.expired_fields);
    lines.add("evicted_keys", stats.evicted);
    lines.add("keyspace_hits", stats.hits);
    lines.add("keyspace_misses", stats.misses);
    lines.add("pubsub_channels", hub.channels(None).len());
    lines.add("pubsub_patterns", hub.patterns());
    lines.add(
        "total_error_replies",
        commands.errors().map(|(_, count)| count).sum::<u64>(),
    );
    let (keys, items, prefixes) = ctx.db.tracking().map_or((0, 0, 0), Tracking::counts);
    lines.add("tracking_total_keys", keys);
    lines.add("tracking_total_items", items);
    lines.add("tracking_total_prefixes", prefixes);
    for (name, reason) in [
        ("acl_access_denied_auth", Reason::Auth),
        ("acl_access_denied_cmd", Reason::Command),
        ("acl_access_denied_key", Reason::Key),
        ("acl_access_denied_channel", Reason::Channel),
    ] {
        lines.add(name, ctx.keyspace.users.denials.of(reason));
    }
    lines.add("sangam_billed_commands", super::billed(ctx));
}

fn replication(lines: &mut Lines, ctx: &Ctx<'_>) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &ctx.engine.0.run_id);
    lines.add("master_repl_offset", 0);
    lines.add("repl_backlog_active", 0);
}

fn cpu(lines: &mut Lines, _: &Ctx<'_>) {
    let (user, system) = cpu_seconds().unwrap_or_default();
    lines.add("used_cpu_sys", format_args!("{system:.6}"));
    lines.add("used_cpu_user", format_args!("{user:.6}"));
}

fn commandstats(lines: &mut Lines, ctx: &Ctx<'_>) {
    for (id, stat) in all_commands(ctx).iter() {
        if stat.calls + stat.rejected + stat.failed == 0 {
            continue;
        }
        let Some(command) = command_by_id(id) else {
            continue;
        };
        let each = stat.usec as f64 / stat.calls.max(1) as f64;
        let _ = write!(
            lines.0,
            "cmdstat_{}:calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}\
             \r\n",
            command.full_name, stat.calls, stat.usec, stat.rejected, stat.failed
        );
    }
}

fn errorstats(lines: &mut Lines, ctx: &Ctx<'_>) {
    for (code, count) in all_commands(ctx).errors() {
        let code = String::from_utf8_lossy(code);
        let _ = write!(lines.0, "errorstat_{code}:count={count}\r\n");
    }
}

fn keyspace(lines: &mut Lines, ctx: &Ctx<'_>) {
    let db = &ctx.db;
    if !db.is_empty() {
        lines.add(
            "db0",
            format_args!(
                "keys={},expires={},avg_ttl={}",
                db.len(),
                db.expiring(),
                db.average_ttl_ms()
            ),
        );
    }
}

/// Bytes as Redis writes them for humans.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.2}{unit}")
}

/// The number after `name` in a file of /proc; `None` where there is none.
fn proc_kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Seconds of this process in user and in system mode.
fn cpu_seconds() -> Option<(f64, f64)> {
    // Linux counts these for user space in hundredths on every architecture.
    const TICKS_A_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks; the fields after it do not.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_A_SECOND);
    Some((seconds()?, seconds()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_humans() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_833_160, "1.75M"),
            (25_276_510_208, "23.54G"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn the_process_has_memory_and_has_run() {
        assert!(proc_kibibytes("/proc/self/status", "VmRSS:").unwrap() > 0);
        assert!(cpu_seconds().is_some());
    }
}
