//! JSON bodies, alone and in batches: no bytes panic, and a command read alone
//! is the command read as a batch of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_wire::rest::{Batch, Command};

fuzz_target!(|body: &[u8]| {
    let alone = Command::parse(body);
    let wrapped = [b"[", body, b"]"].concat();
    let batch = Batch::parse(&wrapped);
    if let Ok(command) = &alone {
        let batch = batch.expect("a good command makes a good batch");
        let argv = command.argv();
        assert!(!argv.is_empty());
        assert!(argv.iter().map(|arg| arg.len()).sum::<usize>() <= body.len());
        assert_eq!(batch.len(), 1);
        assert_eq!(batch.argv(0), Some(argv));
    }
    if let Ok(batch) = Batch::parse(body) {
        assert!(batch.iter().all(|argv| !argv.is_empty()));
    }
    if let Err(error) = alone {
        let mut out = Vec::new();
        error.write(&mut out);
        assert!(out.starts_with(b"{\"error\":\""));
    }
});
