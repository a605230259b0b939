-- The walk through the journal in the order of time: exports read a page of it at a time, each in a transaction of its own, so
-- that nothing they do keeps old versions of the counters alive. It takes the place of the block-range index, which finds a
-- period, but neither an order nor where a page ends. Rows arrive nearly in this order: an entry goes to the last page of the
-- index, which is in memory. Made at once and not concurrently: a concurrent one would wait for the replicas that wait for
-- this migration.
create index transfers_in_time on transfers (period_at, id);
drop index transfers_period_at;
