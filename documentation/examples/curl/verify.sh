#!/usr/bin/env bash
# Asks heare-auth whether an API key is good. Needs curl 7.84 or later, and jq.
#
#     echo "$KEY" | HEARE_AUTH_URL=http://localhost:8080 ./verify.sh [CLIENT_IP [SCOPE...]]
#
# Exit code 0: good, the answer is printed. 1: refused. 2: nobody could say, which must be treated like a refusal.
set -uo pipefail

attempts=3
total_seconds=5
client_ip=${1:-}
shift || true

# The key goes from pipe to pipe: what stands on a command line can be seen by all users of the host.
body=$(jq -cRn --arg ip "$client_ip" \
  '{api_key: input} + if $ip == "" then {} else {client_ip: $ip} end
    + if $ARGS.positional == [] then {} else {required_scopes: $ARGS.positional} end' --args "$@") || exit 2

# The answer, and on a line of its own its status and Retry-After. No redirect is followed and no proxy is used: both would get the key.
ask() {
  printf '%s' "$body" | curl --disable --silent --connect-timeout 1 --max-time 2 --noproxy '*' --proto '=http,https' \
    --header 'Content-Type: application/json' --data-binary @- --write-out '\n%{http_code} %header{retry-after}' \
    "${HEARE_AUTH_URL:-http://localhost:8080}/verify"
}

# Whether the answer is one JSON object for which the filter holds.
answer_is() {
  jq -es "length == 1 and (.[0] | type == \"object\" and ($1))" <<<"$answer" >/dev/null 2>&1
}

refuse() {
  echo "not allowed: $1 (answer $2${3:+, Retry-After: $3})"
  exit "$((1 + ($2 == 503)))"
}

for attempt in $(seq "$attempts"); do
  answer='' status=000 wait=''
  if out=$(ask); then
    answer=${out%$'\n'*}
    read -r status wait <<<"${out##*$'\n'}"
    [[ $wait =~ ^[0-9]{1,9}$ ]] || wait=''
  fi
  if [ "$status" = 200 ] && answer_is '.valid == true'; then
    printf '%s\n' "$answer"
    exit 0
  elif [[ $status = 403 || $status = 429 ]] && answer_is '.valid == false'; then
    code=$(jq -r '.code // "invalid"' <<<"$answer")
    case $code in
      ip_not_allowed | insufficient_scope) refuse "$code" 403 ;;
      rate_limited) refuse "$code" 429 "$wait" ;;
      *) refuse "$code" 401 ;;
    esac
  elif [[ $status = 413 || $status = 422 ]]; then
    refuse malformed 401
  fi
  # What a server error or an outage says now may pass; anything else will not.
  [[ $status = 000 || $status = 5?? ]] || break
  [ "$attempt" -lt "$attempts" ] && [ $((SECONDS + ${wait:-1})) -lt "$total_seconds" ] || break
  sleep "${wait:-0.2}"
done
refuse unavailable 503 "$wait"
