//! Parquet: the columns of an export, written a row group at a time.
//!
//! Rows gather in memory, column by column, until a row group is full by its bytes. So memory does not grow with the
//! file, and a reader can take a part of it. Headers are a `map<string, list<string>>`, which DuckDB and Spark take apart
//! by themselves (`headers['Key'][1]`) and pandas shows as pairs; a key may come more than once, hence the lists.

mod columns;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::Int64Type;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::field::{Field, Kind};
use super::outfile::OutFile;
use super::row::Cells;
use columns::{FieldColumn, Headers, Texts};

/// Bytes of rows after which a row group is written. Smaller under test, so that small files have several.
const GROUP_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Rows after which it is, however small they are.
const GROUP_ROWS: usize = if cfg!(test) { 9000 } else { 1 << 20 };
/// Bytes of a row beside its texts, as it waits in memory.
const ROW_BYTES: usize = 64;

/// How fine the times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TimePrecision {
    /// Nanoseconds, as stored
    Ns,
    /// Microseconds, for readers that have no nanoseconds, such as Spark 3
    Us,
}

/// What the file holds.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) fields: Vec<Field>,
    pub(super) payload: bool,
    pub(super) times: TimePrecision,
    /// Level of zstd.
    pub(super) level: i32,
}

/// Writes row groups.
pub(super) struct Parquet {
    writer: SerializedFileWriter<Shared>,
    out: Shared,
    options: Options,
    group: Group,
}

/// Rows that wait to be written.
struct Group {
    rows: usize,
    bytes: usize,
    streams: Texts,
    sequences: Vec<i64>,
    times: Vec<i64>,
    subjects: Texts,
    headers: Headers,
    fields: Vec<FieldColumn>,
    payloads: Texts,
}

impl Group {
    fn new(fields: &[Field]) -> Self {
        Self {
            rows: 0,
            bytes: 0,
            streams: Texts::default(),
            sequences: Vec::new(),
            times: Vec::new(),
            subjects: Texts::default(),
            headers: Headers::default(),
            fields: fields.iter().map(|field| FieldColumn::new(field.kind)).collect(),
            payloads: Texts::default(),
        }
    }
}

impl Parquet {
    /// An empty file.
    pub(super) fn new(out: OutFile, options: Options) -> Result<Self, ParquetError> {
        let schema = schema(&options)?;
        let out = Shared(Arc::new(Mutex::new(out)));
        let writer = SerializedFileWriter::new(out.clone(), schema, Arc::new(properties(&options)?))?;
        let group = Group::new(&options.fields);
        Ok(Self { writer, out, options, group })
    }

    /// Takes one row; writes a row group if it is full.
    pub(super) fn write(&mut self, cells: &Cells<'_>) -> Result<(), ParquetError> {
        let group = &mut self.group;
        group.streams.push(cells.row.stream.as_bytes());
        group.sequences.push(i64::try_from(cells.row.seq).unwrap_or(i64::MAX));
        group.times.push(match self.options.times {
            TimePrecision::Ns => cells.row.ts_ns,
            TimePrecision::Us => cells.row.ts_ns.div_euclid(1000),
        });
        group.subjects.push(cells.subject.as_bytes());
        group.bytes += ROW_BYTES + cells.subject.len() + group.headers.push(&cells.headers);
        for (column, value) in group.fields.iter_mut().zip(&cells.fields) {
            group.bytes += column.push(value);
        }
        if self.options.payload {
            group.payloads.push(cells.row.payload);
            group.bytes += cells.row.payload.len();
        }
        group.rows += 1;
        if group.bytes >= GROUP_BYTES || group.rows >= GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let group = std::mem::replace(&mut self.group, Group::new(&self.options.fields));
        if group.rows == 0 {
            return Ok(());
        }
        let mut out = self.writer.next_row_group()?;
        put(&mut out, |column| group.streams.write(column))?;
        put(&mut out, |column| integers(column, &group.sequences))?;
        put(&mut out, |column| integers(column, &group.times))?;
        put(&mut out, |column| group.subjects.write(column))?;
        let mut headers = group.headers;
        put(&mut out, |column| headers.write_keys(column))?;
        put(&mut out, |column| headers.write_values(column))?;
        for field in group.fields {
            put(&mut out, |column| field.write(column))?;
        }
        if self.options.payload {
            put(&mut out, |column| group.payloads.write(column))?;
        }
        out.close().map(|_| ())
    }

