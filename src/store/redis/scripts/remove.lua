-- Removes living instances of one namespace, or those whose lease has run out when they are reaped. What a namespace
-- keeps then is counted, and looked at again in the next minute.
-- KEYS clock, leases, changes, namespaces, instances
-- ARGV 3 namespace, cause ('x': reaped), most changes kept, ids
local namespace, is_reaped = ARGV[3], ARGV[4] == 'x'
redis.call('XLEN', KEYS[3]) -- A key of another type is noticed before anything is written.
local epoch = redis.call('HGET', KEYS[4], 'e' .. namespace)
local is_kept, minute = is_reaped and keeps(namespace), (math.floor(now / 60000) + 1) * 60000
local removed, silent = {}, 0
for at = 6, #ARGV do
  local id = ARGV[at]
  local member = namespace .. '\0' .. id
  local score = redis.call('ZSCORE', KEYS[2], member)
  local lease = tonumber(score or -1)
  local record = redis.call('HGET', KEYS[5], id)
  local goes = is_reaped and lease <= now or not is_reaped and is_alive(lease, namespace)
  if record and epoch and goes and is_kept then
    silent = silent + 1
    if not is_strict then
      redis.call('ZADD', KEYS[2], minute, member)
    end
  elseif record and epoch and goes then
    local revision = redis.call('HINCRBY', KEYS[4], 'r' .. namespace, 1)
    redis.call('HDEL', KEYS[5], id)
    redis.call('ZREM', KEYS[2], member)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*',
      'n', namespace, 'e', epoch, 'r', revision, 'c', ARGV[4], 'd', id)
    removed[#removed + 1] = {epoch, revision, record}
  elseif score and not record then
    redis.call('ZREM', KEYS[2], member)
  end
end
if silent > 0 then
  redis.call('HINCRBY', bucket .. 'kept', namespace, silent)
end
return removed
