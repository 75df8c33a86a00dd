//! Functions of Lua's library that cannot be stopped, made stoppable.
//!
//! Lua's hook counts instructions; a call of a C function is one, however long it
//! takes. [`guard`] puts entries in front of the functions whose work grows with
//! their arguments: they count it and ask the host in between.
//!
//! - `find`, `match`, `gmatch`, `gsub`: where the worst case is small, the C
//!   function does the work, on the same frame. The rest is matched by `pattern`,
//!   which can be stopped.
//! - `table.sort`: long tables get a comparison that counts.
//! - the others run in linear time: their arguments and results are counted.
//!
//! No frame here owns anything that needs a drop while it calls Lua: matches are
//! copied out, subjects and patterns are borrowed from values that stand on the
//! stack, and the accumulator is Lua's own. So Lua may raise through them, as it
//! does through C, and positions and names in errors are those of the C functions.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mlua::{Lua, Result, Table, Value, ffi};

use super::super::library::Shared;
use super::super::pattern::{self, Captured, Fault, Match, Meter};
use super::super::raise;
use super::PANIC;

/// Steps below which the C function does the work: under a millisecond.
const SMALL: usize = 200_000;
/// Items of a table that Lua's own sort may take without being stopped.
const FEW: usize = 256;
/// Bytes that are copied in the time of a step.
const BYTES_A_STEP: usize = 16;

/// A C function and what its entry needs.
struct Guarded {
    shared: Arc<Shared>,
    original: ffi::lua_CFunction,
}

/// Upvalues of every entry: where its [`Guarded`] is, the userdata that keeps it,
/// the error that ends a killed run.
const UPVALUES: c_int = 3;
/// Further upvalues of the iterator of `gmatch`: subject, pattern, position.
const SUBJECT: c_int = UPVALUES + 1;
const PATTERN: c_int = UPVALUES + 2;
const POSITION: c_int = UPVALUES + 3;
/// The further upvalue of `sort`: its comparison.
const COMPARISON: c_int = UPVALUES + 1;

/// Puts entries in front of the functions of `lua`'s libraries that may run long.
pub(crate) fn guard(lua: &Lua, shared: &Arc<Shared>) -> Result<()> {
    shared.small.store(SMALL, Ordering::Relaxed);
    let globals = lua.globals();
    let wrap = |library: &Table, name: &str, entry: ffi::lua_CFunction, more: Option<Value>| {
        let Value::Function(function) = library.raw_get(name)? else {
            return Ok(());
        };
        library.raw_set(name, entered(lua, shared, function, entry, more)?)
    };
    let strings: Table = globals.raw_get("string")?;
    for (name, entry) in [
        ("find", find as ffi::lua_CFunction),
        ("match", match_),
        ("gmatch", gmatch),
        ("gfind", gmatch),
        ("gsub", gsub),
        ("upper", linear),
        ("lower", linear),
        ("reverse", linear),
        ("format", linear),
    ] {
        wrap(&strings, name, entry, None)?;
    }
    let tables: Table = globals.raw_get("table")?;
    for name in ["concat", "insert", "remove"] {
        wrap(&tables, name, linear, None)?;
    }
    let sort: mlua::Function = tables.raw_get("sort")?;
    let comparison = entered(lua, shared, sort, less, None)?;
    wrap(&tables, "sort", sort_, Some(Value::Function(comparison)))?;
    wrap(&globals, "collectgarbage", collect, None)
}

/// A function that runs `entry` with `function`, a C function, as its original.
fn entered(
    lua: &Lua,
    shared: &Arc<Shared>,
    function: mlua::Function,
    entry: ffi::lua_CFunction,
    more: Option<Value>,
) -> Result<mlua::Function> {
    let mut original: Option<ffi::lua_CFunction> = None;
    // SAFETY: the function is on top; nothing here raises.
    unsafe {
        lua.exec_raw::<()>(function, |state| {
            original = ffi::lua_tocfunction(state, -1);
            ffi::lua_settop(state, 0);
        })?;
    }
    let original = original.ok_or_else(|| mlua::Error::runtime("not a C function"))?;
    let guarded = Arc::new(Guarded {
        shared: Arc::clone(shared),
        original,
    });
    let target = Arc::as_ptr(&guarded).cast_mut().cast::<c_void>();
    let owner = lua.create_any_userdata(guarded)?;
    let killed = Value::Error(Box::new(raise::killed()));
    let more_values = c_int::from(more.is_some());
    let arguments = (owner, killed, more);
    // SAFETY: the closure owns nothing; the userdata keeps the target as long as
    // the function has it for an upvalue.
    unsafe {
        lua.exec_raw(arguments, |state| {
            // An absent value came as nil.
            ffi::lua_settop(state, 2 + more_values);
            ffi::lua_pushlightuserdata(state, target);
            ffi::lua_insert(state, 1);
            ffi::lua_pushcclosure(state, entry, UPVALUES + more_values);
        })
    }
}

