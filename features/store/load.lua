-- Reads records at one moment with the fences that they are behind: nobody has written them since these were as believed.
-- KEYS: n fences, then a key a record. ARGV: n, then two a fence: epoch, next offset or ''.
-- Returns {'OK', values}, or {'fence', which, the epoch and the next offset found}.
local n = tonumber(ARGV[1])
for i = 1, n do
  local have = redis.call('HMGET', KEYS[i], 'epoch', 'next')
  local epoch, offset = have[1] or '0', have[2] or ''
  if epoch ~= ARGV[2 * i] or offset ~= ARGV[2 * i + 1] then
    return {'fence', i, epoch, offset}
  end
end
if #KEYS == n then
  return {'OK', {}}
end
return {'OK', redis.call('MGET', unpack(KEYS, n + 1))}
