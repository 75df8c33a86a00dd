//! Lua's stack through its C API: the one module of the workspace with `unsafe`.
//!
//! Why: a run with one `redis.call` spends most of its time in the safe bindings
//! (handles made and dropped, a lock for each access, protected calls within
//! protected calls). Here arguments are read where they lie, and replies and
//! results are built and read on the stack. `docs/benchmarks.md` has the gain.
//!
//! The C API raises errors by `longjmp`, which passes Rust frames by without
//! dropping what they own. So nothing here raises while a Rust value waits to be
//! dropped, by two rules:
//!
//! - **What allocates runs without a memory limit**: a [`Writer`] or a [`Reader`]
//!   exists only while the limit is lifted (an allocator that has no limit does
//!   not fail, it ends the process), and hands Lua nothing that it refuses: no
//!   nil or NaN as a key, no write to what is not a table, no more values than
//!   the stack has room for.
//! - **`lua_error` is called by [`trampoline`] alone**, when its frame owns
//!   nothing any more. The functions in `strings` stand in for C functions of Lua's
//!   library: their frames own nothing at any time, so Lua may raise through them.
//!
//! A panic does not cross C: [`trampoline`] keeps it, and [`run`] lets it go on
//! once Lua has returned. Access is exclusive: a run holds the lock of its Lua from
//! beginning to end, and whatever else calls a function of it does too.
#![allow(
    unsafe_code,
    reason = "the safe bindings cost a short script most of its time"
)]

mod strings;

pub(crate) use strings::guard;

use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::vm::Host;
use mlua::{Function, Lua, RegistryKey, Result, Value, ffi};

thread_local! {
    /// The panic of a native function of the run on this thread.
    static PANIC: Cell<Option<Box<dyn Any + Send>>> = const { Cell::new(None) };
}

/// A place on the stack, counted from 1 at the bottom of the running function.
/// What it names may be gone by the time it is looked at; then that is nil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(c_int);

/// What is seen of a value on the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    Nil,
    Boolean(bool),
    Number(f64),
    String(&'a [u8]),
    Table,
    /// A function, a thread, a userdata.
    Other,
}

/// # Safety
///
/// `state` must be valid, and nothing may take the value from its stack before
/// `'a` ends.
unsafe fn seen<'a>(state: *mut ffi::lua_State, Slot(index): Slot) -> Seen<'a> {
    // SAFETY: a slot is a positive index, which is looked up with a check; the
    // type is known to be a string before its bytes are asked for, which then
    // neither converts nor allocates. They live as long as the string does, which
    // the stack holds for `'a`.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNONE | ffi::LUA_TNIL => Seen::Nil,
            ffi::LUA_TBOOLEAN => Seen::Boolean(ffi::lua_toboolean(state, index) != 0),
            ffi::LUA_TNUMBER => Seen::Number(ffi::lua_tonumber(state, index)),
            ffi::LUA_TSTRING => {
                let mut length = 0;
                let bytes = ffi::lua_tolstring(state, index, &raw mut length);
                Seen::String(std::slice::from_raw_parts(bytes.cast(), length))
            }
            ffi::LUA_TTABLE => Seen::Table,
            _ => Seen::Other,
        }
    }
}

/// Pushes what stands on the stack itself and allocates nothing; nil for the rest.
///
/// # Safety
///
/// `state` must be valid and have room for one value.
unsafe fn push_scalar(state: *mut ffi::lua_State, value: Seen<'_>) {
    // SAFETY: that is what the caller promises.
    unsafe {
        match value {
            Seen::Boolean(value) => ffi::lua_pushboolean(state, value.into()),
            Seen::Number(value) => ffi::lua_pushnumber(state, value),
            _ => ffi::lua_pushnil(state),
        }
    }
}

/// Makes sure that `slots` more values fit; false when Lua's stack is at its end.
///
/// # Safety
///
/// `state` must be valid.
unsafe fn reserve(state: *mut ffi::lua_State, slots: c_int) -> bool {
    // SAFETY: the vendored Lua grows its stack in a protected call of its own.
    unsafe { ffi::lua_checkstack(state, slots) != 0 }
}

/// The arguments of a native function, and the way to its answer.
pub(crate) struct Frame {
    state: *mut ffi::lua_State,
}

/// What a native function does with the value that it left on top.
pub(crate) enum Outcome {
    Return,
    Raise,
}

