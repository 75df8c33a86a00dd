//! The backup's decoder: any bytes are restored whole or leave the folder
//! empty.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_engine::journal::backup::restore;
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};

fuzz_target!(|bytes: &[u8]| {
    let storage = FaultyStorage::new();
    let restored = restore(&mut &*bytes, &storage, &mut |_| ());
    let files = storage.list().expect("memory does not fail");
    assert_eq!(restored.is_err(), files.is_empty());
    assert!(!files.contains(&"restoring".to_owned()));
});
