//! Paths and queries: no text panics, an argument never outgrows what it was
//! written as, and the credentials are never an argument.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_wire::rest::{PathCommand, query_token};

fuzz_target!(|input: (&str, Option<&str>, &[u8])| {
    let (path, query, body) = input;
    let Ok(command) = PathCommand::parse(path, query, body) else {
        return;
    };
    let argv = command.argv();
    assert!(!argv.is_empty() && !argv[0].is_empty());
    let room = path.len() + query.map_or(0, str::len) + body.len();
    assert!(argv.iter().map(|arg| arg.len()).sum::<usize>() <= room);
    let query = query.unwrap_or_default();
    let _ = query_token(query);
    let secret = format!("{query}&_token=x");
    let with = PathCommand::parse(path, Some(&secret), body).expect("one pair more");
    assert_eq!(with.argv(), argv);
});
