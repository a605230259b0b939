#!/bin/sh
# What a fleet hears when a budget runs out: cap, wait, stop; and what to do.
#
#   counterfoil serve --data-dir ./books &
#   DATA_DIR=./books examples/refusals.sh
set -eu
: "${ADDRESS:=http://127.0.0.1:8080}" "${COUNTERFOIL:=counterfoil}" "${DATA_DIR:?the folder of the service}"

say() { printf '\n# %s\n' "$*"; }
# Only what matters here: the verdict, and why.
verdict() { sed 's/.*\("verdict":"[a-z]*"\).*\("max_output":[a-z0-9]*\).*"reasons":\[\(.*\)\],"budgets".*/\1,\2\n\3/'; echo; }
api() { # api METHOD PATH [BODY]
    curl -sS -X "$1" "$ADDRESS$2" -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' ${3:+-d "$3"}
}
ask() { # ask INPUT MAX_OUTPUT ALLOW_CAP
    api POST /v1/preflight "{\"tenant\": \"edge\", \"feature\": \"chat\", \"provider\": \"anthropic\",
      \"model\": \"claude-haiku-4-5\", \"region\": \"sa-east-1\", \"allow_cap\": $3, \"estimate\": {\"input\": $1, \"max_output\": $2}}"
}
reservation() { sed 's/.*"reservation":"\([^"]*\)".*/\1/'; }

TOKEN=$("$COUNTERFOIL" token --data-dir "$DATA_DIR" --scope admin --ttl 600)
api PUT /v1/tenants/edge '{"timezone": "America/Sao_Paulo"}' >/dev/null
api PUT /v1/budgets/edge-monthly '{"scope": {"tenant": "edge"}, "measure": "tokens", "limit": "10000",
  "period": {"kind": "month"}, "timezone": "tenant", "enforcement": "hard"}' >/dev/null

say '10,000 tokens a month. The first call may use 6,000.'
ANSWER=$(ask 2000 4000 false)
printf '%s' "$ANSWER" | verdict
FIRST=$(printf '%s' "$ANSWER" | reservation)

say 'While it runs, another 6,000 do not fit, and they might once it has ended: wait.'
ask 2000 4000 false | verdict

say 'Who takes a smaller answer may go now: cap.'
ANSWER=$(ask 2000 4000 true)
printf '%s' "$ANSWER" | verdict
SECOND=$(printf '%s' "$ANSWER" | reservation)

say 'Both use all they were granted. Now it is gone until the month ends in São Paulo: stop.'
api POST "/v1/reservations/$FIRST/settle" '{"usage": {"input": 2000, "output": 4000}}' >/dev/null
api POST "/v1/reservations/$SECOND/settle" '{"usage": {"input": 2000, "output": 2000}}' >/dev/null
ask 2000 4000 true | verdict

say 'Unless somebody raises it.'
api PUT /v1/budgets/edge-monthly '{"scope": {"tenant": "edge"}, "measure": "tokens", "limit": "20000",
  "period": {"kind": "month"}, "timezone": "tenant", "enforcement": "hard"}' >/dev/null
ask 2000 4000 true | verdict
