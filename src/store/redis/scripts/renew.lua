-- Begins leases anew; answers with a digit for each: 1 when there is one, 0 when there is none, 2 when there is one and the
-- caller does not know its length.
-- KEYS clock, leases
-- ARGV 3 members, then as many lengths (0: not known)
local count = #ARGV / 2 - 1
local scores = redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 3, count + 2))
-- Deadlines as text, made once for each length: most are the same, and a number costs a conversion each time.
local ends, never = {}, string.format('%.0f', NEVER + now)
local answers, begun, filled = {}, {}, 0
for at = 1, count do
  local score = tonumber(scores[at] or -1)
  local answer = '0'
  if score > now or score >= 0 and is_alive(score, string.match(ARGV[at + 2], '^%x+')) then
    local length = ARGV[count + at + 2]
    if length == '0' then
      answer = '2'
    else
      answer = '1'
      local until_then = ends[length]
      if not until_then then
        until_then = string.format('%.0f', now + tonumber(length))
        ends[length] = until_then
      end
      begun[filled + 1] = score < NEVER and until_then or never
      begun[filled + 2] = ARGV[at + 2]
      filled = filled + 2
    end
  end
  answers[at] = answer
end
if filled > 0 then
  redis.call('ZADD', KEYS[2], unpack(begun))
end
return table.concat(answers)
