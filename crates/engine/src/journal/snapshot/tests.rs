//! Whole files: what was written comes back, whatever is damaged is noticed,
//! and a snapshot of an engine under load is the state after its cut's units.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::block::{BLOCK_HEADER, SNAPSHOT_HEADER, SnapshotHeader};
use super::*;
use crate::clock::ManualClock;
use crate::effect::{EffectSink, Effects};
use crate::journal::LogId;
use crate::journal::storage::{DiskStorage, Storage, StorageFile};
use crate::keyspace::tests::describe;
use crate::keyspace::{Key, Record};
use crate::random::Random;
use crate::value::Value;
use crate::{Engine, Options};

const LOG: LogId = LogId([7; 16]);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> (Self, DiskStorage) {
        let path = std::env::temp_dir().join(format!("sangam-{name}-{}", std::process::id()));
        let storage = DiskStorage::open(&path).unwrap();
        (Folder(path), storage)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file whose bytes are in memory.
struct Bytes(Vec<u8>);

impl StorageFile for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn header(cut: u64) -> SnapshotHeader {
    SnapshotHeader {
        log: LOG,
        cut: Seq(cut),
        begun_ms: 5,
        salt: 0xabcd,
    }
}

fn section(keyspace: u32, cut: u64, name: &str) -> Section<'_> {
    Section {
        keyspace,
        class: Class::default(),
        cut: Seq(cut),
        name,
    }
}

fn record(key: &str, value: Value) -> Record {
    Record {
        key: Key::from(key.as_bytes()),
        value,
        deadline: 77,
        accessed: 3,
    }
}

/// Two sections, one of them empty.
fn write_small(storage: &dyn Storage) -> Result<Made, SnapshotError> {
    let mut writer = SnapshotWriter::begin(storage, header(9))?;
    let mut encoded = Encoded::default();
    writer.section(&section(0, 9, "default"))?;
    writer.library(b"#!lua name=one")?;
    writer.library(b"#!lua name=two")?;
    encoded.push(&record("a", Value::Int(1)));
    encoded.push(&record("b", Value::Str(b"text".to_vec())));
    writer.end_section(&mut encoded)?;
    writer.section(&section(4, 12, "empty"))?;
    writer.end_section(&mut encoded)?;
    writer.finish(|| Ok(()))
}

fn bytes_of(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let file = storage.open(name).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_full_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn parts(file: &dyn StorageFile) -> Result<(Summary, Vec<String>), Damage> {
    let mut parts = Vec::new();
    let summary = load(file, &mut |part| {
        parts.push(match part {
            Part::Section(section) => format!("{section:?}"),
            Part::Users { keyspace, commands } => {
                let commands = String::from_utf8_lossy(commands).into_owned();
                format!("{keyspace}: {}", commands.replace(char::is_control, ""))
            }
            Part::Library { keyspace, code } => {
                format!("{keyspace}: {}", String::from_utf8_lossy(code))
            }
            Part::Requests { keyspace, block } => format!("{keyspace}: {block:?}"),
            Part::Record { keyspace, record } => format!("{keyspace}: {}", describe(&record)),
        });
        Ok(())
    })?;
    Ok((summary, parts))
}

#[test]
fn what_was_written_comes_back() {
    let (_folder, storage) = Folder::new("snapshot-whole");
    let made = write_small(&storage).unwrap();
    assert_eq!(storage.list().unwrap(), [snapshot_name(Seq(9))]);
    let file = storage.open(&made.name).unwrap();
    let summary = verify(&*file, LOG).unwrap();
    assert_eq!(
        summary,
        Summary {
            cut: Seq(9),
            highest: Seq(12),
            records: 2,
            sections: 2,
            bytes: made.bytes
        }
    );
    let (loaded, parts) = parts(&*file).unwrap();
    assert_eq!(loaded, summary);
    assert_eq!(
        parts,
        [
            format!("{:?}", section(0, 9, "default")),
            "0: #!lua name=one".to_owned(),
            "0: #!lua name=two".to_owned(),
            format!("0: {}", describe(&record("a", Value::Int(1)))),
            format!(
                "0: {}",
                describe(&record("b", Value::Str(b"text".to_vec())))
            ),
            format!("{:?}", section(4, 12, "empty")),
        ]
    );
    let foreign = verify(&*file, LogId([8; 16])).unwrap_err();
    assert_eq!(foreign.offset, 0);
    let refused = load(&*file, &mut |_| Err("no".to_owned())).unwrap_err();
    assert_eq!((refused.offset, &*refused.reason), (64, "no"));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (_folder, storage) = Folder::new("snapshot-damage");
    let name = write_small(&storage).unwrap().name;
    let bytes = bytes_of(&storage, &name);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = Bytes(bytes.clone());
            damaged.0[at] ^= 1 << bit;
            let damage = verify(&damaged, LOG).unwrap_err();
            assert!(damage.offset <= at as u64, "byte {at}: {damage}");
            assert_eq!(parts(&damaged).unwrap_err(), damage);
        }
        let cut = Bytes(bytes[..at].to_vec());
        assert!(verify(&cut, LOG).is_err() && parts(&cut).is_err(), "{at}");
    }
    let longer = Bytes([&bytes[..], &[0]].concat());
    let damage = verify(&longer, LOG).unwrap_err();
    assert_eq!(damage.offset, bytes.len() as u64);
}

