#!/usr/bin/env bash
# How long exports take, how much memory they need, and that both grow as they should.
#
#   scripts/exports/measure.sh [TRANSFERS...]        default: 100000 1000000
#
# Needs DATABASE_URL (an empty database of a Postgres that may be filled with rubbish), psql, GNU time, and a release build.
# The demo's calls are copied over a month until there are so many: real tenants, models, regions and prices.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${DATABASE_URL:?a database that is empty, and may be lost}"
BINARY=${BINARY:-target/release/counterfoil}
OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT

[[ $# -gt 0 ]] || set -- 100000 1000000
sql() { psql "$DATABASE_URL" --quiet --no-psqlrc --tuples-only --no-align --set ON_ERROR_STOP=1 --command "$1"; }

"$BINARY" demo --exit --database-url "$DATABASE_URL" --listen 127.0.0.1:0 >/dev/null
sql "create table if not exists seed as select * from transfers order by id limit 2000"
columns=$(sql "select string_agg(
    case
        when column_name = 'id' then 'moved.id'
        when column_name in ('occurred_at', 'recorded_at', 'period_at') then 'moved.at'
        else 'seed.' || column_name
    end, ', ' order by ordinal_position)
    from information_schema.columns where table_name = 'transfers' and table_schema = current_schema()")

# measure NAME ARGUMENTS...: one line of the table.
measure() {
    local name=$1
    shift
    /usr/bin/time --format '%e %U %M' --output "$OUT/time" \
        "$BINARY" export "$@" --database-url "$DATABASE_URL" >/dev/null 2>"$OUT/said" || { cat "$OUT/said"; exit 1; }
    read -r seconds cpu kilobytes <"$OUT/time"
    printf '| %s | %s | %s | %s | %s | %s |\n' "$transfers" "$name" "$seconds" "$cpu" "$((kilobytes / 1024))" \
        "$(du -m --apparent-size "${@: -1}" | cut -f1)"
}

echo '| transfers | export | seconds | CPU of the client, s | peak memory, MB | file, MB |'
echo '|---|---|---|---|---|---|'
for transfers in "$@"; do
    # The copies are spread over the hours of a month, so that days and hours have work to do.
    sql "alter table transfers disable trigger all; truncate transfers"
    sql "insert into transfers select $columns
        from generate_series(0, $transfers / 2000 - 1) as copy
        cross join seed
        cross join lateral (
            select timestamptz '2026-06-01 00:00Z' + copy * (interval '29 days' * 2000 / $transfers)
                + random() * interval '59 minutes'
            where seed.id is not null -- so that it is drawn for each row
        ) as drawn (at)
        -- As in a UUID of version 7, milliseconds come first.
        cross join lateral (
            select drawn.at, (
                lpad(to_hex((extract(epoch from drawn.at) * 1000)::bigint), 12, '0') || '7'
                || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15)
            )::uuid
        ) as moved (at, id)"
    sql "vacuum analyze transfers"
    for shape in 'focus day csv' 'focus day parquet' 'focus hour csv' 'focus hour parquet' 'transfers - csv' 'transfers - parquet'; do
        read -r what grain format <<<"$shape"
        arguments=("$what" --period 2026-06)
        [[ $grain == - ]] || arguments+=(--grain "$grain")
        measure "$what ${grain/-/} $format" "${arguments[@]}" --out "$OUT/$what-$grain.$format"
    done
done
