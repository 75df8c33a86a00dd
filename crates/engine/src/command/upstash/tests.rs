use std::collections::BTreeSet;

use super::super::spec::{Run, commands};
use super::*;
use crate::engine::Engine;
use crate::session::{Dialect, Role, Session};

/// What the service documents and the engine has, in the service's own grouping.
const DOCUMENTED: &[&str] = &[
    "append decr decrby delex digest get getdel getex getrange getset incr incrby incrbyfloat mget \
     mset msetnx psetex set setex setnx setrange strlen",
    "bitcount bitfield bitfield_ro bitop bitpos getbit setbit",
    "copy del dump exists expire expireat expiretime keys memory|usage persist pexpire pexpireat \
     pexpiretime pttl randomkey rename renamenx restore scan touch ttl type unlink wait waitaof",
    "auth client|getname client|id client|info client|list client|setinfo client|setname echo \
     hello ping quit reset select",
    "acl|cat acl|deluser acl|genpass acl|gentoken acl|getuser acl|help acl|list acl|load acl|log \
     acl|resttoken acl|save acl|setuser acl|users acl|whoami command config|get config|set dbsize \
     flushall flushdb info monitor time",
    "hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat \
     hkeys hlen hmget hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset \
     hsetex hsetnx hstrlen httl hvals",
    "blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx \
     lrange lrem lset ltrim rpop rpoplpush rpush rpushx",
    "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove \
     spop srandmember srem sscan sunion sunionstore",
    "bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard \
     zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex \
     zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore \
     zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore",
    "geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro \
     geosearch geosearchstore pfadd pfcount pfmerge",
    "xack xackdel xadd xautoclaim xclaim xdel xdelex xgroup|create xgroup|createconsumer \
     xgroup|delconsumer xgroup|destroy xgroup|setid xinfo|consumers xinfo|groups xinfo|stream xlen \
     xpending xrange xread xreadgroup xrevrange xtrim",
    "eval eval_ro evalsha evalsha_ro script|exists script|flush script|kill script|load fcall \
     fcall_ro function|delete function|flush function|kill function|list function|load \
     function|stats",
    "psubscribe publish pubsub|channels pubsub|numpat pubsub|numsub punsubscribe subscribe \
     unsubscribe discard exec multi unwatch watch",
];

fn strict(engine: &Engine) -> Session {
    let mut session = engine.rest_session();
    session.dialect = Dialect::StrictUpstash;
    session.set_principal(Some(engine.owner()));
    session
}

fn call(engine: &Engine, session: &mut Session, words: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    engine.call(session, &argv).0
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Every command and subcommand that runs, but those of tests.
fn all() -> impl Iterator<Item = &'static Command> {
    let public = commands()
        .iter()
        .filter(|command| !command.spec.name.starts_with("test."));
    public.flat_map(|command| {
        let runs = !matches!(command.spec.run, Run::Container);
        let itself = runs.then_some(*command);
        itself
            .into_iter()
            .chain(command.subcommands.iter().copied())
    })
}

/// The words of a request for it, and its name in a refusal.
fn asked(command: &Command) -> (Vec<&str>, String) {
    let words: Vec<&str> = command.full_name.split('|').collect();
    let container = super::super::spec::find(words[0].as_bytes()).unwrap();
    let shown = if container.spec.upstash {
        words.len()
    } else {
        1
    };
    let name = words[..shown].join(" ").to_uppercase();
    (words, name)
}

#[test]
fn the_table_says_what_is_documented() {
    let documented: BTreeSet<&str> = DOCUMENTED.iter().flat_map(|line| line.split(' ')).collect();
    let available = all().filter(|command| command.spec.upstash);
    let available: BTreeSet<&str> = available
        .map(|command| command.full_name.as_str())
        .collect();
    assert_eq!(available, documented);
}

#[test]
fn what_is_not_documented_is_refused_and_nothing_else() {
    for command in all() {
        // What one leaves behind must not meet the next.
        let engine = Engine::default();
        let mut session = strict(&engine);
        let (words, name) = asked(command);
        let answer = text(&call(&engine, &mut session, &words));
        let refusal = text(&unavailable(&[name.as_bytes()]));
        let spec = &command.spec;
        if !spec.rest {
            let name = words[0].to_uppercase();
            assert_eq!(
                answer,
                format!(
                    "ERR Command \"{name}\" is not allowed in REST or it has a special context path"
                )
            );
        } else if spec.upstash {
            assert!(!answer.contains("not available"), "{name}: {answer}");
        } else {
            assert_eq!(answer, refusal, "{words:?}");
            // The same in scripts, where that may be called at all.
            let script = "return redis.call(unpack(ARGV))";
            let request: Vec<&str> = ["EVAL", script, "0"].into_iter().chain(words).collect();
            let scripted = text(&call(&engine, &mut session, &request));
            assert!(scripted.starts_with(&refusal), "{scripted}");
        }
        // The plain dialect has all of it.
        session.dialect = Dialect::Upstash;
        let (words, _) = asked(command);
        let answer = text(&call(&engine, &mut session, &words));
        assert!(!answer.contains("not available"), "{answer}");
    }
}

