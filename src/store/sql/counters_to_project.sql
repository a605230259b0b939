-- The counters of some budgets whose period holds an instant: the fullest of each budget, so many of them.
select budget, key, period_start, posted, held, period_end, tenant, margin, at_risk
from (
    select
        budget, key, period_start, posted, held, period_end, tenant, margin, at_risk,
        row_number() over (partition by budget order by posted + held desc, key) as place
    from counters
    where budget = any($1) and period_start <= $2 and (period_end is null or period_end > $2)
) as open
where place <= $3
order by budget, key
