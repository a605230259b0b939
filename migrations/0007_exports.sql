-- What was recorded since a mark, for exports that take only what is new: a block-range index, because rows arrive in
-- the order of recording. A third secondary index on the hot table, against the rule, and nearly free: it is written
-- once for 32 pages, not once for each row.
create index transfers_recorded_at on transfers using brin (recorded_at) with (pages_per_range = 32, autosummarize = on);
