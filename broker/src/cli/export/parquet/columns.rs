//! Columns as they wait in memory for their row group: texts behind each other with their ends, beside them the levels
//! that say where one is absent or begins a new row.

use std::borrow::Cow;

use bytes::Bytes;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;

use super::super::field::{Kind, Value};

/// Values handed to the writer at once: each is a small object beside its bytes.
const STEP: usize = 4096;
/// Bytes that a text takes beside itself.
const TEXT_BYTES: usize = 8;

/// Byte strings.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// Writes them as a column that has one in every row.
    pub(super) fn write(self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let mut cut = Cut::new(self);
        loop {
            let values = cut.next(STEP);
            if values.is_empty() {
                return Ok(());
            }
            column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        }
    }

    /// Writes them with levels; those at `present` have a text. A step ends where a row does.
    fn write_levelled(
        self,
        column: &mut SerializedColumnWriter<'_>,
        definition: &[i16],
        repetition: Option<&[i16]>,
        present: i16,
    ) -> Result<(), ParquetError> {
        let begins_row = |at: usize| repetition.is_none_or(|levels| levels.get(at).is_none_or(|level| *level == 0));
        let mut cut = Cut::new(self);
        let mut from = 0;
        while from < definition.len() {
            let mut to = definition.len().min(from + STEP);
            while !begins_row(to) {
                to += 1;
            }
            let levels = definition.get(from..to).unwrap_or_default();
            let values = cut.next(levels.iter().filter(|level| **level == present).count());
            let repeated = repetition.map(|levels| levels.get(from..to).unwrap_or_default());
            column.typed::<ByteArrayType>().write_batch(&values, Some(levels), repeated)?;
            from = to;
        }
        Ok(())
    }
}

/// Texts given out in their order, as slices of one piece of memory.
struct Cut {
    all: Bytes,
    ends: std::vec::IntoIter<usize>,
    start: usize,
}

impl Cut {
    fn new(texts: Texts) -> Self {
        Self { all: Bytes::from(texts.bytes), ends: texts.ends.into_iter(), start: 0 }
    }

    fn next(&mut self, count: usize) -> Vec<ByteArray> {
        let mut values = Vec::with_capacity(count.min(self.ends.len()));
        for end in self.ends.by_ref().take(count) {
            values.push(ByteArray::from(self.all.slice(self.start..end)));
            self.start = end;
        }
        values
    }
}

/// The headers of all rows: the two leaves of a map of lists.
#[derive(Debug, Default)]
pub(super) struct Headers {
    keys: Leaf,
    values: Leaf,
}

/// Texts that are repeated, or absent.
#[derive(Debug, Default)]
struct Leaf {
    texts: Texts,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl Leaf {
    fn absent(&mut self) {
        self.definition.push(0);
        self.repetition.push(0);
    }

    fn present(&mut self, text: &str, definition: i16, repetition: i16) {
        self.texts.push(text.as_bytes());
        self.definition.push(definition);
        self.repetition.push(repetition);
    }
}

/// Definition level of a key: the map has an entry.
const KEY_PRESENT: i16 = 1;
/// Definition level of a value: the map has an entry, and its list has an element.
const VALUE_PRESENT: i16 = 2;
/// Repetition level of what begins a row.
const NEW_ROW: i16 = 0;
/// Repetition level of another entry of a row's map.
const NEXT_KEY: i16 = 1;
/// Repetition level of another element of an entry's list.
const NEXT_VALUE: i16 = 2;

impl Headers {
    /// Adds those of one row, every key of which has a value; returns how many bytes they take.
    pub(super) fn push(&mut self, headers: &[(Cow<'_, str>, Vec<Cow<'_, str>>)]) -> usize {
        if headers.is_empty() {
            self.keys.absent();
            self.values.absent();
        }
        let mut bytes = 0;
        let mut key_level = NEW_ROW;
        for (key, values) in headers {
            self.keys.present(key, KEY_PRESENT, key_level);
            bytes += TEXT_BYTES + key.len();
            let mut value_level = key_level;
            for value in values {
                self.values.present(value, VALUE_PRESENT, value_level);
                bytes += TEXT_BYTES + value.len();
                value_level = NEXT_VALUE;
            }
            key_level = NEXT_KEY;
        }
        bytes
    }

    pub(super) fn write_keys(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let Leaf { texts, definition, repetition } = std::mem::take(&mut self.keys);
        texts.write_levelled(column, &definition, Some(&repetition), KEY_PRESENT)
    }

    pub(super) fn write_values(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let Leaf { texts, definition, repetition } = std::mem::take(&mut self.values);
        texts.write_levelled(column, &definition, Some(&repetition), VALUE_PRESENT)
    }
}

/// A column of cells that may be null.
#[derive(Debug)]
pub(super) struct FieldColumn {
    /// 1 where there is a value.
    definition: Vec<i16>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Texts(Texts),
    Integers(Vec<i64>),
    Doubles(Vec<f64>),
    Booleans(Vec<bool>),
}

impl FieldColumn {
    pub(super) fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text | Kind::Json => Values::Texts(Texts::default()),
            Kind::Integer => Values::Integers(Vec::new()),
            Kind::Double => Values::Doubles(Vec::new()),
            Kind::Boolean => Values::Booleans(Vec::new()),
        };
        Self { definition: Vec::new(), values }
    }

    /// Adds a cell, null if it is not of the column's type; returns how many bytes it takes.
    pub(super) fn push(&mut self, value: &Value<'_>) -> usize {
        let (present, bytes) = match (&mut self.values, value) {
            (Values::Texts(texts), Value::Text(text) | Value::Json(text)) => {
                texts.push(text.as_bytes());
                (1, text.len())
            }
            (Values::Integers(values), Value::Integer(value)) => {
                values.push(*value);
                (1, 0)
            }
            (Values::Doubles(values), Value::Double(value)) => {
                values.push(*value);
                (1, 0)
            }
            (Values::Booleans(values), Value::Boolean(value)) => {
                values.push(*value);
                (1, 0)
            }
            _ => (0, 0),
        };
        self.definition.push(present);
        TEXT_BYTES + bytes
    }

    pub(super) fn write(self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = &self.definition;
        match self.values {
            Values::Texts(texts) => texts.write_levelled(column, levels, None, 1),
            Values::Integers(values) => typed::<Int64Type>(column, &values, levels),
            Values::Doubles(values) => typed::<DoubleType>(column, &values, levels),
            Values::Booleans(values) => typed::<BoolType>(column, &values, levels),
        }
    }
}

fn typed<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    levels: &[i16],
) -> Result<(), ParquetError> {
    column.typed::<T>().write_batch(values, Some(levels), None).map(|_| ())
}