#[test]
fn unknown_subcommands_are_not_available_either() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    for (words, expected) in [
        (
            &["MEMORY", "stats"][..],
            "ERR Command is not available: 'MEMORY STATS'.",
        ),
        (&["object", "x"], "ERR Command is not available: 'OBJECT'."),
        (&["OBJECT"], "ERR Command is not available: 'OBJECT'."),
        (&["nope", "x"], "ERR Command is not available: 'NOPE'."),
        (
            &["CLIENT", "nope"],
            "ERR Command \"CLIENT\" is not allowed in REST",
        ),
        (
            &["MEMORY"],
            "ERR wrong number of arguments for 'memory' command",
        ),
        (&["GET"], "ERR wrong number of arguments for 'get' command"),
    ] {
        let answer = text(&call(&engine, &mut session, words));
        assert!(answer.starts_with(expected), "{words:?}: {answer}");
    }
}

#[test]
fn config_and_command_show_what_the_service_shows() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    let entry = |value: &str| {
        let name = Reply::bulk("notify-keyspace-events");
        Reply::Map(vec![(name, Reply::bulk(value))])
    };
    let get = ["CONFIG", "GET", "*", "maxmemory"];
    assert_eq!(call(&engine, &mut session, &get), entry(""));
    let set = ["CONFIG", "SET", "notify-keyspace-events", "Kg"];
    assert_eq!(call(&engine, &mut session, &set), Reply::OK);
    assert_eq!(call(&engine, &mut session, &get), entry("gK"));
    let refused = call(
        &engine,
        &mut session,
        &["CONFIG", "SET", "maxmemory", "1gb"],
    );
    assert!(refused.is_error());
    assert_eq!(engine.settings().maxmemory, 0);
    let table = call(&engine, &mut session, &["COMMAND"]);
    assert_eq!(table, Reply::Array(Vec::new()));
}

#[test]
fn scripts_touch_nothing_that_is_not_declared() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    let plain = "return redis.call('SET', ARGV[1], 'v')";
    let flagged = "#!lua flags=allow-key-locking\nreturn redis.call('SET', ARGV[1], 'v')";
    let group = "return redis.call('XGROUP', 'CREATE', ARGV[1], 'g', '$', 'MKSTREAM')";
    let ours = "ERR Keys that are not declared are refused here (--strict-upstash): ";
    for (script, expected) in [
        (plain, ours),
        (group, ours),
        (
            flagged,
            "ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is \
             set. Key was: other",
        ),
    ] {
        let answer = call(&engine, &mut session, &["EVAL", script, "1", "k", "other"]);
        assert!(text(&answer).starts_with(expected), "{answer:?}");
        assert_eq!(call(&engine, &mut session, &["DBSIZE"]), Reply::Int(0));
        let answer = call(&engine, &mut session, &["EVAL", script, "1", "k", "k"]);
        assert_eq!(answer, Reply::OK);
        // Documented: all of it may go, where the flag is not set.
        let flush = call(
            &engine,
            &mut session,
            &["EVAL", "return redis.call('FLUSHALL')", "0"],
        );
        assert_eq!(flush, Reply::OK);
    }
    for flag in ["", ", flags={'allow-key-locking'}"] {
        let library = format!(
            "#!lua name=l\nredis.register_function{{function_name='f', \
             callback=function(keys, args) return redis.call('SET', args[1], 'v') end{flag}}}"
        );
        let load = call(
            &engine,
            &mut session,
            &["FUNCTION", "LOAD", "REPLACE", &library],
        );
        assert_eq!(load, Reply::bulk("l"));
        let answer = call(&engine, &mut session, &["FCALL", "f", "1", "k", "other"]);
        assert!(text(&answer).contains("Key was: other"), "{answer:?}");
        let answer = call(&engine, &mut session, &["FCALL", "f", "1", "k", "k"]);
        assert_eq!(answer, Reply::OK);
    }
    // Whoever asks the keyspace for keys cannot declare them: a documented use.
    let found = "local found = redis.call('SCAN', '0', 'MATCH', KEYS[1]) \
                 return redis.call('DEL', unpack(found[2]))";
    call(
        &engine,
        &mut session,
        &["MSET", "a1", "v", "a2", "v", "b", "v"],
    );
    let answer = call(&engine, &mut session, &["EVAL", found, "1", "a*"]);
    assert_eq!(answer, Reply::Int(2));
    let flagged = format!("#!lua flags=allow-key-locking\n{found}");
    let answer = call(&engine, &mut session, &["EVAL", &flagged, "1", "b*"]);
    assert!(text(&answer).starts_with("ERR Dynamic keys"), "{answer:?}");
    // Everybody else may.
    session.dialect = Dialect::Upstash;
    let answer = call(&engine, &mut session, &["EVAL", plain, "1", "k", "other"]);
    assert_eq!(answer, Reply::OK);
}

