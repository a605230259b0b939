-- A page of the factor rows. With an instant, only the row that applies then: of each kind, key and set the newest that
-- holds, then the one added last.
select factor.id, factor.key, factor.doc, factor.recorded_at
from factors as factor
where
    ($1::text is null or factor.kind = $1)
    and ($2::text is null or lower(factor.key) = lower($2))
    and factor.id > $4
    and (
        $3::timestamptz is null
        or factor.id = (
            select rival.id
            from factors as rival
            where
                rival.kind = factor.kind
                and rival.key = factor.key
                and rival.factor_set = factor.factor_set
                and rival.effective_from <= $3
                and coalesce((rival.doc ->> 'valid_to')::timestamptz > $3, true)
            order by rival.effective_from desc, rival.id desc
            limit 1
        )
    )
order by factor.id
limit $5
