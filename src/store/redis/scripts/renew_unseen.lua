-- Begins one lease anew that the caller does not know the length of.
-- KEYS clock, leases, instances
-- ARGV namespace, id
local now = clock(KEYS[1])
local member = ARGV[1] .. '\0' .. ARGV[2]
local score = tonumber(redis.call('ZSCORE', KEYS[2], member) or -1)
local record = redis.call('HGET', KEYS[3], ARGV[2])
if not record or score <= now then
  return 0
end
local ttl = score < NEVER and cjson.decode(record).ttl or 0
redis.call('ZADD', KEYS[2], deadline(now, ttl), member)
return 1