impl Frame {
    /// How many arguments there are.
    pub(crate) fn count(&self) -> usize {
        // SAFETY: a frame exists only while its function runs, so its state does.
        unsafe { ffi::lua_gettop(self.state) as usize }
    }

    /// The arguments, first to last.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = Seen<'_>> {
        // SAFETY: arguments stay until `answer`, which takes `&mut self`.
        (1..=self.count()).map(|index| unsafe { seen(self.state, Slot(index as c_int)) })
    }

    /// Answers what needs no memory: a number, a boolean or nil.
    pub(crate) fn scalar(&mut self, value: Seen<'static>) -> Outcome {
        // SAFETY: the arguments go first, so there is room.
        unsafe {
            ffi::lua_settop(self.state, 0);
            push_scalar(self.state, value);
        }
        Outcome::Return
    }

    /// Answers what `write` leaves on top, or raises it if `raise`. Memory is
    /// counted when that is done: past the limit, the answer is an error.
    pub(crate) fn answer(&mut self, raise: bool, write: impl FnOnce(&mut Writer)) -> Outcome {
        let state = self.state;
        // SAFETY: the state is valid and belongs to an `mlua::Lua`, which outlives
        // every function that runs in it; room for one value is made first.
        let lua = unsafe {
            ffi::lua_settop(state, 0);
            Lua::get_or_init_from_ptr(state)
        };
        let limit = lifted(lua);
        // SAFETY: the limit is lifted until the end of this function.
        let mut writer = unsafe { Writer::new(state) };
        write(&mut writer);
        let limit = limit.0;
        if limit > 0 && lua.used_memory() > limit {
            writer.string(b"not enough memory");
            return Outcome::Raise;
        }
        if raise {
            Outcome::Raise
        } else {
            Outcome::Return
        }
    }
}

/// The memory limit while it is lifted; set again on drop.
struct Lifted<'a>(usize, &'a Lua);

fn lifted(lua: &Lua) -> Lifted<'_> {
    // Without control over memory there is no limit either.
    Lifted(lua.set_memory_limit(0).unwrap_or(0), lua)
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        let _ = self.1.set_memory_limit(self.0);
    }
}

/// Pushes values; exists only while no memory limit holds.
pub(crate) struct Writer {
    state: *mut ffi::lua_State,
    /// Where the last value stands; nothing but the writer moves it.
    top: c_int,
    /// Values that fit for certain; what is taken off again makes more room.
    room: c_int,
}

/// Values for which room is made at once.
const ROOM: c_int = 32;

impl Writer {
    /// # Safety
    ///
    /// `state` must be valid and without a memory limit as long as the writer is.
    unsafe fn new(state: *mut ffi::lua_State) -> Self {
        Writer {
            state,
            // SAFETY: that is what the caller promises.
            top: unsafe { ffi::lua_gettop(state) },
            room: 0,
        }
    }

    /// Whether a value with some fields fits; asked once for each level of what
    /// is built.
    pub(crate) fn has_room(&mut self) -> bool {
        self.room >= 8 || self.make_room(ROOM) || self.make_room(8)
    }

    fn make_room(&mut self, slots: c_int) -> bool {
        // SAFETY: a writer's state is valid, here and below.
        let made = unsafe { reserve(self.state, slots) };
        if made {
            self.room = slots;
        }
        made
    }

    fn one_more(&mut self) {
        let fits = self.room > 0 || self.make_room(ROOM) || self.make_room(1);
        assert!(fits, "Lua's stack is full");
        self.room -= 1;
        self.top += 1;
    }

