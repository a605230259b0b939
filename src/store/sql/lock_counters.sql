-- Counters ($1 to $3, and for a sliding window, $4, all slices since then), locked and read; and first, in the order of their
-- keys, the rows of the sliding windows that are written or granted by ($5).
--
-- Whoever makes a slice holds its window's row and bumps it. So where the row that was locked is not the one that this
-- statement's snapshot sees, another replica was here meanwhile, and may have made slices that the snapshot does not see:
-- `is_current` is false, and with the row locked a second look sees all there is.
with asked as materialized (
    select *
    from unnest($1::integer[], $2::text[], $3::timestamptz[], $4::boolean[], $5::boolean[])
        as asked (budget, key, period_start, slides, locks)
),
seen as materialized (
    select anchor.budget, anchor.key, anchor.slices
    from asked
    join windows as anchor on anchor.budget = asked.budget and anchor.key = asked.key
    where asked.locks
),
anchors as materialized (
    select anchor.budget, anchor.key, anchor.slices
    from asked
    join windows as anchor on anchor.budget = asked.budget and anchor.key = asked.key
    where asked.locks
    order by anchor.budget, anchor.key
    for update of anchor
),
locked as materialized (
    select counter.budget, counter.key, counter.period_start, counter.posted, counter.held, counter.margin, counter.at_risk,
        counter.opened_at
    from asked
    join counters as counter
        on counter.budget = asked.budget
        and counter.key = asked.key
        and counter.period_start >= asked.period_start
        and counter.period_start <= case when asked.slides then 'infinity'::timestamptz else asked.period_start end
    where (select count(*) from anchors) >= 0
    order by counter.budget, counter.key, counter.period_start
    for update of counter
)
select budget, key, period_start, posted, held, margin, at_risk, opened_at, null::boolean as is_current
from locked
union all
select anchors.budget, anchors.key, null, null, null, null, null, null, coalesce(seen.slices = anchors.slices, false)
from anchors
left join seen on seen.budget = anchors.budget and seen.key = anchors.key
