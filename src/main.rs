//! The process: hands the command line to the CLI and its result to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    heare_auth::cli::run(std::env::args_os().skip(1).collect())
}
