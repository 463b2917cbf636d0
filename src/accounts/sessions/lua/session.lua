-- What all scripts know of a session. This text stands before each of them.
local PREFIX = 'heare-auth:session:'

local function key(kind, name)
  return PREFIX .. kind .. ':' .. name
end

-- Every number stays the text that it came as, but for a rotation, which is small.
local function load(id)
  local pairs_of_fields = redis.call('HGETALL', key('id', id))
  if #pairs_of_fields == 0 then
    return nil
  end
  local session = { id = id }
  for at = 1, #pairs_of_fields, 2 do
    session[pairs_of_fields[at]] = pairs_of_fields[at + 1]
  end
  return session
end

local function live(id, now)
  local session = load(id)
  if session and tonumber(session.expires_at) > tonumber(now) then
    return session
  end
  return nil
end

local function remove(session)
  redis.call('DEL', key('id', session.id), key('access', session.jti))
  if session.previous_jti then
    redis.call('DEL', key('access', session.previous_jti))
  end
  for field, value in pairs(session) do
    if string.sub(field, 1, 8) == 'refresh:' then
      redis.call('DEL', key('refresh', value))
    end
  end
  redis.call('ZREM', key('user', session.user), session.id)
end

-- The set of a user's sessions lasts as long as the longest of them.
local function list(session, left_ms)
  local set = key('user', session.user)
  redis.call('ZADD', set, session.expires_at, session.id)
  if redis.call('PTTL', set) < tonumber(left_ms) then
    redis.call('PEXPIRE', set, left_ms)
  end
end

local function told(session)
  return {
    session.id, session.user, session.epoch, session.created_at, session.rotated_at, session.expires_at,
    session.address, session.user_agent,
  }
end

