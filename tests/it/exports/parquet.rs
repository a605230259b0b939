//! CSV and Parquet of one export are the same rows.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use rust_decimal::Decimal;

use super::{File, export};
use crate::books::world;

/// A cell as CSV would write it.
fn text(field: &Field) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the format has many kinds that are none of ours")]
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Long(number) => number.to_string(),
        Field::Decimal(decimal) => {
            let pico = i128::from_be_bytes(decimal.data().try_into().unwrap());
            let scale = u32::try_from(decimal.scale()).unwrap();
            let text = Decimal::from_i128_with_scale(pico, scale).normalize().to_string();
            if text.contains('.') { text } else { format!("{text}.0") }
        }
        Field::TimestampMicros(micros) => {
            DateTime::from_timestamp_micros(*micros).unwrap().to_rfc3339_opts(SecondsFormat::AutoSi, true)
        }
        other => panic!("{other:?} is no kind of ours"),
    }
}

pub(super) fn read(file: &File) -> (Vec<String>, Vec<Vec<String>>) {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(&file.bytes)).unwrap();
    let names = reader.metadata().file_metadata().schema().get_fields().iter().map(|field| field.name().to_owned());
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        row.get_column_iter().map(|(_, field)| text(field)).collect()
    });
    (names.collect(), rows.collect())
}

#[tokio::test]
async fn csv_and_parquet_hold_the_same_rows() {
    let service = world().await;
    for path in [
        "/v1/exports/transfers?from=2026-03-01",
        "/v1/exports/focus?period=2026-03&version=1.4",
        "/v1/exports/focus?period=2026-03&version=1.2&grain=hour",
    ] {
        let csv = export(&service, path).await;
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
        let parquet = export(&service, &format!("{path}&format=parquet")).await;
        assert_eq!(parquet.header("content-type"), "application/vnd.apache.parquet");
        let (names, rows) = read(&parquet);
        assert_eq!(names, csv.names(), "{path}");
        let expected: Vec<Vec<String>> = csv.rows().iter().map(|row| row.iter().map(str::to_owned).collect()).collect();
        assert!(!expected.is_empty());
        assert_eq!(rows, expected, "{path}");
    }
}
