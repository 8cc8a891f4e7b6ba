//! The simulator holds, and would notice if it did not: thousands of schedules and power cuts, and every planted bug.
//!
//! In the release profile this takes minutes on two cores; without optimisation it is left out.

use std::process::Command;

use serde_json::Value;

/// Schedules that must hold in every run of the tests.
const SCHEDULES: &str = "5000";
/// Power-cut schedules likewise.
const POWER_CUTS: &str = "20000";
/// Seeds whose findings are not mended yet: each is either a fault of the product or one of the oracle. No other seed may fail,
/// and a planted bug counts as found only at another seed. 2246, 4465: an agent brings back that an entry was parked, the hub
/// put back then applies it, and nobody tells the agent that it was released. 3227: a kill within seconds of sending loses the
/// end of a batch, and a WELCOME's rungs leave no mark in common.
const OPEN: &[u64] = &[2246, 3227, 4465];
/// A planted bug must be found within so many seeds.
const PATIENCE: u64 = 2_000;

/// Runs the simulator: whether all invariants held, and its last line.
fn simulate(arguments: &[&str]) -> (bool, Value) {
    let ran = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).arg("--json").output();
    let ran = ran.expect("the simulator starts");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    let report = serde_json::from_str(last).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
    (ran.status.success(), report)
}

/// Findings at seeds that are not open.
fn news(report: &Value) -> Vec<&Value> {
    let findings = report["findings"].as_array().expect("a report lists its findings");
    let is_open = |finding: &&Value| finding["seed"].as_u64().is_some_and(|seed| OPEN.contains(&seed));
    findings.iter().filter(|finding| !is_open(finding)).collect()
}

/// Whether a planted bug is noticed at a seed that is not open. The simulator ends at the first finding, so open seeds
/// are gone around.
fn is_found(plant: &str) -> bool {
    let mut from = 1;
    let ends = OPEN.iter().copied().filter(|seed| *seed <= PATIENCE).chain([PATIENCE + 1]);
    ends.into_iter().any(|end| {
        let (first, seeds) = (from.to_string(), (end - from).to_string());
        from = end + 1;
        !simulate(&["--from", &first, "--seeds", &seeds, "--plant", plant]).0
    })
}

fn plants() -> Vec<String> {
    let listed = Command::new(env!("CARGO_BIN_EXE_simulate")).arg("--list-plants").output();
    let listed = listed.expect("the simulator starts");
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn every_invariant_holds_and_every_planted_bug_is_found() {
    let (_, report) = simulate(&["--seeds", SCHEDULES, "--power-cuts", POWER_CUTS]);
    assert_eq!(news(&report), Vec::<&Value>::new(), "{report:#}");
    assert!(report["virtual_days"].as_f64() > Some(1_000.0), "{report:#}");
    let plants = plants();
    assert!(plants.len() >= 30, "{} plants", plants.len());
    let unnoticed: Vec<&String> = plants.iter().filter(|plant| !is_found(plant)).collect();
    assert!(unnoticed.is_empty(), "planted and not found within {PATIENCE} seeds: {unnoticed:?}");
}
