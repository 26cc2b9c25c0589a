-- Writes one micro-batch of one bucket, if every fence is where the worker believes it to be and no entity of the
-- bucket was erased behind its back.
-- KEYS: the bucket's count of erasures, then two a fence (the fence, its ring of seen events), then a key a record, then
--       a key an index.
-- ARGV: n fences, the token of this write, the erasures expected or '', m records,
--       then for each fence: epoch, expected next offset or '', new next offset, sources as JSON, the new clock or '',
--         '1' to empty the ring first, the number of patches, two a patch (place, bytes),
--       then two a record (value, time to live in milliseconds),
--       then three an entry (the number of its index, its rank or '' to take it out, the entity).
-- Returns 'OK', or {'fence', which, the epoch and the next offset found}, or {'erased', the count found}.
local n = tonumber(ARGV[1])
local token = ARGV[2]
local at = 5
local places = {}
local before, refused = 0, nil
for i = 1, n do
  places[i] = at
  local have = redis.call('HMGET', KEYS[2 * i], 'epoch', 'next', 'token')
  local epoch, offset = have[1] or '', have[2] or ''
  if have[3] == token and epoch == ARGV[at] and offset == ARGV[at + 2] then
    before = before + 1
  elseif not refused and (epoch ~= ARGV[at] or offset ~= ARGV[at + 1]) then
    refused = {'fence', i, epoch, offset}
  end
  at = at + 7 + 2 * tonumber(ARGV[at + 6])
end
-- This very write has been applied, and its answer was lost on the way: that is the answer again.
if n > 0 and before == n then
  return 'OK'
end
if refused then
  return refused
end
if ARGV[3] ~= '' then
  local erasures = redis.call('GET', KEYS[1]) or '0'
  if erasures ~= ARGV[3] then
    return {'erased', erasures}
  end
end
local indexes = 2 * n + 1 + tonumber(ARGV[4])
for i = 2 * n + 2, indexes do
  redis.call('SET', KEYS[i], ARGV[at], 'PX', ARGV[at + 1])
  at = at + 2
end
for i = at, #ARGV, 3 do
  local index = KEYS[indexes + tonumber(ARGV[i])]
  if ARGV[i + 1] == '' then
    redis.call('ZREM', index, ARGV[i + 2])
  else
    redis.call('ZADD', index, ARGV[i + 1], ARGV[i + 2])
  end
end
for i = 1, n do
  local place = places[i]
  if ARGV[place + 5] == '1' then
    redis.call('DEL', KEYS[2 * i + 1])
  end
  for patch = place + 7, place + 5 + 2 * tonumber(ARGV[place + 6]), 2 do
    redis.call('SETRANGE', KEYS[2 * i + 1], ARGV[patch], ARGV[patch + 1])
  end
  redis.call('HSET', KEYS[2 * i], 'next', ARGV[place + 2], 'sources', ARGV[place + 3], 'token', token)
  if ARGV[place + 4] ~= '' then
    redis.call('HSET', KEYS[2 * i], 'clock', ARGV[place + 4])
  end
end
return 'OK'
