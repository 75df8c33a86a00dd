//! The VM against replies recorded from redis-server 7.0.15, and its bounds.

use std::collections::HashMap;

use super::*;

/// A host with a map, and a count of ticks before it kills.
#[derive(Default)]
struct Toy {
    map: HashMap<Vec<u8>, Vec<u8>>,
    ticks: u32,
    mortal: bool,
    argv: Vec<Vec<u8>>,
}

impl Host for Toy {
    fn call(&mut self, argv: &[&[u8]], _resp3: bool) -> Reply {
        self.argv = argv.iter().map(|item| item.to_vec()).collect();
        match (argv[0].to_ascii_lowercase().as_slice(), &argv[1..]) {
            (b"echo", [text]) => Reply::bulk(text),
            (b"get", [key]) => Reply::from(self.map.get(*key).cloned()),
            (b"set", [key, value]) => {
                self.map.insert(key.to_vec(), value.to_vec());
                Reply::OK
            }
            (b"panic", _) => panic!("asked for"),
            (b"odd", _) => Reply::Map(vec![
                (Reply::Null, Reply::Int(1)),
                (
                    Reply::Set(vec![Reply::Null, Reply::bulk("m")]),
                    Reply::Int(2),
                ),
            ]),
            (b"count", rest) => Reply::from(rest.len()),
            (b"hgetall", [_]) => Reply::Map(vec![(Reply::bulk("f"), Reply::bulk("v"))]),
            (b"lpush", _) => {
                Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            (b"multi" | b"subscribe" | b"eval", _) => {
                Reply::error("ERR This Redis command is not allowed from script")
            }
            (b"echo" | b"get" | b"set", _) => {
                Reply::error("ERR Wrong number of args calling Redis command from script")
            }
            _ => Reply::error("ERR Unknown Redis command called from script"),
        }
    }

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        if self.mortal && self.ticks > 20 {
            Tick::Kill
        } else {
            Tick::Continue
        }
    }

    fn allowed(&mut self, argv: &[&[u8]]) -> Option<bool> {
        (argv[0] != b"nosuch").then_some(true)
    }
}

fn vm() -> Vm {
    Vm::new(
        Kind::Scripts,
        Limits {
            memory: 32 << 20,
            interval: 1000,
        },
        Random::default(),
    )
    .unwrap()
}

fn run(vm: &mut Vm, host: &mut Toy, script: &str) -> Reply {
    match vm.load(script.as_bytes()) {
        Ok(script) => vm.run(
            script.entry(),
            &[b"k1"],
            &[b"a1", b"a2"],
            RunOptions::default(),
            host,
        ),
        Err(reply) => reply,
    }
}

fn error_text(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("not an error: {other:?}"),
    }
}

/// RESP2, as the recording has it.
fn encode(reply: &Reply) -> String {
    let bulk = |text: &[u8]| format!("${}\r\n{}\r\n", text.len(), String::from_utf8_lossy(text));
    let all = |items: &[Reply]| items.iter().map(encode).collect::<String>();
    match reply {
        Reply::Bulk(text) | Reply::BigNumber(text) | Reply::Verbatim(_, text) => bulk(text),
        Reply::Double(value) => bulk(super::super::number::format_g(*value, 17).as_bytes()),
        Reply::Null => "$-1\r\n".to_owned(),
        Reply::Status(text) => format!("+{text}\r\n"),
        Reply::Error(text) => format!("-{}\r\n", String::from_utf8_lossy(text)),
        Reply::Int(value) => format!(":{value}\r\n"),
        Reply::Bool(value) => format!(":{}\r\n", i32::from(*value)),
        Reply::Array(items) | Reply::Set(items) => format!("*{}\r\n{}", items.len(), all(items)),
        Reply::Map(pairs) => {
            let items: String = pairs
                .iter()
                .map(|(key, value)| encode(key) + &encode(value))
                .collect();
            format!("*{}\r\n{items}", pairs.len() * 2)
        }
        other => panic!("no script answers {other:?}"),
    }
}

/// Each line of the recording is a script and the reply of redis-server 7.0.15,
/// both without keys and arguments; `{sha}` stands for the script's SHA-1.
#[test]
fn as_redis() {
    // The deepest cases nest 1000 levels, in frames that no optimizer has seen.
    let run = std::thread::Builder::new().stack_size(32 << 20).spawn(|| {
        compare_with_recording(vm());
        // With every pattern left to our own matcher.
        let vm = vm();
        vm.shared.small.store(0, Ordering::Relaxed);
        compare_with_recording(vm);
    });
    run.unwrap().join().unwrap();
}

