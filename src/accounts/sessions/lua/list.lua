local user, now = unpack(ARGV)

local found = {}
for _, id in ipairs(redis.call('ZRANGE', key('user', user), 0, -1)) do
  local session = live(id, now)
  if session then
    table.insert(found, told(session))
  end
end
return found
