local presented, jti, refresh, made_at, grace_ms, remembered, now, expires_at, left_ms = unpack(ARGV)

local found = redis.call('GET', key('refresh', presented))
if not found then
  return { 'unknown', false }
end
local theirs, id = string.match(found, '^(%d+):(.*)$')
local session = live(id, now)
if not session then
  return { 'unknown', false }
end
local newest = tonumber(session.rotation)
local behind = newest - tonumber(theirs)

-- In either direction: a clock that was set back keeps no grace open.
if behind == 1 and math.abs(made_at - session.rotated_at) <= tonumber(grace_ms) then
  -- What was reckoned with another key than the first time is not in force, and must not be handed out.
  if session['refresh:' .. session.rotation] == refresh then
    return { 'retried', told(session) }
  end
  return { 'unknown', false }
end
if behind ~= 0 then
  remove(session)
  return { 'reused', told(session) }
end

if session.previous_jti then
  redis.call('DEL', key('access', session.previous_jti))
end
local forgotten = 'refresh:' .. string.format('%d', newest + 1 - remembered)
if session[forgotten] then
  redis.call('DEL', key('refresh', session[forgotten]))
  redis.call('HDEL', key('id', id), forgotten)
end
local rotation = string.format('%d', newest + 1)
redis.call('HSET', key('id', id), 'previous_jti', session.jti, 'jti', jti, 'rotation', rotation, 'refresh:' .. rotation,
  refresh, 'rotated_at', made_at, 'expires_at', expires_at)
redis.call('PEXPIRE', key('id', id), left_ms)
redis.call('SET', key('access', jti), id, 'PX', left_ms)
redis.call('SET', key('refresh', refresh), rotation .. ':' .. id, 'PX', left_ms)
session.rotated_at = made_at
session.expires_at = expires_at
list(session, left_ms)
return { 'rotated', told(session) }
