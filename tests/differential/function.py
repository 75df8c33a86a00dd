"""The function family: libraries, their first line, their code, and calls of them.

A library is text that is put together of lines, few of which are wrong, so that
most of them load and now and then one collides with another.
"""

from grammar import Random

SHEBANGS = """
#!lua name=<l>
#!lua name=<l>
#!lua name=<l>
#!lua name=<l>
#!lua name=<l>
#!lua name=<l>
#!LUA NAME='<l>'
#!lua   "name=<l>"
#!lua name=<l> name=<l>
#!lua name=<l> flags=no-writes
#!lua name=<l> "open
#!lua name=bad-name
#!lua name=
#!lua
#!js name=<l>
#! lua name=<l>
#!
lua name=<l>
""".strip().splitlines()

# What a function does with its keys and arguments.
BODIES = """
return 1
return {keys[1],args[1],#keys,#args}
return redis.call('get',keys[1])
return redis.call('set',keys[1],args[1])
return redis.call('set','elsewhere',args[1])
return redis.pcall('incr',keys[1])
return redis.call('incr',keys[1])
return redis.call('incr','a:hash')
redis.call('incr',keys[1]) error('stop')
error({err='MY own error'})
error('x',0)
error()
return KEYS
return ARGV[1]
x=1 return x
return undefined
local t={} for name in pairs(_G) do t[#t+1]=name end table.sort(t) return t
local t={} for name in pairs(redis) do t[#t+1]=name end table.sort(t) return t
_G.x=1
redis.call=nil
string.rep=nil
return redis.register_function('late',function() end)
return redis.breakpoint()
return redis.replicate_commands()
return redis.set_repl(redis.REPL_ALL)
return redis.sha1hex(args[1])
return redis.acl_check_cmd('get','x')
return {redis.REDIS_VERSION,redis.REDIS_VERSION_NUM,redis.LOG_WARNING}
return redis.log(redis.LOG_DEBUG,'x')
return redis.status_reply('FINE')
return redis.error_reply('no code')
redis.setresp(3) return redis.call('hgetall','a:hash')
redis.setresp(3) return {double=1.5,map={a=1}}
return redis.call('fcall','f1',0)
return redis.call('function','list')
return redis.call('eval','return 1',0)
return redis.call('nosuch')
return redis.call('get')
local ok,e=pcall(redis.call,'incr','a:hash') return e
return loadstring('return redis.call("get","a:str")')()
return loadstring('y=1')()
n=n+1 return n
total=total+#args return total
return shared(keys[1])
return cjson.encode({keys,args})
return {struct.unpack('>I2',struct.pack('>I2',#args))}
return tostring(nil+1)
return nil
return getmetatable(_G).__index
setmetatable(_G,{})
return rawset(_G,'x',1)
""".strip().splitlines()

# Lines of a library beside those that register.
LINES = """
local n=0
local total=0
local function shared(x) return {x,n} end
local log=redis.log
redis.log(redis.LOG_NOTICE,'loading')
local r=redis local v=redis.REDIS_VERSION
local text=('ab'):rep(3)
-- a comment
redis.call('set','k','v')
redis.pcall('get','k')
redis.sha1hex('a')
redis.nothing()
redis.register_function()
redis.register_function('f1')
redis.register_function('f1',5)
redis.register_function(5,function() end)
redis.register_function({},function() end)
redis.register_function('a b',function() end)
redis.register_function{}
redis.register_function{function_name='f2'}
redis.register_function{callback=function() end}
redis.register_function{function_name={},callback=function() end}
redis.register_function{function_name='f2',callback=function() end,other=1}
redis.register_function{function_name='f2',callback=function() end,[{}]=1}
redis.register_function{function_name='f2',callback=1}
redis.register_function{function_name='f2',callback=function() end,flags='no-writes'}
redis.register_function{function_name='f2',callback=function() end,flags={'nosuch'}}
redis.register_function{function_name='f2',callback=function() end,description={}}
g=1
function g() end
local a=g
local a=KEYS
local a=math.pi
local a=pcall
error('x')
redis=nil
redis.x=1
local a=nil+1
local a=nil local b=a.b
for i=1,3 do
return
nonsense(
""".strip().splitlines()

FLAGS = ["'no-writes'", "'allow-oom'", "'allow-stale'", "'no-cluster'", "'allow-cross-slot-keys'", "'No-Writes'", "'no-writes','allow-oom'"]
LIBRARIES = ["l1", "l2", "L1", "_3"]
FUNCTIONS = ["f1", "f2", "f3", "F1", "g_1"]


def registration(rng, name):
    callback = f"function(keys,args) {rng.choice(BODIES)} end"
    if rng.random() < 0.5:
        return f"redis.register_function('{name}',{callback})"
    parts = [f"function_name='{name}'", f"callback={callback}"]
    if rng.random() < 0.6:
        parts.append("flags={" + rng.choice(FLAGS) + "}")
    if rng.random() < 0.3:
        parts.append(f"description='what {name} does'")
    rng.shuffle(parts)
    return "redis.register_function{" + ",".join(parts) + "}"


def library(rng):
    """The text of a library; at most one wrong line."""
    lines = [rng.choice(SHEBANGS).replace("<l>", rng.choice(LIBRARIES))]
    lines += LINES[:3] if rng.random() < 0.7 else []
    # Of two names that differ in case only, chance decides which is called.
    other = rng.choice(("f1", "F1"))
    names = [name for name in FUNCTIONS if name != other]
    lines += [registration(rng, rng.choice(names)) for _ in range(rng.choice((1, 1, 2, 3)))]
    if rng.random() < 0.35:
        lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(LINES))
    text = "\n".join(lines)
    return text[: rng.randrange(len(text))] if rng.random() < 0.03 else text


