-- Removes records of one entity and its entries in indexes, and counts the erasure, so that no worker writes back what
-- it has in memory.
-- KEYS: the bucket's count of erasures, then a key a record, then a key an index. ARGV: n indexes, the entity.
-- Returns how many records and entries there were.
-- The count goes first: a server that refuses it, because its memory is full, has removed nothing.
redis.call('INCR', KEYS[1])
local gone = 0
local records = #KEYS - tonumber(ARGV[1])
for i = 2, records do
  gone = gone + redis.call('DEL', KEYS[i])
end
for i = records + 1, #KEYS do
  gone = gone + redis.call('ZREM', KEYS[i], ARGV[2])
end
return gone