fn compare_with_recording(mut vm: Vm) {
    let mut host = Toy::default();
    let mut wrong = Vec::new();
    for line in include_str!("redis_7_0_15.jsonl").lines() {
        let (script, expected): (String, String) = {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                value[0].as_str().unwrap().to_owned(),
                value[1].as_str().unwrap().to_owned(),
            )
        };
        let reply = match vm.load(script.as_bytes()) {
            Ok(script) => vm.run(script.entry(), &[], &[], RunOptions::default(), &mut host),
            Err(reply) => reply,
        };
        let found = encode(&reply);
        let sha = String::from_utf8(sha1_hex(script.as_bytes()).to_vec()).unwrap();
        let expected = expected.replace("{sha}", &sha);
        if found != expected {
            wrong.push(format!("{script}\n  redis {expected:?}\n  found {found:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn keys_and_arguments_are_those_of_the_run() {
    let (mut vm, mut host) = (vm(), Toy::default());
    let script = vm
        .load(b"return {#KEYS, #ARGV, KEYS[1], ARGV[1], KEYS[#KEYS], ARGV[#ARGV]}")
        .unwrap();
    let text: Vec<Vec<u8>> = (0..10_000)
        .map(|n: i32| n.to_string().into_bytes())
        .collect();
    let items: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
    for (keys, argv) in [
        (1, 0),
        (1, 3),
        (2, 2),
        (5, 50),
        (40, 40),
        (5000, 5000),
        (0, 10_000),
    ] {
        let (keys, argv) = (&items[..keys], &items[..argv]);
        let reply = vm.run(script.entry(), keys, argv, RunOptions::default(), &mut host);
        let Reply::Array(reply) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(
            reply[..2],
            [Reply::from(keys.len()), Reply::from(argv.len())]
        );
        if let (Some(first), Some(last), Some(Reply::Bulk(a)), Some(Reply::Bulk(b))) =
            (keys.first(), keys.last(), reply.get(2), reply.get(4))
        {
            assert_eq!((a.as_slice(), b.as_slice()), (*first, *last));
        }
    }
    let binary: &[u8] = b"\xff\0\r\n";
    let script = vm.load(b"return ARGV[1]").unwrap();
    assert_eq!(
        vm.run(
            script.entry(),
            &[],
            &[binary],
            RunOptions::default(),
            &mut host
        ),
        Reply::bulk(binary)
    );
}

#[test]
fn one_run_leaves_nothing_to_the_next() {
    let (mut vm, mut host) = (vm(), Toy::default());
    for attempt in [
        "KEYS[5] = 'left'",
        "rawset(_G, 'left', 1)",
        "table.insert(_G, 1)",
        "getmetatable('').__index.left = 1",
        "for k, v in pairs(_G) do pcall(rawset, v, 'left', 1) end",
        "local f, s = pairs(_G) pcall(rawset, s, 'left', 1)",
        "pcall(table.insert, string, 1)",
        "collectgarbage('stop')",
        "xpcall(function() error(redis) end, __redis__err__handler)",
    ] {
        run(&mut vm, &mut host, attempt);
    }
    let seen = run(
        &mut vm,
        &mut host,
        "return {#KEYS, rawget(_G, 'left') == nil, string.left == nil, _G[1] == nil}",
    );
    assert!(
        error_text(&seen).contains("nonexistent global variable '1'"),
        "{seen:?}"
    );
    let seen = run(
        &mut vm,
        &mut host,
        "return {KEYS[5] == nil, rawget(_G, 'left') == nil, redis.left == nil, redis.err == nil, string[1] == nil}",
    );
    assert_eq!(seen, Reply::Array(vec![Reply::Int(1); 5]));
}

#[test]
fn nothing_holds_a_kill() {
    let mut vm = vm();
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(pcall, function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do local f = coroutine.wrap(function() while true do end end) pcall(f) end",
        "while true do xpcall(function() while true do end end, function() return 1 end) end",
        "while true do xpcall(function() error('x') end, function() while true do end end) end",
        "while true do load(function() while true do end end) end",
        "table.sort({3, 2, 1, 4, 5}, function() while true do end end)",
        "while true do pcall(redis.call, 'nosuch') end",
    ] {
        let mut host = Toy {
            mortal: true,
            ..Toy::default()
        };
        let text = error_text(&run(&mut vm, &mut host, script));
        assert!(
            text.starts_with("ERR Script killed by user with SCRIPT KILL... script: "),
            "{script}: {text}"
        );
        assert!(text.ends_with("on @user_script:1."), "{script}: {text}");
        assert!(host.ticks < 30, "{script}: {} ticks", host.ticks);
        assert_eq!(run(&mut vm, &mut host, "return 1"), Reply::Int(1));
    }
}

#[test]
fn a_library_call_can_be_stopped() {
    let mut vm = vm();
    let bomb = "('a'):rep(2000), ('.-'):rep(6) .. 'b'";
    let document = "local t = {} for i = 1, 30000 do t[i] = {i, 'text'} end ";
    // Each of the long calls is one instruction, or takes few for its time.
    for script in [
        format!("return string.find({bomb})"),
        format!("return string.match({bomb})"),
        format!("for word in string.gmatch({bomb}) do return word end"),
        format!("return string.gsub({bomb}, 'x')"),
        format!("local found = pcall(string.find, {bomb}) return found"),
        format!("return coroutine.wrap(function() return string.find({bomb}) end)()"),
        "return ('x'):rep(10000):gsub('', ('%0'):rep(100000))".to_owned(),
        "return ('x'):rep(100000):gsub('x*y', '')".to_owned(),
        "local s = ('a'):rep(2^22) for i = 1, 100 do s:find(s:sub(2^21) .. 'b', 1, true) end"
            .to_owned(),
        "local t = {} for i = 1, 100000 do t[i] = i * 7919 % 100003 end table.sort(t)".to_owned(),
        "local t = {} for i = 1, 100000 do t[i] = 'same' end \
         for i = 1, 100 do table.insert(t, 1, '') end for i = 1, 100 do table.remove(t, 1) end"
            .to_owned(),
        "for i = 1, 100 do local s = ('x'):rep(2^20) end".to_owned(),
        "local s = ('x'):rep(2^20) for i = 1, 100 do local t = s:upper() end".to_owned(),
        "local s = ('x'):rep(2^20) for i = 1, 100 do table.concat({s, s}) end".to_owned(),
        "local s = ('x'):rep(2^20) for i = 1, 100 do local t = ('%s%q'):format(s, s) end"
            .to_owned(),
        "local s = ('x'):rep(2^23) for i = 1, 300 do collectgarbage() end".to_owned(),
        "return cjson.decode('[' .. ('1,'):rep(20000) .. '1]')".to_owned(),
        "return cjson.decode('[\"' .. ('x\",\"'):rep(20000) .. '\"]')".to_owned(),
        "return cmsgpack.unpack('\\221\\0\\0\\78\\32' .. ('\\1'):rep(20000))".to_owned(),
        "local t = {} for i = 1, 30000 do t['a' .. i] = i end for i = 1, 9 do table.maxn(t) end"
            .to_owned(),
        format!("{document} return cjson.encode(t)"),
        format!("{document} return cmsgpack.pack(t)"),
    ] {
        let mut host = Toy {
            mortal: true,
            ..Toy::default()
        };
        // Building the arguments takes some of the ticks.
        let reply = run(&mut vm, &mut host, &script);
        assert!(reply.is_error(), "{script}: {} ticks", host.ticks);
        let text = error_text(&reply);
        assert!(
            text.starts_with("ERR Script killed by user"),
            "{script}: {text}"
        );
        assert!(text.ends_with("on @user_script:1."), "{script}: {text}");
        assert!(host.ticks < 30, "{script}: {} ticks", host.ticks);
        assert_eq!(run(&mut vm, &mut host, "return 1"), Reply::Int(1));
    }
}

#[test]
fn slow_instructions_are_ticked_more_often() {
    let (mut vm, mut host) = (vm(), Toy::default());
    let ticks = |vm: &mut Vm, host: &mut Toy, script: &str| {
        host.ticks = 0;
        run(vm, host, script);
        host.ticks
    };
    let quick = "for i = 1, 20000 do local t = i + i end";
    let slow = "local s = ('x'):rep(2^22) for i = 1, 1000 do local t = s .. 'y' end";
    // A loaded machine makes some of the quick ones slow.
    for _ in 0..2 {
        let quick = ticks(&mut vm, &mut host, quick);
        assert!((40..300).contains(&quick), "{quick}");
        let slow = ticks(&mut vm, &mut host, slow);
        assert!(slow > 300, "{slow}");
    }
    assert_eq!(ticks(&mut vm, &mut host, "return 1"), 0);
}

#[test]
fn a_long_sort_sorts() {
    let (mut vm, mut host) = (vm(), Toy::default());
    let script = "local t = {} for i = 1, 5000 do t[i] = i * 7919 % 5003 end \
                  table.sort(t) for i = 2, #t do if t[i - 1] > t[i] then return i end end \
                  table.sort(t, function(a, b) return a > b end) return {t[1], #t}";
    let expected = Reply::Array(vec![Reply::Int(5002), Reply::Int(5000)]);
    assert_eq!(run(&mut vm, &mut host, script), expected);
    let mixed = "local t = {} for i = 1, 1000 do t[i] = i end t[500] = 'x' table.sort(t)";
    let text = error_text(&run(&mut vm, &mut host, mixed));
    assert!(text.contains("attempt to compare"), "{text}");
}

#[test]
fn memory_is_bounded_and_comes_back() {
    let (mut vm, mut host) = (vm(), Toy::default());
    for script in [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = string.rep('x', 10000) end",
        "return string.rep('x', 2^31 - 1)",
        "local t = {} for i = 1, 100 do t[i] = redis.call('echo', string.rep(tostring(i), 1000000)) end return t",
        "return string.rep('x', 1000):gsub('x', string.rep('y', 1000000))",
    ] {
        let text = error_text(&run(&mut vm, &mut host, script));
        assert!(text.contains("not enough memory"), "{script}: {text}");
        assert!(vm.memory() < 4 << 20, "{script}: {} bytes", vm.memory());
        assert_eq!(run(&mut vm, &mut host, "return 1"), Reply::Int(1));
    }
    for _ in 0..20_000 {
        run(
            &mut vm,
            &mut host,
            "local t = {} for i = 1, 20 do t[i] = ARGV[1] .. i end return t",
        );
    }
    assert!(
        vm.memory() < 2 << 20,
        "{} bytes after many runs",
        vm.memory()
    );
}

#[test]
fn numbers_in_either_dialect() {
    let (mut vm, mut host) = (vm(), Toy::default());
    let script = vm.load(b"return redis.call('set', 'k', 1.75)").unwrap();
    for (truncate_numbers, expected) in [(false, "1.75"), (true, "1")] {
        vm.run(
            script.entry(),
            &[],
            &[],
            RunOptions { truncate_numbers },
            &mut host,
        );
        assert_eq!(host.map[b"k".as_slice()], expected.as_bytes());
    }
}

#[test]
fn maps_are_flat_until_resp3() {
    let (mut vm, mut host) = (vm(), Toy::default());
    let flat = run(&mut vm, &mut host, "return redis.call('hgetall', 'h')");
    assert_eq!(flat, Reply::Array(vec![Reply::bulk("f"), Reply::bulk("v")]));
    let map = run(
        &mut vm,
        &mut host,
        "redis.setresp(3) return redis.call('hgetall', 'h')",
    );
    assert_eq!(map, Reply::Map(vec![(Reply::bulk("f"), Reply::bulk("v"))]));
}

#[test]
fn scripts_are_known_by_their_own_text() {
    let mut vm = vm();
    let script = vm
        .load(b"#!lua flags=allow-key-locking,no-writes\nreturn 1")
        .unwrap();
    let flags = script.flags().unwrap();
    assert!(flags.contains(Flags::ALLOW_KEY_LOCKING) && flags.contains(Flags::NO_WRITES));
    assert!(!flags.contains(Flags::ALLOW_OOM));
    assert_eq!(
        *script.sha(),
        sha1_hex(b"#!lua flags=allow-key-locking,no-writes\nreturn 1")
    );
    assert!(vm.exists(&script.sha().to_ascii_uppercase()) && vm.len() == 1);
    assert!(vm.load(b"return return").is_err() && vm.len() == 1);
    assert!(!vm.exists(b"short"));
}

#[test]
fn the_host_comes_back_as_the_run_left_it() {
    let (mut vm, mut host) = (vm(), Toy::default());
    run(
        &mut vm,
        &mut host,
        "redis.call('set', KEYS[1], ARGV[2]) error('x')",
    );
    assert_eq!(host.map[b"k1".as_slice()], b"a2");
    assert_eq!(host.argv, [b"set".to_vec(), b"k1".to_vec(), b"a2".to_vec()]);
}

#[test]
fn a_panic_passes_lua_and_leaves_the_vm_whole() {
    let (mut vm, mut host) = (vm(), Toy::default());
    for script in [
        "return redis.call('panic')",
        "return pcall(redis.call, 'panic')",
        "coroutine.wrap(function() redis.pcall('panic') end)()",
    ] {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&mut vm, &mut host, script)
        }));
        let payload = ran.expect_err(script);
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"asked for"));
        let text = "return redis.call('echo', KEYS[1])";
        assert_eq!(run(&mut vm, &mut host, text), Reply::bulk("k1"));
    }
}

