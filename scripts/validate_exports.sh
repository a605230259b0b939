#!/usr/bin/env bash
# Lets programs that are not ours check a folder of exports: the promise is that finance and sustainability can, too.
#
#   scripts/validate_exports.sh FOLDER               check every export in it
#   scripts/validate_exports.sh --all FOLDER         the same, and a kind of export that is missing is a failure
#   scripts/validate_exports.sh --self-test FOLDER   that, and then break copies of the files, one error each: every checker
#                                                    must see its own
#   scripts/validate_exports.sh --install            only fetch the checkers
#
# | files                          | checker                                                       |
# |--------------------------------|---------------------------------------------------------------|
# | *.journal                      | hledger, strict, with balance assertions                      |
# | *.ledger                       | ledger, pedantic and strict                                   |
# | *.beancount                    | bean-check, tolerances of zero                                |
# | focus_1_2*.csv                 | focus-validator, the FinOps Foundation's                      |
# | focus_1_4*.csv, *.parquet      | focus-data-toolkit                                            |
# | ghg*.csv                       | frictionless, with the Table Schema that is published         |
# | sci*.yml beside sci*.csv       | if-run of the Impact Framework computes the figures again     |
# | all, beside trial_balance.json | DuckDB: CSV = Parquet = the ledger's own trial balance        |
#
# The checkers are fetched once, with pip and npm, into target/validators or where COUNTERFOIL_VALIDATORS says; hledger and
# ledger are Debian packages.
set -uo pipefail
shopt -s nullglob

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=${COUNTERFOIL_VALIDATORS:-$ROOT/target/validators}
readonly ROOT TOOLS
readonly PARTS=$ROOT/scripts/exports SCHEMA=$ROOT/data/schemas/ghg.schema.json
readonly FOCUS_VALIDATOR=focus-validator==2.2.1 FOCUS_MODEL=1.2.0.1 FOCUS_TOOLKIT='focus-data-toolkit[parquet]==0.14.1'
readonly BEANCOUNT=beancount==3.2.3 FRICTIONLESS=frictionless==5.21.0 IMPACT_FRAMEWORK=@grnsft/if@1.1.0
# What the sums are compared with.
readonly SUMS=(duckdb==1.5.6 pyyaml==6.0.3)
# What the exports support of FOCUS: without it most of the rules are skipped.
readonly CRITERIA=ACCOUNT_NAMING_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,TAGGING_SUPPORTED,RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED,REGION_SUPPORTED
readonly HLEDGER_CHECKS=(accounts commodities ordereddates payees balancednoautoconversion assertions)

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }

# environment NAME PACKAGE...: a virtual environment of its own, because the two FOCUS checkers want different libraries.
environment() {
    local name=$1 place=$TOOLS/$1; shift
    local wanted="$*"
    [[ ! -f $place/.wanted || $(<"$place/.wanted") != "$wanted" ]] || return 0
    rm -rf "$place"
    python3 -m venv "$place" >/dev/null && "$place/bin/pip" install --quiet --disable-pip-version-check "$@" || {
        complain "$name cannot be fetched: python3 with venv, and pip with a network, are needed"
        return 1
    }
    printf '%s' "$wanted" >"$place/.wanted"
}

