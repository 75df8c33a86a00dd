//! Random commands, told to the engine and to a real redis-server: the replies
//! must be the same bytes. Skipped where there is no redis-server 7.0.
//!
//! `SANGAM_OPS` sets how many commands are tried, `SANGAM_SEED` the seed.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sangam_engine::command::spec::find;
use sangam_engine::random::Random;
use sangam_engine::{Engine, Reply};

use super::show;

struct Reference {
    server: Child,
    stream: BufReader<TcpStream>,
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Reference {
    fn start() -> Option<Self> {
        let version = Command::new("redis-server")
            .arg("--version")
            .output()
            .ok()?;
        if !String::from_utf8_lossy(&version.stdout).contains("v=7.0.") {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let mut server = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        for _ in 0..100 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                stream.set_nodelay(true).ok()?;
                return Some(Reference {
                    server,
                    stream: BufReader::new(stream),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = server.kill();
        None
    }

    fn call(&mut self, argv: &[&[u8]]) -> String {
        self.send(argv);
        show(&self.read())
    }

    fn send(&mut self, argv: &[&[u8]]) {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for arg in argv {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).unwrap();
    }

    fn read(&mut self) -> Reply {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        let text = &line[1..line.len() - 2];
        let number = || std::str::from_utf8(text).unwrap().parse::<i64>().unwrap();
        match line[0] {
            b'+' => Reply::Status(String::from_utf8(text.to_vec()).unwrap().into()),
            b'-' => Reply::Error(text.to_vec()),
            b':' => Reply::Int(number()),
            b'$' if number() < 0 => Reply::Null,
            b'$' => {
                let mut bulk = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bulk).unwrap();
                bulk.truncate(bulk.len() - 2);
                Reply::Bulk(bulk)
            }
            b'*' => Reply::Array((0..number()).map(|_| self.read()).collect()),
            other => panic!("{other}"),
        }
    }
}

type Argv = Vec<Vec<u8>>;

struct Writer(Random);

impl Writer {
    fn pick(&mut self, of: &str) -> Vec<u8> {
        let words: Vec<&str> = of.split('|').collect();
        words[self.0.below(words.len())].into()
    }

    fn key(&mut self) -> Vec<u8> {
        self.pick("a|b|c|d|e|f|hash|none")
    }

    /// A number that is mostly small, and now and then none at all.
    fn number(&mut self) -> Vec<u8> {
        match self.0.below(12) {
            0 => self.odd(),
            1 => format!("-{}", self.0.below(300)).into(),
            2 => self.0.below(1000).to_string().into(),
            _ => self.0.below(40).to_string().into(),
        }
    }

    fn odd(&mut self) -> Vec<u8> {
        self.pick(
            "|0|-0|-1|01|+1| 1|1 |9223372036854775807|9223372036854775808|-9223372036854775808|\
             -9223372036854775809|18446744073709551615|1.5|-1.5e2|1e400|inf|-inf|nan|0x10|abc|\
             3.0|1e-20|5e15|12345678901234567890|#1|##1|u8|i64|NX|GET|EX",
        )
    }

    fn value(&mut self) -> Vec<u8> {
        match self.0.below(8) {
            0 | 1 => self.number(),
            2 => self.odd(),
            3 => vec![[0, 0xff, 0xfe, 0x01][self.0.below(4)]; self.0.below(40)],
            4 => self.pick("hello|foobar|xyz|0|100|2.5"),
            _ => (0..self.0.below(24)).map(|_| self.0.next() as u8).collect(),
        }
    }

    fn field_type(&mut self) -> Vec<u8> {
        match self.0.below(20) {
            0 => self.pick("u64|i65|i0|u0|x8|i|u|8|i-1|I8|u08"),
            1..=4 => self.pick("i64|u63|i1|u1|u8|i8"),
            _ => format!("{}{}", ["i", "u"][self.0.below(2)], 1 + self.0.below(63)).into(),
        }
    }

    fn lifetime(&mut self) -> Argv {
        let unit = self.pick("EX|PX|EXAT|PXAT|ex|pXaT");
        let amount = match self.0.below(8) {
            0 => self.odd(),
            1 => self.pick("0|-1|9223372036854775|9223372036854776|9223370000000000000"),
            // Long enough that nothing expires while the test runs.
            _ if unit.len() == 4 => self.pick("99999999999|99999999999999|1"),
            _ => self.pick("100000|100000000"),
        };
        vec![unit, amount]
    }

    fn command(&mut self) -> Argv {
        let names = "SET|SET|SET|GET|SETNX|SETEX|PSETEX|GETSET|GETDEL|GETEX|MGET|MSET|MSETNX|\
                     APPEND|STRLEN|GETRANGE|SUBSTR|SETRANGE|INCR|DECR|INCRBY|DECRBY|INCRBYFLOAT|\
                     SETBIT|SETBIT|GETBIT|BITCOUNT|BITCOUNT|BITPOS|BITPOS|BITPOS|BITOP|BITOP|\
                     BITFIELD|BITFIELD|BITFIELD|BITFIELD_RO";
        let name = self.pick(names);
        let mut argv = vec![name.clone()];
        match &*name {
            b"SET" | b"GETEX" => {
                argv.push(self.key());
                if name == b"SET" {
                    argv.push(self.value());
                }
                for _ in 0..self.0.below(4) {
                    match self.0.below(3) {
                        0 => argv.extend(self.lifetime()),
                        1 => argv.push(self.pick("NX|XX|GET|KEEPTTL|PERSIST|nx|Get|keepttl")),
                        _ => {}
                    }
                }
            }
            b"SETEX" | b"PSETEX" => {
                argv.push(self.key());
                argv.push(self.pick("100000|100000|100000000|0|-5|x|9223372036854775807"));
                argv.push(self.value());
            }
            b"MGET" => argv.extend((0..=self.0.below(4)).map(|_| self.key())),
            b"MSET" | b"MSETNX" => {
                for _ in 0..=self.0.below(3) {
                    argv.push(self.key());
                    argv.push(self.value());
                }
            }
            b"SETNX" | b"GETSET" | b"APPEND" => argv.extend([self.key(), self.value()]),
            b"GETRANGE" | b"SUBSTR" => argv.extend([self.key(), self.number(), self.number()]),
            b"SETRANGE" => argv.extend([self.key(), self.number(), self.value()]),
            b"INCRBY" | b"DECRBY" | b"INCRBYFLOAT" => argv.extend([self.key(), self.value()]),
            b"SETBIT" => argv.extend([self.key(), self.number(), self.pick("0|1|1|1|2|-1|x")]),
            b"GETBIT" => argv.extend([self.key(), self.number()]),
            b"BITCOUNT" | b"BITPOS" => {
                argv.push(self.key());
                if name == b"BITPOS" {
                    argv.push(self.pick("0|1|0|1|0|1|2|-1|x"));
                }
                argv.extend((0..self.0.below(3)).map(|_| self.number()));
                if self.0.below(2) == 0 {
                    argv.push(self.pick("BIT|BYTE|bit|byte|BITS|1"));
                }
            }
            b"BITOP" => {
                argv.push(self.pick("AND|OR|XOR|NOT|and|nOt|NAND"));
                argv.extend((0..2 + self.0.below(3)).map(|_| self.key()));
            }
            b"BITFIELD" | b"BITFIELD_RO" => {
                argv.push(self.key());
                for _ in 0..self.0.below(5) {
                    self.operation(&mut argv);
                }
            }
            _ => argv.push(self.key()),
        }
        // Now and then something is missing, too much or in the wrong place.
        match self.0.below(30) {
            0 => drop(argv.pop()),
            1 => argv.push(self.odd()),
            2 if argv.len() > 2 => {
                let at = 1 + self.0.below(argv.len() - 1);
                argv[at] = self.odd();
            }
            _ => {}
        }
        argv
    }

    fn operation(&mut self, argv: &mut Argv) {
        let name = self.pick("GET|SET|INCRBY|OVERFLOW|get|incrby|overflow");
        argv.push(name.clone());
        if name.eq_ignore_ascii_case(b"overflow") {
            argv.push(self.pick("WRAP|SAT|FAIL|wrap|sat|fail|sat|NONE"));
            return;
        }
        argv.push(self.field_type());
        argv.push(match self.0.below(5) {
            0 => format!("#{}", self.0.below(20)).into(),
            1 if self.0.below(8) == 0 => {
                self.pick("#3074457345618258603|#9223372036854775807|#-1|#|#4611686018427387904")
            }
            _ => self.number(),
        });
        if !name.eq_ignore_ascii_case(b"get") {
            argv.push(match self.0.below(5) {
                0 => (self.0.next() as i64 >> self.0.below(64))
                    .to_string()
                    .into(),
                4 => self.pick("9223372036854775807|-9223372036854775808|-9223372036854775807"),
                1 => self.odd(),
                2 => format!("-{}", self.0.below(300)).into(),
                _ => self.0.below(300).to_string().into(),
            });
        }
    }
}

/// Whether two deadlines are the same but for the time between two clocks.
fn about(ours: &str, theirs: &str) -> bool {
    let at = |reply: &str| {
        reply
            .strip_prefix(':')
            .and_then(|text| text.parse::<i64>().ok())
    };
    match (at(ours), at(theirs)) {
        (Some(ours), Some(theirs)) if ours > 0 && theirs > 0 => ours.abs_diff(theirs) < 1000,
        _ => ours == theirs,
    }
}

#[test]
fn redis_says_the_same() {
    let Some(mut redis) = Reference::start() else {
        eprintln!("skipped: no redis-server 7.0");
        return;
    };
    let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let operations = from_env("SANGAM_OPS").unwrap_or(20_000);
    let seed: u64 = from_env("SANGAM_SEED").unwrap_or(1);
    let engine = Engine::default();
    let mut session = engine.session();
    let mut writer = Writer(Random::new(seed));
    let mut history: Vec<String> = Vec::new();
    for turn in 0..operations {
        if turn % 500 == 0 {
            history.clear();
            for setup in [&[&b"FLUSHALL"[..]][..], &[b"HSET", b"hash", b"f", b"v"]] {
                redis.call(setup);
                engine.call(&mut session, setup);
            }
        }
        let argv = writer.command();
        let key = argv.get(1).cloned().unwrap_or_default();
        let commands: [&[&[u8]]; 3] = [
            &argv.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            &[b"GET", &key],
            &[b"PEXPIRETIME", &key],
        ];
        let shown = show(&Reply::Array(argv.iter().map(Reply::bulk).collect()));
        history.push(shown);
        for argv in commands {
            let ours = show(&engine.call(&mut session, argv).0);
            let theirs = redis.call(argv);
            let same = ours == theirs || argv[0] == b"PEXPIRETIME" && about(&ours, &theirs);
            let recent = history.len().saturating_sub(12);
            assert!(
                same,
                "we say {ours}, redis {theirs} to {} at turn {turn} of seed {seed}, after\n{}",
                argv[0].escape_ascii(),
                history[recent..].join("\n")
            );
        }
    }
}

#[test]
fn redis_describes_the_commands_the_same() {
    let Some(mut redis) = Reference::start() else {
        eprintln!("skipped: no redis-server 7.0");
        return;
    };
    let names = "get set setnx setex psetex getset getdel getex mget mset msetnx append strlen \
                 getrange substr setrange incr decr incrby decrby incrbyfloat setbit getbit \
                 bitcount bitpos bitop bitfield bitfield_ro";
    for name in names.split_whitespace() {
        let spec = find(name.as_bytes()).unwrap().spec;
        let ours = |flag: &&str| matches!(*flag, "long" | "yields");
        let mut flags: Vec<&str> = spec.flags.names().filter(|flag| !ours(flag)).collect();
        let mut categories: Vec<String> = spec
            .categories()
            .names()
            .map(|category| format!("@{category}"))
            .collect();
        flags.sort_unstable();
        categories.sort_unstable();
        let ours = format!(
            "{name} :{} {flags:?} {:?} {categories:?}",
            spec.arity,
            spec.keys.legacy()
        );
        redis.send(&[b"COMMAND", b"INFO", name.as_bytes()]);
        let Reply::Array(mut infos) = redis.read() else {
            panic!("COMMAND INFO")
        };
        let Reply::Array(info) = infos.remove(0) else {
            panic!("{name} is unknown")
        };
        let words = |at: usize| {
            let Reply::Array(words) = &info[at] else {
                panic!("a list")
            };
            let mut words: Vec<String> = words
                .iter()
                .map(|word| show(word).trim_start_matches('+').to_owned())
                .collect();
            words.sort_unstable();
            words
        };
        let key = |at: usize| show(&info[at]).trim_start_matches(':').to_owned();
        let theirs = format!(
            "{name} {} {:?} ({}, {}, {}) {:?}",
            show(&info[1]),
            words(2),
            key(3),
            key(4),
            key(5),
            words(6)
        );
        assert_eq!(ours, theirs);
    }
}
