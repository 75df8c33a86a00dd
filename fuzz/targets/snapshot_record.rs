//! Records of snapshots: any bytes are a record or none, reading one and
//! passing it by end at the same place, and what was read can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_engine::journal::snapshot::record::{decode, encode, skip};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let Ok(record) = decode(&mut rest) else {
        return;
    };
    let mut passed = bytes;
    assert!(skip(&mut passed).is_ok());
    assert_eq!(passed.len(), rest.len());
    let mut written = Vec::new();
    encode(&record, &mut written);
    assert_eq!(written.len(), bytes.len() - rest.len());
});
