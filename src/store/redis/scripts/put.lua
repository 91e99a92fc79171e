-- Puts a record in the place of the one that the caller knows, and begins its lease.
-- KEYS clock, leases, changes, namespaces, instances
-- ARGV 3 namespace, id, record expected ('': no living one), record, length of the lease (0: no end), capacity (-1: none),
--      9 number of the bucket and epoch of the namespace should they be new, cause, most changes kept
local member = ARGV[3] .. '\0' .. ARGV[4]
local current = redis.call('HGET', KEYS[5], ARGV[4])
local score = tonumber(redis.call('ZSCORE', KEYS[2], member) or -1)
local living = current and is_alive(score, ARGV[3]) and current or ''
if living ~= ARGV[5] then
  return {'other', living}
end
local capacity = tonumber(ARGV[8])
if not current and capacity >= 0 and redis.call('HLEN', KEYS[5]) >= capacity then
  return {'full'}
end
redis.call('XLEN', KEYS[3]) -- A key of another type is noticed before anything is written.
local epoch = redis.call('HGET', KEYS[4], 'e' .. ARGV[3])
if not epoch then
  epoch = ARGV[9]
  redis.call('HSET', KEYS[4], 'e' .. ARGV[3], epoch)
end
local number = kept[4]
if not number then
  number = ARGV[9]
  redis.call('HSET', KEYS[1], 'number', number)
end
if state == 'new' then
  redis.call('HSET', KEYS[1], 'seen', now, 'stood', 0)
end
local revision = redis.call('HINCRBY', KEYS[4], 'r' .. ARGV[3], 1)
redis.call('HSET', KEYS[5], ARGV[4], ARGV[6])
redis.call('ZADD', KEYS[2], deadline(tonumber(ARGV[7])), member)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[11], '*',
  'n', ARGV[3], 'e', epoch, 'r', revision, 'c', ARGV[10], 'p', ARGV[6])
return {'done', epoch, revision, number}
