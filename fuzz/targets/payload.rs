//! Payloads of RESTORE, behind the checksum: any bytes are a value or none, and
//! a value comes back from what is written of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_engine::config::Settings;
use sangam_engine::rdb::{REDIS_7_4, VALKEY, decode, encode, seal};

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings::default();
    for version in [REDIS_7_4, VALKEY] {
        if let Ok(value) = decode(&seal(bytes.to_vec(), version), &settings) {
            assert!(decode(&encode(&value), &settings).is_ok());
        }
    }
});
