//! The `sublog` binary; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sublog_broker::cli::main(std::env::args_os())
}
