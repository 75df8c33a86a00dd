//! Random commands of every family.

use sangam_engine::random::Random;

/// Keys of each type that commands choose from.
const KEYS: usize = 5;

/// A script that fails after it wrote; under Redis' dialect its writes stay.
const FAILS: &str = "redis.call('SET',KEYS[1],ARGV[1])redis.call('INCR',KEYS[2])return{err='no'}";
const RAISES: &str = "redis.call('SADD',KEYS[1],ARGV[1])redis.call('HSET',KEYS[1],'a','b')";
const WRITES: &str = "for\ti=1,3\tdo\tredis.call('HSET',KEYS[1],ARGV[1]..i,math.random(100))end\
                      redis.call('PEXPIRE',KEYS[2],ARGV[2])\
                      return\tredis.call('SRANDMEMBER',KEYS[3],2)";
const PICKS: &str = "local\tm=redis.call('SRANDMEMBER',KEYS[1])if\tm\tthen\t\
                     redis.call('ZADD',KEYS[2],3,m)redis.call('SPOP',KEYS[1],1)end";

/// A library without blanks, which another one's function may keep out.
fn library(name: usize, function: usize, value: usize) -> String {
    format!(
        "#!lua\tname=l{name}\nredis.register_function('f{function}',function(keys)\
         redis.call('SET',keys[1],{value})end)"
    )
}

