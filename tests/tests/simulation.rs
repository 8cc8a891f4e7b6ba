//! The simulator holds, and would notice if it did not: thousands of schedules and power cuts, and every planted bug.
//!
//! In the release profile this takes minutes on two cores; without optimisation it is left out.

use std::process::Command;

use serde_json::Value;

/// Schedules that must hold in every run of the tests.
const SCHEDULES: &str = "5000";
/// Power-cut schedules likewise.
const POWER_CUTS: &str = "20000";
/// A planted bug must be found within so many seeds.
const PATIENCE: &str = "2000";

/// Runs the simulator: whether all invariants held, and its last line.
fn simulate(arguments: &[&str]) -> (bool, Value) {
    let ran = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).arg("--json").output();
    let ran = ran.expect("the simulator starts");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    let report = serde_json::from_str(last).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
    (ran.status.success(), report)
}

/// Whether a planted bug is noticed.
fn is_found(plant: &str) -> bool {
    !simulate(&["--seeds", PATIENCE, "--plant", plant]).0
}

fn plants() -> Vec<String> {
    let listed = Command::new(env!("CARGO_BIN_EXE_simulate")).arg("--list-plants").output();
    let listed = listed.expect("the simulator starts");
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn every_invariant_holds_and_every_planted_bug_is_found() {
    let (holds, report) = simulate(&["--seeds", SCHEDULES, "--power-cuts", POWER_CUTS]);
    assert!(holds, "{report:#}");
    assert!(report["virtual_days"].as_f64() > Some(1_000.0), "{report:#}");
    let plants = plants();
    assert!(plants.len() >= 30, "{} plants", plants.len());
    let unnoticed: Vec<&String> = plants.iter().filter(|plant| !is_found(plant)).collect();
    assert!(unnoticed.is_empty(), "planted and not found within {PATIENCE} seeds: {unnoticed:?}");
}
