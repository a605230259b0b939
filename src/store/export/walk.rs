//! From page to page through a slice, in the order of time.
//!
//! A page is a stretch of the journal of so many rows of all tenants, whoever asks and whatever is left out of them: each page is
//! as much work as the next. Where they end is looked up some pages ahead, by the index alone.
//!
//! Invariant: the pages of a walk follow each other without a gap and without an overlap, from the slice's first row to what
//! was its last when the walk began. Rows that are written meanwhile are not of the mark, wherever they stand.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::pace::Use;
use super::reader::JournalReader;
use super::{MARK_WINDOW, Slice};
use crate::store::StoreError;
use crate::wire::usage::Basis;

/// Where a row stands in the order of time: when it counts, then its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) at: DateTime<Utc>,
    pub(super) id: Uuid,
}

impl Place {
    /// The last place before everything that counts at an instant; the database keeps microseconds.
    fn before(at: DateTime<Utc>) -> Option<Self> {
        let at = at.checked_sub_signed(TimeDelta::microseconds(1))?;
        Some(Self { at, id: Uuid::max() })
    }
}

/// A stretch of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The place before its first row.
    pub(super) after: Place,
    /// The place of its last row.
    pub(super) upto: Place,
}

/// A walk through a slice.
#[derive(Debug)]
pub struct Walk {
    /// The place before the next page, and the last row's. None when there is nothing left.
    left: Option<(Place, Place)>,
    /// Where the next pages end.
    ahead: VecDeque<Place>,
    of: Use,
}

impl Walk {
    /// Begins one, for rows that are brought here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(reader: &mut JournalReader, slice: &Slice) -> Result<Self, StoreError> {
        Self::begin_to(Use::Bring, reader, slice).await
    }

    /// Begins one.
    pub(super) async fn begin_to(of: Use, reader: &mut JournalReader, slice: &Slice) -> Result<Self, StoreError> {
        // Rows that a mark did not see are those recorded after it, give or take the window.
        let since = slice.since.as_ref().and_then(|mark| mark.at().checked_sub_signed(MARK_WINDOW));
        // What belongs to a span as restated may stand anywhere after it.
        let to = slice.to.filter(|_| slice.basis == Basis::AsPosted);
        reader.look_around().await?;
        let ends: Option<(DateTime<Utc>, DateTime<Utc>, Uuid)> = match since {
            None => {
                let ends = sqlx::query_as(include_str!("../sql/export_walk_ends.sql"));
                ends.bind(slice.from).bind(to).fetch_optional(reader.connection()).await?
            }
            Some(since) => {
                reader.by_ranges(true).await?;
                let ends = sqlx::query_as(include_str!("../sql/export_walk_ends_since.sql"));
                let ends = ends.bind(slice.from).bind(to).bind(since);
                let ends = ends.fetch_optional(reader.connection()).await?;
                reader.by_ranges(false).await?;
                ends
            }
        };
        reader.confine().await?;
        let left = ends.and_then(|(first, at, id)| Some((Place::before(first)?, Place { at, id })));
        Ok(Self { left, ahead: VecDeque::new(), of })
    }

    /// The next page, after the rest that the last one calls for. None at the end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next(&mut self, reader: &mut JournalReader) -> Result<Option<Page>, StoreError> {
        reader.rest().await;
        let Some((after, last)) = self.left else { return Ok(None) };
        if self.ahead.is_empty() {
            self.look_ahead(reader, after, last).await?;
        }
        // Fewer rows than a page are left.
        let upto = self.ahead.pop_front().unwrap_or(last);
        self.left = (upto < last).then_some((upto, last));
        Ok(Some(Page { after, upto }))
    }

    async fn look_ahead(&mut self, reader: &mut JournalReader, after: Place, last: Place) -> Result<(), StoreError> {
        reader.look_around().await?;
        let stride = reader.pace().stride(self.of);
        let ends: Vec<(DateTime<Utc>, Uuid)> = sqlx::query_as(include_str!("../sql/export_walk_ahead.sql"))
            .bind(after.at)
            .bind(after.id)
            .bind(last.at)
            .bind(last.id)
            .bind(stride.rows)
            .bind(stride.pages)
            .fetch_all(reader.connection())
            .await?;
        reader.confine().await?;
        self.ahead.extend(ends.into_iter().map(|(at, id)| Place { at, id }));
        Ok(())
    }
}
