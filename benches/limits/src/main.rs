//! Checks of limits beside their peers, both sides in one run and in turns: in
//! process beside governor and limitador, and over a redis-server of its own beside
//! a hand-written GCRA script, by the same client with as many callers.
//!
//! `cargo run --release [checks]`, in this folder; prints Markdown.

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::{DefaultKeyedRateLimiter, Quota};
use limitador::RateLimiter;
use limitador::limit::{Context, Namespace};
use redis::aio::MultiplexedConnection;
use sangam::limit::{Algorithm, Limit, Limiter, Rule};
use sangam::store::{Options, Store, Target};
use sangam_rig::redis::Redis;
use tokio::task::JoinSet;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IDS: usize = 10_000;
const ROUNDS: usize = 7;
const MOST: u32 = 1_000_000;
const WINDOW: Duration = Duration::from_mins(1);

fn main() {
    let checks = std::env::args().nth(1);
    let checks = checks.and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let ids: Vec<String> = (0..IDS).map(|at| format!("user:{at:06}")).collect();
    in_process(&ids, checks);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(over_redis(&ids, checks));
}

fn rule(algorithm: Algorithm) -> Rule {
    Rule::new(algorithm, u64::from(MOST), WINDOW).unwrap()
}

fn limit(algorithm: Algorithm, id: &str) -> Limit<'_> {
    Limit {
        name: "a",
        rule: rule(algorithm),
        id: id.as_bytes(),
    }
}

// ---- in process ----

fn in_process(ids: &[String], checks: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let limiter = runtime.block_on(async { Limiter::new(Store::memory()) });
    let governor =
        DefaultKeyedRateLimiter::<String>::keyed(Quota::per_minute(NonZeroU32::new(MOST).unwrap()));
    let limitador = RateLimiter::new(2 * IDS as u64);
    let variables = vec!["user_id".try_into().unwrap()];
    let fixed = limitador::limit::Limit::new("bench", u64::from(MOST), 60, vec![], variables);
    limitador.add_limit(fixed);
    let namespace = Namespace::from("bench");

    let sangam = |algorithm| {
        runtime.block_on(async {
            for turn in 0..checks {
                let limit = limit(algorithm, &ids[turn % IDS]);
                assert!(limiter.check(&[limit], 1).await.unwrap().allowed);
            }
        });
    };
    let sides: [(&str, &dyn Fn()); 4] = [
        ("sangam, GCRA", &|| sangam(Algorithm::Gcra)),
        ("sangam, fixed window", &|| sangam(Algorithm::FixedWindow)),
        ("governor (GCRA)", &|| {
            for turn in 0..checks {
                assert!(black_box(governor.check_key(&ids[turn % IDS])).is_ok());
            }
        }),
        ("limitador (fixed window)", &|| {
            for turn in 0..checks {
                let id = ids[turn % IDS].clone();
                let context: Context = HashMap::from([("user_id".to_owned(), id)]).into();
                let checked = limitador.check_rate_limited_and_update(&namespace, &context, 1);
                assert!(!checked.unwrap().limited);
            }
        }),
    ];
    let mut best = [f64::MAX; 4];
    for _ in 0..ROUNDS {
        for ((_, run), best) in sides.iter().zip(&mut best) {
            let began = Instant::now();
            run();
            *best = best.min(began.elapsed().as_nanos() as f64 / checks as f64);
        }
    }
    println!("In process, one thread, {IDS} identifiers, one rule, best of {ROUNDS}:\n");
    println!("| limiter | a check |");
    println!("|--|--|");
    for ((name, _), nanos) in sides.iter().zip(best) {
        println!("| {name} | {nanos:.0} ns |");
    }
    println!(
        "\nGCRA: {:.1} times governor's; fixed window: {:.2} of limitador's.\n",
        best[0] / best[2],
        best[1] / best[3]
    );
}

// ---- over a redis-server ----

/// What one writes who needs one GCRA rule and nothing else.
const HAND_WRITTEN: &str = "
local now, interval, depth = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
if tat < now then tat = now end
local new = tat + interval
if new > now + depth then return { 0, 0, new - now - depth, tat - now } end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now) / 1000))
return { 1, math.floor((now + depth - new) / interval), 0, new - now }";

