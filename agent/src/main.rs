//! The outlet agent's binary: draws the seed of this process start, and hands over to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        eprintln!("error: the system gives no random bytes: {error}");
        return ExitCode::FAILURE;
    }
    waystation_agent::cli::main(seed)
}
