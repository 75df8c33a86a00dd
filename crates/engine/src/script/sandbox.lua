-- The environment of scripts, built once for a VM.
--
-- Redis marks tables read-only inside its Lua; stock Lua 5.1 cannot, so what a
-- script sees of a read-only table is an empty proxy whose contents are behind
-- __index, and the functions that look past metatables know the proxies.
local native, host, libraries, loading = ...

local error, type, next, select, tostring = native.error, native.type, native.next, native.select, native.tostring
local rawget, pairs = native.rawget, native.pairs
local getmetatable, setmetatable = native.getmetatable, native.setmetatable
local pcall, xpcall, resume = native.pcall, native.xpcall, native.coroutine.resume
local insert, loadstring, collectgarbage = native.table.insert, native.loadstring, native.collectgarbage
local byte, concat = native.string.byte, native.table.concat
local caught, shown = host.caught, host.shown

local READONLY = 'Attempt to modify a readonly table'
local contents_of, metatable_of = {}, {}

local function refuse()
  error(READONLY, 2)
end

local function seal(contents, metatable)
  local proxy = setmetatable({}, { __index = contents, __newindex = refuse, __metatable = false })
  contents_of[proxy] = contents
  metatable_of[proxy] = metatable
  return proxy
end

local function copy(from, names)
  local to = {}
  for name in native.string.gmatch(names, '%S+') do
    to[name] = from[name]
  end
  return to
end

local function mismatch(number, name, expected, value)
  error("bad argument #" .. number .. " to '" .. name .. "' (" .. expected .. " expected, got " .. type(value) .. ")", 3)
end

local globals = copy(native, [[
  _VERSION assert error gcinfo ipairs rawequal select tonumber tostring type unpack
]])

function globals.next(t, key)
  local contents = contents_of[t]
  if contents then
    return next(contents, key)
  end
  if type(t) ~= 'table' then
    mismatch(1, 'next', 'table', t)
  end
  return next(t, key)
end

function globals.pairs(t)
  if contents_of[t] then
    return globals.next, t, nil
  end
  if type(t) ~= 'table' then
    mismatch(1, 'pairs', 'table', t)
  end
  return next, t, nil
end

function globals.rawget(t, key)
  if type(t) ~= 'table' then
    mismatch(1, 'rawget', 'table', t)
  end
  return rawget(contents_of[t] or t, key)
end

-- Not a Lua function: a tail call of one loses the position of its errors.
globals.rawset = host.rawset(contents_of)

function globals.setmetatable(t, ...)
  local metatable = ...
  if contents_of[t] then
    error(READONLY, 0)
  end
  if type(t) ~= 'table' then
    mismatch(1, 'setmetatable', 'table', t)
  end
  if type(metatable) ~= 'table' and (metatable ~= nil or select('#', ...) == 0) then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  local current = getmetatable(t)
  if current ~= nil and (type(current) ~= 'table' or rawget(current, '__metatable') ~= nil) then
    error('cannot change a protected metatable', 2)
  end
  return setmetatable(t, metatable)
end

local string_metatable

function globals.getmetatable(value)
  if contents_of[value] then
    return metatable_of[value]
  elseif type(value) == 'string' then
    return string_metatable
  end
  return getmetatable(value)
end

-- An error table is reduced to its text, as Redis' own pcall does.
local function after_pcall(ok, ...)
  if ok then
    return ok, ...
  end
  -- Raises again when the run was killed, whatever became of that error.
  local value = caught(...)
  if type(value) == 'table' then
    local text = value.err
    local kind = type(text)
    if kind == 'string' or kind == 'number' then
      value = text
    end
  end
  return false, value
end

function globals.pcall(...)
  return after_pcall(pcall(...))
end

local function after(ok, ...)
  if ok then
    return ok, ...
  end
  return false, caught(...)
end

function globals.xpcall(f, handler)
  if type(handler) ~= 'function' then
    return after(xpcall(f, handler))
  end
  return after(xpcall(f, function(value)
    local final
    if type(value) == 'userdata' then
      value, final = shown(value)
    end
    return final and value or handler(value)
  end))
