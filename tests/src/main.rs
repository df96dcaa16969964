//! The server under test: the same `main` as the released binary has.

use std::process::ExitCode;

fn main() -> ExitCode {
    sublog_broker::cli::main(std::env::args_os())
}
