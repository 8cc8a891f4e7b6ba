//! `simulate`: runs the product under faults that a seed decides, and judges what comes of it.
//!
//! Every schedule is one thread, one seed and virtual time. A violation prints its seed, the command that replays it and
//! the shortest schedule found that still breaks.

mod chance;
mod claims;
mod cuts;
mod damage;
mod decisions;
mod desk;
mod device;
mod disk;
mod flows;
mod hub;
mod network;
mod old_parts;
mod oracle;
mod people;
mod poison;
mod report;
mod run;
mod schedule;
mod settlements;
mod station;
mod transfers;
mod violation;
mod wishes;
mod world;

use std::process::ExitCode;

use clap::Parser;
use waystation_protocol::plant::Plant;

use report::{Kind, Order};

/// Runs agent and hub under simulated faults and checks what SYNC.md promises.
///
/// Exit codes: 0 all invariants held, 1 a violation, 2 wrong arguments.
#[derive(Debug, Parser)]
#[command(
    name = "simulate",
    after_help = "Examples:
  simulate --seeds 5000 --from 1
  simulate --power-cuts 20000
  simulate --seeds 2000 --plant ack-before-commit
  simulate --replay 4711"
)]
struct Arguments {
    /// How many schedules to run
    #[arg(long, default_value_t = 0)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many power-cut schedules to run
    #[arg(long, default_value_t = 0)]
    power_cuts: u64,
    /// Plants a bug, which must be found
    #[arg(long, value_parser = find_plant)]
    plant: Option<Plant>,
    /// Prints every step of this seed's schedule
    #[arg(long)]
    replay: Option<u64>,
    /// The last line is one JSON object
    #[arg(long)]
    json: bool,
    /// Names all plants, one per line
    #[arg(long)]
    list_plants: bool,
    /// Threads; one per core where it is not given
    #[arg(long)]
    threads: Option<usize>,
}

impl Arguments {
    /// Whether something is asked for that can be done.
    fn check(&self) -> Result<(), &'static str> {
        let many = self.seeds.max(self.power_cuts);
        match self.replay {
            None if many == 0 => Err("nothing to run: name --seeds, --power-cuts, --replay or --list-plants"),
            _ if self.threads == Some(0) => Err("nothing runs on no thread: --threads is 1 or more"),
            None if self.from.checked_add(many).is_none() => {
                Err("there are no seeds beyond 2^64: begin --from earlier")
            }
            Some(_) if many > 0 => Err("--replay runs one schedule alone: leave --seeds and --power-cuts out"),
            _ => Ok(()),
        }
    }
}

fn find_plant(name: &str) -> Result<Plant, String> {
    Plant::find(name).ok_or_else(|| "no such plant; --list-plants names them".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list_plants {
        Plant::ALL.iter().for_each(|plant| println!("{}", plant.name()));
        return ExitCode::SUCCESS;
    }
    if let Err(wrong) = arguments.check() {
        eprintln!("error: {wrong}");
        return ExitCode::from(2);
    }
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let order = |kind, seeds| Order { kind, from: arguments.from, seeds, plant: arguments.plant, threads };
    let mut done = report::Report::default();
    if let Some(seed) = arguments.replay {
        return report::replay(seed, arguments.plant, true, arguments.json);
    }
    if arguments.seeds > 0 {
        done.add(report::run_all(&order(Kind::Schedules, arguments.seeds)));
    }
    if arguments.power_cuts > 0 {
        done.add(report::run_all(&order(Kind::Cuts, arguments.power_cuts)));
    }
    done.print(arguments.plant, arguments.json);
    if done.violations() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
