-- Writes down how far event time has come, where that is further than before.
-- KEYS: the clock. ARGV: three a partition (topic:partition, event time in ms, 'event time:wall time' in ms).
for i = 1, #ARGV, 3 do
  local have = redis.call('HGET', KEYS[1], ARGV[i])
  if not have or tonumber(string.match(have, '^-?%d+')) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end
return 'OK'
