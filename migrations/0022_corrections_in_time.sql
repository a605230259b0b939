-- What belongs to another period than the one it may count in, in the order of time: corrections, true-ups, and what came for a
-- period that was closed (a flag). Sums of usage say which of them they contain. Partial, so that it costs a call
-- nothing. Made at once and not concurrently: it reads the journal once and writes next to nothing, and a concurrent one would
-- wait for the replicas that wait for this migration.
create index transfers_corrections_in_time on transfers (period_at) where
    kind in ('correction', 'true_up') or flags & 128 <> 0;
