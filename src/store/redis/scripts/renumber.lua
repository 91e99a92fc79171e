-- Gives a namespace another epoch, unless somebody did already: its revisions cannot be told apart any more.
-- KEYS namespaces, changes
-- ARGV namespace, epoch expected, new epoch, most changes kept
if redis.call('HGET', KEYS[1], 'e' .. ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('XLEN', KEYS[2]) -- A key of another type is noticed before anything is written.
redis.call('HSET', KEYS[1], 'e' .. ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'n', ARGV[1], 'e', ARGV[3], 'r', 0)
return 1
