-- Removes records of one entity and counts the erasure, so that no worker writes back what it has in memory.
-- KEYS: the bucket's count of erasures, then a key a record. Returns how many records there were.
-- The count goes first: a server that refuses it, because its memory is full, has removed nothing.
redis.call('INCR', KEYS[1])
local gone = 0
for i = 2, #KEYS do
  gone = gone + redis.call('DEL', KEYS[i])
end
return gone
