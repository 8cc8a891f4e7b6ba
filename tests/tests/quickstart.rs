//! The quickstart converges, and its comparison can fail.

use serde_json::{Value, json};
use waystation_tests::process;

#[test]
fn once_converges_with_networks_cut_and_restored() {
    let output = process::run("quickstart", &["--once", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("the last line is JSON");
    assert_eq!((&line["equal"], &line["sites"], &line["quarantined"]), (&true.into(), &3.into(), &0.into()), "{line}");
    let told =
        json!({"claim": "approved", "old_part": "written_off", "part_transfer": "closed", "settlement": "closed"});
    assert_eq!(line["told"], told, "the claim's story comes to its end: {line}");
    assert!(line["entries"].as_u64() >= Some(1_000), "{line}");
    assert_eq!((&line["stored"], &line["processed"]), (&line["entries"], &line["entries"]), "{line}");
}

#[test]
fn a_planted_difference_is_noticed() {
    let output = process::run("quickstart", &["--once", "--json", "--plant"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("field planted"));
}
