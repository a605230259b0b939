-- Who closed the books, when, and up to which instant. The latest one holds: see `catalogue_head.closed_until`.
create table closings (
    closed_until timestamptz primary key,
    closed_by text not null,
    closed_at timestamptz not null
);
