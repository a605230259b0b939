-- How right projections were, by method and class: the error of the instant, the coverage of the band, the Brier score of
-- the probability beside that of a yes or no.
select
    method,
    method_version,
    class,
    count(covered) as scored,
    coalesce(avg((exhausted_at is not null)::integer) filter (where covered is not null), 0)::float8 as exhausted_share,
    percentile_cont(0.5) within group (order by abs(error_hours)) as error_hours_median,
    percentile_cont(0.9) within group (order by abs(error_hours)) as error_hours_p90,
    avg(error_hours) as bias_hours,
    coalesce(avg(covered::integer), 0)::float8 as coverage,
    coalesce(avg(brier), 0) as brier,
    coalesce(
        avg(abs((p50 is not null)::integer - (exhausted_at is not null)::integer)) filter (where covered is not null), 0
    )::float8 as brier_yes_no,
    count(*) filter (where covered is null) as unscored
from projections
where ($1::integer is null or budget = $1) and ($2::text is null or tenant = $2) and made_at >= $3
group by method, method_version, class
order by method, method_version, class
