"""Makes copies of good exports with one error each, to see whether the checkers are awake.

    break_exports.py FOLDER WORK

Each error is a folder of its own in WORK, with the broken file, what belongs to it, and three notes: `checker`, which must
see it, `file`, which it is shown, and `name`. An error that cannot be made in the given files is an error itself.
"""

import csv
import io
import pathlib
import re
import shutil
import sys

ERRORS = []


def error(pattern, checker, shown=None):
    """Registers a way to break the text of the first file of a pattern. `shown`: the checker is given this one instead."""

    def register(function):
        ERRORS.append((function.__doc__, pattern, checker, shown, function))
        return function

    return register


def once(pattern, replacement, text, flags=re.MULTILINE):
    found, count = re.subn(pattern, replacement, text, count=1, flags=flags)
    assert count == 1, f"{pattern} is not there"
    return found


def cell(text, column, change, where=lambda row: True):
    """Changes one cell of the first row that is fit."""
    rows = list(csv.reader(io.StringIO(text)))
    place = rows[0].index(column)
    row = next(row for row in rows[1:] if row[place] and where(dict(zip(rows[0], row))))
    row[place] = change(row[place])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def last_digit(number):
    """Another last digit, so that the number is as long and other."""
    return number[:-1] + ("1" if number[-1] != "1" else "2")


def last_transaction(text):
    """The text of the last transaction before the assertions of a journal."""
    blocks = [block for block in text.split("\n\n") if re.match(r"\d{4}-\d\d-\d\d \*", block)]
    return [block for block in blocks if "counterfoil" not in block.split("\n")[0]][-1]


def without_a_leg(text):
    """Removes one posting in dollars and one, of the other account, in tokens."""
    block = last_transaction(text)
    legs = [line for line in block.split("\n") if re.search(r"(TOK|USD)$", line)]
    broken = block.replace(legs[1] + "\n", "").replace(legs[2] + "\n", "")
    return text.replace(block, broken)


JOURNALS = [("*_call.journal", "hledger"), ("*_call.ledger", "ledger"), ("*_call.beancount", "beancount")]
for files, program in JOURNALS:

    @error(files, program)
    def missing(text):
        """a transaction is missing"""
        return text.replace(last_transaction(text), "")

    @error(files, program)
    def doubled(text):
        """a transaction is there twice"""
        block = last_transaction(text)
        return text.replace(block, block + "\n\n" + block)

    @error(files, program)
    def unbalanced(text):
        """a posting is off by its last digit"""
        block = last_transaction(text)
        return text.replace(block, once(r"(\d) USD$", lambda m: last_digit(m[1]) + " USD", block))

    @error(files, program)
    def asserted(text):
        """a balance is asserted that is not there"""
        block = text.rstrip("\n").split("\n")
        place = max(at for at, line in enumerate(block) if " USD" in line)
        block[place] = re.sub(r"(\d)(?=( ~ 0)? USD$)", lambda m: last_digit(m[1]), block[place], count=1)
        return "\n".join(block) + "\n"

    @error(files, program)
    def undeclared(text):
        """an account is not declared"""
        return once(r"^(account \S+|1970-01-01 open .*)\n", "", text)


@error("*_call.journal", "hledger")
def inferred(text):
    """dollars are balanced by tokens, as if at a price"""
    return without_a_leg(text)


@error("*_call.beancount", "beancount")
def inferred_in_beancount(text):
    """dollars are balanced by tokens"""
    return without_a_leg(text)


@error("*_call.journal", "hledger")
def unordered(text):
    """a transaction is dated before the one it follows"""
    block = last_transaction(text)
    return text.replace(block, "2000-01-01" + block[10:])


@error("focus_1_2.csv", "focus12")
def no_cost(text):
    """a cost is missing"""
    return cell(text, "BilledCost", lambda _: "")


@error("focus_1_2.csv", "focus12")
def lower_case_currency(text):
    """the currency is in lower case"""
    return re.sub(r"\bUSD\b", "usd", text)


