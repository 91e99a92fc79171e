-- Lets the bucket's time go on and tells which leases have run out.
-- KEYS clock, leases, changes, renewals
-- ARGV most leases told, age in milliseconds from which changes are forgotten (0: not now), who renewed ('': nobody)
local now, wall, state = clock(KEYS[1])
redis.call('HSET', KEYS[1], 'seen', now, 'stood', wall - now)
if state == 'late' then
  redis.call('HSET', KEYS[1], 'until', wall + 3000)
end
if ARGV[2] ~= '0' then
  redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f', wall - tonumber(ARGV[2])))
end
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '64', '*', 'b', ARGV[3])
end
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
