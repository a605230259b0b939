-- One time for all, and sliding windows that are exact with any number of replicas.

alter table catalogue_head
    -- The instant of the latest change: with `lanes.recorded_at`, what the database has seen of time.
    add column changed_at timestamptz,
    -- Slices that had left their sliding window by this instant may be gone. None if none was ever forgotten.
    add column slices_forgotten timestamptz,
    -- The rules by which sliding windows and the time of runs were counted last.
    add column windows_counting integer not null default 0;

-- One row for each sliding window, which whoever grants by its slices or makes one locks first: a slice that has no row cannot
-- be locked. `slices` goes up with each slice that is made, so that who has waited for the row knows that there is one more.
create table windows (
    budget integer not null,
    key text not null,
    slices bigint not null,
    constraint windows_key primary key (budget, key)
) with (fillfactor = 70);

-- The instant whose periods a reservation is counted in, where that is not the one of its grant: more output was granted after
-- a period had turned.
alter table reservations add column held_at timestamptz;

-- The instant of a batch: the clock of the replica that asks, or what the database has seen where that is later.
--
-- What is further ahead than so much of both that clock and the server's own is the trace of a clock that was wrong: it is not
-- followed, or time would stand still for everybody until that instant is reached.
create function instant_after(own timestamptz, ahead interval) returns timestamptz language sql stable as $$
    select greatest(
        own,
        (select max(recorded_at) from lanes where recorded_at <= greatest(own, statement_timestamp()) + ahead),
        (select changed_at from catalogue_head where changed_at <= greatest(own, statement_timestamp()) + ahead)
    )
$$;
