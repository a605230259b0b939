//! Reports, comparisons and true-ups, without a database.
