#!/usr/bin/env python3
"""Converts the prices of the PyPI package genai-prices (MIT) into data/prices/genai-prices.json.

    python3 scripts/prices/convert.py            # rewrites the price file and tests/data/price_cases.csv
    python3 scripts/prices/convert.py --check    # fails when either would change

The package is installed, at the version pinned below, into a temporary virtual environment. To take newer prices, raise the
version, run the script, read the diff and the `skipped` list, and run the tests.

What a row means is written in data/prices/README.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from decimal import ROUND_HALF_EVEN, Decimal

PACKAGE = "genai-prices"
VERSION = "0.2.3"
ROOT = pathlib.Path(__file__).resolve().parents[2]
PRICES = ROOT / "data" / "prices" / "genai-prices.json"
CASES = ROOT / "tests" / "data" / "price_cases.csv"

# The source gives no first day for its oldest price: it is taken to hold since always.
ALWAYS = datetime.date(1970, 1, 1)
PLACES = Decimal("1e-12")

BUCKETS = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
}
REQUEST_FEE = "requests_kcount"

# The request context that selects a variant of a price, and our service tier for it.
TIERS = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
}

NOT_TOKENS = {
    "audio": "priced by modality: the usage buckets do not separate audio, image and video tokens, which are charged as text",
    "image": "priced by modality: the usage buckets do not separate audio, image and video tokens, which are charged as text",
    "video": "priced by modality: the usage buckets do not separate audio, image and video tokens, which are charged as text",
}
NOT_COUNTED = "priced by something that is not a token (searches, hours, characters, pages, messages): not charged"


def in_package_environment():
    """Runs this script again inside a virtual environment that holds the package."""
    with tempfile.TemporaryDirectory(prefix="genai-prices-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = os.path.join(folder, "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{PACKAGE}=={VERSION}"], check=True)
        return subprocess.run([python, __file__, "--inside", *sys.argv[1:]], check=False).returncode


class Skipped:
    """What could not be represented: reason → what → models."""

    def __init__(self):
        self.entries = {}

    def add(self, reason, what, provider, model):
        models = self.entries.setdefault((reason, what), [])
        name = f"{provider}/{model}"
        if name not in models:
            models.append(name)

    def to_json(self):
        return [
            {"reason": reason, "what": what, "models": sorted(models)}
            for (reason, what), models in sorted(self.entries.items())
        ]


# --- which names a model goes by -------------------------------------------------------------------------------------


def convert_match(clause):
    kind = type(clause).__name__
    if kind == "ClauseEquals":
        return {"equals": clause.equals.lower()}
    if kind == "ClauseStartsWith":
        return {"starts_with": clause.starts_with.lower()}
    if kind == "ClauseEndsWith":
        return {"ends_with": clause.ends_with.lower()}
    if kind == "ClauseContains":
        return {"contains": clause.contains.lower()}
    if kind == "ClauseOr":
        return any_of([convert_match(part) for part in clause.or_])
    if kind == "ClauseAnd":
        return {"all": [convert_match(part) for part in clause.and_]}
    if kind == "ClauseRegex":
        return convert_regex(clause.regex)
    raise ValueError(f"unknown clause {kind}")


def any_of(parts):
    flat = []
    for part in parts:
        flat.extend(part["any"] if "any" in part else [part])
    unique = [part for index, part in enumerate(flat) if part not in flat[:index]]
    return unique[0] if len(unique) == 1 else {"any": unique}


# Names that are, or hold, a segment `tts`: the one negative rule of the source.
NOT_SPEECH = r"^(?!.*-[tT][tT][sS](?:$|-))"


def convert_regex(regex):
    if regex == NOT_SPEECH:
        return {"not": {"any": [{"ends_with": "-tts"}, {"contains": "-tts-"}]}}
    anchored = regex.endswith("$")
    texts = expand(regex.removeprefix("^").removesuffix("$"))
    if not regex.startswith("^") or any("#" in text for text in texts) and not anchored and any(
        text.count("#") != 1 or not text.endswith("#") for text in texts
    ):
        raise ValueError(f"regular expression {regex!r} has no equivalent")
    parts = []
    for text in texts:
        if not anchored and text.endswith("#"):
            parts.extend({"starts_with": text[:-1] + str(digit)} for digit in range(10))
        elif not anchored:
            parts.append({"starts_with": text})
        elif "#" in text:
            parts.append({"digits": text})
        else:
            parts.append({"equals": text})
    return any_of(parts)


def expand(regex):
    """All texts of a regular expression of literals, `\\d`, `{n}`, `[ab]` and `(…)?`, with `#` for a digit."""
    import re._constants as constants
    import re._parser as parser

    def walk(pattern):
        texts = [""]
        for op, argument in pattern:
            if op is constants.LITERAL:
                options = [chr(argument).lower()]
            elif op is constants.IN and argument == [(constants.CATEGORY, constants.CATEGORY_DIGIT)]:
                options = ["#"]
            elif op is constants.IN and all(item is constants.LITERAL for item, _ in argument):
                options = [chr(value).lower() for _, value in argument]
            elif op is constants.MAX_REPEAT:
                least, most, inner = argument
                options = [
                    repeated for count in sorted({least, int(most)}) for repeated in repeat(walk(inner), count)
                ]
                if least != most and (least, most) != (0, 1):
                    raise ValueError(f"repetition in {regex!r} has no equivalent")
            elif op is constants.SUBPATTERN:
                options = walk(argument[3])
            else:
                raise ValueError(f"{op} in {regex!r} has no equivalent")
            texts = [text + option for text in texts for option in options]
        return texts

    def repeat(options, count):
        texts = [""]
        for _ in range(count):
            texts = [text + option for text in texts for option in options]
        return texts

    return walk(parser.parse(regex))


# --- what a model costs ----------------------------------------------------------------------------------------------


def is_free(model):
    words = " ".join(filter(None, [model.id, model.name, model.description, model.price_comments])).lower()
    return (
        model.id.endswith(":free")
        or "(free)" in words
        or "free of charge" in words
        or "included in the subscription" in words
    )


def number(value):
    text = format(value.normalize(), "f")
    return text


def values(price):
    return {key: value for key, value in vars(price).items() if value is not None}


def rate_at(value, start):
    """The price in force for a total input just above `start`."""
    if not hasattr(value, "tiers"):
        return value
    price = value.base
    for tier in value.tiers:
        if tier.start <= start:
            price = tier.price
    return price


def convert_price(price, provider, model, skipped):
    """One price without its date, or None when it says nothing about tokens."""
    given = values(price)
    for key, value in given.items():
        if key in BUCKETS or key == REQUEST_FEE:
            continue
        modality = next((word for word in NOT_TOKENS if f"_{word}_" in key and key.endswith("_mtok")), None)
        skipped.add(NOT_TOKENS.get(modality, NOT_COUNTED), key, provider.id, model.id)
    if not given and is_free(model):
        return {"tiers": [{"from": 0, "input": "0", "output": "0"}]}
    if "input_mtok" not in given:
        reason = "no price at all" if not given else "no price of input tokens"
        skipped.add(f"{reason}: the model is left out, and is unpriced", "model", provider.id, model.id)
        return None
    # A tier of the source begins *above* its start; ours begins *at* its first token.
    starts = sorted({tier.start for value in given.values() if hasattr(value, "tiers") for tier in value.tiers})
    tiers = []
    for start in [-1, *starts]:
        tier = {"from": start + 1}
        for key, bucket in BUCKETS.items():
            if key in given:
                exact = rate_at(given[key], start)
                rounded = exact.quantize(PLACES, rounding=ROUND_HALF_EVEN)
                if rounded != exact:
                    skipped.add("finer than 12 decimal places: rounded half to even", key, provider.id, model.id)
                tier[bucket] = number(rounded)
        tiers.append(tier)
    converted = {"tiers": tiers}
    if REQUEST_FEE in given:
        converted["request_fee"] = number(given[REQUEST_FEE] / 1000)
    return converted


def dates_of(items):
    return {getattr(item.constraint, "start_date", ALWAYS) for item in items if item.constraint is not None}


def clock_times(model):
    times = {datetime.time(0, 0)}
    for item in [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or [])]:
        if hasattr(item.constraint, "start_time"):
            for time in (item.constraint.start_time, item.constraint.end_time):
                moment = datetime.datetime.combine(datetime.date(2026, 1, 1), time)
                times.add(moment.astimezone(datetime.UTC).time() if moment.tzinfo else time)
    return sorted(times)


def dearest_of_day(model, day, context, provider, skipped):
    """The price of a day. Where it depends on the hour, the dearest hour's."""
    prices = []
    for time in clock_times(model):
        price = model.get_prices(datetime.datetime.combine(day, time, tzinfo=datetime.UTC), context)
        if price not in prices:
            prices.append(price)
    if len(prices) > 1:
        skipped.add("price by time of day: the dearest hour is taken", "all", provider.id, model.id)
    return max(prices, key=lambda price: (rate_at(price.output_mtok or 0, -1), rate_at(price.input_mtok or 0, -1)))


