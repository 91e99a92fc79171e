-- Begins leases anew; 1 for each that there is, 0 for each that there is not, 2 for each that there is and whose length
-- the caller does not know.
-- KEYS clock, leases
-- ARGV members, then as many lengths (0: not known)
local now = clock(KEYS[1])
local count = #ARGV / 2
local scores = redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 1, count))
local answers, begun = {}, {}
for at = 1, count do
  local score = tonumber(scores[at] or -1)
  answers[at] = 0
  local length = tonumber(ARGV[count + at])
  if score > now and length == 0 then
    answers[at] = 2
  elseif score > now then
    answers[at] = 1
    begun[#begun + 1] = deadline(now, score < NEVER and length or 0)
    begun[#begun + 1] = ARGV[at]
  end
end
if #begun > 0 then
  redis.call('ZADD', KEYS[2], unpack(begun))
end
return answers
