-- Asks heare-auth about a request, by HAProxy's own HTTP client: nothing but this file is needed.
--
--   http-request lua.heare_auth http://127.0.0.1:8080/authz
--
-- A good key: the backend is told whose it is in the X-Auth-* headers, and txn.heare_auth is "let_through".
-- Anything else is answered here with what heare-auth said, or with 503 when it said nothing.

local TIMEOUT_MS = 2000

local IDENTITY = {
  "x-auth-key-id", "x-auth-key-name", "x-auth-user-id", "x-auth-scopes", "x-auth-environment",
}

-- Of a refusal, the client gets these.
local TOLD = {
  "content-type", "www-authenticate", "retry-after", "ratelimit", "ratelimit-policy",
  "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
}

-- Of the request, heare-auth needs these.
local ASKED_WITH = { "authorization", "x-api-key", "user-agent", "x-request-id", "traceparent" }

-- HAProxy counts the values of a header from 0.
local function values(headers, name)
  local found, at = {}, 0
  while headers[name] and headers[name][at] do
    found[#found + 1] = headers[name][at]
    at = at + 1
  end
  return found
end

local function question(txn)
  local sent = txn.http:req_get_headers()
  local asked = {}
  for _, name in ipairs(ASKED_WITH) do
    local found = values(sent, name)
    if #found > 0 then asked[name] = found end
  end
  -- The client's address, right of whatever the client sent itself.
  local chain = values(sent, "x-forwarded-for")
  chain[#chain + 1] = txn.f:src()
  asked["x-forwarded-for"] = { table.concat(chain, ", ") }
  asked["x-forwarded-uri"] = { txn.f:pathq() }
  return asked
end

local function refuse(txn, status, headers, body)
  local reply = txn:reply({ status = status })
  reply:add_header("cache-control", "no-store")
  for _, name in ipairs(TOLD) do
    for _, value in ipairs(values(headers, name)) do reply:add_header(name, value) end
  end
  reply:set_body(body)
  txn:done(reply)
end

core.register_action("heare_auth", { "http-req" }, function(txn, url)
  local client = core.httpclient()
  local answer = client:get({ url = url, headers = question(txn), timeout = TIMEOUT_MS })
  local headers = answer.headers or {}
  if answer.status == 200 and headers["x-auth-key-id"] then
    for _, name in ipairs(IDENTITY) do
      txn.http:req_set_header(name, values(headers, name)[1] or "")
    end
    txn:set_var("txn.heare_auth", "let_through")
  elseif answer.status == 401 or answer.status == 403 or answer.status == 429 then
    refuse(txn, answer.status, headers, answer.body or "")
  else
    refuse(txn, 503, { ["retry-after"] = { [0] = "1" } }, "")
  end
end, 1)
