//! `sublog inspect`: what is in a data directory, from headers and footers alone; and what it shares with
//! `sublog verify`. Both only read, and need no server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use sublog_storage::{Codec, Damage, LostReason, SegmentReport, VerifyReport};

use super::client::Failure;
use super::{EXIT_ERROR, output, values};

/// Damaged places listed in a text; JSON lists all.
const DAMAGE_SHOWN_MAX: usize = 20;

/// Show the streams and segments of a data directory, offline
#[derive(Debug, clap::Args)]
#[command(after_help = "Reads only headers and footers; sublog verify checks every message.

Exit codes: 0 nothing wrong was seen, 1 damage or an error, 2 a wrong command
line.")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Which directory, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Data directory of a server (its -sd), or one log in it
    #[arg(default_value = "sublog-data")]
    pub(crate) dir: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub(crate) format: Form,
}

/// How reports are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Tables for reading
    Text,
    /// One JSON object
    Json,
}

/// The report about one stream's log.
pub(crate) struct StreamReport {
    /// The stream.
    pub(crate) name: String,
    /// What its log looks like.
    pub(crate) report: VerifyReport,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let outcome = logs(&args.place.dir).and_then(|logs| {
        let mut reports = Vec::new();
        for (name, dir) in logs {
            let report = sublog_storage::inspect(&dir).map_err(|error| Failure::Other(error.to_string()))?;
            reports.push(StreamReport { name, report });
        }
        print(&reports, args.place.format, "not checked: sublog verify reads every message")
    });
    outcome.unwrap_or_else(|failure| failure.report())
}

/// The logs in a directory: those of a data directory by the names of their streams, or the directory itself.
pub(crate) fn logs(dir: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let refuse = |path: &Path, error: &dyn std::fmt::Display| Failure::Other(format!("{}: {error}", path.display()));
    let list = |path: &Path| -> Result<Vec<PathBuf>, Failure> {
        let entries = std::fs::read_dir(path).map_err(|error| refuse(path, &error))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| refuse(path, &error)));
        let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
        paths.sort();
        Ok(paths)
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let here = list(dir)?;
    let streams = dir.join("streams");
    if streams.is_dir() {
        let logs = list(&streams)?.into_iter().filter(|path| path.is_dir());
        return Ok(logs.map(|path| (name(&path), path)).collect());
    }
    if here.iter().any(|path| path.extension().is_some_and(|end| end == "seg")) {
        let whole = dir.canonicalize().map_err(|error| refuse(dir, &error))?;
        return Ok(vec![(name(&whole), dir.to_owned())]);
    }
    Err(refuse(dir, &"neither a data directory (no streams/ in it) nor a log (no *.seg in it)"))
}

/// Prints the reports; the exit code says whether all is sound.
pub(crate) fn print(reports: &[StreamReport], form: Form, verdict: &str) -> Result<ExitCode, Failure> {
    let text = match form {
        Form::Text => text(reports, verdict),
        Form::Json => {
            let streams: Vec<serde_json::Value> = reports.iter().map(json_stream).collect();
            let sound = reports.iter().all(|stream| stream.report.is_sound());
            format!("{}\n", json!({"sound": sound, "streams": streams}))
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let sound = reports.iter().all(|stream| stream.report.is_sound());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ERROR) })
}

fn text(reports: &[StreamReport], verdict: &str) -> String {
    if reports.is_empty() {
        return "No streams.\n".to_owned();
    }
    let blocks: Vec<String> = reports.iter().map(|stream| text_stream(stream, verdict)).collect();
    blocks.join("\n")
}

