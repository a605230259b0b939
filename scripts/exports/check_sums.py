"""CSV = Parquet = ledger, by DuckDB.

    check_sums.py FOLDER/trial_balance.json

The file has the ledger's own trial balance: `{"units": [{"unit": "usd", "debit": "12.5"}, ...]}`. In its folder every table
that is there both as CSV and as Parquet must have the same rows, as often; and every export must add up to the balance, to
the last digit, in each unit that it has. The transfers add up to the debit side; the others count down what corrections took
back, and add up to what the transfers say the suppliers gave. Exports named `*_part*` are of part of the books, and are only
compared with their own Parquet.
"""

import json
import pathlib
import re
import sys
from decimal import Decimal

import duckdb

EXACT = "DECIMAL(38, 15)"
# The unit of the ledger, and what of it a line of an export says.
COLUMNS = {
    "transfers": {
        "tokens": "tokens",
        "usd": "usd",
        "gco2e_usage_location": "gco2e_usage_location",
        "gco2e_usage_market": "gco2e_usage_market",
        "gco2e_embodied": "gco2e_embodied",
    },
    "focus": {
        "tokens": "x_Tokens",
        "usd": "BilledCost",
        "gco2e_usage_location": "x_UsageLocationBasedGrams",
        "gco2e_usage_market": "x_UsageMarketBasedGrams",
        "gco2e_embodied": "x_EmbodiedGrams",
    },
    "ghg": {
        "gco2e_usage_location": "lb_usage_kgco2e",
        "gco2e_usage_market": "mb_usage_kgco2e",
        "gco2e_embodied": "embodied_kgco2e",
    },
    "sci": {"gco2e_usage_location": "operational_gco2e", "gco2e_embodied": "embodied_gco2e"},
}
SCALE = {"ghg": 1000}
WHERE = {"sci": "functional_unit = 'feature'"}
COMMODITIES = {
    "TOK": "tokens",
    "USD": "usd",
    "GCO2E.LB": "gco2e_usage_location",
    "GCO2E.MB": "gco2e_usage_market",
    "GCO2E.EMB": "gco2e_embodied",
}
ASSERTION = re.compile(
    r"(?:^    (?P<a>(?:expenses|equity|liabilities):\S+)  0 \S+ = (?P<x>\S+) \"?(?P<u>[A-Z0-9.]+)\"?$)"
    r"|(?:^\S+ balance (?P<b>(?:Expenses|Equity|Liabilities):\S+)  (?P<y>\S+) ~ 0 (?P<v>[A-Z0-9.]+)$)",
    re.MULTILINE,
)


def main(path):
    path = pathlib.Path(path)
    balance = {unit["unit"]: Decimal(unit["debit"]) for unit in json.loads(path.read_text())["units"]}
    wrong, compared = [], 0
    database = duckdb.connect()
    supplied = {**balance, **net(database, path.with_name("transfers.csv"))}

    def add_up(name, unit, found, expected=supplied):
        nonlocal compared
        compared += 1
        if found != expected[unit]:
            wrong.append(f"{name}: {found} {unit}, and the ledger has {expected[unit]}")

    for file in sorted(path.parent.iterdir()):
        kind = file.name.split("_")[0].split(".")[0]
        if file.suffix == ".parquet":
            compared += 1
            wrong += same_rows(database, file.with_suffix(".csv"), file)
        if "_part" in file.name:
            continue
        if file.suffix in (".csv", ".parquet") and kind in COLUMNS:
            for unit, column in COLUMNS[kind].items():
                total = database.execute(
                    f"select coalesce(sum(cast({column} as {EXACT})), 0) from {table(file)} where {WHERE.get(kind, 'true')}"
                ).fetchone()[0]
                add_up(file.name, unit, total * SCALE.get(kind, 1), balance if kind == "transfers" else supplied)
        if file.suffix in (".journal", ".ledger", ".beancount"):
            consumed = dict.fromkeys(COMMODITIES.values(), Decimal(0))
            supply = dict(consumed)
            for found in ASSERTION.finditer(file.read_text()):
                supplies = (found["a"] or found["b"]).lower().startswith("liabilities:supply:")
                amount = Decimal(found["x"] or found["y"])
                unit = COMMODITIES[found["u"] or found["v"]]
                if supplies:
                    supply[unit] -= amount
                else:
                    consumed[unit] += amount
            for unit in COMMODITIES.values():
                add_up(f"{file.name}, suppliers", unit, supply[unit])
                add_up(f"{file.name}, consumers", unit, consumed[unit])
    print("\n".join(wrong))
    return 1 if wrong or not compared else 0


def net(database, transfers):
    """What suppliers gave less what they got back, in each unit; nothing where there are no transfers."""
    if not transfers.exists():
        return {}
    sign = "case when starts_with(debit_account, 'supply:') then -1 else 1 end"
    sums = ", ".join(f"coalesce(sum({sign} * cast({column} as {EXACT})), 0)" for column in COLUMNS["transfers"].values())
    return dict(zip(COLUMNS["transfers"], database.execute(f"select {sums} from {table(transfers)}").fetchone()))


def table(file):
    """A CSV file as texts, so that DuckDB guesses no type and loses no digit."""
    return f"read_csv('{file}', all_varchar = true)" if file.suffix == ".csv" else f"'{file}'"


def same_rows(database, csv, parquet):
    """What one file has and the other has not, each value as the type of its Parquet column."""
    if not csv.exists():
        return [f"{parquet.name} has no CSV beside it"]
    columns = database.execute(f"describe select * from '{parquet}'").fetchall()
    names = [name for name, *_ in columns]
    header = [name for name, *_ in database.execute(f"describe select * from {table(csv)}").fetchall()]
    if names != header:
        return [f"{csv.name} and {parquet.name} have other columns"]
    typed = ", ".join(f'cast("{name}" as {kind}) as "{name}"' for name, kind, *_ in columns)
    sides = [f"(select {typed} from {table(csv)})", f"(select * from '{parquet}')"]
    wrong = []
    for one, other, name in [(*sides, csv.name), (*reversed(sides), parquet.name)]:
        only = database.execute(f"select count(*) from (from {one} except all from {other})").fetchone()[0]
        if only:
            wrong.append(f"{only} rows are in {name} only")
    return wrong


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
