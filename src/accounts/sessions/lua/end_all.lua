local user, kept, epoch = unpack(ARGV)

local ended = 0
local set = key('user', user)
for _, id in ipairs(redis.call('ZRANGE', set, 0, -1)) do
  local session = load(id)
  if not session then
    redis.call('ZREM', set, id)
  elseif id == kept then
    redis.call('HSET', key('id', id), 'epoch', epoch)
  else
    remove(session)
    ended = ended + 1
  end
end
return ended