#[derive(Clone)]
enum Side {
    Sangam(&'static Limiter, Algorithm),
    Script(MultiplexedConnection, String),
}

impl Side {
    async fn run(mut self, ids: &[String], caller: usize, checks: usize) {
        for turn in 0..checks {
            let id = &ids[(caller * 157 + turn) % ids.len()];
            match &mut self {
                Side::Sangam(limiter, algorithm) => {
                    let decision = limiter.check(&[limit(*algorithm, id)], 1).await;
                    assert!(decision.unwrap().allowed);
                }
                Side::Script(connection, sha) => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                    let interval = WINDOW.as_micros() as u64 / u64::from(MOST);
                    let mut command = redis::cmd("EVALSHA");
                    command.arg(sha.as_str()).arg(1);
                    command.arg(format!("gcra:{{{id}}}"));
                    command.arg(now.as_micros() as u64).arg(interval);
                    command.arg(interval * u64::from(MOST));
                    let answer: [i64; 4] = command.query_async(connection).await.unwrap();
                    assert_eq!(answer[0], 1);
                }
            }
        }
    }
}

/// What a round came to.
#[derive(Clone, Copy, Default)]
struct Round {
    /// Checks a second.
    rate: f64,
    /// Microseconds of the server's CPU time a check.
    server_us: f64,
    /// Commands that are billed a check.
    billed: f64,
}

async fn round(
    side: &Side,
    server: &Redis,
    ids: &'static [String],
    callers: usize,
    checks: usize,
) -> Round {
    let before = (cpu_us(server).await, commands(server).await);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let side = side.clone();
        tasks.spawn(async move { side.run(ids, caller, checks / callers).await });
    }
    tasks.join_all().await;
    let took = began.elapsed().as_secs_f64();
    let after = (cpu_us(server).await, commands(server).await);
    let checks = (checks / callers * callers) as f64;
    Round {
        rate: checks / took,
        server_us: (after.0 - before.0) / checks,
        // Counting asks twice itself.
        billed: (after.1 - before.1 - 2.0) / checks,
    }
}

async fn cpu_us(server: &Redis) -> f64 {
    let mut sum = 0.0;
    for field in ["used_cpu_user_main_thread", "used_cpu_sys_main_thread"] {
        let seconds: f64 = info(server, "cpu", field).await.unwrap();
        sum += seconds * 1e6;
    }
    sum
}

/// Calls of commands, those of scripts among them, INFO's own left out.
async fn commands(server: &Redis) -> f64 {
    let text = server.call(&["INFO", "commandstats"]).await.text();
    let lines = text.lines().filter(|line| !line.contains("_info:"));
    let calls = lines.filter_map(|line| line.split_once("calls=")?.1.split(',').next());
    calls
        .map(|calls| calls.parse::<f64>().unwrap())
        .sum::<f64>()
}

async fn info(server: &Redis, section: &str, field: &str) -> Option<f64> {
    let text = server.call(&["INFO", section]).await.text();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| *name == field)?;
    value.trim().parse().ok()
}

async fn over_redis(ids: &[String], checks: usize) {
    let ids: &'static [String] = ids.to_vec().leak();
    let server = Redis::start().await;
    let target = Target::new(&server.url(), None, "url", "").unwrap();
    let store = Store::connect(&target, Options::default()).await.unwrap();
    let limiter: &'static Limiter = Box::leak(Box::new(Limiter::new(store)));
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(HAND_WRITTEN);
    let sha: String = load.query_async(&mut connection).await.unwrap();
    let sides = [
        ("hand-written GCRA", Side::Script(connection, sha)),
        ("sangam, GCRA", Side::Sangam(limiter, Algorithm::Gcra)),
        (
            "sangam, fixed window",
            Side::Sangam(limiter, Algorithm::FixedWindow),
        ),
        (
            "sangam, sliding window",
            Side::Sangam(limiter, Algorithm::SlidingWindow),
        ),
    ];
    println!("Over a redis-server on loopback, {IDS} identifiers, one rule, best of {ROUNDS}:\n");
    println!(
        "| callers | limiter | checks/s | of the hand-written | redis-server's CPU a check | billed commands a check |"
    );
    println!("|--|--|--|--|--|--|");
    for callers in [64, 1] {
        let checks = if callers == 1 { checks / 8 } else { checks };
        let mut best = [Round::default(); 4];
        for number in 0..=ROUNDS {
            for ((_, side), best) in sides.iter().zip(&mut best) {
                let round = round(side, &server, ids, callers, checks).await;
                // The first one makes the keys.
                if number > 0 && round.rate > best.rate {
                    *best = round;
                }
            }
        }
        for ((name, _), round) in sides.iter().zip(best) {
            println!(
                "| {callers} | {name} | {:.0} | {:.2} | {:.2} us | {:.2} |",
                round.rate,
                round.rate / best[0].rate,
                round.server_us,
                round.billed
            );
        }
    }
}
