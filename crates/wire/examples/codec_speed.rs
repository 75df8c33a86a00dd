//! Nanoseconds an operation of each codec, on one thread:
//! `cargo run --release -p sangam-wire --example codec_speed`.

use std::hint::black_box;
use std::time::Instant;

use sangam_engine::Reply;
use sangam_wire::Argv;
use sangam_wire::resp::{Decoded, Decoder, Protocol, encode};
use sangam_wire::rest::{Batch, Command, Encoding, PathCommand, write_items, write_reply};

/// Runs `work` for a while, best of five, and prints the time of one of the
/// `operations` that each run does.
fn measure(name: &str, operations: u32, mut work: impl FnMut()) {
    const RUNS: u32 = 200_000;
    let runs = RUNS / operations;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..runs {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{name:<44} {:>8.1} ns",
        best * 1e9 / f64::from(runs * operations)
    );
}

fn decode_all(pipeline: &[u8]) {
    let mut decoder = Decoder::new();
    let mut argv = Argv::new();
    let mut front = pipeline;
    while let Ok(Decoded::Command { consumed }) = decoder.decode(front, true, &mut argv) {
        black_box(&argv);
        front = front.get(consumed..).unwrap_or_default();
    }
}

fn main() {
    let get = b"*2\r\n$3\r\nGET\r\n$19\r\nkey:000000000000001\r\n".repeat(16);
    let set = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$3\r\nxxx\r\n".repeat(16);
    measure("RESP decode GET, pipeline of 16", 16, || {
        decode_all(black_box(&get));
    });
    measure("RESP decode SET, pipeline of 16", 16, || {
        decode_all(black_box(&set));
    });
    let inline = b"PING\r\n".repeat(16);
    measure("RESP decode inline PING, pipeline of 16", 16, || {
        decode_all(black_box(&inline));
    });

    let mut out = Vec::with_capacity(1 << 16);
    let value = Reply::bulk([b'v'; 100]);
    let scores = Reply::Pairs(
        (0..10)
            .map(|n| (Reply::bulk("member"), Reply::Double(f64::from(n) + 0.1)))
            .collect(),
    );
    let mut encoded = |name: &str, reply: &Reply, protocol| {
        measure(name, 16, || {
            out.clear();
            for _ in 0..16 {
                encode(black_box(reply), protocol, &mut out);
            }
            black_box(&out);
        });
    };
    encoded("RESP encode +OK", &Reply::OK, Protocol::Resp2);
    encoded(
        "RESP encode integer",
        &Reply::Int(1_234_567),
        Protocol::Resp2,
    );
    encoded("RESP encode bulk of 100 B", &value, Protocol::Resp2);
    encoded(
        "RESP encode 10 members with scores",
        &scores,
        Protocol::Resp2,
    );

    measure("REST body [\"GET\",\"key\"]", 1, || {
        if let Ok(command) = Command::parse(black_box(br#"["GET","key"]"#)) {
            black_box(command.argv());
        }
    });
    let long = format!(
        r#"["SET","key:000000000001","{}","EX",100]"#,
        "v".repeat(1000)
    );
    measure("REST body SET of 1 KB with EX", 1, || {
        if let Ok(command) = Command::parse(black_box(long.as_bytes())) {
            black_box(command.argv());
        }
    });
    let escaped = r#"["SET","key","{\"a\":1,\"b\":\"text\",\"c\":[1,2,3]}"]"#;
    measure("REST body SET of JSON text, escaped", 1, || {
        if let Ok(command) = Command::parse(black_box(escaped.as_bytes())) {
            black_box(command.argv());
        }
    });
    let batch = format!("[{}]", vec![r#"["GET","key:000000000001"]"#; 100].join(","));
    measure("REST pipeline of 100 GET, each", 100, || {
        if let Ok(batch) = Batch::parse(black_box(batch.as_bytes())) {
            for argv in batch.iter() {
                black_box(argv);
            }
        }
    });
    measure("REST path /set/foo/bar?EX=100", 1, || {
        if let Ok(command) = PathCommand::parse(black_box("/set/foo/bar"), Some("EX=100"), b"") {
            black_box(command.argv());
        }
    });

    let mut out = Vec::with_capacity(1 << 16);
    for (name, encoding) in [("plain", Encoding::Plain), ("base64", Encoding::Base64)] {
        measure(
            &format!("REST reply, bulk of 100 B, {encoding:?}"),
            1,
            || {
                out.clear();
                write_reply(black_box(&value), encoding, &mut out);
                black_box(&out);
            },
        );
        let replies = vec![value.clone(); 100];
        measure(
            &format!("REST pipeline reply of 100, {name}, each"),
            100,
            || {
                out.clear();
                write_items(black_box(&replies), encoding, &mut out);
                black_box(&out);
            },
        );
    }
}
