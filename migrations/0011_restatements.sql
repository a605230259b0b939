-- What corrects a row: restatements, true-ups, exports of corrections look for it. Partial, so that it costs a call nothing:
-- no call corrects another row. Made at once and not concurrently: it reads the journal once and writes next to nothing, and a
-- concurrent one would wait for the replicas that wait for this migration.
create index transfers_corrects on transfers (corrects) where corrects is not null;