@error("focus_1_2.csv", "focus12")
def broken_tags(text):
    """tags are no JSON"""
    return cell(text, "Tags", lambda tags: tags[:-1])


@error("focus_1_4.csv", "focus14")
def unknown_category(text):
    """a charge category does not exist"""
    return cell(text, "ChargeCategory", lambda _: "Usages")


@error("focus_1_4.csv", "focus14")
def exponent(text):
    """a cost has an exponent"""
    return cell(text, "BilledCost", lambda _: "1e-7")


@error("focus_1_4.csv", "focus14")
def wrong_product(text):
    """price times quantity is not the cost"""
    return cell(text, "ListCost", lambda _: "123456.7", lambda row: row.get("ListUnitPrice"))


@error("focus_1_4.csv", "focus14")
def local_time(text):
    """an instant has no zone"""
    return cell(text, "ChargePeriodStart", lambda at: at.removesuffix("Z"))


@error("ghg.csv", "ghg")
def unknown_scope(text):
    """a Scope 3 category does not exist"""
    return cell(text, "scope3_category", lambda _: "3.16")


@error("ghg.csv", "ghg")
def no_method(text):
    """a line does not say its method"""
    return cell(text, "model_version", lambda _: "")


@error("ghg.csv", "ghg")
def words_for_numbers(text):
    """a figure is no number"""
    return cell(text, "lb_usage_kgco2e", lambda _: "little")


@error("ghg.csv", "ghg")
def renamed_column(text):
    """a column has another name"""
    return text.replace("embodied_kgco2e", "embedded_kgco2e", 1)


@error("sci.yml", "sci")
def more_energy(text):
    """the manifest has another energy"""
    return once(r"(energy: )([\d.]+)", r"\g<1>1\2", text)


@error("sci.yml", "sci")
def no_component(text):
    """the manifest lacks a feature"""
    return once(r"^    \"[^\"]+/[^\"]+\":\n(      .*\n)+", "", text)


@error("sci.yml", "sci")
def no_document(text):
    """the manifest cannot be read"""
    return text.replace("tree:", "tree", 1)


@error("sci.csv", "sci", "sci.yml")
def other_intensity(text):
    """the table has another intensity"""
    return cell(text, "sci_gco2e_per_unit", lambda value: "1" + value)


for files, column in [
    ("transfers.csv", "usd"),
    ("focus_1_4.csv", "BilledCost"),
    ("focus_1_2.csv", "x_EmbodiedGrams"),
    ("ghg.csv", "embodied_kgco2e"),
]:

    def off_by_little(text, column=column):
        return cell(text, column, last_digit, lambda row: row[column].strip("0.") != "")

    off_by_little.__doc__ = f"{column} of {files} is off by its last digit"
    error(files, "sums", "trial_balance.json")(off_by_little)


@error("transfers.csv", "sums", "trial_balance.json")
def other_text(text):
    """CSV and Parquet tell another feature"""
    return cell(text, "feature", lambda feature: feature + "-x")


@error("*_day.beancount", "sums", "trial_balance.json")
def other_balance(text):
    """a journal asserts what the ledger does not have"""
    return once(r"(balance Expenses:Usage:\S+  )(\d+)( ~ 0 TOK)", r"\g<1>1\2\3", text)


def main(folder, work):
    folder, work = pathlib.Path(folder), pathlib.Path(work)
    for number, (name, pattern, checker, shown, function) in enumerate(ERRORS):
        files = sorted(folder.glob(pattern))
        if not files:
            print(f"{pattern}: nothing to break")
            return 1
        source = files[0]
        place = work / f"{number:02}"
        if checker in ("sums", "sci"):
            shutil.copytree(folder, place)
        else:
            place.mkdir()
        text = source.read_text(encoding="utf-8")
        broken = function(text)
        if broken == text:
            print(f"{name}: nothing to break in {source.name}")
            return 1
        (place / source.name).write_text(broken, encoding="utf-8")
        for note, said in [("checker", checker), ("file", shown or source.name), ("name", name)]:
            (place / note).write_text(said, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
