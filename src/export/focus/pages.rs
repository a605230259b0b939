//! The charges of a slice, page by page: read as calls in the order of time, and added up period by period.

use std::collections::{BTreeSet, VecDeque};

use super::adding::{ChargeRow, Period, Slots};
use crate::export::ExportError;
use crate::export::stream::Pages;
use crate::store::StoreError;
use crate::store::export::Slice;
use crate::store::export::calls::CallRow;
use crate::store::export::reader::JournalReader;
use crate::store::export::walk::Walk;

/// Charges that are handed over at a time: each becomes a handful of rows.
const CHARGES_PER_PAGE: usize = 64;

/// Reads charges.
pub struct ChargePages<'r> {
    reader: &'r mut JournalReader,
    slice: Slice,
    slots: Slots,
    most: usize,
    walk: Walk,
    /// Calls that were read and are not added up yet.
    calls: VecDeque<CallRow>,
    /// The period that is added up now.
    period: Option<Period>,
    /// Charges that are made.
    made: VecDeque<ChargeRow>,
    /// The period that has more charges than are made.
    again: Option<Period>,
}

impl<'r> ChargePages<'r> {
    /// Begins to read a slice. The slots cover it; of a period at most so many charges are held at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(
        reader: &'r mut JournalReader,
        slice: Slice,
        slots: Slots,
        most: usize,
    ) -> Result<Self, ExportError> {
        let walk = Walk::begin(reader, &slice).await?;
        let (calls, made) = (VecDeque::new(), VecDeque::new());
        Ok(Self { reader, slice, slots, most, walk, calls, period: None, made, again: None })
    }

    /// Adds up what was read, until a period is whole.
    fn add_up(&mut self) -> Result<Option<Period>, ExportError> {
        while let Some(call) = self.calls.pop_front() {
            let slot = self.slots.holding(call.at).ok_or_else(|| StoreError::Row("period_at".to_owned()))?;
            if let Some(whole) = self.period.take_if(|period| period.slot() != slot) {
                self.calls.push_front(call);
                return Ok(Some(whole));
            }
            self.period.get_or_insert_with(|| Period::new(slot, self.most)).add(call, &self.slots)?;
        }
        Ok(None)
    }

    /// Reads the calls of a period once more.
    async fn add_again(&mut self, mut period: Period) -> Result<Period, ExportError> {
        if let Some((from, to)) = self.slots.span(period.slot()) {
            let slice = Slice { from: Some(from), to: Some(to), ..self.slice.clone() };
            let mut walk = Walk::begin(self.reader, &slice).await?;
            while let Some(page) = walk.next(self.reader).await? {
                for call in self.reader.calls(&slice, &page).await? {
                    period.add(call, &self.slots)?;
                }
            }
        }
        Ok(period)
    }

    /// What is made of a period. If that is not all, the rest comes after it.
    fn make(&mut self, period: Period) {
        let (charges, rest) = period.go_on();
        self.made.extend(charges);
        self.again = rest;
    }

    /// The first charges that are made, with the names of their tenants.
    async fn hand_over(&mut self) -> Result<Vec<ChargeRow>, ExportError> {
        let mut charges: Vec<ChargeRow> = self.made.drain(..CHARGES_PER_PAGE.min(self.made.len())).collect();
        let tenants: BTreeSet<&str> = charges.iter().map(|charge| charge.subject.tenant.as_str()).collect();
        let names = self.reader.tenant_names(&tenants).await?;
        for charge in &mut charges {
            charge.tenant_name = names.get(&charge.subject.tenant).cloned().flatten();
        }
        Ok(charges)
    }
}

impl Pages<ChargeRow> for ChargePages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<ChargeRow>>, ExportError> {
        loop {
            if !self.made.is_empty() {
                return self.hand_over().await.map(Some);
            }
            if let Some(period) = self.again.take() {
                let period = self.add_again(period).await?;
                self.make(period);
            } else if let Some(whole) = self.add_up()? {
                self.make(whole);
            } else if let Some(page) = self.walk.next(self.reader).await? {
                self.calls = self.reader.calls(&self.slice, &page).await?.into();
            } else if let Some(last) = self.period.take() {
                self.make(last);
            } else {
                return Ok(None);
            }
        }
    }

    async fn rest(&mut self) {
        self.reader.rest().await;
    }
}