def history(model, provider, skipped):
    rows = []
    conditional = model.prices if isinstance(model.prices, list) else []
    days = {ALWAYS} | dates_of(conditional)
    contexts = [("standard", None)]
    for variant in model.price_variants or []:
        (pair, *more) = variant.when.items()
        tier = TIERS.get(pair)
        if tier is None or more:
            if values(variant.prices):
                what = ", ".join(f"{key}={value}" for key, value in sorted(variant.when.items()))
                skipped.add("price by a request context that is no service tier: standard price", what, provider.id, model.id)
            continue
        if (tier, pair) not in contexts:
            contexts.append((tier, pair))
    tiers = [tier for tier, _ in contexts]
    assert len(tiers) == len(set(tiers)), f"two contexts are one tier in {model.id}"
    for tier, pair in contexts:
        variants = [v for v in model.price_variants or [] if pair is not None and v.when == dict([pair])]
        previous = None
        for day in sorted(days | dates_of(variants)):
            noon = datetime.datetime.combine(day, datetime.time(12), tzinfo=datetime.UTC)
            if pair is not None and not any(v.constraint is None or v.constraint.active(noon) for v in variants):
                continue
            price = dearest_of_day(model, day, dict([pair]) if pair else None, provider, skipped)
            row = convert_price(price, provider, model, skipped)
            if row is None and previous is not None:
                rows[-1]["effective_to"] = day.isoformat()
                previous = None
            if row is None or row == previous:
                continue
            previous = row
            row = dict(row)
            if day != ALWAYS:
                row = {"effective_from": day.isoformat(), **row}
            if tier != "standard":
                row = {"service_tier": tier, **row}
            rows.append(row)
    return rows