    /// Bytes written so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.out.0.lock().written_bytes()
    }

    /// Writes what waits and the footer, and gives the file back.
    pub(super) fn finish(mut self) -> Result<OutFile, ParquetError> {
        self.write_group()?;
        self.writer.close()?;
        let out = Arc::into_inner(self.out.0).ok_or(ParquetError::General("the file is still in use".to_owned()))?;
        Ok(out.into_inner())
    }
}

/// The file, shared with the crate's writer, which would give it back without the system's error when it fails last.
#[derive(Clone)]
struct Shared(Arc<Mutex<OutFile>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

/// Writes the next column of a row group.
fn put<W: Write + Send>(
    out: &mut SerializedRowGroupWriter<'_, W>,
    write: impl FnOnce(&mut SerializedColumnWriter<'_>) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let mut column = out.next_column()?.ok_or_else(|| ParquetError::General("no such column".to_owned()))?;
    write(&mut column)?;
    column.close()
}

fn integers(column: &mut SerializedColumnWriter<'_>, values: &[i64]) -> Result<(), ParquetError> {
    column.typed::<Int64Type>().write_batch(values, None, None).map(|_| ())
}

fn properties(options: &Options) -> Result<WriterProperties, ParquetError> {
    let column = |name: &str| ColumnPath::from(name.to_owned());
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("sublog version {}", crate::cli::VERSION))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(options.level)?))
        // Numbers that rise by little take next to nothing as differences.
        .set_column_dictionary_enabled(column("sequence"), false)
        .set_column_encoding(column("sequence"), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(column("time"), false)
        .set_column_encoding(column("time"), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(column("payload"), false)
        .set_column_statistics_enabled(column("payload"), EnabledStatistics::None);
    for field in options.fields.iter().filter(|field| field.kind == Kind::Json) {
        let path = ColumnPath::new(vec![field.name.clone()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Ok(properties.build())
}

fn schema(options: &Options) -> Result<TypePtr, ParquetError> {
    let text = |name: &str| leaf(name, Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED);
    let unit = match options.times {
        TimePrecision::Ns => TimeUnit::NANOS,
        TimePrecision::Us => TimeUnit::MICROS,
    };
    let time = Some(LogicalType::timestamp(true, unit));
    let mut columns = vec![
        text("stream")?,
        leaf("sequence", Physical::INT64, None, Repetition::REQUIRED)?,
        leaf("time", Physical::INT64, time, Repetition::REQUIRED)?,
        text("subject")?,
        headers()?,
    ];
    for field in &options.fields {
        let (physical, logical) = match field.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Kind::Integer => (Physical::INT64, None),
            Kind::Double => (Physical::DOUBLE, None),
            Kind::Boolean => (Physical::BOOLEAN, None),
        };
        columns.push(leaf(&field.name, physical, logical, Repetition::OPTIONAL)?);
    }
    if options.payload {
        columns.push(leaf("payload", Physical::BYTE_ARRAY, None, Repetition::REQUIRED)?);
    }
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(columns).build()?))
}

fn leaf(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> Result<TypePtr, ParquetError> {
    let builder = Type::primitive_type_builder(name, physical);
    Ok(Arc::new(builder.with_logical_type(logical).with_repetition(repetition).build()?))
}

fn group(
    name: &str,
    logical: Option<LogicalType>,
    repetition: Repetition,
    fields: Vec<TypePtr>,
) -> Result<TypePtr, ParquetError> {
    let builder = Type::group_type_builder(name).with_logical_type(logical).with_repetition(repetition);
    Ok(Arc::new(builder.with_fields(fields).build()?))
}

/// A map of lists, as the format's paper has both.
fn headers() -> Result<TypePtr, ParquetError> {
    let text = |name: &str| leaf(name, Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED);
    let list = group("list", None, Repetition::REPEATED, vec![text("element")?])?;
    let values = group("value", Some(LogicalType::List), Repetition::REQUIRED, vec![list])?;
    let pairs = group("key_value", None, Repetition::REPEATED, vec![text("key")?, values])?;
    group("headers", Some(LogicalType::Map), Repetition::REQUIRED, vec![pairs])
}