install_tools() {
    mkdir -p "$TOOLS" || return 1
    local program
    for program in hledger ledger python3 node npm; do
        command -v "$program" >/dev/null || { complain "$program is not installed: apt-get install hledger ledger python3-venv nodejs npm"; return 1; }
    done
    # Says it wants Python 3.12, and needs it for one f-string, which is written otherwise below.
    environment focus12 --ignore-requires-python "$FOCUS_VALIDATOR" 'pyarrow<20' || return 1
    environment focus14 "$FOCUS_TOOLKIT" || return 1
    environment beancount "$BEANCOUNT" || return 1
    environment frictionless "$FRICTIONLESS" || return 1
    environment sums "${SUMS[@]}" || return 1
    "$TOOLS/focus12/bin/python" "$PARTS/mend_focus_validator.py" || return 1
    local packages
    packages=$("$TOOLS/focus12/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])') || return 1
    # It opens one of its own files by a path relative to where it is run.
    mkdir -p "$TOOLS/run" && ln -sfn "$packages/focus_validator" "$TOOLS/run/focus_validator" || return 1
    if [[ ! -f $TOOLS/if/.wanted || $(<"$TOOLS/if/.wanted") != "$IMPACT_FRAMEWORK" ]]; then
        rm -rf "$TOOLS/if"; mkdir -p "$TOOLS/if" || return 1
        (cd "$TOOLS/if" && npm init --yes && npm install --ignore-scripts --no-audit --no-fund "$IMPACT_FRAMEWORK") >"$TOOLS/npm.log" 2>&1 \
            || { complain 'the Impact Framework cannot be fetched by npm:'; tail -5 "$TOOLS/npm.log" >&2; return 1; }
        printf '%s' "$IMPACT_FRAMEWORK" >"$TOOLS/if/.wanted"
    fi
}

# Each takes a file, prints what is wrong with it, and fails.

check_hledger() { hledger --file "$1" check --strict "${HLEDGER_CHECKS[@]}"; }

check_ledger() { ledger --args-only --file "$1" --pedantic --strict balance >/dev/null; }

check_beancount() { "$TOOLS/beancount/bin/bean-check" "$1"; }

check_focus12() {
    local out
    out=$(cd "$TOOLS/run" && "$TOOLS/focus12/bin/focus-validator" --data-file "$1" --validate-version "$FOCUS_MODEL" \
        --block-download --applicability-criteria "$CRITERIA" --show-violations 2>focus12.err)
    # Its status is 0 also when rules fail, so its report is read; without a total it did not get that far.
    grep -q '^Total:' <<<"$out" || { tail -5 "$TOOLS/run/focus12.err"; say 'it did not finish'; return 1; }
    # InvoiceId-C-004-C and -005-C are an either-or that it reads as two rules: one of them always fails.
    ! sed -n '/--- Failures/,$p' <<<"$out" | grep '^- ' | grep -vE '^- InvoiceId-C-00[45]-C:'
}

check_focus14() {
    "$TOOLS/focus14/bin/focus-toolkit" validate "$1" --dataset cost-and-usage --supports SupportsUnitPricing \
        && "$TOOLS/focus14/bin/focus-toolkit" validate-bundle --cost-and-usage "$1"
}

# It refuses paths that begin at the root.
check_ghg() {
    local folder; folder=$(mktemp -d "$TOOLS/ghg.XXXXXX") || return 1
    cp "$1" "$folder/ghg.csv" && cp "$SCHEMA" "$folder/ghg.schema.json" || return 1
    (cd "$folder" && "$TOOLS/frictionless/bin/frictionless" validate ghg.csv --schema ghg.schema.json)
    local status=$?
    rm -rf "$folder"
    return "$status"
}

# if-check of the framework says nothing of a mismatch, so the figures are compared here.
check_sci() {
    local out; out=$(mktemp -d "$TOOLS/sci.XXXXXX") || return 1
    "$TOOLS/if/node_modules/.bin/if-run" --manifest "$1" --output "$out/again.yaml" >"$out/log" 2>&1 \
        && "$TOOLS/sums/bin/python" "$PARTS/check_sci.py" "$out/again.yaml" "${1%.yml}.csv"
    local status=$?
    [[ $status == 0 || -f $out/again.yaml ]] || grep -i error "$out/log" | head -5
    rm -rf "$out"
    return "$status"
}

# The balance lies beside the file.
check_sums() { "$TOOLS/sums/bin/python" "$PARTS/check_sums.py" "$1"; }

# checker FILE: who checks it.
checker() {
    case ${1##*/} in
    *.journal) say hledger ;;
    *.ledger) say ledger ;;
    *.beancount) say beancount ;;
    focus_1_2*.csv) say focus12 ;;
    focus_1_4*.csv | focus_1_4*.parquet) say focus14 ;;
    ghg*.csv) say ghg ;;
    sci*.yml) say sci ;;
    trial_balance.json) say sums ;;
    esac
}

validate() {
    local folder=$1 all=$2 file kind out failed=0 passed=0
    local -A seen=()
    for file in "$folder"/*; do
        kind=$(checker "$file")
        [[ -n $kind ]] || continue
        seen[$kind]=yes
        if out=$("check_$kind" "$file" 2>&1); then
            printf '%-12s %-32s ok\n' "$kind" "${file##*/}"
            ((passed += 1))
        else
            printf '%-12s %-32s FAILED\n' "$kind" "${file##*/}"
            tail -12 <<<"$out"
            ((failed += 1))
        fi
    done
    if [[ $all == yes ]]; then
        for kind in hledger ledger beancount focus12 focus14 ghg sci sums; do
            [[ -n ${seen[$kind]:-} ]] || { say "$kind: no export of this kind in the folder"; ((failed += 1)); }
        done
    fi
    say "$passed passed, $failed failed"
    [[ $failed == 0 && $passed -gt 0 ]]
}

# Breaks copies of the folder's files as scripts/exports/break_exports.py says, one error each.
self_test() {
    local folder=$1 work failed=0 passed=0 kind error file
    work=$(mktemp -d "$TOOLS/self-test.XXXXXX") || return 1
    "$TOOLS/sums/bin/python" "$PARTS/break_exports.py" "$folder" "$work" || { rm -rf "$work"; return 1; }
    for error in "$work"/*/; do
        kind=$(<"$error/checker"); file=$error$(<"$error/file")
        if "check_$kind" "$file" >"$work/out" 2>&1; then
            printf '%-12s %-48s NOT SEEN\n' "$kind" "$(<"$error/name")"
            ((failed += 1))
        else
            printf '%-12s %-48s seen\n' "$kind" "$(<"$error/name")"
            ((passed += 1))
        fi
    done
    rm -rf "$work"
    say "$passed passed, $failed failed"
    [[ $failed == 0 && $passed -gt 0 ]]
}

main() {
    local mode=check all=no
    case ${1:-} in
    --install) install_tools; return ;;
    --self-test) mode=self_test; shift ;;
    --all) all=yes; shift ;;
    -* | '') sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; return 2 ;;
    esac
    local folder
    folder=$(cd "${1:?a folder of exports}" && pwd) || return 2
    install_tools || return 1
    if [[ $mode == check ]]; then validate "$folder" "$all"; return; fi
    # A checker that refuses everything would see every error, so the files must pass before they are broken.
    validate "$folder" yes && self_test "$folder"
}

main "$@"
