#!/usr/bin/env bash
# Asks a service on books of its own, by its contract: no 5xx, no answer beside its schema, no request accepted that the schema forbids.
#
#   scripts/check_contract.sh --install         brings schemathesis into target/ci/contract
#   scripts/check_contract.sh [BINARY]          target/debug/counterfoil if none is named; two minutes at most
#
# SECONDS_MAX bounds the time, SEED the cases: the same seed asks the same questions of the same contract.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=4.32.5
readonly TOOLS=target/ci/contract

if [[ ${1:-} == --install ]]; then
    [[ -x $TOOLS/bin/schemathesis ]] && exit 0
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$VERSION"
    exit 0
fi

binary=${1:-target/debug/counterfoil}
books=$(mktemp -d)
chmod 755 "$books" # the user who runs a private Postgres passes through
service=
# shellcheck disable=SC2317 # called by the trap
finish() {
    [[ -z $service ]] || { kill "$service" 2>/dev/null && wait "$service" 2>/dev/null; } || true
    rm -rf "$books"
}
trap finish EXIT

RUST_LOG=error "$binary" serve --data-dir "$books/data" --listen 127.0.0.1:0 >"$books/said" 2>"$books/log" &
service=$!
for _ in $(seq 1 600); do
    grep -q listening "$books/said" && break
    kill -0 "$service" 2>/dev/null || { cat "$books/log"; exit 1; }
    sleep 0.1
done
address=$(sed -n 's/^listening on \(http:[^ ]*\).*/\1/p' "$books/said")
token=$("$binary" token --data-dir "$books/data" --scope admin --ttl 3600)

root=$PWD
cd "$books" # where it keeps what it found
SCHEMATHESIS_HOOKS=$root/scripts/contract/hooks.py "$root/$TOOLS/bin/schemathesis" \
    --config-file "$root/scripts/contract/schemathesis.toml" \
    run "$address/openapi.json" \
    --header "Authorization: Bearer $token" \
    --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-5}" --max-time "${SECONDS_MAX:-110}" --seed "${SEED:-1}" \
    --request-timeout 35 --workers 1 --no-color --warnings off
