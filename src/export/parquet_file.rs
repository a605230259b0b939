//! A table as Apache Parquet: `DECIMAL(38,12)`, `TIMESTAMP(MICROS, UTC)`, `INT64`, UTF-8; every column nullable; Snappy.
//!
//! Rows are gathered column by column and written in groups of [`ROWS_PER_GROUP`], so memory holds one group, and a little
//! for each group that was written (the footer names them all). Written without Arrow: the four kinds need none of it.

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::ExportError;
use super::table::{Cell, Column, Kind};

/// Rows of a group. Of the widest table a group is about 5 MB before it is compressed.
pub const ROWS_PER_GROUP: usize = 8_192;

/// What was gathered of one column. A level of 1 says that there is a value, of 0 that there is none.
struct Gathered {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Text {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    /// Whole numbers, and instants in microseconds since 1970.
    Integer(Vec<i64>),
    /// Two's complement, the highest byte first.
    Decimal(Vec<u8>),
}

impl Gathered {
    const fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Text { bytes: Vec::new(), ends: Vec::new() },
            Kind::Integer | Kind::Instant => Values::Integer(Vec::new()),
            Kind::Decimal => Values::Decimal(Vec::new()),
        };
        Self { levels: Vec::new(), values }
    }

    /// Whether the cell was one of this column.
    fn push(&mut self, cell: Cell<'_>) -> bool {
        let is_value = !matches!(cell, Cell::Null);
        match (&mut self.values, cell) {
            (_, Cell::Null) => {}
            (Values::Text { bytes, ends }, Cell::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
            }
            (Values::Integer(values), Cell::Integer(number)) => values.push(number),
            (Values::Integer(values), Cell::Instant(at)) => values.push(at.timestamp_micros()),
            (Values::Decimal(values), Cell::Decimal(pico)) => values.extend_from_slice(&pico.to_be_bytes()),
            (_, Cell::Text(_) | Cell::Integer(_) | Cell::Decimal(_) | Cell::Instant(_)) => return false,
        }
        self.levels.push(i16::from(is_value));
        true
    }

    /// Writes it out, and is empty again.
    fn write(&mut self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match (column.untyped(), &mut self.values) {
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text { bytes, ends }) => {
                // One allocation for all texts of a group, as long as the last one; each value is a window into it.
                let next = Vec::with_capacity(bytes.len());
                let bytes = Bytes::from(std::mem::replace(bytes, next));
                let mut start = 0;
                let mut values = Vec::with_capacity(ends.len());
                for end in ends.drain(..) {
                    values.push(ByteArray::from(bytes.slice(start..end)));
                    start = end;
                }
                writer.write_batch(&values, levels, None)?;
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::Integer(values)) => {
                writer.write_batch(values, levels, None)?;
                values.clear();
            }
            (ColumnWriter::FixedLenByteArrayColumnWriter(writer), Values::Decimal(bytes)) => {
                let next = Vec::with_capacity(bytes.len());
                let bytes = Bytes::from(std::mem::replace(bytes, next));
                let starts = (0..bytes.len()).step_by(DECIMAL_BYTES);
                let window = |start: usize| bytes.slice(start..bytes.len().min(start.saturating_add(DECIMAL_BYTES)));
                let values: Vec<FixedLenByteArray> =
                    starts.map(|start| FixedLenByteArray::from(ByteArray::from(window(start)))).collect();
                writer.write_batch(&values, levels, None)?;
            }
            _ => return Err(ParquetError::General("a column of the schema is of another kind".to_owned())),
        }
        self.levels.clear();
        column.close()
    }
}

/// Bytes of a decimal of 38 digits.
const DECIMAL_BYTES: usize = 16;

/// A file in the making.
pub struct ParquetFile {
    writer: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Gathered>,
    names: &'static [Column],
    /// The place of the next cell.
    next: usize,
    rows: usize,
    /// Called between the columns of a group.
    between: Box<dyn Fn() + Send>,
}

fn fail(error: &ParquetError) -> ExportError {
    ExportError::Write { format: "Parquet", cause: error.to_string() }
}