    /// Pushes a copy; what cannot be copied from outside becomes nil.
    pub(crate) fn push(&mut self, value: Seen<'_>) {
        if let Seen::String(bytes) = value {
            return self.string(bytes);
        }
        self.one_more();
        // SAFETY: there is room.
        unsafe { push_scalar(self.state, value) }
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.one_more();
        // SAFETY: there is room, and no memory limit that could fail the copy.
        unsafe { ffi::lua_pushlstring_(self.state, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// A table with room for so many items and fields.
    pub(crate) fn table(&mut self, items: usize, fields: usize) -> Slot {
        // Room is a hint; Lua refuses to make more than 2^26 at once.
        let hint = |count: usize| count.min(1 << 24) as c_int;
        self.one_more();
        // SAFETY: there is room, and no memory limit.
        unsafe { ffi::lua_createtable(self.state, hint(items), hint(fields)) }
        Slot(self.top)
    }

    /// Pushes what is kept in the registry.
    pub(crate) fn kept(&mut self, key: &RegistryKey) -> Slot {
        self.one_more();
        // SAFETY: there is room; a key of another Lua would give another value,
        // nothing worse.
        unsafe { ffi::lua_rawgeti_(self.state, ffi::LUA_REGISTRYINDEX, key.id()) }
        Slot(self.top)
    }

    /// Takes the uppermost `values` for the table in this slot; false, and nothing
    /// is taken, where there is no such table under them.
    fn take(&mut self, Slot(table): Slot, values: c_int) -> bool {
        let above = self.top >= table + values;
        // SAFETY: as above.
        let fits = above && unsafe { ffi::lua_type(self.state, table) == ffi::LUA_TTABLE };
        debug_assert!(fits);
        if fits {
            self.top -= values;
        }
        fits
    }

    /// Takes the value on top as the table's item `index`, from 1.
    pub(crate) fn set_item(&mut self, table: Slot, index: usize) {
        if self.take(table, 1) {
            // SAFETY: it is a table with a value above it, and no memory limit
            // fails its growth.
            unsafe { ffi::lua_rawseti_(self.state, table.0, index as c_int) }
        }
    }

    /// Takes the value on top as the table's field `name`.
    pub(crate) fn set_field(&mut self, table: Slot, name: &str) {
        self.string(name.as_bytes());
        if self.take(table, 2) {
            // SAFETY: as above, and a string is a key.
            unsafe {
                ffi::lua_insert(self.state, -2);
                ffi::lua_rawset(self.state, table.0);
            }
        }
    }

    /// Takes the two values on top as a key and its value; a key that Lua does
    /// not take is left out.
    pub(crate) fn set_pair(&mut self, table: Slot) {
        if !self.take(table, 2) {
            return;
        }
        // SAFETY: it is a table with two values above it, of which the first is set
        // only if it can be a key. Its number is read, not converted.
        unsafe {
            let is_key = match ffi::lua_type(self.state, -2) {
                ffi::LUA_TNIL => false,
                ffi::LUA_TNUMBER => !ffi::lua_tonumber(self.state, -2).is_nan(),
                _ => true,
            };
            if is_key {
                ffi::lua_rawset(self.state, table.0);
            } else {
                ffi::lua_pop(self.state, 2);
            }
        }
    }
}

/// Looks into values; exists only while no memory limit holds.
pub(crate) struct Reader {
    state: *mut ffi::lua_State,
    /// What is at or below is not popped: a traversal goes on from it.
    floor: c_int,
}

impl Reader {
    /// Whether some levels more of nested values can be looked into.
    pub(crate) fn has_room(&mut self) -> bool {
        // SAFETY: a reader's state is valid, here and below.
        unsafe { reserve(self.state, 8) }
    }

    pub(crate) fn seen(&self, slot: Slot) -> Seen<'_> {
        // SAFETY: the bytes are borrowed from the reader, and what pops takes it
        // by `&mut self`.
        unsafe { seen(self.state, slot) }
    }

    /// Takes the value on top away.
    pub(crate) fn pop(&mut self) {
        // SAFETY: there is something above the floor.
        unsafe {
            if ffi::lua_gettop(self.state) > self.floor {
                ffi::lua_pop(self.state, 1);
            }
        }
    }

    fn push(&mut self, table: Slot, get: impl FnOnce(*mut ffi::lua_State)) -> Slot {
        // SAFETY: there is room for a key and a value.
        unsafe {
            assert!(reserve(self.state, 2), "Lua's stack is full");
            if ffi::lua_type(self.state, table.0) == ffi::LUA_TTABLE {
                get(self.state);
            } else {
                ffi::lua_pushnil(self.state);
            }
            Slot(ffi::lua_gettop(self.state))
        }
    }

    /// Pushes the table's field `name`, without a look at metatables.
    pub(crate) fn field(&mut self, table: Slot, name: &str) -> Slot {
        // SAFETY: it is a table, the key is a string, and no memory limit fails it.
        self.push(table, |state| unsafe {
            ffi::lua_pushlstring_(state, name.as_ptr().cast(), name.len());
            ffi::lua_rawget_(state, table.0);
        })
    }

    /// Pushes the table's item `index`, from 1.
    pub(crate) fn item(&mut self, table: Slot, index: usize) -> Slot {
        // SAFETY: it is a table.
        self.push(table, |state| unsafe {
            ffi::lua_rawgeti_(state, table.0, index as c_int);
        })
    }

    /// How many items the table has if it has nothing but items, as far as one
    /// step of a traversal tells.
    pub(crate) fn sequence(&mut self, table: Slot) -> Option<usize> {
        let Seen::Table = self.seen(table) else {
            return None;
        };
        let mut length = None;
        self.push(table, |state| {
            // SAFETY: nil begins a traversal; so does an item that is there, which
            // the last one is. There is room for what a step pushes.
            unsafe {
                let items = ffi::lua_objlen(state, table.0);
                match items {
                    0 => ffi::lua_pushnil(state),
                    _ => ffi::lua_pushinteger(state, items as ffi::lua_Integer),
                }
                if ffi::lua_next(state, table.0) == 0 {
                    length = Some(items);
                    ffi::lua_pushnil(state);
                } else {
                    ffi::lua_pop(state, 1);
                }
            }
        });
        self.pop();
        length
    }

    /// Gives `each` the keys and values of a table. A
    /// reader changes no table, so the traversal stays valid.
    pub(crate) fn pairs(&mut self, table: Slot, mut each: impl FnMut(&mut Reader, Slot, Slot)) {
        let going = matches!(self.seen(table), Seen::Table);
        let Slot(key) = self.push(table, |state| {
            // SAFETY: there is room.
            unsafe { ffi::lua_pushnil(state) }
        });
        // SAFETY: nil begins a traversal; below, the floor keeps the key that the
        // traversal goes on from, and what is above the key goes.
        while going && unsafe { reserve(self.state, 1) && ffi::lua_next(self.state, table.0) != 0 }
        {
            let mut above = Reader {
                state: self.state,
                floor: key + 1,
            };
            each(&mut above, Slot(key), Slot(key + 1));
            // SAFETY: the key stands at its place still.
            unsafe { ffi::lua_settop(self.state, key) };
        }
        // SAFETY: the key is the last that was pushed here.
        unsafe { ffi::lua_settop(self.state, key - 1) };
    }
}

/// Lets the hook of `lua` come after so many instructions from now on.
pub(crate) fn set_pace(lua: &Lua, instructions: u32) {
    lua.exec_raw_lua(|raw| {
        // SAFETY: the state is valid while its Lua is locked, which it is here.
        unsafe { pace(raw.state(), instructions) }
    });
}

/// # Safety
///
/// `state` must be valid.
unsafe fn pace(state: *mut ffi::lua_State, instructions: u32) {
    // SAFETY: the hook and its events stay what they are.
    unsafe {
        let (hook, events) = (ffi::lua_gethook(state), ffi::lua_gethookmask(state));
        ffi::lua_sethook(state, hook, events, instructions as c_int);
    }
}

/// Runs the function that `prepare` leaves under as many arguments as it answers,
/// under a memory limit, with a hook after so many instructions if that changes,
/// and `host` lent to its functions, and reads the value that it answers. What it
/// raised goes through the error handler, and is the error here.
///
/// # Panics
///
/// When a native function of the run did.
pub(crate) fn run<R>(
    lua: &Lua,
    handler: &RegistryKey,
    (limit, instructions): (usize, Option<u32>),
    (lent, host): (&Lent, &mut dyn Host),
    prepare: impl FnOnce(&mut Writer) -> u8,
    read: impl FnOnce(&mut Reader, Slot) -> R,
) -> Result<std::result::Result<R, Value>> {
    lua.exec_raw_lua(|raw| {
        let state = raw.state();
        // SAFETY: the state is valid while its Lua is locked, which it is here.
        let _base = Base(state, unsafe { ffi::lua_gettop(state) });
        // SAFETY: no limit holds outside of the call below.
        let mut writer = unsafe { Writer::new(state) };
        let Slot(handler) = writer.kept(handler);
        let arguments = c_int::from(prepare(&mut writer));
        if !writer.has_room() || writer.top <= handler + arguments {
            return Err(mlua::Error::StackError);
        }
        lua.set_memory_limit(limit)?;
        if let Some(instructions) = instructions {
            // SAFETY: the state is valid.
            unsafe { pace(state, instructions) }
        }
        // SAFETY: above the handler there is a value to call, its arguments, and
        // room. The call is protected: what it raises ends here. Callbacks catch
        // their panics.
        let status = lent.during(host, || unsafe {
            ffi::lua_pcall(state, arguments, 1, handler)
        });
        lua.set_memory_limit(0)?;
        if let Some(panic) = PANIC.take() {
            resume_unwind(panic);
        }
        if status == ffi::LUA_OK {
            // SAFETY: the answer is on top.
            let answer = unsafe { ffi::lua_gettop(state) };
            let floor = answer;
            return Ok(Ok(read(&mut Reader { state, floor }, Slot(answer))));
        }
        // SAFETY: the error is on top, and no memory limit fails its way to a
        // handle by the registry.
        let error = unsafe {
            let place = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX);
            lua.exec_raw((), |state| {
                ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, place);
                ffi::luaL_unref(state, ffi::LUA_REGISTRYINDEX, place);
            })
        };
        error.map(Err)
    })
}