/// What the running entry guards.
///
/// # Safety
///
/// `state` must run a function that [`entered`] made, and the answer be used in
/// this call of it only.
unsafe fn guarded<'a>(state: *mut ffi::lua_State) -> &'a Guarded {
    // SAFETY: the first upvalue points to it, and the second keeps it.
    unsafe {
        &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1))
            .cast_const()
            .cast::<Guarded>()
    }
}

/// Runs `work`; a panic of it is kept for the end of the run.
fn quietly<R>(work: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| PANIC.set(Some(panic)))
        .ok()
}

/// Raises the end of the run.
///
/// # Safety
///
/// `state` must run a function that [`entered`] made, and no frame up to it own
/// anything.
unsafe fn stop(state: *mut ffi::lua_State) -> ! {
    // SAFETY: the arguments go, so there is room for one value.
    unsafe {
        ffi::lua_settop(state, 0);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(3));
        ffi::lua_error(state)
    }
}

/// Counts `steps`, and ends the run if it was killed.
///
/// # Safety
///
/// As for [`stop`].
unsafe fn spend(state: *mut ffi::lua_State, guarded: &Guarded, steps: usize) {
    let left = guarded.shared.left.load(Ordering::Relaxed);
    if let Some(left) = left.checked_sub(steps) {
        guarded.shared.left.store(left, Ordering::Relaxed);
    } else if quietly(|| guarded.shared.has_time_for(steps)) != Some(true) {
        // SAFETY: that is what the caller promises.
        unsafe { stop(state) }
    }
}

/// A string or number among the arguments, as a string; `None` for anything else.
///
/// # Safety
///
/// `state` must be valid and the value stay on its stack or an upvalue for `'a`.
unsafe fn text<'a>(state: *mut ffi::lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: the type is looked at first. A number becomes a string in its place,
    // which may raise for lack of memory.
    unsafe {
        let (ffi::LUA_TSTRING | ffi::LUA_TNUMBER) = ffi::lua_type(state, index) else {
            return None;
        };
        let mut length = 0;
        let bytes = ffi::lua_tolstring(state, index, &raw mut length);
        Some(std::slice::from_raw_parts(bytes.cast(), length))
    }
}

/// # Safety
///
/// `state` must be valid, have room for a value, and no frame own anything.
unsafe fn push_text(state: *mut ffi::lua_State, text: &[u8]) {
    // SAFETY: that is what the caller promises.
    unsafe { ffi::lua_pushlstring_(state, text.as_ptr().cast(), text.len()) }
}

/// Raises what matching ended with.
///
/// # Safety
///
/// As for [`stop`].
unsafe fn raise_fault(state: *mut ffi::lua_State, fault: Fault) -> ! {
    // SAFETY: that is what the caller promises; the text ends in NUL.
    unsafe {
        if fault == Fault::Stopped {
            stop(state);
        }
        ffi::luaL_error(state, c"%s".as_ptr(), fault.text().as_ptr());
        // luaL_error does not return.
        std::process::abort()
    }
}

