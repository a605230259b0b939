#!/usr/bin/env bash
# Runs the demo on books of its own, corrects them (a provider's invoice, new emission factors), and takes out every export,
# for scripts/validate_exports.sh.
#
#   scripts/export_demo.sh FOLDER [PROGRAM]
#
# PROGRAM is the built program, target/debug/counterfoil if not given. The folder is made anew.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:?a folder}"
FOLDER=$(cd "$1" && pwd)
PROGRAM=${2:-$ROOT/target/debug/counterfoil}
readonly ROOT FOLDER PROGRAM
# Only what an earlier run left; the folder may hold something else.
rm -rf "$FOLDER/books" "$FOLDER"/{focus_*,transfers*,books_*.journal,books_*.ledger,books_*.beancount,ghg*,sci*,*.json,invoice_*.csv}

"$PROGRAM" demo --exit --json --listen 127.0.0.1:0 --data-dir "$FOLDER/books" >"$FOLDER/demo.json" 2>"$FOLDER/demo.log" \
    || { tail -5 "$FOLDER/demo.log" >&2; exit 1; }

# An instant in the middle of the trace, at which something stands on most accounts; and days
# that hold all of it: the demo's past has months of its own, and it may be run anywhere in one.
read -r MIDDLE FIRST RESTATED BEFORE LAST < <(python3 - "$FOLDER" <<'PYTHON'
import datetime, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
demo = json.loads((folder / "demo.json").read_text())
ended = datetime.datetime.fromisoformat(demo["at"].replace("Z", "+00:00"))
middle = ended - datetime.timedelta(milliseconds=demo["speed"]["replay_ms"] / 2)
day = datetime.timedelta(days=1)
invoiced = (ended - 3 * day).date()
# Less input and more output than the books have; and a model they have nothing of on that day, so that nobody knows whose it is.
invoice = "day,model,bucket,quantity,usd\n"
model = f"{invoiced},mistral-small-latest"
(folder / "invoice_mistral.csv").write_text(f"{invoice}{model},input,1000,\n{model},output,900000000,\n")
(folder / "invoice_openai.csv").write_text(f"{invoice}{invoiced},gpt-5-mini,output,9000000,\n")
# The grids of this year, published anew, and a contract.
def grid(zone, value, **more):
    source = {"set": "audit", "title": "Grid audit", "publisher": "Example AB", "licence": "private", "tier": 2}
    row = {"kind": "grid", "zone": zone, "g_per_kwh": value, "basis": "lifecycle", "accounting": "location"}
    return row | {"valid_from": "2025-01-01T00:00:00Z", "source": source} | more
grids = [grid("SWE", 41.5), grid("USA", 350.5), grid("WOR", 24.5, accounting="market_contract", provider="mistral")]
(folder / "factors.json").write_text(json.dumps(grids))
days = [(ended + days * day).date() for days in (-400, -9, -1, 2)]
print(middle.strftime("%Y-%m-%dT%H:%M:%SZ"), *days)
PYTHON
)

# correct WHAT ARGUMENT...: the last transactions of the journals stay calls, because the corrections are of days before.
correct() {
    "$PROGRAM" "$@" --data-dir "$FOLDER/books" >"$FOLDER/export.log" 2>&1 || { head -5 "$FOLDER/export.log" >&2; exit 1; }
}
# The dollars that a report moves: an approval of so many must name them. That the books differ is exit status 1.
moves() {
    { "$PROGRAM" reconcile "$@" --data-dir "$FOLDER/books" --json 2>"$FOLDER/export.log" || true; } |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["moves"]["usd"])'
}
for provider in mistral openai; do
    invoice="$FOLDER/invoice_$provider.csv"
    usd=$(moves "$invoice" --provider "$provider") || exit 1
    correct reconcile "$invoice" --provider "$provider" --approve --usd "$usd"
done
correct import factors "$FOLDER/factors.json" --apply
correct restate --from "$RESTATED" --to "$BEFORE" --apply
grep -q '^Posted' "$FOLDER/export.log" || { echo 'nothing was restated' >&2; exit 1; }

# What the ledger itself says, once it has found no difference in its books.
"$PROGRAM" verify --data-dir "$FOLDER/books" --json >"$FOLDER/verify.json" 2>"$FOLDER/export.log" \
    || { head -20 "$FOLDER/verify.json" "$FOLDER/export.log" >&2; exit 1; }
python3 -c 'import json, sys; json.dump({"units": json.load(sys.stdin)["trial_balance"]}, sys.stdout)' \
    <"$FOLDER/verify.json" >"$FOLDER/trial_balance.json"

# take WHAT FILE OPTION...
take() {
    local what=$1 file=$2; shift 2
    "$PROGRAM" export "$what" --data-dir "$FOLDER/books" --out "$FOLDER/$file" "$@" >"$FOLDER/export.log" 2>&1 \
        || { head -5 "$FOLDER/export.log" >&2; exit 1; }
}
readonly ALL=(--from "$FIRST" --to "$LAST")

for format in csv parquet; do
    take transfers "transfers.$format"
    take focus "focus_1_4.$format" "${ALL[@]}"
    take focus "focus_1_2.$format" --focus-version 1.2 "${ALL[@]}"
done
for dialect in hledger:journal ledger:ledger beancount:beancount; do
    program=${dialect%:*} extension=${dialect#*:}
    take "$program" "books_day.$extension"
    take "$program" "books_call.$extension" --group call
    # With opening balances, in a zone where the day is another; of one tenant.
    take "$program" "books_part_call.$extension" --group call --from "$MIDDLE" --zone Asia/Kathmandu
    take "$program" "books_part_tenant.$extension" --tenant hinode
done
take ghg ghg.csv
take ghg ghg_part.csv --tenant hinode --cut day --scope3-category 3.8 --reporting-basis market
cp "$ROOT/data/schemas/ghg.schema.json" "$FOLDER/"
take sci sci.csv "${ALL[@]}"
take sci sci.yml "${ALL[@]}"
