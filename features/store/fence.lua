-- Reads a fence with all that belongs to it at one moment, and takes it if asked to.
-- KEYS: the fence, its ring of seen events, the bucket's count of erasures.
-- ARGV: '1' to raise the epoch, the name of the new owner.
-- Returns {next offset, epoch, sources, clock, seen, erasures, the owner before}.
local owner = redis.call('HGET', KEYS[1], 'owner')
if ARGV[1] == '1' then
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  redis.call('HSET', KEYS[1], 'owner', ARGV[2])
end
local have = redis.call('HMGET', KEYS[1], 'next', 'epoch', 'sources', 'clock')
return {have[1], have[2], have[3], have[4], redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]), owner}
