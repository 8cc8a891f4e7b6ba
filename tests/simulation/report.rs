//! Many schedules on several threads, what they did, and how it is told.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;
use waystation_protocol::plant::{self, Plant};

use crate::cuts::{self, Base};
use crate::run;
use crate::schedule::Schedule;
use crate::violation::{Violation, broken};

/// Violations told in full.
const SHOWN: usize = 10;

/// What kind of schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Devices, network and hub.
    Schedules,
    /// Power cuts on one device.
    Cuts,
}

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// What kind of schedules.
    pub kind: Kind,
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// A bug to plant.
    pub plant: Option<Plant>,
    /// On how many threads.
    pub threads: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    seeds: u64,
    seconds: f64,
    virtual_ms: u64,
    faults: BTreeMap<&'static str, u64>,
    violations: Vec<(Kind, u64, Violation)>,
}

/// What one schedule did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    /// Faults by class.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Scratch of one thread.
struct Bench {
    folder: PathBuf,
    bases: Vec<Base>,
}

/// Runs the schedules until all are done, or the first violation with a plant.
pub(crate) fn run_all(order: &Order) -> Report {
    std::panic::set_hook(Box::new(|_| {}));
    let scratch = scratch();
    let (next, done, stop) = (AtomicU64::new(order.from), AtomicU64::new(0), AtomicBool::new(false));
    let report = Mutex::new(Report::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..order.threads {
            let folder = scratch.path().join(thread.to_string());
            let (next, done, stop, report) = (&next, &done, &stop, &report);
            scope.spawn(move || {
                let mut own = Report::default();
                match Bench::new(order.kind, &folder) {
                    Ok(bench) => {
                        plant::plant(order.plant);
                        own.work(order, &bench, next, done, stop);
                    }
                    Err(violation) => own.violations.push((order.kind, order.from, violation)),
                }
                report.lock().expect("no thread panics while it holds the report").add(own);
            });
        }
    });
    let mut report = report.into_inner().expect("no thread panics while it holds the report");
    report.seconds = began.elapsed().as_secs_f64();
    report
}

impl Bench {
    fn new(kind: Kind, folder: &Path) -> Result<Bench, Violation> {
        let bases = match kind {
            Kind::Cuts => cuts::bases(&folder.join("device"))?,
            Kind::Schedules => {
                run::prepare(folder)?;
                Vec::new()
            }
        };
        Ok(Bench { folder: folder.to_owned(), bases })
    }
}

impl Report {
    fn work(&mut self, order: &Order, bench: &Bench, next: &AtomicU64, done: &AtomicU64, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= order.from + order.seeds {
                return;
            }
            match one(order.kind, seed, bench) {
                Ok(tally) => {
                    self.virtual_ms += tally.virtual_ms;
                    for (class, count) in tally.faults {
                        *self.faults.entry(class).or_default() += count;
                    }
                }
                Err(violation) => {
                    self.violations.push((order.kind, seed, violation));
                    if order.plant.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            self.seeds += 1;
            show(done.fetch_add(1, Ordering::Relaxed) + 1, order.seeds);
        }
    }

    /// Takes in another report.
    pub(crate) fn add(&mut self, other: Report) {
        self.seeds += other.seeds;
        self.seconds += other.seconds;
        self.virtual_ms += other.virtual_ms;
        self.violations.extend(other.violations);
        for (class, count) in other.faults {
            *self.faults.entry(class).or_default() += count;
        }
    }

    /// How many schedules broke an invariant.
    pub(crate) fn violations(&self) -> usize {
        self.violations.len()
    }

    /// Tells it. The first violation of a schedule is shortened.
    pub(crate) fn print(&self, plant: Option<Plant>, is_json: bool) {
        let planted = plant.map_or_else(String::new, |plant| format!(" --plant {}", plant.name()));
        for (kind, seed, violation) in self.violations.iter().take(SHOWN) {
            let again = match kind {
                Kind::Schedules => format!("--replay {seed}"),
                Kind::Cuts => format!("--power-cuts 1 --from {seed}"),
            };
            println!("seed {seed}: {violation}");
            println!("  cargo run --release --bin simulate -- {again}{planted}");
        }
        let first = self.violations.iter().find(|(kind, ..)| *kind == Kind::Schedules);
        if let (Some((_, seed, _)), None) = (first, plant) {
            replay(*seed, plant, false, false);
        }
        if is_json {
            println!("{}", self.json());
            return;
        }
        for (class, count) in &self.faults {
            println!("{class:<24} {count:>12}");
        }
        let rate = self.rate();
        println!("{} schedules, {rate:.0} per second, {} violations", self.seeds, self.violations.len());
    }

    fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.seeds as f64 / self.seconds } else { 0.0 }
    }

    fn json(&self) -> serde_json::Value {
        let told = self.violations.iter().map(
            |(_, seed, violation)| json!({ "seed": seed, "invariant": violation.invariant, "what": violation.what }),
        );
        let findings: Vec<_> = told.collect();
        json!({
            "seeds": self.seeds, "schedules_per_s": self.rate().round(),
            "virtual_days": (self.virtual_ms as f64 / 86_400_000.0).round(), "faults": self.faults,
            "violations": findings.len(), "findings": findings,
        })
    }
}

