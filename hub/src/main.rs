//! The hub's binary: reads the command line and says how it went.

use std::process::ExitCode;

use clap::Parser as _;
use waystation_hub::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::main(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waystation-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}
