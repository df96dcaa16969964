//! `sublog-bench`: measures Sublog and nats-server in turn, on the same machine and in the same run.
//!
//! For each workload and round every server variant is started afresh, measured, and stopped, and the order of the
//! variants turns from round to round, so that a machine that slows down does so for all of them. What is measured is
//! verified: see `content`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Options;
use crate::error::{BenchError, During as _, Result};
use crate::report::{DISK, Machine, Outcome, RELAY, Report, WorkloadReport};
use crate::server::{Launch, Server, Variant};
use crate::workload::Workload;

mod cleanup;
mod cli;
mod clock;
mod content;
mod crew;
mod disk;
mod error;
mod figure;
mod monitor;
mod process;
mod relay;
mod report;
mod server;
mod targets;
mod tls;
mod wire;
mod workload;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        list();
        return ExitCode::SUCCESS;
    }
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sublog-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() {
    println!("workloads:");
    for workload in Workload::ALL {
        println!("  {:<14} {}", workload.name(), workload.about());
    }
    let variants: Vec<&str> = Variant::ALL.into_iter().map(Variant::name).collect();
    println!("variants: {}", variants.join(", "));
}

/// Measures and prints; says whether every run gave its figures.
fn run(mut options: Options) -> Result<bool> {
    options.check()?;
    let workloads = options.workloads()?;
    let variants = options.variants()?;
    // Servers run in a folder of their own.
    options.sublog = options.sublog.as_deref().map(program).transpose()?;
    options.nats = options.nats.as_deref().map(program).transpose()?;
    allow_many_files()?;
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("sublog-bench-").tempdir_in(&parent);
    let folder = folder.during(format!("making a folder in {}", parent.display()))?;
    cleanup::on_interrupt(folder.path().to_owned())?;
    tls::prepare(folder.path())?;
    if disk::is_in_memory(folder.path())? {
        eprintln!("sublog-bench: {} is in memory: durable figures will mean nothing; give --dir", parent.display());
    }
    // Now rather than after an hour of measuring.
    if let Some(path) = &options.json {
        fs::write(path, "").during(format!("writing {}", path.display()))?;
    }
    let mut report = Report {
        format: 1,
        machine: machine(&parent),
        command: std::env::args().collect(),
        workloads: Vec::with_capacity(workloads.len()),
        targets: Vec::new(),
    };
    for workload in workloads {
        if let Some(measured) = measure(workload, &variants, folder.path(), &options)? {
            report.workloads.push(measured);
        }
    }
    report.targets = targets::verdicts(&report);
    let machine = &report.machine;
    let Machine { processors, processor, kernel, load_before, folder } = machine;
    println!(
        "{processors} processors, {processor}, Linux {kernel}, data in {folder}, load before the start {load_before}"
    );
    println!("median (lowest..highest) of {} rounds, ratio to nats-server", options.rounds);
    print!("{}", report.table());
    if !report.targets.is_empty() {
        println!("\nWhat is aimed at: medians, and whether they are there");
        print!("{}", report.targets_table());
    }
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report);
        let json = json.map_err(|error| BenchError::Setup(format!("making JSON: {error}")))?;
        fs::write(path, json + "\n").during(format!("writing {}", path.display()))?;
    }
    Ok(!report.workloads.iter().any(WorkloadReport::has_failures))
}

/// All rounds of one workload; `None` if it suits none of the variants.
fn measure(
    workload: Workload,
    variants: &[Variant],
    folder: &Path,
    options: &Options,
) -> Result<Option<WorkloadReport>> {
    let variants: Vec<Variant> = variants.iter().copied().filter(|variant| workload.suits(*variant)).collect();
    if variants.is_empty() {
        return Ok(None);
    }
    let mut columns: Vec<(Variant, Vec<Outcome>)> = variants.iter().map(|variant| (*variant, Vec::new())).collect();
    let (mut disk_rounds, mut relay_rounds) = (Vec::new(), Vec::new());
    for round in 0..options.rounds as usize {
        let disk = workload.measure_disk(folder, options)?;
        disk_rounds.extend(disk.iter().map(|disk| Ok(disk.figures())));
        relay_rounds.extend(workload.measure_relay(options)?.map(Ok));
        let count = columns.len();
        for turn in 0..count {
            let Some((variant, outcomes)) = columns.get_mut((round + turn) % count) else { continue };
            let Some(binary) = options.binary(*variant) else { continue };
            let launch = Launch {
                variant: *variant,
                setup: workload.setup(),
                binary: binary.clone(),
                folder: folder.join(format!("{}-{round}", variant.name())),
                stall: options.stall(),
            };
            let outcome = Server::start(launch)
                .and_then(|mut server| workload.run(&mut server, options, disk.as_ref()))
                .map_err(|error| error.to_string());
            progress(workload, *variant, round, options, &outcome);
            outcomes.push(outcome);
        }
    }
    let mut columns: Vec<_> = columns.into_iter().map(|(variant, outcomes)| (variant.name(), outcomes)).collect();
    if !disk_rounds.is_empty() {
        columns.push((DISK, disk_rounds));
    }
    if !relay_rounds.is_empty() {
        columns.push((RELAY, relay_rounds));
    }
    Ok(Some(WorkloadReport::new(workload.name(), workload.about(), columns)))
}

fn progress(workload: Workload, variant: Variant, round: usize, options: &Options, outcome: &Outcome) {
    let outcome = match outcome {
        Ok(figures) => figures.first().map(|first| format!("{} {:.1} {}", first.name, first.value, first.unit.text())),
        Err(error) => Some(format!("FAILED: {error}")),
    };
    let outcome = outcome.unwrap_or_default();
    eprintln!("{} {} {}/{}: {outcome}", workload.name(), variant.name(), round + 1, options.rounds);
}

/// The absolute path of a binary: a path, or a name to look up on PATH.
fn program(name: &Path) -> Result<PathBuf> {
    let missing = |error| BenchError::Io { what: format!("finding {}", name.display()), source: error };
    if name.components().count() > 1 {
        return fs::canonicalize(name).map_err(missing);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| missing(std::io::ErrorKind::NotFound.into()))
}

/// Thousands of connections need as many open files, here and in the servers, which inherit the limit.
fn allow_many_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let failed = |error: rustix::io::Errno| BenchError::Io { what: "raising ulimit -n".into(), source: error.into() };
    setrlimit(Resource::Nofile, limit).map_err(failed)
}

fn machine(folder: &Path) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Machine {
        processor: processor.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        folder: folder.display().to_string(),
    }
}