def convert(retrieved_at):
    from genai_prices.data import providers

    skipped = Skipped()
    models, fallbacks, dates = [], {}, set()
    for provider in sorted(providers, key=lambda provider: provider.id):
        if provider.fallback_model_providers:
            fallbacks[provider.id] = provider.fallback_model_providers
        for model in sorted(provider.models, key=lambda model: model.id):
            dates.update(re.findall(r"20\d\d-\d\d-\d\d", f"{model.price_comments}"))
            try:
                match = convert_match(model.match)
            except ValueError as error:
                skipped.add(str(error), "match", provider.id, model.id)
                match = {"equals": model.id.lower()}
            entry = {"provider": provider.id, "model": model.id}
            if match != {"equals": model.id.lower()}:
                entry["match"] = match
            entry["prices"] = history(model, provider, skipped)
            if entry["prices"]:
                models.append(entry)
    today = retrieved_at.isoformat()
    return {
        "source": f"{PACKAGE} {VERSION}",
        "source_url": "https://github.com/pydantic/genai-prices",
        "source_date": max(date for date in dates if date <= today),
        "licence": "MIT",
        "retrieved_at": today,
        "provider_fallbacks": fallbacks,
        "models": models,
        "skipped": skipped.to_json(),
    }


def render(document):
    """JSON with one model and one skipped reason a line, so that a change of price is a change of a line."""
    compact = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n".join(f"    {compact(item)}" for item in value)
            parts.append(f"  {compact(key)}: [\n{lines}\n  ]")
        else:
            parts.append(f"  {compact(key)}: {compact(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


# --- prices the tests compare with, computed by the package itself ---------------------------------------------------

SMALL = dict(input=1200, cache_read=0, cache_write_5m=0, cache_write_1h=0, output=800, reasoning=0)
CACHED = dict(input=5005, cache_read=257955, cache_write_5m=0, cache_write_1h=0, output=1014, reasoning=77)
WRITES = dict(input=17, cache_read=4096, cache_write_5m=2048, cache_write_1h=1024, output=503, reasoning=0)
EDGE = dict(input=100000, cache_read=100000, cache_write_5m=0, cache_write_1h=0, output=11, reasoning=3)
ABOVE = dict(input=100001, cache_read=100000, cache_write_5m=0, cache_write_1h=0, output=11, reasoning=3)
LONG = dict(input=300001, cache_read=12345, cache_write_5m=54321, cache_write_1h=999, output=4444, reasoning=5555)
USAGES = [SMALL, CACHED, WRITES, EDGE, ABOVE, LONG]

# Provider, model as a caller names it, day.
KNOWN = [
    ("openai", "gpt-4o", "2026-11-01"), ("openai", "gpt-4o-mini", "2026-11-01"), ("openai", "gpt-4.1", "2026-11-01"),
    ("openai", "gpt-5", "2026-11-01"), ("openai", "gpt-5-mini", "2026-11-01"), ("openai", "gpt-5.2-2025-12-11", "2026-11-01"),
    ("openai", "o3", "2025-06-01"), ("openai", "o3", "2025-07-01"), ("openai", "o4-mini", "2026-11-01"),
    ("openai", "gpt-5.6-sol", "2026-11-01"), ("openai", "gpt-5.6-sol-2027-01-31", "2026-11-01"),
    ("openai", "gpt-5.2-20251211", "2026-11-01"), ("openai", "text-embedding-3-small", "2026-11-01"),
    ("anthropic", "claude-3-5-haiku-20241022", "2026-11-01"), ("anthropic", "claude-3-5-sonnet-20241022", "2025-06-01"),
    ("anthropic", "claude-sonnet-4-5", "2026-11-01"), ("anthropic", "claude-sonnet-4-5-20250929", "2026-11-01"),
    ("anthropic", "claude-sonnet-4-20250514", "2026-11-01"), ("anthropic", "claude-opus-4-1-20250805", "2026-11-01"),
    ("anthropic", "claude-opus-4-6", "2026-03-01"), ("anthropic", "claude-opus-4-6", "2026-03-13"),
    ("anthropic", "claude-haiku-4-5-20251001", "2026-11-01"), ("anthropic", "claude-haiku-5-5", "2026-11-01"),
    ("anthropic", "claude-opus-5-20260401", "2026-11-01"), ("google", "gemini-2.5-pro", "2026-11-01"),
    ("google", "gemini-2.5-flash", "2026-11-01"), ("google", "gemini-2.5-flash-lite-preview-09-2025", "2026-11-01"),
    ("google", "gemini-2.0-flash", "2026-11-01"), ("google", "gemini-1.5-pro", "2025-06-01"),
    ("google", "claude-sonnet-4-5@20250929", "2026-11-01"), ("google", "gemini-3-pro-preview", "2026-11-01"),
    ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "2026-11-01"),
    ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "2026-11-01"),
    ("aws", "anthropic.claude-3-haiku-20240307-v1:0", "2026-11-01"), ("aws", "amazon.nova-pro-v1:0", "2026-11-01"),
    ("azure", "gpt-4o", "2026-11-01"), ("azure", "o3-mini", "2026-11-01"), ("x-ai", "grok-4-0709", "2026-11-01"),
    ("x-ai", "grok-3", "2026-11-01"), ("mistral", "mistral-large-latest", "2026-11-01"),
    ("deepseek", "deepseek-chat", "2025-01-01"), ("groq", "llama-3.3-70b-versatile", "2026-11-01"),
    ("cohere", "command-r-plus", "2026-11-01"), ("perplexity", "sonar", "2026-11-01"),
    ("perplexity", "sonar-deep-research", "2026-11-01"), ("moonshotai", "kimi-k2-0905-preview", "2026-11-01"),
    ("openrouter", "openai/gpt-4o", "2026-11-01"), ("openrouter", "anthropic/claude-sonnet-4.5", "2026-11-01"),
    ("openrouter", "deepseek/deepseek-r1:free", "2026-11-01"), ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "2026-11-01"),
    ("fireworks", "accounts/fireworks/models/deepseek-v3p2", "2026-11-01"), ("cerebras", "gpt-oss-120b", "2026-11-01"),
    ("zai", "glm-4.6", "2026-11-01"), ("minimax", "MiniMax-M2", "2026-11-01"),
]