#[test]
fn calls_are_as_wide_as_the_stack_and_work_in_coroutines() {
    let (mut vm, mut host) = (vm(), Toy::default());
    for (script, expected) in [
        (
            "local t = {} for i = 1, 7999 do t[i] = i end return redis.call('count', unpack(t))",
            Reply::Int(7999),
        ),
        (
            "local t = {} for i = 1, 7999 do t[i] = i end \
             return redis.call('count', 'a', 'b', unpack(t))",
            Reply::Int(8001),
        ),
        (
            "local t = {} for i = 1, 8000 do t[i] = i end \
             return select(2, pcall(function() return redis.call('count', unpack(t)) end))",
            Reply::bulk("user_script:1: too many results to unpack"),
        ),
        (
            "local t = {} for i = 1, 4000 do t[i] = i end return #cmsgpack.pack(unpack(t))",
            Reply::Int(127 + 128 * 2 + 3745 * 3),
        ),
        (
            "local t = {} for i = 1, 4001 do t[i] = i end \
             local _, text = pcall(cmsgpack.pack, unpack(t)) return text",
            Reply::bulk("bad argument #0 to '?' (Too many arguments for MessagePack pack.)"),
        ),
        (
            "return select(2, pcall(cmsgpack.unpack, ('\\1'):rep(8000)))",
            Reply::bulk(
                "stack overflow (too many return values at once; use unpack_one or \
                 unpack_limit instead.)",
            ),
        ),
        (
            "return coroutine.wrap(function() return redis.call('echo', 'in') end)()",
            Reply::bulk("in"),
        ),
        (
            "return coroutine.wrap(function() return redis.pcall('lpush').err end)()",
            Reply::bulk("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ),
    ] {
        assert_eq!(run(&mut vm, &mut host, script), expected, "{script}");
    }
}

#[test]
fn what_is_no_key_in_lua_is_left_out() {
    let (mut vm, mut host) = (vm(), Toy::default());
    let script = "redis.setresp(3) local n = 0 \
                  for k, v in pairs(redis.call('odd').map) do \
                  n = n + v for m in pairs(k.set) do n = n + #m end end return n";
    assert_eq!(run(&mut vm, &mut host, script), Reply::Int(3));
}

#[test]
fn tables_mean_what_their_fields_say() {
    let (mut vm, mut host) = (vm(), Toy::default());
    for (script, expected) in [
        ("return {1, 2, ok = 'x\\ry'}", Reply::status("x y")),
        (
            "return {1, 2, other = 3}",
            Reply::Array(vec![Reply::Int(1), Reply::Int(2)]),
        ),
        ("return {err = 5, 7}", Reply::Array(vec![Reply::Int(7)])),
        ("return {}", Reply::Array(vec![])),
        (
            "return {set = {a = true}}",
            Reply::Set(vec![Reply::bulk("a")]),
        ),
        (
            "return {map = {a = {double = 1.5}}}",
            Reply::Map(vec![(Reply::bulk("a"), Reply::Double(1.5))]),
        ),
        (
            "return {verbatim_string = {format = 'txt', string = 's'}}",
            Reply::Verbatim(*b"txt", b"s".to_vec()),
        ),
        (
            "return {big_number = '12\\n3'}",
            Reply::BigNumber(b"12 3".to_vec()),
        ),
    ] {
        assert_eq!(run(&mut vm, &mut host, script), expected, "{script}");
    }
}
