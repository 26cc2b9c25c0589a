-- Notes that the owner of a fence has let go of it in order, unless there is a newer owner.
-- KEYS: the fence. ARGV: the owner's epoch.
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'owner', '')
end
return 'OK'
