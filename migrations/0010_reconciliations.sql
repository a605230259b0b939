-- Providers' reports against the books, and what was approved. Platform credentials only: no grant for confined tokens.
create table reconciliations (
    id uuid primary key,
    provider text not null,
    state text not null constraint reconciliations_state check (state in ('proposed', 'approving', 'approved')),
    first_day date not null,
    last_day date not null,
    -- The report as it came, so that an approval compares again with the books as they are then.
    request text not null,
    -- The answer: lines, causes, true-ups.
    document text not null,
    -- The true-ups that are being posted, written before the first of them is: an approval that was cut short goes on.
    true_ups text,
    requested_by text not null,
    requested_at timestamptz not null,
    approved_by text,
    approved_at timestamptz,
    constraint reconciliations_approved_is_whole
        check ((state = 'approved') = (approved_at is not null) and (approved_at is null) = (approved_by is null)),
    constraint reconciliations_posting_has_true_ups check (state = 'proposed' or true_ups is not null)
);

-- What is approved stays as it was approved.
create function refuse_change_of_approved() returns trigger language plpgsql as $$
begin
    if old.state = 'approved' then
        raise exception 'an approved reconciliation never changes' using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
create trigger reconciliations_approved_stay before update on reconciliations
    for each row execute function refuse_change_of_approved();
create trigger reconciliations_stay before delete or truncate on reconciliations
    for each statement execute function refuse_change();
create trigger closings_append_only before update or delete or truncate on closings
    for each statement execute function refuse_change();
