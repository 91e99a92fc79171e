-- Forgets a namespace that is empty and stands where the caller saw it.
-- KEYS changes, namespaces, instances, clock
-- ARGV namespace, epoch expected, revision expected, most changes kept
local kept = redis.call('HMGET', KEYS[2], 'e' .. ARGV[1], 'r' .. ARGV[1])
if kept[1] ~= ARGV[2] or kept[2] ~= ARGV[3] or redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
redis.call('XLEN', KEYS[1]) -- A key of another type is noticed before anything is written.
redis.call('HDEL', KEYS[2], 'e' .. ARGV[1], 'r' .. ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('HDEL', KEYS[4], 'seen', 'stood', 'until') -- Nobody ticks it from now on; it is still the same bucket.
  local bucket = string.sub(KEYS[4], 1, -6)
  redis.call('DEL', bucket .. 'beats', bucket .. 'beats:last', bucket .. 'kept', bucket .. 'kept:last', bucket .. 'silent')
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'n', ARGV[1], 'e', ARGV[2])
return 1