/// Blocks that are each right, in a file that is not.
#[test]
fn blocks_out_of_place_are_noticed() {
    let (_folder, storage) = Folder::new("snapshot-order");
    type Write = fn(&mut SnapshotWriter<'_>, &mut Encoded) -> Result<(), SnapshotError>;
    let cases: [(&str, Write); 5] = [
        ("no place", |writer, encoded| {
            encoded.push(&record("a", Value::Int(1)));
            encoded.close();
            writer.records(encoded)
        }),
        ("no place", |writer, encoded| {
            writer.section(&section(0, 9, ""))?;
            writer.section(&section(1, 9, ""))?;
            writer.end_section(encoded)
        }),
        ("no place", |writer, _| writer.section(&section(0, 9, ""))),
        ("comes twice", |writer, encoded| {
            writer.section(&section(1, 9, ""))?;
            writer.end_section(encoded)?;
            writer.section(&section(1, 9, ""))?;
            writer.end_section(encoded)
        }),
        ("is below", |writer, encoded| {
            writer.section(&section(1, 8, ""))?;
            writer.end_section(encoded)
        }),
    ];
    for (expected, write) in cases {
        let mut writer = SnapshotWriter::begin(&storage, header(9)).unwrap();
        write(&mut writer, &mut Encoded::default()).unwrap();
        let name = writer.finish(|| Ok(())).unwrap().name;
        let damage = verify(&*storage.open(&name).unwrap(), LOG).unwrap_err();
        assert!(damage.reason.contains(expected), "{damage}");
    }
    // Two blocks of one file that change places.
    let mut bytes = bytes_of(&storage, &write_small(&storage).unwrap().name);
    let first = SNAPSHOT_HEADER..SNAPSHOT_HEADER + BLOCK_HEADER + 13 + 7;
    let length = first.len();
    bytes[first.start..].rotate_left(length);
    let damage = verify(&Bytes(bytes), LOG).unwrap_err();
    assert!(damage.reason.contains("another's number"), "{damage}");
}

#[test]
fn giants_have_blocks_of_their_own() {
    let (_folder, storage) = Folder::new("snapshot-giant");
    let mut writer = SnapshotWriter::begin(&storage, header(1)).unwrap();
    let mut encoded = Encoded::default();
    writer.section(&section(0, 1, "default")).unwrap();
    for number in 0..3 {
        for small in 0..2000 {
            encoded.push(&record(&format!("{number}:{small}"), Value::Int(small)));
        }
        let giant = Value::Str(vec![b'x'; 3 << 20]);
        encoded.push(&record(&number.to_string(), giant));
    }
    writer.end_section(&mut encoded).unwrap();
    let name = writer.finish(|| Ok(())).unwrap().name;
    let bytes = bytes_of(&storage, &name);
    assert_eq!(parts(&Bytes(bytes.clone())).unwrap().0.records, 6003);
    let mut rest = &bytes[SNAPSHOT_HEADER..];
    let mut giants = 0;
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > 3 << 20 {
            giants += 1;
            assert!(length < (3 << 20) + 100);
        } else {
            assert!(length <= 256 << 10, "{length}");
        }
        rest = &rest[BLOCK_HEADER + length..];
    }
    assert_eq!(giants, 3);
}

/// A folder in which the n-th call fails.
struct Failing<'a> {
    inner: &'a DiskStorage,
    left: Arc<AtomicUsize>,
}

