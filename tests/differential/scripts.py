"""The script family: conversions, libraries, errors and effects of Lua."""

import hashlib

from grammar import Random

# Each is run with random keys and arguments. `%` is not special here.
SCRIPTS = """
return 1
return -1.9
return 3.99
return 1e300
return 9007199254740993
return '9007199254740993'
return true
return false
return nil
return ''
return {}
return {1,2,3,'four',{5,{6}},nil,7}
return {1,false,true,2.7}
return {ok='fine'}
return {err='MY own error'}
return {err='noprefix'}
return {err='ERR with\\r\\nlines'}
return {ok='two\\nlines'}
return {double=3.25}
return {map={a=1}}
return {big_number='123456789012345678901234567890'}
return {verbatim_string={format='txt',string='hi'}}
redis.setresp(3) return {double=3.25}
redis.setresp(3) return {map={a=1}}
redis.setresp(3) return {set={a=true}}
redis.setresp(3) return {big_number='12345678901234567890'}
redis.setresp(3) return {verbatim_string={format='txt',string='hi'}}
redis.setresp(3) return redis.call('zscore',KEYS[1],ARGV[1])
redis.setresp(3) return redis.call('hgetall',KEYS[1])
redis.setresp(3) return type(redis.call('get','missing'))
redis.setresp(3) return redis.call('get','missing')
redis.setresp(4)
redis.setresp()
return redis.setresp(2)
return redis.status_reply('FINE')
return redis.error_reply('ERR bad')
return redis.error_reply('bad')
return redis.error_reply('-bad')
return redis.status_reply(1)
return redis.error_reply()
return redis.sha1hex('')
return redis.sha1hex(ARGV[1])
return redis.sha1hex()
return redis.log(redis.LOG_NOTICE,'hello')
return redis.log('x')
return {redis.LOG_DEBUG,redis.LOG_VERBOSE,redis.LOG_NOTICE,redis.LOG_WARNING}
return redis.REDIS_VERSION
return redis.REDIS_VERSION_NUM
return redis.replicate_commands()
return redis.set_repl(redis.REPL_ALL)
return redis.breakpoint()
return KEYS
return ARGV
return #KEYS..':'..#ARGV
return redis.call('get',KEYS[1])
return redis.pcall('get',KEYS[1])
return redis.call('set',KEYS[1],ARGV[1])
return redis.call('set',KEYS[1],1.5)
return redis.call('set',KEYS[1],10)
return redis.call('set',KEYS[1],1e15) and redis.call('get',KEYS[1])
redis.call('set',KEYS[1],1e17) return redis.call('get',KEYS[1])
redis.call('set',KEYS[1],0.1+0.2) return redis.call('get',KEYS[1])
redis.call('set',KEYS[1],-0) return redis.call('get',KEYS[1])
return redis.call('set',KEYS[1],true)
return redis.call('set',KEYS[1],nil)
return redis.call('set',KEYS[1],{})
return redis.call()
return redis.pcall()
return redis.call({})
return redis.call('nosuchcommand',1)
return redis.pcall('nosuchcommand')
return redis.call('get')
return redis.pcall('get')['err']
return redis.pcall('zadd',KEYS[1])
local e=redis.pcall('incr','a:hash') return e.err
local e=redis.pcall('incr','a:hash') return {type(e),e.err,e.source,e.line,tostring(e.ignore_error_stats_update)}
return redis.call('incr','a:hash')
return redis.pcall('incr','a:hash')
redis.call('set',KEYS[1],'x') return redis.call('incr',KEYS[1])
redis.call('incr',KEYS[1]) error('stop')
redis.call('incr',KEYS[1]) error({err='MINE stop'})
redis.call('incr',KEYS[1]) error()
error(5)
error('x',0)
error('x',2)
local ok,e=pcall(redis.call,'incr','a:hash') return {tostring(ok),type(e),e.err}
local ok,e=pcall(error,'plain') return {tostring(ok),tostring(e)}
local ok,e=pcall(error,{code=5}) return e.code
return pcall(function() return nil+1 end)
return select(2,pcall(function() return nil+1 end))
return select(2,pcall(function() local a={} a.b.c=1 end))
return nil+1
local a={} return a.b.c
return undefinedglobal
undefinedglobal=5
x=1 return x
function f() return 1 end return f()
local function f(n) if n<2 then return n end return f(n-1)+f(n-2) end return f(15)
return f(
return 'unfinished
return return
@@@
return redis.call('hset',KEYS[1],'f',ARGV[1])
return redis.call('hgetall','a:hash')
return redis.call('hmget','a:hash','f','nope','n')
return redis.call('zrange','a:zset',0,-1,'withscores')
return redis.call('zadd','a:zset','nan','x')
return redis.call('zscore','a:zset','a')
return redis.call('zincrby','a:zset',1.1,'b')
return redis.call('incrbyfloat',KEYS[1],0.1)
return redis.call('exists',KEYS[1])
return redis.call('type',KEYS[1])
return redis.call('type','a:hash').ok
return redis.call('ping')
return redis.call('echo',ARGV[1])
return redis.call('select',0)
return redis.call('multi')
return redis.call('exec')
return redis.call('subscribe','x')
return redis.call('watch',KEYS[1])
return redis.call('auth','x')
return redis.call('eval','return 1',0)
return redis.call('script','exists','x')
return redis.call('publish','ch',ARGV[1])
return redis.call('dbsize')
return redis.call('flushall')
return redis.call('expire',KEYS[1],ARGV[1])
return redis.call('mget',unpack(KEYS))
return redis.call('set',KEYS[1],ARGV[1],'EX','1000','GET')
return redis.call('scan',0)[1]
return redis.call('bitfield',KEYS[1],'incrby','u8',0,1)
local r=redis.call('smembers','a:set') table.sort(r) return r
return tonumber(ARGV[1])
return tostring(tonumber(ARGV[1]))
return tostring(1e15)..' '..tostring(1e14)..' '..tostring(0.1)..' '..tostring(-0)..' '..tostring(1/0)..' '..tostring(2^53)
return string.format('%d %5.2f %s %q %x %g',42,3.14159,'s','q"q',255,1e20)
return string.format('%.0f',2^63)
return string.format('%d',2^31)
return string.rep('ab',5,',')
return string.rep('x',3)
return {string.find('hello world','o w'),string.find('hello','l+')}
return {string.gsub('hello','l','L')}
return string.upper('abc')..string.reverse('abc')..string.sub('abcdef',-3,-2)..string.byte('a')..string.char(72,105)..#'abc'
return {string.match('key=value','(%w+)=(%w+)')}
return table.concat({1,2,3},'-')
local t={3,1,2} table.sort(t) table.insert(t,4) table.insert(t,1,0) table.remove(t) return t
return table.getn({1,2})
return {math.floor(-1.5),math.ceil(1.2),math.max(1,9,3),math.min(4,2),math.abs(-3),math.fmod(7,3),math.pow(2,10)}
return tostring(math.huge)..tostring(math.pi)
return {math.random(1,1000),math.random(1,1000)}
math.randomseed(5) return {math.random(1,100000),math.random(1,100000)}
return tostring(math.random())
return type(os)
return type(os.clock())
return os.time()
return io
return type(io)
return type(require)
return type(dofile)
return type(loadfile)
return type(loadstring)
return type(load)
return type(print)
return type(newproxy)
return type(setfenv)
return type(getmetatable)
return type(debug)
return type(collectgarbage)
return type(coroutine)
return type(_G)
return _VERSION
_G.x=1
_G['redis']=nil
redis.foo=1
redis.call=nil
setmetatable(_G,{})
string.format=nil
local mt=getmetatable('') return type(mt)
local mt=getmetatable(_G) return type(mt)
getmetatable('').__index=nil
return rawset(_G,'y',1)
return loadstring('return 5')()
return loadstring(string.dump(function() return 1 end))
return cjson.encode({1,2,3})
return cjson.encode({a=1})
return cjson.encode({})
return cjson.encode({1,nil,3})
return cjson.encode({[1]=1,[5]=2})
return cjson.encode({[1]=1,[100]=2})
return cjson.encode({nested={x={1,{y='z'}}}})
return cjson.encode('a"b\\\\c/d\\n\\t\\0\\127')
return cjson.encode(ARGV)
return cjson.encode(1.5)..cjson.encode(100)..cjson.encode(1e20)..cjson.encode(0.1)..cjson.encode(123456789012345)
return cjson.encode(1/0)
return cjson.encode(0/0)
return cjson.encode(nil)
return cjson.encode(cjson.null)
return cjson.encode({cjson.null,true,false})
return cjson.encode(function() end)
return cjson.encode({[true]=1})
local t={} t.t=t return cjson.encode(t)
local t={} for i=1,1100 do t={t} end return cjson.encode(t)
return cjson.decode('[1,2,{"a":null}]')[3].a==cjson.null
return cjson.decode(ARGV[1])
return cjson.decode('{"a":[1,2.5,"x",true,false,null]}').a
return cjson.decode('{"a":1}').a
return cjson.decode('{bad}')
return cjson.decode('[1,2')
return cjson.decode('')
return cjson.decode('[1] x')
return cjson.decode('"\\\\u00e9\\\\ud83d\\\\ude00"')
return cjson.decode('[0x10]')[1]
return cjson.decode('[1e2]')[1]
return cjson.decode(string.rep('[',1100)..string.rep(']',1100))
return tostring(cjson.decode('[1234567890123456789]')[1])
return cjson.decode()
return cjson.encode()
return cjson.encode(1,2)
cjson.encode_keep_buffer(false) return cjson.encode({1})
cjson.encode_max_depth(2) return cjson.encode({{{1}}})
cjson.encode_max_depth(1000) cjson.decode_max_depth(1000) return 1
cjson.encode_sparse_array(true) local r=cjson.encode({[1]=1,[100]=2}) cjson.encode_sparse_array(false,2,10) return r
cjson.encode_invalid_numbers(true) local r=cjson.encode(1/0) cjson.encode_invalid_numbers(false) return r
cjson.encode_number_precision(3) local r=cjson.encode(3.14159) cjson.encode_number_precision(14) return r
cjson.decode_array_with_array_mt(true)
return bit.band(0xff,0x0f)
return {bit.bor(1,2),bit.bxor(5,3),bit.bnot(0),bit.lshift(1,31),bit.rshift(-1,1),bit.arshift(-8,1),bit.rol(1,33),bit.ror(1,1),bit.bswap(1)}
return {bit.tohex(255),bit.tohex(-1,4),bit.tohex(255,-8)}
return bit.tobit(2^40+5)
return bit.band('x')
return bit.band()
return struct.pack('>I2',258)
return struct.unpack('<I4',struct.pack('<I4',123456))
return {struct.unpack('>hbB',struct.pack('>hbB',-2,-3,200))}
return struct.size('>I2hbs')
return struct.size('<i4i8')
return {struct.unpack('s',struct.pack('s','abc'))}
return struct.pack('z',1)
return struct.unpack('>I4','x')
return cmsgpack.pack({1,2,3})
return cmsgpack.pack({a=1})
return cmsgpack.pack(1,'x',true,nil,-5,300,70000,1.5,2^40)
return {cmsgpack.unpack(cmsgpack.pack(1,'x',true,{1,{2}}))}
return cmsgpack.unpack(cmsgpack.pack(ARGV))
return cmsgpack.unpack('\\193')
return cmsgpack.unpack('')
return {cmsgpack.unpack_one(cmsgpack.pack(1,2))}
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2)}
return cmsgpack.pack()
local t={} for i=1,100 do t[i]=i end return #cmsgpack.pack(t)
local a={} for i=1,20 do a={a} end return cmsgpack.pack(a)
#!lua return 1
#!lua\\nreturn 1
#!lua flags=no-writes\\nreturn redis.call('get',KEYS[1])
#!lua flags=no-writes\\nreturn redis.call('set',KEYS[1],'x')
#!lua flags=allow-stale,no-cluster\\nreturn 7
#!lua flags=nosuch\\nreturn 1
#!lua nosuch=1\\nreturn 1
#!lua name=x\\nreturn 1
#!ruby\\nreturn 1
#!lua flags=no-writes flags=allow-oom\\nreturn 1
#!\\nreturn 1
#!lua flags=\\nreturn 1
local s=0 for i=1,2000 do s=s+i end return s
local t={} for w in string.gmatch('a b c','%a') do t[#t+1]=w end return t
local t={} for k,v in pairs({10,20,30}) do t[#t+1]=k..'='..v end return t
local co=coroutine.create(function() return 1 end) return type(co)
return {1,2,setmetatable({},{__index=function() return 5 end})}
return setmetatable({},{__tostring=function() return 'x' end})
return function() end
return {function() end}
return redis
return tostring(nil)..tostring(true)
return #ARGV[1]
return ARGV[99]
return redis.call('get',KEYS[99])
return redis.acl_check_cmd('get','x')
return redis.acl_check_cmd('nosuch')
return redis.acl_check_cmd()
return unpack({1,2,3})
return 1,2,3
return
local x = 5
-- only a comment
return string.len(string.rep('x',100000))
return string.rep('x',-1)
return ('x'):rep(3)..('%d'):format(3)
return tostring({}):sub(1,6)
return next({})
return {next({5})}
return select('#',1,nil,3)
return rawequal('a','a') and rawlen
return pcall(string.rep)
return string.rep
return select(2,pcall(string.rep))
return select(2,pcall(string.format,'%d','x'))
return select(2,pcall(tonumber))
return {tonumber('0x1F'),tonumber('1e2'),tonumber('  5  '),tonumber('z',36),tonumber('8',8)}
return {10/3,7%3,-7%3,2^10,1e3}
return 'a'..1 ..2.5
return '10'+5
return 'x'+5
return {} .. 'x'
return #5
return 1 < 'x'
return {} < {}
return not nil
goto continue ::continue:: return 1
return 5//2
return 5 & 3
""".strip().splitlines()

