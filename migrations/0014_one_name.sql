-- Providers and models have one name each, decided when a call enters. What was said is kept beside it, where it differs: an
-- object with `provider`, `model` and `served_model`, empty where nothing differs. Null in a row that was written before there
-- were names, and in one that the release before this writes: its provider and model are as they were said.
alter table reservations add column said_as jsonb;
alter table transfers add column said_as jsonb;

-- By which names such rows count. Decided once, by the price book of the day, so that counters stay a function of the books.
create table spellings (
    provider text collate "C" not null,
    model text collate "C" not null,
    named_provider text collate "C" not null,
    named_model text collate "C" not null,
    constraint spellings_pkey primary key (provider, model)
);

-- When the spellings of the books were last looked for; null before the first time.
alter table catalogue_head add column names_followed_at timestamptz;