/// One command, its words apart by blanks.
pub(crate) fn command(random: &mut Random) -> String {
    let (a, b) = (random.below(KEYS), random.below(KEYS));
    let (i, n) = (random.below(20), random.below(60));
    match random.below(111) {
        0 => format!("SET s{a} v{i} EX {}", n + 1),
        1 => format!("SET s{a} {n} KEEPTTL"),
        2 => format!("SETEX s{a} {} v{i}", n + 1),
        3 => format!("PSETEX s{a} {} v{i}", n * 20 + 1),
        4 => format!("GETEX s{a} PX {}", n * 20 + 1),
        5 => format!("GETEX s{a} PERSIST"),
        6 => format!("GETDEL s{a}"),
        7 => format!("INCRBYFLOAT f{a} 1.{n}"),
        8 => format!("INCRBY n{a} {n}"),
        9 => format!("APPEND s{a} x{i}"),
        10 => format!("SETBIT b{a} {n} 1"),
        11 => format!("BITFIELD b{a} INCRBY u8 {n} 100 OVERFLOW FAIL INCRBY i5 {i} 9"),
        12 => format!("EXPIRE s{a} {}", n % 3),
        13 => format!("PEXPIRE h{a} {}", n * 10),
        14 => format!("PERSIST s{a}"),
        15 => format!("DEL s{a} n{b}"),
        16 => format!("RENAME s{a} s{b}"),
        17 => format!("RENAMENX h{a} h{b}"),
        18 => format!("COPY h{a} h{b} REPLACE"),
        19..23 => format!("HSET h{a} f{i} v{n} g{n} {}", "w".repeat(n)),
        23 => format!("HINCRBYFLOAT h{a} x{i} 0.{n}"),
        24 => format!("HDEL h{a} f{i} f{n}"),
        25..28 => format!("SADD t{a} {i} m{n}"),
        28 => format!("SADD i{a} {i} {n}"),
        29 => format!("SPOP t{a}"),
        30 => format!("SPOP t{a} {}", n % 5),
        31 => format!("SMOVE t{a} t{b} m{n}"),
        32 => format!("SINTERSTORE t{a} t{b} i{}", i % KEYS),
        33 => format!("SUNIONSTORE i{a} i{b} i{}", i % KEYS),
        34..37 => format!("ZADD z{a} {i}.5 m{n} {n} m{i}"),
        37 => format!("ZPOPMAX z{a}"),
        38 => format!("ZINCRBY z{a} 0.1 m{n}"),
        39 => format!("ZRANGESTORE z{a} z{b} 0 3"),
        40 => format!("ZREMRANGEBYSCORE z{a} 0 {}", i / 2),
        41 => format!("ZADD z{a} GT CH INCR {i} m{n}"),
        42 => format!("ZUNIONSTORE z{a} 2 z{b} t{b} WEIGHTS 0.3 2"),
        43 => format!("MSETNX s{a} x s{b} y"),
        44 => format!("UNLINK z{a} t{b}"),
        45 => format!("GETSET s{a} g{i}"),
        46 => format!("SETRANGE s{a} {n} zzz"),
        47 => format!("BITOP XOR b{a} b{b} s{a}"),
        48 => format!("SET s{a} w NX PX {}", n * 10 + 1),
        49 => format!("SET s{a} {} XX GET", "big".repeat(n * 4)),
        50 => format!("MSET n{a} {n} n{b} -{i}"),
        51 => format!("SETNX s{a} {i}"),
        52 => format!("HSETNX h{a} f{i} nx"),
        53 => format!("HINCRBY h{a} c{i} {n}"),
        54 => format!("PEXPIREAT t{a} {}", 1_700_000_000_000 + n * 1000),
        55 => format!("EXPIRE z{a} {n} NX"),
        56 => format!("EVAL {FAILS} 2 s{a} h{b} fails{i}"),
        57 => format!("EVAL {RAISES} 1 t{a} r{i}"),
        58 => format!("EVAL {WRITES} 3 h{a} h{b} t{a} f{i} {}", n * 10),
        59 => format!("EVAL {PICKS} 2 t{a} z{b}"),
        60 => format!("HRANDFIELD h{a} {i}"),
        61 => format!("SRANDMEMBER t{a} -{i}"),
        62 => format!("GET s{a}"),
        63 => format!("LCS s{a} s{b}"),
        64 => format!("ZADD z{a} nan m{n}"),
        65 => format!("INCR t{a}"),
        66 => format!("SDIFFSTORE t{a} t{b} t{a}"),
        67 if i == 1 => format!("FUNCTION DELETE l{a}"),
        67 if i == 2 && n < 20 => "FUNCTION FLUSH".to_owned(),
        67 if i < 8 => format!("FUNCTION LOAD REPLACE {}", library(a, b, n)),
        68 if i < 8 => format!("FCALL f{a} 1 s{b}"),
        68 if i == 8 => ["FLUSHALL", "FLUSHDB ASYNC"][a % 2].to_owned(),
        67 => format!("ZRANGEBYSCORE z{a} -inf +inf"),
        69..72 => format!("RPUSH l{a} e{i} {n} {}", "w".repeat(n * 9)),
        72 => format!("LPUSH l{a} {i} e{n} {n}"),
        73 => format!("LPOP l{a} {}", n % 5),
        74 => format!("RPOP l{a}"),
        75 => format!("LMOVE l{a} l{b} LEFT RIGHT"),
        76 => format!("RPOPLPUSH l{a} l{b}"),
        77 => format!("LMPOP 2 l{a} l{b} RIGHT COUNT {}", n % 4 + 1),
        78 => format!("LSET l{a} {} set{n}", i % 6),
        79 => format!("LINSERT l{a} AFTER {i} in{n}"),
        80 => format!("LREM l{a} -2 {i}"),
        81 => format!("LTRIM l{a} 2 -2"),
        82 => format!("EXPIRE l{a} {n}"),
        83 => format!("HEXPIRE h{a} {} FIELDS 2 f{i} g{n}", n % 3),
        84 => format!("HPEXPIRE h{a} {n}0 FIELDS 3 f{i} f{b} g{n}"),
        85 => format!("HPEXPIRE h{a} {n}00 NX FIELDS 2 f{i} f{n}"),
        86 => format!("HPERSIST h{a} FIELDS 2 f{i} f{n}"),
        87 => format!("HGETEX h{a} PX {n}0 FIELDS 2 f{i} g{n}"),
        88 => format!("HSETEX h{a} PX {n}0 FIELDS 2 f{i} v{n} f{n} v{i}"),
        89 => format!("HSETEX h{a} FXX KEEPTTL FIELDS 1 f{i} kept"),
        90 => format!("HGETDEL h{a} FIELDS 2 f{i} g{n}"),
        91 => format!(
            "HPEXPIREAT h{a} {} FIELDS 2 f{i} g{n}",
            1_700_000_000_000 + n * 1000
        ),
        92..96 => format!("XADD x{a} * f v{n} g {}", "w".repeat(n)),
        96 => format!("XADD x{a} MAXLEN ~ {n} * f{b} {n}"),
        97 => format!("XADD x{a} MAXLEN 5 * f {i}"),
        98 => format!("XTRIM x{a} MAXLEN ~ {i} DELREF"),
        99 => format!("XDEL x{a} 17000000000{n:02}-0 17000000000{n:02}-1"),
        100..102 => format!("XGROUP CREATE x{a} g{} 0 MKSTREAM", b % 2),
        102 => format!("XGROUP DELCONSUMER x{a} g{} c{b}", i % 2),
        103 if i < 5 => format!("XGROUP DESTROY x{a} g{}", b % 2),
        104..106 => format!("XREADGROUP GROUP g{} c{b} COUNT {i} STREAMS x{a} >", n % 2),
        106 => format!("XREADGROUP GROUP g{} c{b} COUNT 3 STREAMS x{a} 0", n % 2),
        107 => format!("XREADGROUP GROUP g{} c{b} NOACK STREAMS x{a} >", n % 2),
        108 => format!("XAUTOCLAIM x{a} g{} c{b} {i} - COUNT 3", n % 2),
        109 => format!("EXPIRE x{a} {n}"),
        _ => format!("SET s{a} {i}"),
    }
}
