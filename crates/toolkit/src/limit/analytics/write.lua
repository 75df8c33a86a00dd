-- KEYS[1] a window's hash; ARGV[1] when it ends; then an instance's fields.
-- Whoever adds fields says when the key ends: it may be new.
if redis.call('HSET', KEYS[1], unpack(ARGV, 2)) > 0 then
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
return redis.status_reply('OK')