/// Gives the stack back as it was, also when a panic passes.
struct Base(*mut ffi::lua_State, c_int);

impl Drop for Base {
    fn drop(&mut self) {
        // SAFETY: made by `run`, whose state is valid until it returns.
        unsafe { ffi::lua_settop(self.0, self.1) }
    }
}

/// What a run lends the functions of its Lua: a host that lives no longer than
/// the run. Of those functions one runs at a time, under the lock of that Lua.
#[derive(Default)]
pub(crate) struct Lent(AtomicPtr<&'static mut dyn Host>);

impl Lent {
    /// Lends `host` while `work` is done, which is one run.
    fn during<R>(&self, mut host: &mut dyn Host, work: impl FnOnce() -> R) -> R {
        // The pointer forgets the lifetimes of the host and of what it borrows;
        // `Back` takes it away before they end, also when a panic passes.
        let lent = (&raw mut host).cast();
        let _back = Back(self, self.0.load(Ordering::Relaxed));
        self.0.store(lent, Ordering::Relaxed);
        work()
    }

    /// Gives a function of that Lua the host; none outside of a run, and none to
    /// what the host itself calls.
    pub(crate) fn host<R>(&self, work: impl FnOnce(&mut dyn Host) -> R) -> Option<R> {
        let lent = self.0.load(Ordering::Relaxed);
        // SAFETY: `during` keeps the host borrowed until it takes the pointer away,
        // and waits for the function that asks, on the same thread. Nobody else
        // has the host: the pointer is gone while `work` is done.
        let host = unsafe { lent.as_mut() }?;
        self.0.store(std::ptr::null_mut(), Ordering::Relaxed);
        let _back = Back(self, lent);
        Some(work(&mut **host))
    }
}

/// Puts a pointer back, also when a panic passes.
struct Back<'a>(&'a Lent, *mut &'static mut dyn Host);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.0.store(self.1, Ordering::Relaxed);
    }
}

