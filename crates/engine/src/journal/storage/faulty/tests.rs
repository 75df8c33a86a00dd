use super::*;

fn file_of(storage: &FaultyStorage, name: &str, bytes: &[u8]) -> Box<dyn StorageFile> {
    let mut file = storage.create(name, 0, false).unwrap();
    file.write_all_at(0, bytes).unwrap();
    file.sync().unwrap();
    storage.sync_folder().unwrap();
    file
}

#[test]
fn what_was_synced_survives_every_crash_and_the_rest_may_not() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..64 {
        let storage = FaultyStorage::new();
        let mut file = file_of(&storage, "a", b"synced");
        file.write_all_at(6, b"+").unwrap();
        let storage = storage.crash(seed);
        let bytes = storage.contents("a").unwrap();
        assert!(bytes.starts_with(b"synced"));
        match bytes.get(6) {
            Some(b'+') => kept += 1,
            None | Some(0) => lost += 1,
            Some(other) => panic!("{other}"),
        }
    }
    assert!(lost > 8 && kept > 8, "{lost} lost, {kept} kept");
}

#[test]
fn names_are_durable_with_the_folder() {
    let storage = FaultyStorage::new();
    drop(file_of(&storage, "old", b"1"));
    storage.rename("old", "new").unwrap();
    assert_eq!(storage.crash_hard().list().unwrap(), ["old"]);

    let storage = FaultyStorage::new();
    drop(file_of(&storage, "old", b"1"));
    storage.rename("old", "new").unwrap();
    storage.sync_folder().unwrap();
    storage.remove("new").unwrap();
    assert_eq!(storage.list().unwrap().len(), 0);
    let storage = storage.crash_hard();
    assert_eq!(storage.contents("new").unwrap(), b"1");
}

#[test]
fn a_long_write_tears_and_a_sector_does_not() {
    let mut torn = 0;
    for seed in 0..64 {
        let storage = FaultyStorage::new();
        let mut file = file_of(&storage, "a", &[1; 4096]);
        file.write_all_at(0, &[2; 512]).unwrap();
        file.write_all_at(512, &[2; 3000]).unwrap();
        let bytes = storage.crash(seed).contents("a").unwrap();
        assert!(bytes[..512].iter().all(|byte| *byte == bytes[0]));
        let twos = bytes[512..]
            .iter()
            .map(|byte| usize::from(*byte == 2))
            .sum::<usize>();
        torn += usize::from(twos > 0 && twos < 3000);
    }
    assert!(torn > 5, "{torn}");
}

#[test]
fn a_failed_sync_loses_what_the_next_one_claims() {
    let storage = FaultyStorage::new();
    let mut file = file_of(&storage, "a", b"old");
    file.write_all_at(0, b"new").unwrap();
    storage.set_faults(Faults {
        sync_error: Some(1),
        ..Faults::default()
    });
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(storage.contents("a").unwrap(), b"new");
    assert_eq!(storage.kill().crash_hard().contents("a").unwrap(), b"old");
}

#[test]
fn a_full_disk_keeps_what_it_promised() {
    let storage = FaultyStorage::new();
    storage.set_faults(Faults {
        capacity: Some(1000),
        ..Faults::default()
    });
    let mut file = storage.create("a", 600, false).unwrap();
    assert!(storage.create("b", 500, false).is_err());
    file.write_all_at(0, &[1; 600]).unwrap();
    assert_eq!(file.write_at(600, &[1; 600]).unwrap(), 400);
    let full = file.write_at(1000, b"1").unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    storage.remove("a").unwrap();
    assert_eq!(storage.available().unwrap(), 0, "it is still open");
    drop(file);
    assert_eq!(storage.available().unwrap(), 1000);
}

#[test]
fn writes_fail_tear_and_come_short_when_told() {
    let storage = FaultyStorage::new();
    let mut file = file_of(&storage, "a", b"");
    storage.set_faults(Faults {
        write_error: Some(2),
        torn: true,
        short_writes: Some(3),
        ..Faults::default()
    });
    assert_eq!(file.write_at(0, b"abcdef").unwrap(), 3);
    assert!(file.write_at(3, b"defghi").is_err());
    assert_eq!(storage.contents("a").unwrap(), b"abcdef");
    file.write_all_at(6, b"ghij").unwrap();
    assert_eq!(storage.contents("a").unwrap(), b"abcdefghij");
}

#[test]
fn old_handles_and_old_folders_are_dead() {
    let storage = FaultyStorage::new();
    let mut file = file_of(&storage, "a", b"1");
    let next = storage.kill();
    assert!(file.write_at(0, b"2").is_err());
    assert!(storage.list().is_err());
    assert!(storage.create("b", 0, false).is_err());
    assert_eq!(next.contents("a").unwrap(), b"1");

    next.set_faults(Faults {
        stop_after: Some(1),
        ..Faults::default()
    });
    next.remove("a").unwrap();
    assert!(next.sync_folder().is_err());
    assert_eq!(next.crash_hard().contents("a").unwrap(), b"1");
}