fn text_stream(stream: &StreamReport, verdict: &str) -> String {
    let report = &stream.report;
    let segments = &report.segments;
    let messages: u64 = segments.iter().map(|segment| segment.messages).sum();
    let bytes: u64 = segments.iter().map(|segment| segment.data_bytes).sum();
    let mut out = format!(
        "{}: {}, {} in {} segments\n",
        stream.name,
        values::show_messages(messages),
        values::show_size(bytes),
        segments.len()
    );
    if !segments.is_empty() {
        let rows: Vec<Vec<String>> = segments.iter().map(row).collect();
        let head = ["FIRST", "LAST", "MESSAGES", "SIZE", "FIRST TIME (UTC)", "STATE"];
        out.push_str(&output::table(&head, &[true, true, true, true, false, false], &rows));
    }
    for damage in report.damage.iter().take(DAMAGE_SHOWN_MAX) {
        let _ = writeln!(out, "DAMAGE  {}", describe(damage));
    }
    if report.damage.len() > DAMAGE_SHOWN_MAX {
        let _ = writeln!(out, "DAMAGE  … {} more, see --format json", report.damage.len() - DAMAGE_SHOWN_MAX);
    }
    if let Some((path, offset)) = &report.torn_at {
        let size = values::show_size(report.torn_bytes);
        let _ = writeln!(
            out,
            "Unfinished write: {size} from byte {offset} of\n  {}\n  were never acknowledged; the next start cuts them.",
            path.display()
        );
    }
    for path in &report.strangers {
        let _ = writeln!(out, "Not a segment: {}", path.display());
    }
    for path in &report.leftovers {
        let _ = writeln!(out, "Left by a rewriting, removed at the next start: {}", path.display());
    }
    if !report.clean {
        out.push_str("Not closed: the server runs, or ended without closing the log.\n");
    }
    let verdict = if report.is_sound() { verdict } else { "DAMAGED; everything outside the ranges above is readable" };
    let _ = writeln!(out, "{}: {verdict}", stream.name);
    out
}

fn row(segment: &SegmentReport) -> Vec<String> {
    let time = if segment.messages == 0 {
        "-".to_owned()
    } else {
        values::show_time(segment.first_ts_ns, 0).replace('T', " ").trim_end_matches('Z').to_owned()
    };
    vec![
        segment.first_seq.to_string(),
        if segment.messages == 0 { "-".to_owned() } else { segment.last_seq.to_string() },
        segment.messages.to_string(),
        values::show_size(segment.file_bytes),
        time,
        state(segment),
    ]
}

fn state(segment: &SegmentReport) -> String {
    match (segment.sealed, segment.footer_ok, segment.packed) {
        (true, false, _) | (false, _, Some(_)) => "bad footer".to_owned(),
        (false, _, None) => "open".to_owned(),
        (true, true, None) => "sealed".to_owned(),
        (true, true, Some(Codec::None)) => "packed".to_owned(),
        (true, true, Some(Codec::Zstd)) => format!("packed {:.1}x", ratio(segment)),
    }
}

/// How many bytes of records the file holds for each of its own.
fn ratio(segment: &SegmentReport) -> f64 {
    segment.record_bytes as f64 / segment.file_bytes.max(1) as f64
}

fn describe(damage: &Damage) -> String {
    let what = match damage.reason {
        LostReason::Damage => format!("{} bytes from byte {} are unreadable in", damage.bytes, damage.offset),
        LostReason::MissingSegment => "missing or exchanged file".to_owned(),
        LostReason::NeverWritten => "numbers left out after a power cut, no damage".to_owned(),
    };
    let lost = match damage.lost {
        Some(lost) if lost.first_seq == lost.last_seq => format!("message #{} is lost", lost.first_seq),
        Some(lost) => format!("messages #{} to #{} are lost", lost.first_seq, lost.last_seq),
        None => "no message is lost by it".to_owned(),
    };
    format!("{what}\n        {}\n        {lost}", damage.path.display())
}

