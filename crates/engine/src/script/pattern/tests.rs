//! The matcher against the one of Lua's own library, which is built from C.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mlua::{Function, Lua, LuaOptions, StdLib};
use proptest::prelude::*;

use super::super::library::Shared;
use super::super::native;
use super::*;

/// Answers what every function of patterns makes of a subject and a pattern.
const PROBE: &str = r"
local s, p, init, template, plain = ...
local out = {}
local function add(...)
  for i = 1, select('#', ...) do
    local value = select(i, ...)
    out[#out + 1] = type(value) .. ' ' .. tostring(value)
  end
  out[#out + 1] = '/'
end
local function try(f, ...)
  local count, arguments = select('#', ...), {...}
  add(pcall(function() add(f(unpack(arguments, 1, count))) end))
end
local words = { a = 'A', b = false, ab = 7, [1] = 'one' }
try(string.find, s, p, init)
try(string.find, s, p, init, plain)
try(string.match, s, p, init)
try(string.match, s, p)
try(string.gsub, s, p, template)
try(string.gsub, s, p, words, init)
try(string.gsub, s, p, function(...) add(...) return (select(select('#', ...), ...)) end)
try(string.gsub, s, p, function(...) if ... == 'a' then return {} end end, 3)
add(pcall(function() for a, b, c in string.gmatch(s, p) do add(a, b, c) end end))
return table.concat(out, '|')
";

/// Our matcher and Lua's.
struct Pair([(Function, Lua); 2]);

fn lua() -> Lua {
    Lua::new_with(StdLib::TABLE | StdLib::STRING, LuaOptions::new()).unwrap()
}

fn pair() -> Pair {
    let (own, other) = (lua(), lua());
    let shared = Arc::<Shared>::default();
    native::guard(&own, &shared).unwrap();
    shared.small.store(0, Ordering::Relaxed);
    let probe = |lua: Lua| {
        let chunk = lua.load(PROBE).set_name("=probe");
        (chunk.into_function().unwrap(), lua)
    };
    Pair([own, other].map(probe))
}

impl Pair {
    fn both(
        &self,
        subject: &[u8],
        pattern: &[u8],
        init: i64,
        template: &[u8],
        plain: bool,
    ) -> [String; 2] {
        self.0.each_ref().map(|(probe, lua)| {
            let text = |bytes: &[u8]| lua.create_string(bytes).unwrap();
            let arguments = (text(subject), text(pattern), init, text(template), plain);
            let answer: mlua::LuaString = probe.call(arguments).unwrap();
            answer.as_bytes().escape_ascii().to_string()
        })
    }
}

fn words(list: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(list), 0..most).prop_map(|words| words.concat())
}

const PIECES: &[&[u8]] = &[
    b"a",
    b"b",
    b"ab",
    b".",
    b"%a",
    b"%d",
    b"%s",
    b"%S",
    b"%w",
    b"%x",
    b"%p",
    b"%z",
    b"%u",
    b"%C",
    b"%.",
    b"%",
    b"(",
    b"(",
    b")",
    b")",
    b"()",
    b"(a)",
    b"(.-)",
    b"(a*)",
    b"[ab]",
    b"[^a]",
    b"[a-c]",
    b"[%a-]",
    b"[]]",
    b"[^]a]",
    b"[a-",
    b"[",
    b"]",
    b"[%",
    b"[%]a]",
    b"[c-a]",
    b"*",
    b"+",
    b"-",
    b"?",
    b"*",
    b"-",
    b"^",
    b"$",
    b"%b()",
    b"%bab",
    b"%baa",
    b"%b",
    b"%bx",
    b"%f[a]",
    b"%f[%w]",
    b"%f[^a]",
    b"%f",
    b"%fa",
    b"%1",
    b"%2",
    b"%0",
    b"%9",
    b"\0",
    b"\xff",
    b"[\x80-\xff]",
];
const TEXT: &[&[u8]] = &[
    b"a", b"a", b"a", b"b", b"ab", b"c", b"(", b")", b"1", b" ", b"\0", b"\xe9", b"]", b"%", b"-",
    b"^", b"A", b"\n",
];
const TEMPLATE: &[&[u8]] = &[b"x", b"%0", b"%1", b"%2", b"%%", b"%", b"\0", b"%a"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn answers_and_errors_are_those_of_lua(
        subject in words(TEXT, 12),
        pattern in words(PIECES, 8),
        init in -16_i64..16,
        template in words(TEMPLATE, 4),
        plain: bool,
    ) {
        thread_local! {
            static PAIR: Pair = pair();
        }
        let [ours, theirs] =
            PAIR.with(|pair| pair.both(&subject, &pattern, init, &template, plain));
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn limits_are_those_of_lua() {
    let pair = pair();
    let opens = |count: usize| ["(a?)"].repeat(count).concat().into_bytes();
    for (subject, pattern) in [
        (b"aaa".as_slice(), opens(32)),
        (b"aaa", opens(33)),
        (b"a", b"()".repeat(33)),
        (b"12", b"1".to_vec()),
        (b"", b"".to_vec()),
        (b"a\0b", b"\0b".to_vec()),
        (b"abc\xe9", b"%a*()%A()".to_vec()),
        (b"x = 1, y = 2", b"(%w+)%s*=%s*(%w+)".to_vec()),
        (b"THE (quick) fox", b"%((%a+)%)".to_vec()),
        (b"hello hello", b"(%w+) %1".to_vec()),
        (b"hello hello", b"() %1".to_vec()),
    ] {
        let [ours, theirs] = pair.both(subject, &pattern, 1, b"<%0>", false);
        assert_eq!(ours, theirs, "{}", pattern.escape_ascii());
    }
}

/// Matches with as many questions as it asks; stops at question `last`.
fn asked(subject: &[u8], pattern: &[u8], last: usize) -> (usize, Result<bool, Fault>) {
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        asked < last
    };
    let mut meter = Meter {
        left: QUANTUM,
        ask: &mut ask,
    };
    let (scratch, found) = (&mut Scratch::default(), &mut Match::none());
    let found = search(scratch, subject, pattern, (0, false), found, &mut meter);
    (asked, found)
}

#[test]
fn every_long_way_asks_and_stops() {
    let many = b"a".repeat(1 << 20);
    for pattern in [
        [b".-".repeat(6), b"b".to_vec()].concat(),
        b"a*b".to_vec(),
        b"(a*)%1b".to_vec(),
        b"%baab".to_vec(),
        b"a?".repeat(100_000),
        b"[%z]".to_vec(),
    ] {
        let (asked, found) = asked(&many, &pattern, 50);
        let text = pattern.get(..9).unwrap_or(&pattern).escape_ascii();
        if asked == 50 {
            assert_eq!(found, Err(Fault::Stopped), "{text}");
        } else {
            assert!(asked >= 10, "{text}: {asked}");
        }
    }
}

#[test]
fn a_pattern_has_so_many_choices_and_items() {
    let many = b"a".repeat(MOST_CHOICES + 1);
    let optional = |count| b"a?".repeat(count);
    let most = usize::MAX;
    assert_eq!(asked(&many, &optional(MOST_CHOICES), most).1, Ok(true));
    let complex = Err(Fault::TooComplex);
    assert_eq!(asked(&many, &optional(MOST_CHOICES + 1), most).1, complex);
    assert_eq!(asked(b"", &b".".repeat(MOST_ITEMS), most).1, complex);
}

#[test]
fn plain_text_is_found_in_linear_time() {
    let subject = b"a".repeat(3 << 20);
    let wanted = [b"a".repeat(1 << 20), b"b".to_vec()].concat();
    let whole = [subject.as_slice(), b"b"].concat();
    let mut ask = || true;
    let mut meter = Meter {
        left: 0,
        ask: &mut ask,
    };
    for from in [0, 5, 1 << 20] {
        let mut find = |subject: &[u8]| find_plain(subject, &wanted, from, &mut meter);
        assert_eq!(find(&subject), Ok(None));
        assert_eq!(find(&whole), Ok(Some(2 << 20)));
    }
    // At the end of one window and the beginning of the next.
    for at in (1 << 20) - 10..(1 << 20) + 20 {
        let mut subject = vec![b'x'; 3 << 20];
        subject[at..at + 3].copy_from_slice(b"abc");
        let found = find_plain(&subject, b"abc", 0, &mut meter);
        assert_eq!(found, Ok(Some(at)));
    }
}

#[test]
fn the_worst_case_is_seen_in_the_pattern() {
    let bomb = [b".-".repeat(6), b"b".to_vec()].concat();
    assert_eq!(worst_case(2000, &bomb), usize::MAX);
    assert_eq!(worst_case(10, &b"a?".repeat(17)), usize::MAX);
    assert_eq!(worst_case(0, &b"a*".repeat(100_000)), usize::MAX);
    assert!(worst_case(100, b"%d+") > worst_case(100, b"%d"));
    assert_eq!(worst_case(100, b"[%*+-]"), worst_case(100, b"[abcd]"));
    assert!(worst_case(60, b"^([^:]+):(%d+)$") < 10_000_000);
}