/// What `work` finds, with steps counted; raises its fault.
///
/// # Safety
///
/// As for [`stop`].
unsafe fn metered<R: Copy>(
    state: *mut ffi::lua_State,
    guarded: &Guarded,
    work: impl FnOnce(&mut Meter<'_>) -> std::result::Result<R, Fault>,
) -> R {
    let shared = &guarded.shared;
    let found = quietly(|| {
        let mut ask = || shared.goes_on();
        let mut meter = Meter {
            left: shared.left.load(Ordering::Relaxed),
            ask: &mut ask,
        };
        let found = work(&mut meter);
        shared.left.store(meter.left, Ordering::Relaxed);
        found
    });
    match found.unwrap_or(Err(Fault::Stopped)) {
        Ok(found) => found,
        // SAFETY: what is left here owns nothing.
        Err(fault) => unsafe { raise_fault(state, fault) },
    }
}

/// Whether the pattern matches; then `found` says how. Raises the match's fault.
///
/// # Safety
///
/// As for [`stop`].
unsafe fn search(
    state: *mut ffi::lua_State,
    guarded: &Guarded,
    subject: &[u8],
    pattern: &[u8],
    place: (usize, bool),
    found: &mut Match,
) -> bool {
    // SAFETY: that is what the caller promises.
    unsafe {
        metered(state, guarded, |meter| {
            // Taken out: the host may be asked meanwhile.
            let mut scratch = std::mem::take(&mut *guarded.shared.scratch.lock());
            let matches = pattern::search(&mut scratch, subject, pattern, place, found, meter);
            if scratch.is_small() {
                *guarded.shared.scratch.lock() = scratch;
            }
            matches
        })
    }
}

/// Pushes capture `index` of a match.
///
/// # Safety
///
/// As for [`stop`], with room for a value.
unsafe fn push_capture(state: *mut ffi::lua_State, subject: &[u8], found: &Match, index: usize) {
    // SAFETY: that is what the caller promises.
    unsafe {
        match found.capture(subject, index) {
            Ok(Captured::Text(text)) => push_text(state, text),
            Ok(Captured::Position(at)) => ffi::lua_pushinteger(state, at as ffi::lua_Integer),
            Err(fault) => raise_fault(state, fault),
        }
    }
}

/// Pushes `count` captures of a match.
///
/// # Safety
///
/// As for [`stop`].
unsafe fn push_captures(
    state: *mut ffi::lua_State,
    subject: &[u8],
    found: &Match,
    count: usize,
) -> c_int {
    // SAFETY: that is what the caller promises.
    unsafe {
        ffi::luaL_checkstack_(state, count as c_int, c"too many captures".as_ptr());
        for index in 0..count {
            push_capture(state, subject, found, index);
        }
    }
    count as c_int
}

/// The pattern behind its anchor, and whether it had one.
fn anchor(pattern: &[u8]) -> (&[u8], bool) {
    match pattern.strip_prefix(b"^") {
        Some(rest) => (rest, true),
        None => (pattern, false),
    }
}

unsafe extern "C-unwind" fn find(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry.
    unsafe { find_or_match(state, true) }
}

unsafe extern "C-unwind" fn match_(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry.
    unsafe { find_or_match(state, false) }
}

/// # Safety
///
/// `state` must run an entry for `find` or `match`.
unsafe fn find_or_match(state: *mut ffi::lua_State, find: bool) -> c_int {
    // SAFETY: the values that are looked at stand on the stack until the end of the
    // function, and no frame owns anything.
    unsafe {
        let own = guarded(state);
        let (Some(subject), Some(pattern)) = (text(state, 1), text(state, 2)) else {
            return (own.original)(state);
        };
        let from = match ffi::luaL_optinteger(state, 3, 1) {
            back @ ..0 => subject.len().saturating_sub(back.unsigned_abs() as usize),
            from => (from as usize).saturating_sub(1).min(subject.len()),
        };
        let length = subject.len() - from;
        let plain = find && (ffi::lua_toboolean(state, 4) != 0 || pattern::is_plain(pattern));
        let cost = if plain {
            length.saturating_mul(pattern.len() / BYTES_A_STEP + 1)
        } else {
            pattern::worst_case(length, pattern)
        };
        if cost < own.shared.small.load(Ordering::Relaxed) {
            spend(state, own, cost);
            return (own.original)(state);
        }
        if plain {
            let found = metered(state, own, |meter| {
                pattern::find_plain(subject, pattern, from, meter)
            });
            let Some(start) = found else {
                ffi::lua_pushnil(state);
                return 1;
            };
            ffi::lua_pushinteger(state, start as ffi::lua_Integer + 1);
            ffi::lua_pushinteger(state, (start + pattern.len()) as ffi::lua_Integer);
            return 2;
        }
        let (pattern, anchored) = anchor(pattern);
        let mut found = Match::none();
        if !search(state, own, subject, pattern, (from, anchored), &mut found) {
            ffi::lua_pushnil(state);
            return 1;
        }
        if find {
            ffi::lua_pushinteger(state, found.start as ffi::lua_Integer + 1);
            ffi::lua_pushinteger(state, found.end as ffi::lua_Integer);
            push_captures(state, subject, &found, found.level) + 2
        } else {
            push_captures(state, subject, &found, found.level.max(1))
        }
    }
}

unsafe extern "C-unwind" fn gmatch(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry: its values stand on the stack, no frame owns anything.
    unsafe {
        let own = guarded(state);
        let (Some(subject), Some(pattern)) = (text(state, 1), text(state, 2)) else {
            return (own.original)(state);
        };
        let cost = pattern::worst_case(subject.len(), pattern);
        if cost < own.shared.small.load(Ordering::Relaxed) {
            spend(state, own, cost);
            return (own.original)(state);
        }
        ffi::lua_settop(state, 2);
        ffi::lua_pushinteger(state, 0);
        for upvalue in 1..=UPVALUES {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(upvalue));
            ffi::lua_insert(state, upvalue);
        }
        ffi::lua_pushcclosure(state, gmatch_next, POSITION);
        1
    }
}