fn count_down(left: &AtomicUsize) -> io::Result<()> {
    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        Some(left.saturating_sub(1))
    });
    match before {
        Ok(1) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

impl Storage for Failing<'_> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner.open(name)
    }

    fn create(&self, name: &str, size: u64, filled: bool) -> io::Result<Box<dyn StorageFile>> {
        count_down(&self.left)?;
        let inner = self.inner.create(name, size, filled)?;
        let left = self.left.clone();
        Ok(Box::new(FailingFile { inner, left }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        count_down(&self.left)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.inner.sync_folder()
    }

    fn available(&self) -> io::Result<u64> {
        self.inner.available()
    }
}

struct FailingFile {
    inner: Box<dyn StorageFile>,
    left: Arc<AtomicUsize>,
}

impl StorageFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, into)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        count_down(&self.left)?;
        self.inner.write_at(offset, bytes)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.inner.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        count_down(&self.left)?;
        self.inner.sync()
    }
}

#[test]
fn a_failure_anywhere_leaves_no_file_and_no_cut() {
    let (_folder, disk) = Folder::new("snapshot-failing");
    let engine = Engine::default();
    let mut session = engine.session();
    for number in 0..2000 {
        let key = format!("key:{number}");
        engine.call(&mut session, &[b"SET", key.as_bytes(), b"value"]);
    }
    let keyspaces = engine.keyspaces();
    let attempt = |fail_at: usize, cancel: bool| {
        let storage = Failing {
            inner: &disk,
            left: Arc::new(AtomicUsize::new(fail_at)),
        };
        let plan = Plan {
            storage: &storage,
            log: LOG,
            floor: Seq(2000),
            keyspaces: &keyspaces,
            begun_ms: 1,
            salt: 2,
            clock: &|| 0,
            cancel: &AtomicBool::new(cancel),
            sync_log: &|_| count_down(&storage.left),
        };
        let made = make(&plan, &mut |_| {});
        let db = keyspaces[0].data.lock_blocking().unwrap();
        assert!(!db.has_cut());
        made
    };
    let mut failures = 0;
    while let Err(error) = attempt(failures + 1, false) {
        assert!(matches!(error, SnapshotError::Io(_)), "{error}");
        assert!(disk.list().unwrap().is_empty(), "after {failures} calls");
        failures += 1;
    }
    assert_eq!(disk.list().unwrap(), [snapshot_name(Seq(2000))]);
    // Making the file, its parts, its sync, the log's sync and the name.
    assert!(failures >= 8, "{failures}");
    disk.remove(&snapshot_name(Seq(2000))).unwrap();
    assert!(matches!(attempt(0, true), Err(SnapshotError::Cancelled)));
    assert!(disk.list().unwrap().is_empty());
}

type Unit = (u32, Vec<Vec<Vec<u8>>>);

/// Keeps every unit.
#[derive(Default)]
struct Recording(Mutex<Vec<Unit>>);

impl EffectSink for Recording {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let unit = effects
            .iter()
            .map(|argv| argv.iter().map(|arg| arg.to_vec()).collect())
            .collect();
        let mut units = self.0.lock();
        units.push((keyspace, unit));
        Seq(units.len() as u64)
    }
}

fn random_unit(random: &mut Random) -> Vec<String> {
    let key = random.below(20_000);
    let (field, number) = (random.below(50), random.below(1000));
    let one = |text: String| vec![text];
    match random.below(40_000) {
        0..10_000 => one(format!("SET k{key} v{number}")),
        10_000..15_000 => one(format!("HSET h{key} f{field} {number}")),
        15_000..20_000 => one(format!("SADD s{} {number}", key % 50)),
        20_000..25_000 => one(format!("ZADD z{} {number} m{field}", key % 50)),
        25_000..30_000 => one(format!("INCR n{key}")),
        30_000..33_000 => one(format!("DEL k{key} n{key}")),
        33_000..35_000 => one(format!("RENAME k{key} k{number}")),
        35_000..37_000 => one(format!("SET k{key} x EX {}", number + 100)),
        37_000..39_998 => vec![
            "MULTI".to_owned(),
            format!("HINCRBY h{key} f{field} 2"),
            format!("SPOP s{}", key % 50),
            format!("APPEND k{key} {number}"),
            "EXEC".to_owned(),
        ],
        _ => one("FLUSHALL".to_owned()),
    }
}

fn engine_with(sink: Arc<dyn EffectSink>) -> Engine {
    Engine::new(Options {
        clock: Arc::new(ManualClock::new(1_700_000_000_000_000)),
        sink,
        ..Options::default()
    })
}

