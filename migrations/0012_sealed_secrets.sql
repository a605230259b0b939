-- Secrets of webhooks, sealed; and what lets the worker forget.

-- Before, a secret stood here in clear. One that still does is sealed by the worker of whoever starts first with this
-- schema; a replica of the release before cannot send by it then, so that there must be none.
alter table webhooks
    alter column secret drop not null,
    -- Nonce, ciphertext and tag, by a key that is in no database.
    add column sealed_secret bytea,
    -- The id of that key: a replica that holds another one leaves what is due to those that hold it.
    add column sealed_by text,
    add constraint webhooks_has_one_secret check ((secret is null) <> (sealed_secret is null)),
    add constraint webhooks_seal_is_whole check ((sealed_secret is null) = (sealed_by is null));

-- When a stopped run was last heard of: somebody called, or stopped it again. None if nobody has looked yet.
alter table run_stops add column seen_at timestamptz;

-- Signals are not of the books: they may be forgotten, and never changed.
drop trigger signals_append_only on signals;
create trigger signals_append_only before update or truncate on signals
    for each statement execute function refuse_change();
