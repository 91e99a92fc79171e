-- Begins one lease anew that the caller does not know the length of.
-- KEYS clock, leases, instances
-- ARGV 3 namespace, id
local member = ARGV[3] .. '\0' .. ARGV[4]
local score = tonumber(redis.call('ZSCORE', KEYS[2], member) or -1)
local record = redis.call('HGET', KEYS[3], ARGV[4])
if not record or not is_alive(score, ARGV[3]) then
  return 0
end
local length = score < NEVER and cjson.decode(record).ttl * (is_strict and 2 or 1) or 0
redis.call('ZADD', KEYS[2], deadline(length), member)
return 1
