-- Writes one micro-batch of one bucket, if every fence is where the worker believes it to be.
-- KEYS: n fence keys, then a key a record.
-- ARGV: n, then four a fence (epoch, expected next offset or '', new next offset, sources as JSON),
--       then two a record (value, time to live in seconds).
-- Returns 'OK', or an array: which fence, the epoch and the next offset found.
local n = tonumber(ARGV[1])
for i = 1, n do
  local at = 2 + (i - 1) * 4
  local have = redis.call('HMGET', KEYS[i], 'epoch', 'next')
  if (have[1] or '') ~= ARGV[at] or (have[2] or '') ~= ARGV[at + 1] then
    return {i, have[1] or '', have[2] or ''}
  end
end
for i = n + 1, #KEYS do
  local at = 2 + n * 4 + (i - n - 1) * 2
  redis.call('SET', KEYS[i], ARGV[at], 'EX', ARGV[at + 1])
end
for i = 1, n do
  local at = 2 + (i - 1) * 4
  redis.call('HSET', KEYS[i], 'next', ARGV[at + 2], 'sources', ARGV[at + 3])
end
return 'OK'