#[test]
fn a_snapshot_under_load_is_the_state_after_the_units_of_its_cut() {
    let (_folder, storage) = Folder::new("snapshot-load");
    let sink = Arc::new(Recording::default());
    let engine = engine_with(sink.clone());
    let mut session = engine.session();
    for number in 0..10_000 {
        let key = format!("k{number}");
        engine.call(&mut session, &[b"SET", key.as_bytes(), b"first"]);
    }
    let stop = AtomicBool::new(false);
    let pieces = AtomicU64::new(0);
    let made: Vec<Made> = std::thread::scope(|scope| {
        for seed in 0..2 {
            let (engine, stop) = (engine.clone(), &stop);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let mut session = engine.session();
                while !stop.load(Ordering::Relaxed) {
                    for line in random_unit(&mut random) {
                        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                        engine.call(&mut session, &argv);
                    }
                }
            });
        }
        let made = (0..3)
            .map(|salt| {
                let floor = Seq(sink.0.lock().len() as u64);
                let ticks = AtomicU64::new(0);
                let plan = Plan {
                    storage: &storage,
                    log: LOG,
                    floor,
                    keyspaces: &engine.keyspaces(),
                    begun_ms: 1,
                    salt,
                    // A few questions a hold.
                    clock: &|| ticks.fetch_add(150, Ordering::Relaxed),
                    cancel: &AtomicBool::new(false),
                    sync_log: &|_| Ok(()),
                };
                let made = make(&plan, &mut |_| {
                    pieces.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                });
                made.unwrap().0
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        made
    });
    assert!(pieces.load(Ordering::Relaxed) > 30);

    // The state after each cut, from the effects alone.
    let replayed = engine_with(Arc::new(Recording::default()));
    let mut session = replayed.session();
    let mut done = 0;
    let units = sink.0.lock();
    for made in made {
        let file = storage.open(&made.name).unwrap();
        verify(&*file, LOG).unwrap();
        let (mut cut, mut loaded) = (0, BTreeMap::new());
        load(&*file, &mut |part| {
            match part {
                Part::Section(section) => cut = section.cut.0 as usize,
                Part::Library { .. } => panic!("nobody has loaded one"),
                Part::Users { commands, .. } => panic!("nobody made {commands:?}"),
                Part::Requests { .. } => panic!("nobody asked"),
                Part::Record { record, .. } => {
                    let other = loaded.insert(record.key.to_vec(), describe(&record));
                    assert_eq!(other, None);
                }
            }
            Ok(())
        })
        .unwrap();
        assert!(cut as u64 >= made.cut.0);
        for (_, unit) in &units[done..cut] {
            for argv in unit {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                replayed.call(&mut session, &argv);
            }
        }
        done = cut;
        let keyspace = replayed.keyspace("default");
        let db = keyspace.data.lock_blocking().unwrap();
        let expected: BTreeMap<_, _> = db
            .iter()
            .map(|record| (record.key.to_vec(), describe(record)))
            .collect();
        assert_eq!(loaded.len(), expected.len());
        assert!(loaded == expected, "cut {cut}");
    }
}

#[test]
fn the_libraries_of_a_snapshot_are_those_of_its_cut() {
    let (_folder, storage) = Folder::new("snapshot-libraries");
    let sink = Arc::new(Recording::default());
    let engine = engine_with(sink.clone());
    let mut session = engine.session();
    let mut call = |argv: &[&[u8]]| assert!(!engine.call(&mut session, argv).0.is_error());
    let text = |name: &str| {
        let body = "redis.register_function";
        format!("#!lua name={name}\n{body}('{name}', function() end)").into_bytes()
    };
    for number in 0..5000 {
        call(&[b"SET", format!("k{number}").as_bytes(), b"v"]);
    }
    call(&[b"FUNCTION", b"LOAD", &text("kept")]);
    call(&[b"FUNCTION", b"LOAD", &text("gone")]);
    let ticks = AtomicU64::new(0);
    let plan = Plan {
        storage: &storage,
        log: LOG,
        floor: Seq(sink.0.lock().len() as u64),
        keyspaces: &engine.keyspaces(),
        begun_ms: 1,
        salt: 3,
        clock: &|| ticks.fetch_add(150, Ordering::Relaxed),
        cancel: &AtomicBool::new(false),
        sync_log: &|_| Ok(()),
    };
    let mut pieces = 0;
    let made = make(&plan, &mut |_| {
        match pieces {
            0 => call(&[b"FUNCTION", b"DELETE", b"gone"]),
            1 => call(&[b"FUNCTION", b"LOAD", &text("late")]),
            2 => call(&[b"FUNCTION", b"FLUSH"]),
            _ => {}
        }
        pieces += 1;
    });
    assert!(pieces > 3);
    let file = storage.open(&made.unwrap().0.name).unwrap();
    let mut libraries = Vec::new();
    load(&*file, &mut |part| {
        if let Part::Library { code, .. } = part {
            libraries.push(code.to_vec());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(libraries, [text("gone"), text("kept")]);
}
