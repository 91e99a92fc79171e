-- Lets the bucket's time go on and tells which leases have run out; where they end as on a Netflix server, once a minute.
-- Tells what was counted in the last minute to who did not know that one is over.
-- KEYS clock, leases, changes, renewals
-- ARGV 3 most leases told, age in milliseconds from which changes are forgotten (0: not now), who renewed ('': nobody),
--      6 number of the bucket should it have none, the minute as the caller knows it, who the caller is, namespaces and
--      how many renewed there
local number = kept[4] or ARGV[6]
redis.call('HSET', KEYS[1], 'seen', now, 'stood', wall - now, 'number', number)
if state == 'late' then
  redis.call('HSET', KEYS[1], 'until', wall + 3000)
end
if ARGV[4] ~= '0' then
  redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f', wall - tonumber(ARGV[4])))
end
if ARGV[5] ~= '' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '64', '*', 'b', ARGV[5], 'w', ARGV[8])
end

local function moved(from, to)
  if redis.call('EXISTS', bucket .. from) == 1 then
    redis.call('RENAME', bucket .. from, bucket .. to)
  else
    redis.call('DEL', bucket .. to)
  end
end

local minute, ends = math.floor(now / 60000), not is_strict
if (is_strict or preserves) and redis.call('HGET', KEYS[1], 'minute') ~= tostring(minute) then
  redis.call('HSET', KEYS[1], 'minute', minute)
  ends = true
  moved('beats', 'beats:last')
  moved('kept', 'kept:last')
  -- Every quarter of an hour who has been silent is expected to renew no more.
  if minute % 15 == 0 then
    moved('kept:last', 'silent')
  end
end
for at = 9, #ARGV, 2 do
  redis.call('HINCRBY', bucket .. 'beats', ARGV[at], ARGV[at + 1])
end
local renewed, silent = {}, {}
if preserves and ARGV[7] ~= tostring(minute) then
  renewed, silent = redis.call('HGETALL', bucket .. 'beats:last'), redis.call('HGETALL', bucket .. 'silent')
end
local due = ends and redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[3]) or {}
return {number, minute, due, renewed, silent}
