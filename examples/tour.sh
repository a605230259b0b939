#!/bin/sh
# A tour of the API: a tenant, a budget, one call from pre-flight to settlement.
#
# Needs curl and a service that runs, and the folder in which it keeps its key:
#   counterfoil serve --data-dir ./books &
#   DATA_DIR=./books examples/tour.sh
set -eu
: "${ADDRESS:=http://127.0.0.1:8080}" "${COUNTERFOIL:=counterfoil}" "${DATA_DIR:?the folder of the service}"

say() { printf '\n# %s\n' "$*"; }
# One field a line: enough to read without another tool.
show() { sed 's/,"/,\n"/g; s/},{/},\n{/g; s/\[{/[\n{/g'; echo; }
api() { # api METHOD PATH [BODY]
    curl -sS -X "$1" "$ADDRESS$2" -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' ${3:+-d "$3"}
}

say 'A token from the key of the service.'
TOKEN=$("$COUNTERFOIL" token --data-dir "$DATA_DIR" --scope admin --ttl 600)

say 'A tenant has a zone: its days and months are those of Kathmandu.'
api PUT /v1/tenants/tour '{"name": "Tour", "timezone": "Asia/Kathmandu"}' | show

say 'It may spend 20,000 tokens a day.'
api PUT /v1/budgets/tour-daily '{"scope": {"tenant": "tour"}, "measure": "tokens", "limit": "20000",
  "period": {"kind": "day"}, "timezone": "tenant", "enforcement": "hard"}' | show

say 'Before a call: may I?'
ANSWER=$(api POST /v1/preflight '{"tenant": "tour", "feature": "support-chat", "provider": "anthropic",
  "model": "claude-haiku-4-5", "region": "ap-south-1", "estimate": {"input": 1200, "max_output": 800}}')
printf '%s' "$ANSWER" | show
ID=$(printf '%s' "$ANSWER" | sed 's/.*"reservation":"\([^"]*\)".*/\1/')

say 'After the call: what it used, as the provider reported it.'
api POST "/v1/reservations/$ID/settle" '{"provider_usage": {"input_tokens": 180,
  "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 0, "output_tokens": 312}, "latency_ms": 4100}' | show

say 'A reservation ends once.'
api POST "/v1/reservations/$ID/release" | show

say 'How the budget stands.'
api GET /v1/budgets/tour-daily | show

say 'The books: every unit balances.'
api GET /v1/ledger/trial-balance | show
