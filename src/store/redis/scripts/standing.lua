-- Where the bucket's changes end, whether the one at a position is still there, and the bucket's number.
-- KEYS changes, clock
-- ARGV position
local number = redis.call('HGET', KEYS[2], 'number') or '0'
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'0-0', 0, '', number}
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last = '0-0'
for at = 1, #info, 2 do
  if info[at] == 'last-generated-id' then
    last = info[at + 1]
  end
end
local here = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {last, #here, first[1] and first[1][1] or '', number}