impl ParquetFile {
    /// A file with these columns. Writing a group out takes some ten milliseconds at once: `between` its columns it can be
    /// held up, so that others go first.
    ///
    /// # Errors
    /// When two columns have one name.
    pub fn new(columns: &'static [Column], between: impl Fn() + Send + 'static) -> Result<Self, ExportError> {
        let schema = parse_message_type(&message(columns)).map_err(|error| fail(&error))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("counterfoil ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        // The least and greatest text of a group would keep all texts of the group in memory until the file ends.
        for column in columns.iter().filter(|column| matches!(column.kind, Kind::Text | Kind::Decimal)) {
            let path = ColumnPath::from(column.name);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let writer = SerializedFileWriter::new(Vec::new(), schema.into(), properties.build().into());
        Ok(Self {
            writer: writer.map_err(|error| fail(&error))?,
            columns: columns.iter().map(|column| Gathered::new(column.kind)).collect(),
            names: columns,
            next: 0,
            rows: 0,
            between: Box::new(between),
        })
    }

    /// Writes the next cell of the row.
    ///
    /// # Errors
    /// When the cell is none of its column.
    pub fn cell(&mut self, cell: Cell<'_>) -> Result<(), ExportError> {
        let taken = self.columns.get_mut(self.next).is_some_and(|column| column.push(cell));
        if !taken {
            let name = self.names.get(self.next).map_or("beyond the last", |column| column.name);
            let cause = format!("{cell:?} is no value of the column {name}");
            return Err(ExportError::Write { format: "Parquet", cause });
        }
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Ends the row, and the group if it is full.
    ///
    /// # Errors
    /// When cells are missing, or the group cannot be written.
    pub fn end_row(&mut self) -> Result<(), ExportError> {
        if self.next != self.columns.len() {
            let cause = format!("a row has {} cells instead of {}", self.next, self.columns.len());
            return Err(ExportError::Write { format: "Parquet", cause });
        }
        self.next = 0;
        self.rows = self.rows.saturating_add(1);
        if self.rows >= ROWS_PER_GROUP { self.write_group().map_err(|error| fail(&error)) } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for gathered in &mut self.columns {
            let Some(column) = group.next_column()? else {
                return Err(ParquetError::General("the schema has fewer columns than the table".to_owned()));
            };
            gathered.write(column)?;
            (self.between)();
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Writes what is gathered, and the footer.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn end(&mut self) -> Result<(), ExportError> {
        if self.rows > 0 {
            self.write_group().map_err(|error| fail(&error))?;
        }
        self.writer.finish().map(drop).map_err(|error| fail(&error))
    }

    /// What was written since it was last taken.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        // The writer keeps a buffer before the one that is taken.
        let flushed = self.writer.flush();
        flushed.map_err(|error| ExportError::Write { format: "Parquet", cause: error.to_string() })?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }
}

/// The schema in Parquet's own words.
fn message(columns: &[Column]) -> String {
    let field = |column: &Column| {
        let name = column.name;
        match column.kind {
            Kind::Text => format!("optional binary {name} (STRING);"),
            Kind::Integer => format!("optional int64 {name};"),
            Kind::Decimal => format!("optional fixed_len_byte_array({DECIMAL_BYTES}) {name} (DECIMAL(38,12));"),
            Kind::Instant => format!("optional int64 {name} (TIMESTAMP(MICROS,true));"),
        }
    };
    format!("message counterfoil {{ {} }}", columns.iter().map(field).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    use super::*;

    const COLUMNS: &[Column] =
        &[Column::text("name"), Column::integer("count"), Column::decimal("amount"), Column::instant("at")];

    #[test]
    fn what_was_written_is_read_back_over_many_groups() {
        let rows = ROWS_PER_GROUP + 7;
        let mut file = ParquetFile::new(COLUMNS, || {}).unwrap();
        let mut bytes = Vec::new();
        for row in 0..rows {
            let number = i64::try_from(row).unwrap();
            file.cell(if row % 3 == 0 { Cell::Null } else { Cell::Text("é") }).unwrap();
            file.cell(Cell::Integer(-number)).unwrap();
            file.cell(Cell::Decimal(i128::from(number) * -1_500_000_000_000)).unwrap();
            file.cell(Cell::Instant("2026-06-10T12:00:00.250Z".parse().unwrap())).unwrap();
            file.end_row().unwrap();
            bytes.extend(file.take().unwrap());
        }
        file.end().unwrap();
        bytes.extend(file.take().unwrap());

        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let mut read = 0_i64;
        for row in reader.get_row_iter(None).unwrap() {
            let cells: Vec<Field> = row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect();
            assert_eq!(cells[0], if read % 3 == 0 { Field::Null } else { Field::Str("é".to_owned()) });
            assert_eq!(cells[1], Field::Long(-read));
            let Field::Decimal(amount) = &cells[2] else { panic!("{:?}", cells[2]) };
            assert_eq!((amount.precision(), amount.scale()), (38, 12));
            let pico = i128::from_be_bytes(amount.data().try_into().unwrap());
            assert_eq!(pico, i128::from(read) * -1_500_000_000_000);
            assert!(matches!(cells[3], Field::TimestampMicros(1_781_092_800_250_000)), "{:?}", cells[3]);
            read += 1;
        }
        assert_eq!(usize::try_from(read).unwrap(), rows);
    }

    #[test]
    fn a_row_that_does_not_fit_its_columns_is_an_error() {
        let mut file = ParquetFile::new(COLUMNS, || {}).unwrap();
        assert!(file.cell(Cell::Integer(1)).unwrap_err().to_string().contains("the column name"));
        file.cell(Cell::Null).unwrap();
        assert!(file.end_row().unwrap_err().to_string().contains("1 cells instead of 4"));
    }
}
