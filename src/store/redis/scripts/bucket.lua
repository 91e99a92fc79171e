-- Stands before every script that leases matter to. KEYS[1] is the bucket's clock; ARGV[1] is the bucket's number as the
-- caller knows it (0: it does not), ARGV[2] how leases end (s: as on a Netflix server, p: with self-preservation).
--
-- The bucket's time is in milliseconds. Nodes tick it a few times a second; when nobody does for more than a second, it
-- stands still, and stays so for three seconds after, until all are back: nobody could renew meanwhile, or nobody was
-- there to reap. Leases run on this time, so that an outage, an empty house or a step of the server's clock prolongs
-- them all and ends none.
local time = redis.call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'seen', 'stood', 'until', 'number')
if ARGV[1] ~= '0' and kept[4] ~= ARGV[1] then
  return redis.error_reply('LOST this bucket is not the one that the caller knows')
end
local now, state = wall, 'new'
if kept[1] then
  now, state = tonumber(kept[1]), 'still'
  if wall >= (tonumber(kept[3]) or 0) then
    local passed = wall - (tonumber(kept[2]) or 0)
    state = passed > now + 1000 and 'late' or 'going'
    now = state == 'late' and now + 1000 or math.max(now, passed)
  end
end

local is_strict = string.find(ARGV[2], 's', 1, true)
local preserves = string.find(ARGV[2], 'p', 1, true)
-- What the bucket's other keys begin with, of which these scripts make those of self-preservation.
local bucket = string.sub(KEYS[1], 1, -6)

-- Deadlines from here on are never met; what is above is the time of the last renewal.
local NEVER = 4000000000000000

local function deadline(length)
  if length == 0 then
    return NEVER + now
  end
  return now + length
end

-- Whether a namespace keeps its instances although their leases ran out: too few renewed in the last minute. Two
-- renewals are expected of each, and 85 of a hundred of those.
local function keeps(namespace)
  if not preserves then
    return false
  end
  local expected = redis.call('HLEN', bucket .. 'i:' .. namespace)
    - tonumber(redis.call('HGET', bucket .. 'silent', namespace) or 0)
  local threshold = math.floor(expected * 17 / 10)
  return threshold > 0 and tonumber(redis.call('HGET', bucket .. 'beats:last', namespace) or 0) <= threshold
end

-- Whether a lease counts that ends at this time; one that ran out may do so until it is reaped.
local function is_alive(score, namespace)
  return score > now or score >= 0 and (is_strict or keeps(namespace)) and true
end