/// One schedule.
fn one(kind: Kind, seed: u64, bench: &Bench) -> Result<Tally, Violation> {
    guarded(|| match kind {
        Kind::Schedules => run::run(&Schedule::of(seed), &bench.folder, None),
        Kind::Cuts => cuts::run(seed, &bench.folder.join("device"), &bench.bases).map(|tally| Tally {
            virtual_ms: 0,
            faults: BTreeMap::from([
                ("power cut", tally.cuts),
                ("cut during recovery", tally.recovery_cuts),
                ("sector lost", tally.damage.lost_sectors),
            ]),
        }),
    })
}

/// A panic of the product is a violation.
fn guarded(run: impl FnOnce() -> Result<Tally, Violation>) -> Result<Tally, Violation> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(broken("defect", format!("panic: {}", said.unwrap_or_default())))
    })
}

/// Runs one seed's schedule again. Where it fails, prints the shortest schedule found that still does, step by step if
/// `is_full`. With `is_json` the last line is an object as for many seeds.
pub(crate) fn replay(seed: u64, bug: Option<Plant>, is_full: bool, is_json: bool) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let scratch = scratch();
    let folder = scratch.path();
    if let Err(violation) = run::prepare(folder) {
        println!("{violation}");
        return ExitCode::FAILURE;
    }
    plant::plant(bug);
    let schedule = Schedule::of(seed);
    let began = Instant::now();
    let mut steps = Vec::new();
    let ran = guarded(|| run::run(&schedule, folder, is_full.then_some(&mut steps)));
    let mut report = Report { seeds: 1, seconds: began.elapsed().as_secs_f64(), ..Report::default() };
    let violation = match ran {
        Ok(Tally { virtual_ms, faults }) => {
            steps.iter().for_each(|line| println!("{line}"));
            println!("seed {seed}: all invariants held");
            (report.virtual_ms, report.faults) = (virtual_ms, faults);
            if is_json {
                println!("{}", report.json());
            }
            return ExitCode::SUCCESS;
        }
        Err(violation) => violation,
    };
    let attempt = |schedule: &Schedule| guarded(|| run::run(schedule, folder, None)).err();
    let short = run::shrink(&schedule, &violation, &attempt);
    let mut trace = Vec::new();
    let last = guarded(|| run::run(&short, folder, Some(&mut trace))).err();
    if is_full {
        trace.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {violation}");
    }
    println!("shortened from {} steps to {}, on {} devices:", schedule.steps.len(), short.steps.len(), short.devices);
    short.steps.iter().for_each(|step| println!("  {:?}", step.action));
    println!("which ends with {}", last.as_ref().unwrap_or(&violation));
    if is_json {
        report.violations.push((Kind::Schedules, seed, violation));
        println!("{}", report.json());
    }
    ExitCode::FAILURE
}

/// In memory where the system has a place for that: a schedule writes a few small files.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a scratch folder can be made")
}

fn show(done: u64, all: u64) {
    if done.is_multiple_of(100) && std::io::stderr().is_terminal() {
        eprint!("\r{done} of {all}");
        // a progress line that is not seen harms nobody
        let _ = std::io::stderr().flush();
    }
}