/// The iterator of [`gmatch`].
unsafe extern "C-unwind" fn gmatch_next(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `gmatch` made it with the upvalues that are read here, which nothing
    // else changes; no frame owns anything.
    unsafe {
        let own = guarded(state);
        let subject = text(state, ffi::lua_upvalueindex(SUBJECT)).unwrap_or_default();
        let pattern = text(state, ffi::lua_upvalueindex(PATTERN)).unwrap_or_default();
        let from = ffi::lua_tointeger_(state, ffi::lua_upvalueindex(POSITION)) as usize;
        let mut found = Match::none();
        if !search(state, own, subject, pattern, (from, false), &mut found) {
            return 0;
        }
        // After an empty match it goes on one byte further.
        let next = found.end + usize::from(found.end == found.start);
        ffi::lua_pushinteger(state, next as ffi::lua_Integer);
        ffi::lua_replace(state, ffi::lua_upvalueindex(POSITION));
        push_captures(state, subject, &found, found.level.max(1))
    }
}

/// Lua's accumulator of strings. What C thinks its buffer is long may differ from
/// what the bindings think; the room behind makes up for it.
#[repr(C)]
struct Accumulator {
    buffer: std::mem::MaybeUninit<ffi::luaL_Buffer>,
    room: std::mem::MaybeUninit<[u8; 16 << 10]>,
}

impl Accumulator {
    const fn new() -> Self {
        Accumulator {
            buffer: std::mem::MaybeUninit::uninit(),
            room: std::mem::MaybeUninit::uninit(),
        }
    }

    fn as_ptr(&mut self) -> *mut ffi::luaL_Buffer {
        (&raw mut *self).cast()
    }
}

/// # Safety
///
/// `buffer` must be initialised and what it pushed stand on top; no frame owns
/// anything.
unsafe fn add(buffer: *mut ffi::luaL_Buffer, text: &[u8]) {
    // SAFETY: that is what the caller promises.
    unsafe { ffi::luaL_addlstring(buffer, text.as_ptr().cast(), text.len()) }
}

unsafe extern "C-unwind" fn gsub(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry: its arguments stay on the stack below what the accumulator
    // pushes, and no frame owns anything.
    unsafe {
        let own = guarded(state);
        let kind = ffi::lua_type(state, 3);
        let (Some(subject), Some(pattern), true) = (
            text(state, 1),
            text(state, 2),
            matches!(
                kind,
                ffi::LUA_TNUMBER | ffi::LUA_TSTRING | ffi::LUA_TFUNCTION | ffi::LUA_TTABLE
            ),
        ) else {
            return (own.original)(state);
        };
        let most = ffi::luaL_optinteger(state, 4, subject.len() as ffi::lua_Integer + 1) as c_int;
        // An empty text can stand for many captures that are empty too.
        let replacing = if kind == ffi::LUA_TSTRING {
            ffi::lua_objlen(state, 3).saturating_mul(subject.len() + 1)
        } else {
            0
        };
        let cost = pattern::worst_case(subject.len(), pattern).saturating_add(replacing);
        if cost < own.shared.small.load(Ordering::Relaxed) {
            spend(state, own, cost);
            return (own.original)(state);
        }
        let (pattern, anchored) = anchor(pattern);
        let mut accumulator = Accumulator::new();
        let buffer = accumulator.as_ptr();
        ffi::luaL_buffinit(state, buffer);
        let (mut at, mut count) = (0, 0);
        let mut found = Match::none();
        while count < most && search(state, own, subject, pattern, (at, anchored), &mut found) {
            count += 1;
            add(buffer, subject.get(at..found.start).unwrap_or_default());
            replace(state, own, buffer, subject, &found);
            at = found.end;
            if found.end == found.start {
                let Some(byte) = subject.get(at..=at) else {
                    break;
                };
                add(buffer, byte);
                at += 1;
            }
            if anchored {
                break;
            }
        }
        add(buffer, subject.get(at..).unwrap_or_default());
        ffi::luaL_pushresult(buffer);
        ffi::lua_pushinteger(state, ffi::lua_Integer::from(count));
        2
    }
}