#[test]
fn keys_have_a_limit() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    let (fits, long) = ("k".repeat(NAME_MAX), "k".repeat(NAME_MAX + 1));
    let refusal = "ERR max key size exceeded. Limit: 32768 bytes, Actual: 32769 bytes";
    assert_eq!(call(&engine, &mut session, &["SET", &fits, "v"]), Reply::OK);
    let script = "return redis.call('GET', KEYS[1] .. ARGV[1])";
    for words in [
        &["SET", &long, "v"][..],
        &["MGET", "a", &long],
        &["EVAL", "return 1", "1", &long],
    ] {
        assert_eq!(text(&call(&engine, &mut session, words)), refusal);
    }
    // Values and arguments may be longer.
    assert_eq!(call(&engine, &mut session, &["SET", "k", &long]), Reply::OK);
    let request = ["EVAL", script, "1", &fits, ""];
    assert_eq!(call(&engine, &mut session, &request), Reply::bulk("v"));
    session.dialect = Dialect::Upstash;
    assert_eq!(call(&engine, &mut session, &["SET", &long, "v"]), Reply::OK);
}

#[test]
fn fields_and_members_have_a_limit() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    let (fits, long) = ("n".repeat(NAME_MAX), "n".repeat(NAME_MAX + 1));
    for (what, request) in [
        ("field", "HSET h a v # v"),
        ("field", "HSET h # v a v"),
        ("field", "HMSET h # v"),
        ("field", "HSETNX h # v"),
        ("field", "HINCRBY h # 1"),
        ("field", "HINCRBYFLOAT h # 1"),
        ("field", "HSETEX h FXX EX 100 FIELDS 2 # v a v"),
        ("member", "SADD s # a"),
        ("member", "ZADD z NX CH 1 # 2 a"),
        ("member", "ZADD z 1 a 2 #"),
        ("member", "ZINCRBY z 1 #"),
        ("member", "GEOADD g NX 1 1 # 2 2 a"),
    ] {
        let mut ask = |name: &str| {
            let words: Vec<&str> = request
                .split(' ')
                .map(|word| if word == "#" { name } else { word })
                .collect();
            text(&call(&engine, &mut session, &words))
        };
        let refusal =
            format!("ERR max {what} size exceeded. Limit: 32768 bytes, Actual: 32769 bytes");
        assert_eq!(ask(&long), refusal, "{request}");
        assert!(!ask(&fits).starts_with("ERR max"), "{request}");
    }
    let script = "return redis.call('SADD', KEYS[1], ARGV[1])";
    let answer = call(&engine, &mut session, &["EVAL", script, "1", "s", &long]);
    assert!(
        text(&answer).starts_with("ERR max member size"),
        "{answer:?}"
    );
    // Values are not bounded so.
    let answer = call(&engine, &mut session, &["HSET", "values", "f", &long]);
    assert_eq!(answer, Reply::Int(1));
    assert_eq!(
        call(&engine, &mut session, &["RPUSH", "l", &long]),
        Reply::Int(1)
    );
    session.dialect = Dialect::Upstash;
    assert_eq!(
        call(&engine, &mut session, &["SADD", "s", &long]),
        Reply::Int(1)
    );
}

