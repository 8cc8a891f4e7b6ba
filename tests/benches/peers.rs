//! The honest opponent: a one-day outbox in Rust (SQLite, HTTP, PostgreSQL), on the same records in the same run.

use std::process::Command;

use serde_json::Value;

use crate::drain::RECORDS;
use crate::records;
use crate::table::Table;

/// Runs the peer where it exists and puts our figures beside its.
pub(crate) fn measure(table: &mut Table) {
    let Some(folder) = records::peers() else {
        eprintln!("SKIPPED ../shared/peers/sqlite-http: the folder is not there");
        return;
    };
    let target = std::env::temp_dir().join("waystation-peers");
    let copy = Command::new("cp").arg("-rT").arg(&folder).arg(&target).status();
    let made = Command::new("chmod").args(["-R", "u+w"]).arg(&target).status();
    if !(copy.is_ok_and(|status| status.success()) && made.is_ok_and(|status| status.success())) {
        eprintln!("SKIPPED ../shared/peers/sqlite-http: it cannot be copied to {}", target.display());
        return;
    }
    let run = Command::new("./run-rs")
        .current_dir(target.join("sqlite-http"))
        .env("BATCH", "5000")
        .args([RECORDS.to_string(), "300".into()])
        .output();
    let Ok(output) = run else {
        eprintln!("SKIPPED ../shared/peers/sqlite-http: it does not start");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(peer) = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok()) else {
        eprintln!("SKIPPED ../shared/peers/sqlite-http: {}", String::from_utf8_lossy(&output.stderr));
        return;
    };
    compare(table, &peer);
}

fn compare(table: &mut Table, peer: &Value) {
    let theirs = |name: &str| peer[name].as_f64();
    let pairs = [
        ("drain, stored", "drain_per_s", "≥ 4 × the outbox", 4.0, true),
        ("drain, processed", "drain_per_s", "≥ 1 × the outbox", 1.0, true),
        ("link-up to stored, 100 k", "linkup_to_done_s", "≤ 0.5 × the outbox", 0.5, false),
        ("capture p50, 1 writer", "cap_p50_us", "", 1.0, false),
    ];
    for (name, their_name, goal, ratio, more_is_better) in pairs {
        let (Some(ours), Some(baseline)) = (table.value(name), theirs(their_name)) else { continue };
        let met = if more_is_better { ours >= ratio * baseline } else { ours <= ratio * baseline };
        table.beside(&format!("{name}, beside the outbox"), ours, "", baseline, goal, met);
    }
    let wire = theirs("wire_up").zip(theirs("wire_down")).map(|(up, down)| up + down);
    if let (Some(ours), Some(baseline)) = (table.value("wire bytes per record, both ways"), wire) {
        table.beside("wire bytes per record, beside the outbox", ours, "B", baseline, "≤ 65", ours <= 65.0);
    }
}
