//! A real file nobody here wrote goes in at a migration agent and comes out at the hub as the right figures: those of
//! ../shared/data/expected.json, computed by an independent program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use waystation_tests::{oracle, process};

fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    folder.join("expected.json").exists().then_some(folder)
}

#[test]
fn deliveries_are_on_time_as_the_independent_program_says() {
    let Some(data) = shared() else {
        println!("SKIPPED deliveries: ../shared/data is not there");
        return;
    };
    let text = std::fs::read_to_string(data.join("expected.json")).expect("expected.json can be read");
    let expected: Value = serde_json::from_str(&text).expect("expected.json is JSON");
    let expected = &expected["shared"]["deliveries"]["scms_first4000.csv.gz"];

    let folder = tempfile::tempdir().expect("a temporary folder");
    let hub = process::hub(folder.path(), "embedded");
    let agent = process::agent(folder.path(), "*", &hub.address("mqtt"), &[]);
    let file = data.join("deliveries/scms_first4000.csv.gz").display().to_string();
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/import/deliveries.toml").display().to_string();
    let own = folder.path().join("all").display().to_string();
    let arguments =
        ["import", "--data", &own, "--sites", "*", "--kind", "delivery_item", "--map", &map, &file, "--json"];
    let output = process::run("waystation-agent", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("--json prints one object");
    assert_eq!((&summary["rows"], &summary["captured"]), (&expected["rows"], &expected["valid"]), "{summary}");

    let http = hub.http();
    oracle::settled(&http, &[agent.http()], Duration::from_secs(60));
    let report = |query: &str| http.get(&format!("/api/v1/reports/delivery{query}"));
    let all = report("");
    assert_eq!((&all["sites_expected"], &all["sites_complete"]), (&expected["sites"], &expected["sites"]), "{all}");
    let row = &all["rows"][0];
    assert_eq!(
        (&row["items"], &row["on_time"], &row["on_time_rate"], &row["late_days"]),
        (&expected["rows"], &expected["on_time"], &expected["on_time_rate"], &expected["late_days_total"])
    );
    let mut compared = 4;
    compared += compare(&report("?by=site"), "site", &expected["by_site"]);
    compared += compare(&report("?by=month"), "month", &expected["by_month_last6"]);
    for (year, figures) in expected["by_year"].as_object().expect("by_year is an object") {
        let row = &report(&format!("?from={year}-01-01&to={year}-12-31"))["rows"][0];
        check(year, row, figures);
        compared += 3;
    }
    compared += digest(&report("?by=site"), &["site"], &expected["site_digest(site,n,on_time)"]);
    compared += digest(&report("?by=month"), &["month"], &expected["month_digest(month,n,on_time)"]);
    compared +=
        digest(&report("?by=site,month"), &["site", "month"], &expected["site_month_digest(site,month,n,on_time)"]);
    println!("deliveries: {compared} figures and digests equal, {} rows", summary["rows"]);
}

/// Compares the rows that the expectation lists; gives how many figures that were.
fn compare(report: &Value, key: &str, expected: &Value) -> usize {
    let rows = report["rows"].as_array().expect("a report has rows");
    let expected = expected.as_object().expect("figures by name");
    for (name, figures) in expected {
        let row = rows.iter().find(|row| row[key] == name.as_str());
        check(name, row.unwrap_or_else(|| panic!("no row for {name}: {report}")), figures);
    }
    expected.len() * 3
}

fn check(name: &str, row: &Value, figures: &Value) {
    let found = [&row["items"], &row["on_time"], &row["on_time_rate"]].map(Value::as_f64);
    let wanted = [&figures[0], &figures[1], &figures[2]].map(Value::as_f64);
    assert_eq!(found, wanted, "{name}: {row}");
}

/// The digest of a whole table, as expected.json makes it: sha256 over its sorted lines, columns parted by tabs.
fn digest(report: &Value, keys: &[&str], expected: &Value) -> usize {
    let rows = report["rows"].as_array().expect("a report has rows");
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let keys = keys.iter().map(|key| row[*key].as_str().unwrap_or_default().to_owned());
            let figures = ["items", "on_time"].map(|column| row[column].to_string());
            keys.chain(figures).collect::<Vec<_>>().join("\t")
        })
        .collect();
    lines.sort();
    let hash = Sha256::digest(lines.join("\n") + "\n");
    let found: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, expected.as_str().expect("a digest"), "{} rows by {keys:?}", rows.len());
    1
}
