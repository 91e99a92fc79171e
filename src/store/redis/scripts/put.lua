-- Puts a record in the place of the one that the caller knows, and begins its lease.
-- KEYS clock, leases, changes, namespaces, instances
-- ARGV namespace, id, record expected ('': no living one), record, length of the lease (0: no end), capacity (-1: none),
--      epoch should the namespace be new, cause, most changes kept
local now, wall, state = clock(KEYS[1])
local member = ARGV[1] .. '\0' .. ARGV[2]
local current = redis.call('HGET', KEYS[5], ARGV[2])
local is_alive = current and tonumber(redis.call('ZSCORE', KEYS[2], member) or -1) > now
local living = is_alive and current or ''
if living ~= ARGV[3] then
  return {'other', living}
end
local capacity = tonumber(ARGV[6])
if not current and capacity >= 0 and redis.call('HLEN', KEYS[5]) >= capacity then
  return {'full'}
end
redis.call('XLEN', KEYS[3]) -- A key of another type is noticed before anything is written.
local epoch = redis.call('HGET', KEYS[4], 'e' .. ARGV[1])
if not epoch then
  epoch = ARGV[7]
  redis.call('HSET', KEYS[4], 'e' .. ARGV[1], epoch)
end
if state == 'new' then
  redis.call('HSET', KEYS[1], 'seen', now, 'stood', 0)
end
local revision = redis.call('HINCRBY', KEYS[4], 'r' .. ARGV[1], 1)
redis.call('HSET', KEYS[5], ARGV[2], ARGV[4])
redis.call('ZADD', KEYS[2], deadline(now, tonumber(ARGV[5])), member)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[9], '*',
  'n', ARGV[1], 'e', epoch, 'r', revision, 'c', ARGV[8], 'p', ARGV[4])
return {'done', epoch, revision}
