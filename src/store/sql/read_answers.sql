-- What was answered to keys before, as far as it is repeated at an instant ($4).
--
-- The conditions are those of `write_batch.sql` the other way round: a key that is not found here is free to be written.
-- Rows without `replay_until` are of the release before: it repeated every refusal, and gave items of many other keys.
-- The second part, and the two texts, can go with the release after next.
select known.space, known.key, known.fingerprint, known.answer
from unnest($1::text[], $2::text[]) as asked (space, key)
join idempotency_keys as known on known.space = asked.space and known.key = asked.key
where
    known.replay_until > $4
    or (
        known.replay_until is null
        and not starts_with(known.answer, '{"v":"wait"')
        and not starts_with(known.answer, '{"verdict":"wait"')
    )
union all
select asked.space, asked.key, older.fingerprint, older.answer
from unnest($1::text[], $2::text[], $3::bytea[]) as asked (space, key, fingerprint)
join idempotency_keys as older
    on older.space = asked.space
    and older.key = case when position(' ' in asked.key) > 0 then replace(asked.key, ' ', '/') end
    and older.fingerprint = asked.fingerprint
where
    older.replay_until is null
    and not starts_with(older.answer, '{"v":"wait"')