/// Adds what argument 3 of `gsub` makes of a match.
///
/// # Safety
///
/// As for [`add`]; `state` must run `gsub`.
unsafe fn replace(
    state: *mut ffi::lua_State,
    own: &Guarded,
    buffer: *mut ffi::luaL_Buffer,
    subject: &[u8],
    found: &Match,
) {
    // SAFETY: that is what the caller promises.
    unsafe {
        match ffi::lua_type(state, 3) {
            ffi::LUA_TFUNCTION => {
                ffi::lua_pushvalue(state, 3);
                let count = push_captures(state, subject, found, found.level.max(1));
                ffi::lua_call(state, count, 1);
            }
            ffi::LUA_TTABLE => {
                push_capture(state, subject, found, 0);
                ffi::lua_gettable_(state, 3);
            }
            _ => {
                let template = text(state, 3).unwrap_or_default();
                return fill(state, own, buffer, template, subject, found);
            }
        }
        if ffi::lua_toboolean(state, -1) == 0 {
            ffi::lua_settop(state, -2);
            push_text(
                state,
                subject.get(found.start..found.end).unwrap_or_default(),
            );
        } else if ffi::lua_isstring(state, -1) == 0 {
            let kind = ffi::lua_typename(state, ffi::lua_type(state, -1));
            ffi::luaL_error(state, c"invalid replacement value (a %s)".as_ptr(), kind);
        }
        ffi::luaL_addvalue(buffer);
    }
}

/// Adds a template with the captures that it names.
///
/// # Safety
///
/// As for [`replace`].
unsafe fn fill(
    state: *mut ffi::lua_State,
    own: &Guarded,
    buffer: *mut ffi::luaL_Buffer,
    template: &[u8],
    subject: &[u8],
    found: &Match,
) {
    // SAFETY: that is what the caller promises.
    unsafe {
        spend(state, own, template.len() / BYTES_A_STEP + 1);
        let mut rest = template;
        while let Some(escape) = memchr::memchr(b'%', rest) {
            add(buffer, rest.get(..escape).unwrap_or_default());
            spend(state, own, 4);
            // Behind the end of a string is a NUL.
            let byte = rest.get(escape + 1).copied().unwrap_or(0);
            match byte {
                b'0' => add(
                    buffer,
                    subject.get(found.start..found.end).unwrap_or_default(),
                ),
                b'1'..=b'9' => {
                    push_capture(state, subject, found, usize::from(byte - b'1'));
                    ffi::luaL_addvalue(buffer);
                }
                byte => add(buffer, &[byte]),
            }
            rest = rest.get(escape + 2..).unwrap_or_default();
        }
        add(buffer, rest);
    }
}

/// Steps for the strings and tables that stand at these places.
///
/// # Safety
///
/// `state` must be valid.
unsafe fn weight(state: *mut ffi::lua_State, places: std::ops::RangeInclusive<c_int>) -> usize {
    let mut weight: usize = 0;
    for place in places {
        // SAFETY: a string or a table has a length, and asking it changes nothing.
        unsafe {
            if let ffi::LUA_TSTRING | ffi::LUA_TTABLE = ffi::lua_type(state, place) {
                weight = weight.saturating_add(ffi::lua_objlen(state, place));
            }
        }
    }
    weight / BYTES_A_STEP
}

/// A function whose time is linear in its arguments and its result.
unsafe extern "C-unwind" fn linear(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry that owns nothing.
    unsafe {
        let own = guarded(state);
        spend(state, own, weight(state, 1..=ffi::lua_gettop(state)));
        let count = (own.original)(state);
        if count > 0 {
            let top = ffi::lua_gettop(state);
            spend(state, own, weight(state, top..=top));
        }
        count
    }
}

/// `collectgarbage`, whose time grows with what there is.
unsafe extern "C-unwind" fn collect(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry that owns nothing; counting collects nothing.
    unsafe {
        let own = guarded(state);
        let kilobytes = ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0);
        spend(state, own, kilobytes as usize);
        (own.original)(state)
    }
}

/// `table.sort`: the comparison of a long table counts its steps.
unsafe extern "C-unwind" fn sort_(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry that owns nothing; two arguments always have room.
    unsafe {
        let own = guarded(state);
        let long = ffi::lua_type(state, 1) == ffi::LUA_TTABLE && ffi::lua_objlen(state, 1) > FEW;
        if long && let ffi::LUA_TNONE | ffi::LUA_TNIL = ffi::lua_type(state, 2) {
            ffi::lua_settop(state, 1);
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(COMPARISON));
        }
        (own.original)(state)
    }
}

/// Whether the first of two values is less, counted.
unsafe extern "C-unwind" fn less(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: an entry that owns nothing, with two arguments.
    unsafe {
        spend(state, guarded(state), 4 + weight(state, 1..=1));
        let less = ffi::lua_lessthan(state, 1, 2);
        ffi::lua_pushboolean(state, less);
        1
    }
}
