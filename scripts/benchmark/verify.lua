-- Presents the secrets of a file in turn; at the end it prints one line of JSON.
-- wrk … URL -- SECRETS body|header|get|policy PAUSE: the key travels in the JSON body, in the body and a header, in a header alone,
-- or in a body that says also from where and for what it is used.
-- PAUSE is the time in milliseconds that a connection rests before each request.

local requests = {}
local turn = 0

function init(args)
  local file, form, pause = args[1], args[2], tonumber(args[3])
  -- With this function wrk takes a timer for every request, so it is only there when it is wanted.
  if pause > 0 then delay = function() return pause end end
  for secret in io.lines(file) do
    local headers = { ["User-Agent"] = "bench/1", ["Accept"] = "application/json" }
    if form == "header" or form == "get" then headers["X-Api-Key"] = secret end
    if form == "get" then
      requests[#requests + 1] = wrk.format("GET", nil, headers)
    else
      headers["Content-Type"] = "application/json"
      local asked = form == "policy" and ',"client_ip":"10.19.0.1","required_scopes":["orders:write"]' or ""
      requests[#requests + 1] = wrk.format("POST", nil, headers, '{"api_key":"' .. secret .. '"' .. asked .. "}")
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3))
end
