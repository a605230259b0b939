-- Until when the answer under an idempotency key is repeated. What changed the books is, for as long as keys are kept:
-- `infinity`. A refusal is until its time has passed; then the key may be answered anew, in the same row.
--
-- Null in rows of the release before, which repeated refusals for as long as they were kept. It goes on writing such rows
-- while replicas are replaced, and reads those of this release as its own.
alter table idempotency_keys add column replay_until timestamptz;