def price_cases():
    from genai_prices import calc_price
    from genai_prices import Usage
    from genai_prices.data_snapshot import get_snapshot

    lines = ["provider,model,service_tier,at,input,cache_read,cache_write_5m,cache_write_1h,output,reasoning,usd"]
    for provider, name, day in KNOWN:
        try:
            _, model = get_snapshot().find_provider_model(name, None, provider, None)
        except LookupError:
            print(f"not in the package: {provider} {name}", file=sys.stderr)
            continue
        at = datetime.datetime.fromisoformat(f"{day}T12:00:00+00:00")
        own = any(model in p.models for p in get_snapshot().providers if p.id == provider)
        contexts = {"standard": None}
        for variant in model.price_variants or []:
            (pair, *more) = variant.when.items()
            if pair in TIERS and not more and own:
                contexts.setdefault(TIERS[pair], dict([pair]))
        generates = getattr(model.get_prices(at), "output_mtok") is not None
        for tier, context in contexts.items():
            for usage in USAGES:
                if not generates:
                    usage = dict(usage, output=0, reasoning=0)
                writes = usage["cache_write_5m"] + usage["cache_write_1h"]
                counted = Usage(
                    input_tokens=usage["input"] + usage["cache_read"] + writes,
                    cache_read_tokens=usage["cache_read"],
                    cache_write_tokens=writes,
                    cache_write_5m_tokens=usage["cache_write_5m"],
                    cache_write_1h_tokens=usage["cache_write_1h"],
                    output_tokens=usage["output"] + usage["reasoning"],
                    output_reasoning_tokens=usage["reasoning"],
                )
                answer = calc_price(
                    counted, name, provider_id=provider, genai_request_timestamp=at, price_context=context
                )
                usd = answer.total_price.quantize(PLACES, rounding=ROUND_HALF_EVEN)
                fields = [provider, name, tier, at.strftime("%Y-%m-%dT%H:%M:%SZ"), *usage.values(), number(usd)]
                lines.append(",".join(str(field) for field in fields))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file would change")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:
        return in_package_environment()

    retrieved_at = datetime.datetime.now(datetime.UTC).date()
    document = convert(retrieved_at)
    if PRICES.exists():
        # The same prices keep the day on which they were first taken, so that a second run changes nothing.
        known = json.loads(PRICES.read_text())
        kept = dict(document, retrieved_at=known["retrieved_at"], source_date=known["source_date"])
        document = kept if kept == known else document
    stale = []
    for path, text in ((PRICES, render(document)), (CASES, price_cases())):
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    rows = sum(len(model["prices"]) for model in document["models"])
    print(f"{len(document['models'])} models, {rows} prices, {len(document['skipped'])} skipped reasons")
    if stale:
        print("changed: " + ", ".join(stale))
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
