//! What came of an export, in words.

use std::path::Path;
use std::time::Duration;

use super::field::{Field, Found};
use super::row::Cells;
use crate::cli::{output, values};

/// Lost ranges that are kept, and shown.
const RANGES_KEPT_MAX: usize = 1000;
const RANGES_SHOWN_MAX: usize = 20;

/// Counts of an export.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages: u64,
    /// Bytes of payloads and header blocks.
    pub(super) bytes: u64,
    /// Messages with something that is not text where text belongs.
    odd: u64,
    not_json: u64,
    fields: Vec<FieldTally>,
    pub(super) lost: Lost,
    pub(super) removed: u64,
}

#[derive(Debug)]
struct FieldTally {
    name: String,
    missing: u64,
    other_type: u64,
}

/// Sequences lost to damage.
#[derive(Debug, Default)]
pub(super) struct Lost {
    ranges: Vec<(u64, u64)>,
    /// All of them, also those whose range is not kept.
    messages: u64,
    /// Ranges that are not kept.
    more: u64,
}

impl Lost {
    /// Adds a range; neighbours become one.
    pub(super) fn add(&mut self, first_seq: u64, last_seq: u64) {
        self.messages += last_seq - first_seq + 1;
        if let Some((_, last)) = self.ranges.last_mut()
            && self.more == 0
            && last.checked_add(1) == Some(first_seq)
        {
            *last = last_seq;
        } else if self.ranges.len() < RANGES_KEPT_MAX {
            self.ranges.push((first_seq, last_seq));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    fn text(&self) -> String {
        let shown = self.ranges.iter().take(RANGES_SHOWN_MAX).map(|(first, last)| match first == last {
            true => format!("\n  #{first}"),
            false => format!("\n  #{first} to #{last}"),
        });
        let mut text = format!("{} lost to damage, whatever their subjects:", were(self.messages));
        text.extend(shown);
        let hidden = self.ranges.len().saturating_sub(RANGES_SHOWN_MAX) as u64 + self.more;
        if hidden > 0 {
            text.push_str(&format!("\n  and {} ranges more", values::show_count(hidden)));
        }
        text
    }
}

fn were(messages: u64) -> String {
    format!("{} {}", values::show_messages(messages), if messages == 1 { "is" } else { "are" })
}

impl Tally {
    pub(super) fn new(fields: &[Field]) -> Self {
        let field = |field: &Field| FieldTally { name: field.name.clone(), missing: 0, other_type: 0 };
        Self { fields: fields.iter().map(field).collect(), ..Self::default() }
    }

    /// Counts a message that is taken.
    pub(super) fn count(&mut self, cells: &Cells<'_>) {
        self.messages += 1;
        self.bytes += (cells.row.headers.len() + cells.row.payload.len()) as u64;
        self.odd += u64::from(!cells.intact);
        self.not_json += u64::from(cells.json.is_none() && !self.fields.is_empty());
    }

    /// Counts a cell of the field at this place.
    pub(super) fn count_cell(&mut self, at: usize, found: Found) {
        let Some(field) = self.fields.get_mut(at) else { return };
        match found {
            Found::Value => {}
            Found::Missing => field.missing += 1,
            Found::OtherType => field.other_type += 1,
        }
    }

    /// Says on stderr what a reader of the file has to know.
    pub(super) fn tell_troubles(&self) {
        for text in self.troubles() {
            output::warn(&text);
        }
    }

    fn troubles(&self) -> Vec<String> {
        let count = values::show_count;
        let mut texts = Vec::new();
        if !self.lost.is_empty() {
            texts.push(self.lost.text());
        }
        if self.removed > 0 {
            texts
                .push(format!("{} not there any more: the server's limits removed them meanwhile", were(self.removed)));
        }
        if self.odd > 0 {
            let messages = values::show_messages(self.odd);
            texts.push(format!("{messages}: subject or headers are not valid text, shown with U+FFFD or left out"));
        }
        if self.not_json > 0 {
            texts.push(format!(
                "{}: the payload is not JSON, the fields are null",
                values::show_messages(self.not_json)
            ));
        }
        for field in self.fields.iter().filter(|field| field.missing + field.other_type > 0) {
            let mut parts = Vec::new();
            if field.missing > 0 {
                parts.push(format!("{} have nothing at that path", count(field.missing)));
            }
            if field.other_type > 0 {
                parts.push(format!("{} something of another type", count(field.other_type)));
            }
            texts.push(format!("{}: null where {}", field.name, parts.join(", ")));
        }
        texts
    }

    /// The last line.
    pub(super) fn summary(&self, path: &Path, file_bytes: u64, took: Duration) -> String {
        let (size, file) = (values::show_size(self.bytes), values::show_size(file_bytes));
        let speed = values::show_size(values::rate(self.bytes, took));
        let name = if path.as_os_str() == "-" { "stdout".to_owned() } else { path.display().to_string() };
        if self.messages == 0 {
            return format!("nothing matched; {name}: no rows, {file}\n");
        }
        format!("{}, {size}, {speed}/s; {name}: {file}\n", values::show_messages(self.messages))
    }

    /// What to say when there is no file in the end.
    pub(super) fn given_up(&self, why: &str, path: &Path) -> String {
        let messages = values::show_messages(self.messages);
        if path.as_os_str() == "-" {
            return format!("{why} after {messages}; the output is not whole");
        }
        format!("{why} after {messages}; {} was not written", path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::super::field;
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_many_are_counted() {
        let mut lost = Lost::default();
        for (first, last) in [(3, 3), (4, 9), (11, 11)] {
            lost.add(first, last);
        }
        assert_eq!(lost.text(), "8 messages are lost to damage, whatever their subjects:\n  #3 to #9\n  #11");
        for seq in 0..2000 {
            lost.add(100 + 2 * seq, 100 + 2 * seq);
        }
        assert!(lost.text().ends_with("\n  and 1,982 ranges more"), "{}", lost.text());
        assert!(lost.text().starts_with("2,008 messages"));
        assert_eq!(lost.ranges.len(), RANGES_KEPT_MAX);
    }

    #[test]
    fn troubles_are_told_with_their_numbers() {
        let mut tally = Tally::new(&[field::parse("site=a").unwrap(), field::parse("code=b:int64").unwrap()]);
        assert!(tally.troubles().is_empty());
        tally.count_cell(0, Found::Missing);
        tally.count_cell(1, Found::Value);
        tally.count_cell(1, Found::OtherType);
        tally.count_cell(1, Found::Missing);
        tally.not_json = 1200;
        tally.removed = 1;
        assert_eq!(
            tally.troubles(),
            [
                "1 message is not there any more: the server's limits removed them meanwhile",
                "1,200 messages: the payload is not JSON, the fields are null",
                "site: null where 1 have nothing at that path",
                "code: null where 1 have nothing at that path, 1 something of another type",
            ]
        );
        let text = tally.summary(Path::new("x.parquet"), 2048, Duration::from_secs(1));
        assert_eq!(text, "nothing matched; x.parquet: no rows, 2.0 KiB\n");
        (tally.messages, tally.bytes) = (1_000_000, 2 << 30);
        let text = tally.summary(Path::new("x.parquet"), 1 << 20, Duration::from_secs(2));
        assert_eq!(text, "1,000,000 messages, 2.0 GiB, 1.0 GiB/s; x.parquet: 1.0 MiB\n");
    }
}
