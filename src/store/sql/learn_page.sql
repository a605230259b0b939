-- The next page ($3) of the journal after a transfer ($1) and before an id ($2), with the estimate that each row settled.
-- The model is the one that was asked for: it is all that is known when the next call asks.
select
    transfer.id,
    transfer.tenant,
    transfer.feature,
    transfer.provider,
    coalesce(transfer.requested_model, transfer.model) as model,
    transfer.outcome,
    transfer.flags,
    transfer.recorded_at,
    transfer.output + transfer.reasoning as actual_output,
    transfer.tokens as actual_tokens,
    reservation.output + reservation.reasoning as estimated_output,
    reservation.tokens as estimated_tokens
from (
    select * from transfers where id > $1 and id < $2 order by id limit $3
) as transfer
left join reservations as reservation on reservation.id = transfer.reservation and reservation.tenant = transfer.tenant
order by transfer.id