end

-- A chunk that begins with ESC is bytecode to Lua; after a blank it is text.
local function compile(chunk, name)
  if byte(chunk, 1) == 27 then
    return loadstring(' ' .. chunk, name or chunk)
  end
  return loadstring(chunk, name or chunk)
end

function globals.loadstring(chunk, name)
  local kind = type(chunk)
  if kind ~= 'string' and kind ~= 'number' then
    mismatch(1, 'loadstring', 'string', chunk)
  end
  return compile(tostring(chunk), name)
end

function globals.load(reader, name)
  if type(reader) ~= 'function' then
    mismatch(1, 'load', 'function', reader)
  end
  local pieces = {}
  while true do
    local ok, piece = globals.pcall(reader)
    if not ok then
      return nil, piece
    elseif piece == nil or piece == '' then
      return compile(concat(pieces), name or '=(load)')
    elseif type(piece) ~= 'string' and type(piece) ~= 'number' then
      return nil, 'reader function must return a string'
    end
    pieces[#pieces + 1] = piece
  end
end

-- A script may look at the collector and run it, not stop it.
local TUNING = { stop = 0, restart = 0, setpause = 200, setstepmul = 200 }

function globals.collectgarbage(option, argument)
  option = option or 'collect'
  if TUNING[option] then
    return TUNING[option]
  elseif option ~= 'collect' and option ~= 'count' and option ~= 'step' then
    error("bad argument #1 to 'collectgarbage' (invalid option '" .. tostring(option) .. "')", 2)
  end
  return collectgarbage(option, type(argument) == 'number' and argument or 0)
end

if not loading then
  globals.__redis__err__handler = host.handler
end

local strings = native.string
strings.rep = host.rep

local tables = copy(native.table, 'concat foreach foreachi getn remove setn sort')

-- In Lua, so that a walk through a large table can be stopped.
function tables.maxn(...)
  local t, most = ..., 0
  if type(t) ~= 'table' then
    local found = select('#', ...) == 0 and 'no value' or type(t)
    error("bad argument #1 to 'maxn' (table expected, got " .. found .. ')', 2)
  end
  for key in next, t do
    if type(key) == 'number' and key > most then
      most = key
    end
  end
  return most
end

function tables.insert(t, ...)
  if contents_of[t] then
    error(READONLY, 0)
  end
  if type(t) ~= 'table' then
    mismatch(1, 'insert', 'table', t)
  end
  local count = select('#', ...)
  if count == 1 then
    t[#t + 1] = ...
    return
  elseif count ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  elseif not native.tonumber((...)) then
    mismatch(2, 'insert', 'number', (...))
  end
  return insert(t, ...)
end

local math = native.math
math.random, math.randomseed = host.random, host.randomseed

local coroutines = copy(native.coroutine, 'create running status wrap yield')

function coroutines.resume(thread, ...)
  if type(thread) ~= 'thread' then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  return after(resume(thread, ...))
end

local function missing(...)
  local count, _, name = select('#', ...), ...
  if count ~= 2 then
    error('Wrong number of arguments to luaProtectedTableError', 2)
  end
  if type(name) ~= 'string' and type(name) ~= 'number' then
    error('Second argument to luaProtectedTableError must be a string or number', 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

globals.string = seal(strings)
globals.table = seal(tables)
globals.math = seal(math)
globals.coroutine = seal(coroutines)
for name, library in pairs(libraries) do
  globals[name] = seal(library)
end
string_metatable = seal({ __index = globals.string })

local environment = seal(globals, seal({ __index = missing }))
setmetatable(globals, { __index = missing })
globals._G = environment

if not loading then
  return environment, globals
end

-- Libraries: all their code has one environment, and `switch` says what is
-- behind it. While one is loaded that is `redis` alone, with what loading needs.
setmetatable(loading, { __index = missing })
loading = setmetatable({ redis = seal(loading) }, { __index = missing })
local switch = { __index = globals, __newindex = refuse, __metatable = false }
return setmetatable({}, switch), globals, switch, loading
