-- Removes living instances of one namespace, or those whose lease has run out when they are reaped.
-- KEYS clock, leases, changes, namespaces, instances
-- ARGV namespace, cause ('x': reaped), most changes kept, ids
local now = clock(KEYS[1])
redis.call('XLEN', KEYS[3]) -- A key of another type is noticed before anything is written.
local epoch = redis.call('HGET', KEYS[4], 'e' .. ARGV[1])
local removed = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local member = ARGV[1] .. '\0' .. id
  local score = redis.call('ZSCORE', KEYS[2], member)
  local is_alive = tonumber(score or -1) > now
  local record = redis.call('HGET', KEYS[5], id)
  if record and epoch and is_alive == (ARGV[2] ~= 'x') then
    local revision = redis.call('HINCRBY', KEYS[4], 'r' .. ARGV[1], 1)
    redis.call('HDEL', KEYS[5], id)
    redis.call('ZREM', KEYS[2], member)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*',
      'n', ARGV[1], 'e', epoch, 'r', revision, 'c', ARGV[2], 'd', id)
    removed[#removed + 1] = {epoch, revision, record}
  elseif score and not record then
    redis.call('ZREM', KEYS[2], member)
  end
end
return removed
