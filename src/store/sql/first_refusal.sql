-- The first time in a span that a budget had no room left for a call: told one by one, or counted by the minute.
select min(at)
from (
    select min(refused_at) as at
    from refusals
    where budget = $1 and refused_at >= $2 and refused_at < $3 and reason = 'limit_reached'
    union all
    select min(first_at)
    from refusal_counts
    where budget = $1 and first_at >= $2 and first_at < $3 and reason = 'limit_reached'
) as refusal
