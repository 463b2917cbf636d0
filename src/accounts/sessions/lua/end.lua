local user, id = unpack(ARGV)

local session = load(id)
if session and session.user == user then
  remove(session)
  return 1
end
return 0
