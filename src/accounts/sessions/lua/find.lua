local kind, digest, now = unpack(ARGV)

if kind == 'id' then
  local session = live(digest, now)
  return session and told(session)
end

local found = redis.call('GET', key(kind, digest))
if not found then
  return false
end
if kind == 'access' then
  local session = live(found, now)
  if session and (session.jti == digest or session.previous_jti == digest) then
    return told(session)
  end
  return false
end
local rotation, id = string.match(found, '^(%d+):(.*)$')
local session = live(id, now)
if session and session.rotation == rotation then
  return told(session)
end
return false
