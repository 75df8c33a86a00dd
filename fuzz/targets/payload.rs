//! Payloads of RESTORE, behind the checksum: any bytes are a value or none, and
//! a value comes back from what is written of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_engine::config::Settings;
use sangam_engine::rdb::{decode, encode, seal};

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings::default();
    let Ok(value) = decode(&seal(bytes.to_vec()), &settings) else {
        return;
    };
    assert!(decode(&encode(&value), &settings).is_ok());
});