/// A Lua function that runs `body` on its arguments.
pub(crate) fn function<F>(lua: &Lua, body: F) -> Result<Function>
where
    F: Fn(&mut Frame) -> Outcome + Send + Sync + 'static,
{
    let body = Arc::new(body);
    let target = Arc::as_ptr(&body).cast_mut().cast::<c_void>();
    let owner = lua.create_any_userdata(body)?;
    // SAFETY: the function has two upvalues: where its body is, and the userdata
    // that keeps it. Lua keeps both as long as the function; when it closes, the
    // userdata may go first, but nothing runs any more. The closure owns nothing.
    unsafe {
        lua.exec_raw(owner, |state| {
            ffi::lua_pushlightuserdata(state, target);
            ffi::lua_insert(state, 1);
            ffi::lua_pushcclosure(state, trampoline::<F>, 2);
        })
    }
}

/// The C function around a body.
unsafe extern "C-unwind" fn trampoline<F>(state: *mut ffi::lua_State) -> c_int
where
    F: Fn(&mut Frame) -> Outcome,
{
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `function` made the first upvalue a pointer to an `F` that lives
        // as long as the function that runs now.
        let body = unsafe {
            &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1))
                .cast_const()
                .cast::<F>()
        };
        body(&mut Frame { state })
    }));
    let outcome = called.unwrap_or_else(|panic| {
        PANIC.set(Some(panic));
        // SAFETY: the arguments go, so there is room for one value.
        unsafe {
            ffi::lua_settop(state, 0);
            ffi::lua_pushnil(state);
        }
        Outcome::Raise
    });
    match outcome {
        Outcome::Return => 1,
        // SAFETY: the value is on top, and this frame owns nothing to drop.
        Outcome::Raise => unsafe { ffi::lua_error(state) },
    }
}
