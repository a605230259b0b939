//! Pages: a list is walked by an opaque cursor, the key of the last item that was shown.
//!
//! A cursor names its list, so that one of another list is refused rather than misread. Items that are added while somebody
//! walks appear if they come later in the list's order; none is shown twice or skipped.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::FieldError;

/// Items of a page when the caller names no limit.
pub const PAGE_ITEMS_DEFAULT: u32 = 100;
/// Most items of a page.
pub const PAGE_ITEMS_MAX: u32 = 1000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    list: &'static str,
    /// The key of the last item that was shown, if any was.
    pub after: Option<String>,
    limit: u32,
}

impl Page {
    /// Reads what the caller asked for.
    ///
    /// # Errors
    /// Names `cursor` or `limit`.
    pub fn new(list: &'static str, cursor: Option<&str>, limit: Option<u32>) -> Result<Self, FieldError> {
        let limit = limit.unwrap_or(PAGE_ITEMS_DEFAULT);
        if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
            return Err(FieldError::new("limit", format!("{limit} is not between 1 and {PAGE_ITEMS_MAX}")));
        }
        let after = cursor.map(|cursor| read_cursor(list, cursor)).transpose()?;
        Ok(Self { list, after, limit })
    }

    /// How many rows to fetch: one more than are shown, to know whether there are more.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit).saturating_add(1)
    }

    /// The key of the last item shown, as a number.
    ///
    /// # Errors
    /// Names `cursor` if it is none.
    pub fn after_number(&self) -> Result<i64, FieldError> {
        self.after.as_deref().map_or(Ok(0), |key| key.parse().map_err(|_| not_ours(self.list)))
    }

    /// Cuts what was fetched to the page, and gives the cursor of the next one if there is one.
    pub fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if items.len() <= limit {
            return (items, None);
        }
        items.truncate(limit);
        let next = items.last().map(|last| URL_SAFE_NO_PAD.encode(format!("{}\n{}", self.list, key(last))));
        (items, next)
    }
}

fn not_ours(list: &str) -> FieldError {
    FieldError::new("cursor", format!("is no cursor of {list}: give `next_cursor` of the page before, unchanged"))
}

fn read_cursor(list: &str, cursor: &str) -> Result<String, FieldError> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let of_list = text.as_deref().and_then(|text| text.split_once('\n')).filter(|(named, _)| *named == list);
    // Postgres keeps no NUL, so no key of ours has one.
    let key = of_list.map(|(_, key)| key).filter(|key| !key.contains('\0'));
    key.map(str::to_owned).ok_or_else(|| not_ours(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_shows_each_item_once_and_ends() {
        let all: Vec<u32> = (0..25).collect();
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = Page::new("things", cursor.as_deref(), Some(10)).unwrap();
            let after = page.after.as_deref().map_or(-1, |key| key.parse::<i64>().unwrap());
            let fetched: Vec<u32> = all
                .iter()
                .copied()
                .filter(|n| i64::from(*n) > after)
                .take(usize::try_from(page.fetch()).unwrap())
                .collect();
            let (items, next) = page.cut(fetched, ToString::to_string);
            seen.extend(items);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_strange_cursor_or_limit_is_refused_by_name() {
        let (_, cursor) = Page::new("things", None, Some(1)).unwrap().cut(vec!["a", "b"], ToString::to_string);
        let cursor = cursor.unwrap();
        assert_eq!(Page::new("things", Some(&cursor), None).unwrap().after.as_deref(), Some("a"));
        for (list, cursor) in [("others", cursor.as_str()), ("things", ""), ("things", "%%%"), ("things", "AAAA")] {
            assert_eq!(Page::new(list, Some(cursor), None).unwrap_err().field, "cursor", "{list} {cursor}");
        }
        let nul = URL_SAFE_NO_PAD.encode("things\na\0b");
        assert_eq!(Page::new("things", Some(&nul), None).unwrap_err().field, "cursor");
        for limit in [0, 1001, u32::MAX] {
            assert_eq!(Page::new("things", None, Some(limit)).unwrap_err().field, "limit");
        }
    }
}
