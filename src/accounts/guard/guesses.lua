-- What guard/count.rs decides, for an account and an address at once.
--
-- KEYS: that of the account, that of the address. ARGV: what to do, the time in milliseconds, then what each takes.
-- Of each key the failures are kept as a hash: `count`, and `at`, when the wait began.
local now = tonumber(ARGV[2])
local FREE, FIRST_WAIT, LONGEST_WAIT, MOST = 5, 1000, 15 * 60 * 1000, 1000
local FREE_KEPT, MORE_KEPT = 60 * 60 * 1000, 24 * 60 * 60 * 1000

local function kept_for(count)
  if count < FREE then return FREE_KEPT else return MORE_KEPT end
end

local function known(key)
  local found = redis.call('HMGET', key, 'count', 'at')
  local count, at = tonumber(found[1]) or 0, math.min(tonumber(found[2]) or 0, now)
  if now - at >= kept_for(count) then count, at = 0, 0 end
  return { key = key, count = count, at = at }
end

local function wait(failures)
  if failures.count < FREE then return 0 end
  local whole = math.min(FIRST_WAIT * 2 ^ math.min(failures.count - FREE, 10), LONGEST_WAIT)
  return math.max(whole - (now - failures.at), 0)
end

local function keep(failures)
  local rest = kept_for(failures.count) - (now - failures.at)
  redis.call('HSET', failures.key, 'count', string.format('%.0f', failures.count), 'at', string.format('%.0f', failures.at))
  redis.call('PEXPIRE', failures.key, string.format('%.0f', math.max(rest, 1)))
end

local function one_more(failures, at)
  failures.count, failures.at = math.min(failures.count + 1, MOST), at
  keep(failures)
end

local calls = {}

-- Takes when the guess arrived. Answers 1, then for each key the failures that it has and when their wait began; or 0 and
-- the wait.
function calls.admit()
  local arrived, account, address = tonumber(ARGV[3]), known(KEYS[1]), known(KEYS[2])
  if wait(account) == 0 and wait(address) == 0 then
    local answer = { 1, account.count, account.at, address.count, address.at }
    for _, failures in ipairs({ account, address }) do
      if failures.count >= FREE then one_more(failures, now) end
    end
    return answer
  end
  for _, failures in ipairs({ account, address }) do
    if wait(failures) > 0 and arrived <= failures.at then one_more(failures, failures.at) end
  end
  return { 0, math.max(wait(account), wait(address)) }
end

-- Takes for each key 1 where the failure has to be counted. Answers the failures of each.
function calls.wrong()
  local answer = {}
  for number, key in ipairs(KEYS) do
    local failures = known(key)
    if ARGV[2 + number] == '1' then one_more(failures, now) end
    answer[number] = failures.count
  end
  return answer
end

-- Takes for each key 'forget', 'give_back' and when the wait began before, or '' where there is nothing to do; then when the
-- guess was admitted.
function calls.settle()
  local admitted = tonumber(ARGV[7])
  for number, key in ipairs(KEYS) do
    local what, before = ARGV[1 + number * 2], tonumber(ARGV[2 + number * 2])
    if what == 'forget' then
      redis.call('DEL', key)
    elseif what == 'give_back' then
      local failures = known(key)
      if failures.count > 0 then
        if failures.at == admitted then failures.at = before end
        failures.count = failures.count - 1
        keep(failures)
      end
    end
  end
  return {}
end

return calls[ARGV[1]]()
