-- The bucket's time in milliseconds. Nodes tick it a few times a second; when nobody does for more than a second, it
-- stands still, and stays so for three seconds after, until all are back: nobody could renew meanwhile, or nobody was
-- there to reap. Leases run on this time, so that an outage, an empty house or a step of the server's clock prolongs
-- them all and ends none.
local function clock(key)
  local time = redis.call('TIME')
  local wall = time[1] * 1000 + math.floor(time[2] / 1000)
  local kept = redis.call('HMGET', key, 'seen', 'stood', 'until')
  local seen = tonumber(kept[1])
  if not seen then
    return wall, wall, 'new'
  end
  if wall < (tonumber(kept[3]) or 0) then
    return seen, wall
  end
  local now = wall - (tonumber(kept[2]) or 0)
  if now > seen + 1000 then
    return seen + 1000, wall, 'late'
  end
  return math.max(seen, now), wall
end

-- Deadlines from here on are never met; what is above is the time of the last renewal.
local NEVER = 4000000000000000

local function deadline(now, ttl)
  if ttl == 0 then
    return NEVER + now
  end
  return now + ttl
end