RENDERED = [line.replace("\\n", "\n").replace("\\r", "\r").replace("\\\\", "\\") if line.startswith(("#!", "return {err", "return {ok"))
            else line.replace("\\\\", "\\") for line in SCRIPTS]


def sequence(rng):
    """Scripts in random order, by text, by hash, read-only, and some misuse."""
    values = Random(rng, prefix="s")
    steps = [
        {"argv": argv, "who": "a"}
        for argv in (
            [b"SET", b"a:str", b"value"],
            [b"HSET", b"a:hash", b"f", b"v", b"n", b"5"],
            [b"SADD", b"a:set", b"1", b"2", b"3"],
            [b"ZADD", b"a:zset", b"1", b"a", b"2.5", b"b"],
        )
    ]
    for _ in range(40):
        text = rng.choice(RENDERED).encode()
        sha = hashlib.sha1(text).hexdigest().encode()
        keys = [values.k() for _ in range(rng.choice((1, 1, 2)))]
        args = [values.v() for _ in range(rng.choice((1, 1, 2, 3)))]
        tail = [str(len(keys)).encode(), *keys, *args]
        form = rng.randrange(12)
        if form < 7:
            steps.append({"argv": [b"EVAL", text, *tail], "who": "a"})
        elif form == 7:
            steps.append({"argv": [b"EVAL_RO", text, *tail], "who": "a"})
        elif form == 8:
            steps.append({"argv": [b"SCRIPT", b"LOAD", text], "who": "a"})
            steps.append({"argv": [b"EVALSHA", sha, *tail], "who": "a"})
        elif form == 9:
            steps.append({"argv": [rng.choice((b"EVALSHA", b"EVALSHA_RO")), rng.choice((sha, sha.upper(), b"x" * 40, b"short")), *tail], "who": "a"})
        elif form == 10:
            steps.append({"argv": [b"SCRIPT", b"EXISTS", sha, b"x" * 40], "who": "a"})
        else:
            steps.append({"argv": [b"EVAL", text, values.numkeys(), *keys, *args], "who": "a"})
        if rng.random() < 0.3:
            steps.append({"argv": [b"GET", keys[0]], "who": "a"})
    return steps