def odd(rng, values):
    """Misuse of the subcommands."""
    return rng.choice(
        [
            [b"FUNCTION"],
            [b"FUNCTION", b"NOSUCH"],
            [b"FUNCTION", b"LOAD"],
            [b"FUNCTION", b"LOAD", b"REPLACE"],
            [b"FUNCTION", b"LOAD", b"WHAT", b"x"],
            [b"FUNCTION", b"LOAD", b"REPLACE", b"REPLACE", b"x"],
            [b"FUNCTION", b"DELETE"],
            [b"FUNCTION", b"DELETE", b"none", b"more"],
            [b"FUNCTION", b"FLUSH", b"SOMETIMES"],
            [b"FUNCTION", b"FLUSH", b"SYNC", b"ASYNC"],
            [b"FUNCTION", b"LIST", b"LIBRARYNAME"],
            [b"FUNCTION", b"LIST", b"WITHCODE", b"WITHCODE"],
            [b"FUNCTION", b"LIST", b"LIBRARYNAME", b"a", b"LIBRARYNAME", b"b"],
            [b"FUNCTION", b"LIST", b"other"],
            [b"FUNCTION", b"STATS", b"x"],
            [b"FUNCTION", b"KILL"],
            [b"FUNCTION", b"KILL", b"x"],
            [b"FUNCTION", b"DUMP", b"x"],
            [b"FUNCTION", b"RESTORE"],
            [b"FUNCTION", b"RESTORE", b"short"],
            [b"FUNCTION", b"RESTORE", values.v(), b"FLUSH"],
            [b"FUNCTION", b"RESTORE", b"x", b"SOMEHOW"],
            [b"FUNCTION", b"RESTORE", b"x", b"FLUSH", b"APPEND"],
            [b"FCALL"],
            [b"FCALL", b"f1"],
            [b"FCALL_RO", b"f1", b"x"],
            [b"FCALL", b"f1", b"-1"],
            [b"FCALL", b"f1", b"3", b"a"],
            [b"FCALL", b"none", b"x"],
            [b"EVAL", b"return redis.call('function','list')", b"0"],
            [b"EVAL", b"return redis.call('fcall','f1',0)", b"0"],
            [b"COMMAND", b"GETKEYS", b"FCALL", b"f", b"2", b"a", b"b", b"c"],
        ]
    )


PREAMBLE = [
    [b"FUNCTION", b"FLUSH"],
    [b"SET", b"a:str", b"value"],
    [b"HSET", b"a:hash", b"f", b"v"],
]


def sequence(rng):
    """Libraries loaded, replaced, called, listed, moved, inside MULTI too."""
    values = Random(rng, prefix="f")
    steps = [{"argv": argv, "who": "a"} for argv in PREAMBLE]
    in_multi = False

    def add(*argv, **more):
        steps.append({"argv": [arg if isinstance(arg, bytes) else arg.encode() for arg in argv], "who": "a", **more})

    for _ in range(40):
        form = rng.randrange(40)
        if form < 11:
            add("FUNCTION", "LOAD", *(["REPLACE"] if rng.random() < 0.6 else []), library(rng))
        elif form < 25:
            keys = [values.k() for _ in range(rng.choice((0, 1, 1, 2)))]
            args = [values.v() for _ in range(rng.choice((0, 1, 2)))]
            name = rng.choice([*FUNCTIONS, "G_1", "none"])
            add(rng.choice(("FCALL", "FCALL", "FCALL_RO")), name, str(len(keys)), *keys, *args)
        elif form < 28:
            pattern = ["LIBRARYNAME", rng.choice(["l1", "L*", "*", "[l_]?", "none"])]
            add("FUNCTION", "LIST", *rng.choice(([], pattern)), *rng.choice(([], ["WITHCODE"])))
        elif form < 30:
            add("FUNCTION", "STATS")
        elif form < 32:
            add("FUNCTION", "DELETE", rng.choice([*LIBRARIES, "none"]))
        elif form < 33:
            add("FUNCTION", "FLUSH", *rng.choice(([], ["ASYNC"], ["SYNC"])))
        elif form < 34:
            add(rng.choice(("FLUSHALL", "FLUSHDB")))
        elif form < 36:
            steps.append({"argv": odd(rng, values), "who": "a"})
        elif form < 37 and not in_multi:
            policy = rng.choice(([], [b"APPEND"], [b"REPLACE"], [b"FLUSH"]))
            gone = rng.choice(([b"FLUSH"], [b"DELETE", b"l1"], [b"DELETE", b"l2"], [b"STATS"]))
            add("FUNCTION", "RESTORE", *policy, cross=cross, before=[[b"FUNCTION", *gone]])
        elif form < 38:
            add(*(("EXEC",) if in_multi else ("MULTI",)))
            in_multi = not in_multi
        else:
            add("GET", values.k())
    if in_multi:
        add("EXEC")
    add("FUNCTION", "LIST", "WITHCODE")
    return steps


def cross(ours, theirs, step):
    """Each server's FUNCTION DUMP given to the other, with some libraries gone before."""
    payloads = [server.call("FUNCTION", "DUMP") for server in (ours, theirs)]
    for server in (ours, theirs):
        for argv in step["before"]:
            server.call(*argv)
    replies = [
        server.call(b"FUNCTION", b"RESTORE", payload[1], *step["argv"][2:])
        for server, payload in zip((ours, theirs), reversed(payloads))
    ]
    return *replies, ""