fn json_stream(stream: &StreamReport) -> serde_json::Value {
    let report = &stream.report;
    let segments: Vec<serde_json::Value> = report
        .segments
        .iter()
        .map(|segment| {
            json!({
                "path": segment.path.to_string_lossy(),
                "first_seq": segment.first_seq,
                "last_seq": segment.last_seq,
                "messages": segment.messages,
                "frames": segment.frames,
                "file_bytes": segment.file_bytes,
                "data_bytes": segment.data_bytes,
                "sealed": segment.sealed,
                "footer_ok": segment.footer_ok,
                "packed": segment.packed.is_some(),
                "codec": segment.packed.map(|codec| match codec {
                    Codec::None => "none",
                    Codec::Zstd => "zstd",
                }),
                "record_bytes": segment.record_bytes,
                "weak": segment.weak,
                "first_ts_ns": segment.first_ts_ns,
                "last_ts_ns": segment.last_ts_ns,
            })
        })
        .collect();
    let damage: Vec<serde_json::Value> = report
        .damage
        .iter()
        .map(|damage| {
            json!({
                "path": damage.path.to_string_lossy(),
                "offset": damage.offset,
                "bytes": damage.bytes,
                "reason": match damage.reason {
                    LostReason::Damage => "damage",
                    LostReason::MissingSegment => "missing_segment",
                    LostReason::NeverWritten => "never_written",
                },
                "lost_first_seq": damage.lost.map(|lost| lost.first_seq),
                "lost_last_seq": damage.lost.map(|lost| lost.last_seq),
            })
        })
        .collect();
    json!({
        "name": stream.name,
        "sound": report.is_sound(),
        "clean": report.clean,
        "segments": segments,
        "damage": damage,
        "torn_bytes": report.torn_bytes,
        "torn_path": report.torn_at.as_ref().map(|(path, _)| path.to_string_lossy()),
        "torn_offset": report.torn_at.as_ref().map(|(_, offset)| offset),
        "strangers": report.strangers.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        "leftovers": report.leftovers.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use sublog_storage::LostRange;

    use super::*;

    fn damaged() -> StreamReport {
        let segment = |first_seq: u64, sealed| SegmentReport {
            path: format!("/d/{first_seq:020}.seg").into(),
            first_seq,
            last_seq: first_seq + 9_999_999,
            messages: 10_000_000,
            frames: 5,
            file_bytes: 128 << 20,
            data_bytes: 100 << 20,
            sealed,
            footer_ok: true,
            packed: None,
            record_bytes: 90 << 20,
            weak: false,
            first_ts_ns: 1_748_779_200_000_000_000,
            last_ts_ns: 1_748_779_201_000_000_000,
        };
        let lost = Some(LostRange { first_seq: 7, last_seq: 9, reason: LostReason::Damage });
        let damage = |reason| Damage { path: "/d/1.seg".into(), offset: 4096, bytes: 300, lost, reason };
        StreamReport {
            name: "CAPTURE".into(),
            report: VerifyReport {
                segments: vec![
                    SegmentReport {
                        packed: Some(Codec::Zstd),
                        record_bytes: 1000 << 20,
                        ..segment(8_990_000_001, true)
                    },
                    segment(9_000_000_001, true),
                    segment(9_010_000_001, false),
                ],
                damage: vec![damage(LostReason::Damage); 25],
                torn_bytes: 17,
                torn_at: Some(("/d/2.seg".into(), 8192)),
                strangers: vec!["/d/notes.txt".into()],
                leftovers: vec!["/d/1.packed.tmp".into()],
                clean: false,
            },
        }
    }

    #[test]
    fn reports_are_tables_that_fit_a_terminal() {
        let text = text(&[damaged()], "unused");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in [
            "CAPTURE: 30,000,000 messages, 300 MiB in 3 segments",
            "8990000001  9000000000  10000000  128 MiB  2025-06-01 12:00:00  packed 7.8x",
            "9000000001  9010000000  10000000  128 MiB  2025-06-01 12:00:00  sealed",
            "300 bytes from byte 4096",
            "messages #7 to #9 are lost",
            "… 5 more",
            "17 B from byte 8192",
            "Not a segment: /d/notes.txt",
            "removed at the next start: /d/1.packed.tmp",
            "CAPTURE: DAMAGED",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    #[test]
    fn json_holds_everything() {
        let value = json_stream(&damaged());
        assert_eq!(value["damage"].as_array().unwrap().len(), 25);
        assert_eq!(value["damage"][0]["lost_last_seq"], 9);
        assert_eq!(value["segments"][0]["codec"], "zstd");
        assert_eq!(value["segments"][1]["packed"], false);
        assert_eq!(value["segments"][2]["sealed"], false);
        assert_eq!(value["torn_offset"], 8192);
        assert_eq!(value["sound"], false);
    }

    #[test]
    fn only_logs_and_data_directories_are_read() {
        let root = std::env::temp_dir().join(format!("sublog-inspect-{}", std::process::id()));
        std::fs::create_dir_all(root.join("streams/B")).unwrap();
        std::fs::create_dir_all(root.join("streams/A")).unwrap();
        std::fs::write(root.join("streams/A/00000000000000000001.seg"), b"").unwrap();
        let names = |dir: &Path| logs(dir).map(|logs| logs.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        assert_eq!(names(&root).unwrap(), ["A", "B"]);
        assert_eq!(names(&root.join("streams/A")).unwrap(), ["A"]);
        assert!(names(&root.join("streams/B")).unwrap_err().to_string().contains("neither a data directory"));
        assert!(names(&root.join("none")).unwrap_err().to_string().contains("none"));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
