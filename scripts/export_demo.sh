#!/usr/bin/env bash
# Runs the demo on books of its own and takes out every export, for scripts/validate_exports.sh.
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
rm -rf "$FOLDER/books" "$FOLDER"/{focus_*,transfers*,books_*.journal,books_*.ledger,books_*.beancount,ghg*,sci*,*.json}

"$PROGRAM" demo --exit --json --listen 127.0.0.1:0 --data-dir "$FOLDER/books" >"$FOLDER/demo.json" 2>"$FOLDER/demo.log" \
    || { tail -5 "$FOLDER/demo.log" >&2; exit 1; }

# What the ledger itself says; an instant in the middle of the trace, at which something stands on most accounts; and days
# that hold all of it: the demo's past has months of its own, and it may be run anywhere in one.
read -r MIDDLE FIRST LAST < <(python3 - "$FOLDER" <<'PYTHON'
import datetime, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
demo = json.loads((folder / "demo.json").read_text())
(folder / "trial_balance.json").write_text(json.dumps({"units": demo["trial_balance"]}))
ended = datetime.datetime.fromisoformat(demo["at"].replace("Z", "+00:00"))
middle = ended - datetime.timedelta(milliseconds=demo["speed"]["replay_ms"] / 2)
day = datetime.timedelta(days=1)
print(middle.strftime("%Y-%m-%dT%H:%M:%SZ"), (ended - 400 * day).date(), (ended + 2 * day).date())
PYTHON
)

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