#[test]
fn records_have_a_limit() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    let refusal = "ERR max single record size exceeded";
    let last = (RECORD_MAX - 1).to_string();
    assert!(!call(&engine, &mut session, &["SETRANGE", "k", &last, "x"]).is_error());
    for words in [
        &["APPEND", "k", "x"][..],
        &[
            "EVAL",
            "return redis.call('APPEND', KEYS[1], 'x')",
            "1",
            "k",
        ],
    ] {
        let answer = text(&call(&engine, &mut session, words));
        assert!(answer.starts_with(refusal), "{answer}");
    }
    let length = call(&engine, &mut session, &["STRLEN", "k"]);
    assert_eq!(length, Reply::Int(RECORD_MAX as i64));
    // What reads, replaces or takes away still runs.
    assert!(!call(&engine, &mut session, &["GETRANGE", "k", "0", "1"]).is_error());
    assert_eq!(call(&engine, &mut session, &["SET", "k", "v"]), Reply::OK);
    assert_eq!(
        call(&engine, &mut session, &["APPEND", "k", "w"]),
        Reply::Int(2)
    );
    session.dialect = Dialect::Upstash;
    assert!(!call(&engine, &mut session, &["SETRANGE", "k", &last, "x"]).is_error());
    assert!(!call(&engine, &mut session, &["APPEND", "k", "x"]).is_error());
}

#[test]
fn a_consumer_has_a_limit_of_pending_entries() {
    let engine = Engine::default();
    let mut session = strict(&engine);
    let add = |session: &mut Session, count: usize| {
        for _ in 0..count {
            call(&engine, session, &["XADD", "s", "*", "f", "v"]);
        }
    };
    add(&mut session, PENDING_MAX + 1);
    let create = ["XGROUP", "CREATE", "s", "g", "0"];
    assert_eq!(call(&engine, &mut session, &create), Reply::OK);
    let read = |consumer: &str, count: &str, session: &mut Session| {
        let request = [
            "XREADGROUP",
            "GROUP",
            "g",
            consumer,
            "COUNT",
            count,
            "STREAMS",
            "s",
            ">",
        ];
        text(&call(&engine, session, &request))
    };
    let full = |pending: usize, wanted: usize| {
        format!(
            "ERR XReadGroup is cancelled. Pending Entries List limit per consumer is about to be \
             reached. Limit: 1000, Current PEL size: {pending}, Requested Read: {wanted}, Key: s, \
             Group: g, Consumer: one."
        )
    };
    let all = ["XREADGROUP", "GROUP", "g", "one", "STREAMS", "s", ">"];
    assert_eq!(text(&call(&engine, &mut session, &all)), full(0, 1001));
    assert!(read("one", "999", &mut session).starts_with("Array"));
    assert_eq!(read("one", "2", &mut session), full(999, 2));
    assert!(read("one", "1", &mut session).starts_with("Array"));
    assert_eq!(read("one", "1", &mut session), full(1000, 1));
    // Its own may be read again, and others have room of their own.
    let own = [
        "XREADGROUP",
        "GROUP",
        "g",
        "one",
        "COUNT",
        "1",
        "STREAMS",
        "s",
        "0",
    ];
    assert!(!call(&engine, &mut session, &own).is_error());
    assert!(read("two", "10", &mut session).starts_with("Array"));
    add(&mut session, 1);
    let forget = [
        "XREADGROUP",
        "GROUP",
        "g",
        "one",
        "NOACK",
        "STREAMS",
        "s",
        ">",
    ];
    assert!(!call(&engine, &mut session, &forget).is_error());
    // Nothing new is nothing more.
    assert_eq!(read("one", "1", &mut session), "NullArray");
    session.dialect = Dialect::Upstash;
    add(&mut session, 1);
    assert!(read("one", "1", &mut session).starts_with("Array"));
}

#[test]
fn a_reading_token_is_refused_in_the_services_words() {
    let engine = Engine::default();
    engine.grant("read", "default", Role::ReadOnly);
    let mut session = strict(&engine);
    session.set_principal(engine.authenticate(b"read"));
    for (words, name) in [
        (&["SET", "k", "v"][..], "set"),
        (&["SCAN", "0"], "scan"),
        (&["KEYS", "*"], "keys"),
        (&["EVALSHA", "x", "0"], "evalsha"),
        (&["EVAL_RO", "return 1", "0"], "eval_ro"),
        (&["FLUSHALL"], "flushall"),
        (&["INFO"], "info"),
        (&["CONFIG", "GET", "*"], "config"),
        (&["ACL", "LIST"], "acl"),
    ] {
        let expected = format!(
            "NOPERM this user has no permissions to run the '{name}' command or its subcommand"
        );
        assert_eq!(text(&call(&engine, &mut session, words)), expected);
    }
    assert_eq!(call(&engine, &mut session, &["GET", "k"]), Reply::Null);
}
