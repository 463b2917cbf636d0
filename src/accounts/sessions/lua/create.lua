local id, user, epoch, jti, refresh, address, user_agent, most, now, expires_at, left_ms = unpack(ARGV)

redis.call('HSET', key('id', id), 'user', user, 'epoch', epoch, 'jti', jti, 'rotation', 0, 'refresh:0', refresh,
  'created_at', now, 'rotated_at', now, 'expires_at', expires_at, 'address', address, 'user_agent', user_agent)
redis.call('PEXPIRE', key('id', id), left_ms)
redis.call('SET', key('access', jti), id, 'PX', left_ms)
redis.call('SET', key('refresh', refresh), '0:' .. id, 'PX', left_ms)
list({ id = id, user = user, expires_at = expires_at }, left_ms)

local set = key('user', user)
redis.call('ZREMRANGEBYSCORE', set, '-inf', now)
while redis.call('ZCARD', set) > tonumber(most) do
  local first = redis.call('ZPOPMIN', set)[1]
  local session = load(first)
  if session then
    remove(session)
  end
end
