//! The command line, one file a command.
//!
//! Exit codes: 0 all went well; 1 it ran and something did not hold or failed; 2 the command line was wrong.

mod models;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Transformer models at few bits per weight, in any browser and natively.
#[derive(Parser)]
#[command(name = "fewbit", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Models(models::Models),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Models(command) => command.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("fewbit: {error:#}");
        ExitCode::FAILURE
    })
}
