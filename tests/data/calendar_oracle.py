#!/usr/bin/env python3
"""Writes calendar_cases.csv: periods found by a second implementation that shares no logic with the service.

Run it with Python 3.11 or newer and the newest `tzdata` of PyPI (`pip install tzdata`):

    python3 tests/data/calendar_oracle.py > tests/data/calendar_cases.csv

It never converts local time to UTC. To find a boundary it walks forward through UTC, reads the local clock at each step,
and stops at the first instant whose clock shows the nominal date-time or a later one. Gaps, folds and missing days need
no special case that way. Zone rules: IANA tz database (public domain), through `zoneinfo` and the `tzdata` package, never
those of the machine. America/Havana is left out: its rules changed between the releases of the two sides.
"""

import calendar
import csv
import sys
import zoneinfo
from datetime import date, datetime, time, timedelta, timezone
from functools import cache

import tzdata

zoneinfo.reset_tzpath(to=[])  # the package, not the machine

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def utc(text):
    return int((datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH).total_seconds())


def text(second):
    return (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def zone_of(name):
    return zoneinfo.ZoneInfo(name)


def wall(zone, second):
    """What the clock on the wall shows: UTC to local, the only direction used here."""
    return (EPOCH + timedelta(seconds=second)).astimezone(zone_of(zone)).replace(tzinfo=None)


@cache
def boundary(zone, nominal):
    """The first instant whose wall clock shows `nominal` or later: minute by minute, then second by second."""
    middle = int((nominal - datetime(1970, 1, 1)).total_seconds())
    second = middle - 40 * 3600
    while wall(zone, second) < nominal:
        second += 60
    second -= 60
    while wall(zone, second) < nominal:
        second += 1
    return second


def add_months(year, month, count):
    index = year * 12 + month - 1 + count
    return index // 12, index % 12 + 1


def clamped(year, month, day):
    return date(year, month, min(day, calendar.monthrange(year, month)[1]))


def time_of(words):
    hour, minute = words.get("at", "00:00").split(":")
    return time(int(hour), int(minute))


def nominals(kind, words, today):
    """Nominal boundaries, more than enough of them on both sides of `today`."""
    at = time_of(words)
    days = [today + timedelta(days=n) for n in range(-16, 17)]
    if kind == "day":
        return [datetime.combine(d, at) for d in days if abs((d - today).days) <= 4]
    if kind == "week":
        return [datetime.combine(d, at) for d in days if WEEKDAYS[d.weekday()] == words["week_start"]]
    if kind == "month":
        months = [add_months(today.year, today.month, n) for n in range(-2, 3)]
        return [datetime.combine(clamped(y, m, int(words["anchor_day"])), at) for y, m in months]
    if kind == "quarter":
        return [datetime(y, m, 1) for y in range(today.year - 1, today.year + 2) for m in (1, 4, 7, 10)]
    if kind == "year" and "anchor_date" not in words:
        return [datetime(y, 1, 1) for y in range(today.year - 1, today.year + 3)]
    anchor = date.fromisoformat(words["anchor_date"])
    every = 12 if kind == "year" else int(words["every"])
    found = []
    # Counted out from the anchor, one period after another.
    for direction in (1, -1):
        count = 0
        while True:
            y, m = add_months(anchor.year, anchor.month, count * every * direction)
            months_away = (y - today.year) * 12 + m - today.month
            if months_away * direction > 2 * every:
                break
            if abs(months_away) <= 2 * every:
                found.append(datetime.combine(clamped(y, m, anchor.day), at))
            count += 1
    return sorted(set(found))


def holding(zone, period, at):
    kind, *rest = period.split()
    words = dict(word.split("=", 1) for word in rest)
    if kind == "once":
        return 0, None
    if kind in ("fixed", "sliding"):
        length = int(words["seconds"])
        start = utc(words["anchor_instant"]) if kind == "fixed" else 0
        if kind == "sliding":
            length = max(1, -(-length // 60))
        start += (at - start) // length * length
        return start, start + length
    if kind == "hour":
        start, end = holding(zone, "day", at)
        while start + 3600 <= at:
            start += 3600
        return start, min(start + 3600, end)
    found = sorted({boundary(zone, nominal) for nominal in nominals(kind, words, wall(zone, at).date())})
    return max(b for b in found if b <= at), min(b for b in found if b > at)


# What makes each hard: zone, an instant (UTC) near which the clocks do something, and what they do.
HARD = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z", "forward at 02:00"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z", "back at 03:00"),
    ("America/New_York", "2026-03-08T07:00:00Z", "forward at 02:00"),
    ("America/New_York", "2026-11-01T06:00:00Z", "back at 02:00"),
    ("America/Los_Angeles", "2026-11-01T09:00:00Z", "back at 02:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "midnight does not exist"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z", "the hour before midnight comes twice"),
    ("America/Sao_Paulo", "2026-11-30T21:00:00Z", "no daylight saving any more"),
    ("Asia/Kathmandu", "2026-11-30T18:15:00Z", "+05:45"),
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z", "the year begins at 00:15"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", "back by half an hour: 24.5 h"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", "forward by half an hour: 23.5 h"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z", "30 December 2011 does not exist"),
    ("Pacific/Kwajalein", "1993-08-21T12:00:00Z", "a day does not exist"),
    ("Pacific/Kiritimati", "1994-12-31T10:00:00Z", "a day does not exist"),
    ("Pacific/Kiritimati", "2026-11-30T10:00:00Z", "+14:00"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z", "back at 03:45"),
    ("Pacific/Chatham", "2026-09-26T14:00:00Z", "forward at 02:45"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z", "back for Ramadan"),
    ("Africa/Casablanca", "2026-11-30T23:00:00Z", "rules that older databases lack"),
    ("America/Vancouver", "2026-11-01T09:00:00Z", "rules that older databases lack"),
    ("America/Vancouver", "2026-12-01T07:00:00Z", "rules that older databases lack"),
    ("America/Edmonton", "2026-12-01T06:00:00Z", "rules that older databases lack"),
    ("America/Winnipeg", "2026-12-01T05:00:00Z", "rules that older databases lack"),
    ("America/St_Johns", "2006-10-29T02:31:00Z", "midnight comes twice: back at 00:01"),
    ("America/St_Johns", "2006-04-02T03:31:00Z", "forward at 00:01"),
    ("America/St_Johns", "1988-04-03T03:31:00Z", "forward by two hours at 00:01"),
    ("America/Toronto", "1919-03-31T04:30:00Z", "forward at 23:30, over midnight"),
    ("Asia/Beirut", "2026-03-28T22:00:00Z", "midnight does not exist"),
    ("Asia/Beirut", "2026-10-24T21:00:00Z", "the hour before midnight comes twice"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z", "midnight does not exist"),
    ("Africa/Cairo", "2026-10-29T21:00:00Z", "the hour before midnight comes twice"),
    ("America/Asuncion", "2023-10-01T04:00:00Z", "midnight does not exist"),
    ("America/Santiago", "2026-09-06T04:00:00Z", "midnight does not exist"),
    ("Asia/Kolkata", "2026-11-30T18:30:00Z", "+05:30"),
    ("Asia/Tehran", "2022-03-21T20:30:00Z", "midnight does not exist"),
    ("Asia/Tehran", "2026-11-30T20:30:00Z", "+03:30"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z", "forward by two hours"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z", "back by two hours"),
    ("Asia/Gaza", "2026-03-28T00:00:00Z", "rules by the lunar calendar"),
    ("Asia/Gaza", "2026-10-24T00:00:00Z", "rules by the lunar calendar"),
    ("Asia/Tokyo", "2026-11-30T15:00:00Z", "no daylight saving"),
    ("Africa/Monrovia", "1972-01-07T00:44:30Z", "an offset with seconds ends"),
    ("Europe/Amsterdam", "1937-06-30T23:40:00Z", "an offset changes by 28 seconds at most"),
    ("Europe/Dublin", "2026-03-29T01:00:00Z", "winter is the exception"),
    ("America/Nuuk", "2023-10-29T01:00:00Z", "a change that keeps the offset"),
    ("Etc/UTC", "2026-12-01T00:00:00Z", "no zone at all"),
]

# Instants around the event, in seconds: the second before it, the event, inside, and the days about it.
NEAR = [-1, 0, 1799, 3600, -86400, 86400]

CIVIL = [
    "hour",
    "day",
    "day at=02:30",
    "day at=23:15",
    "day at=23:45",
    "week week_start=mon",
    "week week_start=sun at=00:30",
    "month anchor_day=1",
    "month anchor_day=29",
    "month anchor_day=30 at=02:15",
    "month anchor_day=31 at=09:00",
    "months every=3 anchor_date=2025-11-30",
    "quarter",
    "year",
    "year anchor_date=2024-02-29",
]

# Anchors and leap years: period, zone and the instants to ask at.
ANCHORS = [
    ("month anchor_day=31", ["2024-01-31T12:00:00Z", "2024-02-28T12:00:00Z", "2024-02-29T12:00:00Z", "2024-03-30T12:00:00Z",
                             "2024-03-31T12:00:00Z", "2024-04-30T12:00:00Z", "2025-02-27T12:00:00Z", "2025-02-28T12:00:00Z"]),
    ("month anchor_day=30", ["2024-02-29T12:00:00Z", "2025-02-28T12:00:00Z", "2025-03-30T12:00:00Z"]),
    ("month anchor_day=29", ["1900-02-28T12:00:00Z", "2000-02-29T12:00:00Z", "2100-02-28T12:00:00Z", "2025-03-01T12:00:00Z"]),
    ("months every=1 anchor_date=2025-01-31", ["2025-02-28T12:00:00Z", "2025-03-31T12:00:00Z", "2024-02-29T12:00:00Z"]),
    ("months every=6 anchor_date=2024-08-31", ["2025-02-28T12:00:00Z", "2024-02-29T12:00:00Z", "2031-08-30T12:00:00Z"]),
    ("months every=5 anchor_date=2025-11-30 at=06:30", ["2025-11-30T12:00:00Z", "2025-11-29T12:00:00Z", "2019-07-01T12:00:00Z"]),
    ("months every=120 anchor_date=2020-02-29", ["2026-01-01T12:00:00Z", "2019-12-31T12:00:00Z"]),
    ("year anchor_date=2024-02-29", ["2025-02-27T12:00:00Z", "2025-02-28T12:00:00Z", "2028-02-28T12:00:00Z",
                                     "2028-02-29T12:00:00Z", "2100-02-28T12:00:00Z", "2020-02-29T12:00:00Z"]),
    ("quarter", ["2024-03-31T12:00:00Z", "2024-04-01T00:00:00Z", "2026-12-31T23:30:00Z"]),
]

ELAPSED = [
    "fixed seconds=604800 anchor_instant=2026-03-26T17:00:00Z",
    "fixed seconds=1 anchor_instant=2026-03-26T17:00:00Z",
    "fixed seconds=18000 anchor_instant=2030-01-01T00:00:07Z",
    "sliding seconds=600",
    "sliding seconds=61",
    "sliding seconds=1",
    "sliding seconds=86400",
    "once",
]


def cases():
    for index, (zone, event, why) in enumerate(HARD):
        for number, near in enumerate(NEAR):
            # Every period at the event itself; elsewhere a few, in turn, and always the days and hours.
            for position, period in enumerate(CIVIL):
                if near == 0 or position < 3 or (position + index + number) % 8 == 0:
                    yield zone, period, utc(event) + near, why
    for period, instants in ANCHORS:
        for index, at in enumerate(instants):
            zones = ["Etc/UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "America/Sao_Paulo"]
            for zone in (zones[0], zones[1 + index % 4]):
                yield zone, period, utc(at), "anchor"
    for period in ELAPSED:
        for at in ["2026-03-29T01:00:00Z", "2026-03-26T16:59:59Z", "2026-03-26T17:00:00Z", "1969-12-31T23:59:59Z", "2026-11-01T06:30:01Z"]:
            yield "America/New_York", period, utc(at), "elapsed seconds"


def main():
    out = csv.writer(sys.stdout, lineterminator="\n")
    print("# Written by calendar_oracle.py; do not edit. Rules: IANA tz database", tzdata.IANA_VERSION, "(public domain),",
          "PyPI tzdata", tzdata.__version__)
    out.writerow(["zone", "period", "at", "start", "end", "why"])
    for zone, period, at, why in dict.fromkeys(cases()):
        start, end = holding(zone, period, at)
        out.writerow([zone, period, text(at), text(start), "" if end is None else text(end), why])


main()
