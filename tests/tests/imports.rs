//! Imports that meet bad files, the same file again, and kill -9 in the middle.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use waystation_tests::api;
use waystation_tests::clerk::unsent;
use waystation_tests::import::{self, KIND, SITE, Summary, movements, write_map};
use waystation_tests::process::{agent, free_port, hub, run};
use waystation_tests::wait::eventually;

const ROWS: u64 = 60_000;
/// Kills tried before giving up on striking in the middle.
const TRIES: u64 = 6;

/// One import into a fresh data folder.
struct Table<'a> {
    name: &'a str,
    bytes: &'a [u8],
    kind: &'a str,
}

/// Imports `table` and wants exit 1 and, in the message, the file's name and each of `words`.
#[track_caller]
fn check(table: &Table<'_>, words: &[&str], captured: u64, rejected: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join(table.name);
    fs::write(&file, table.bytes).expect("the test's folder can be written");
    let (output, data) = import_into(folder.path(), table.kind, &file);
    refused(&output, table.name, words);
    if captured + rejected == 0 {
        return;
    }
    let summary = Summary::read(&output.stdout);
    assert_eq!((summary.captured, summary.rejected), (captured, rejected), "{}: {summary:?}", table.name);
    assert_eq!(summary.rows, captured + rejected + summary.skipped + summary.duplicate, "{summary:?}");
    let rejects = folder.path().join(table.name.replace(".csv", ".rejects.csv"));
    let kept = fs::read_to_string(&rejects).unwrap_or_else(|error| panic!("{}: {error}", rejects.display()));
    assert!(kept.lines().count() as u64 > rejected, "a header and every reject: {kept}");
    let again = import::command(&data, table.kind, &write_map(folder.path()), &file).output().expect("it starts");
    assert_eq!(Summary::read(&again.stdout).captured, 0, "good rows are not captured twice");
}

fn import_into(folder: &Path, kind: &str, file: &Path) -> (Output, std::path::PathBuf) {
    let data = folder.join("data");
    let output = import::command(&data, kind, &write_map(folder), file).stdin(Stdio::null()).output();
    (output.expect("the importer starts"), data)
}

#[track_caller]
fn refused(output: &Output, name: &str, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{name}: {message}");
    for word in [name].iter().chain(words) {
        assert!(message.contains(word), "{name}: the message does not say '{word}': {message}");
    }
}

#[test]
fn rows_that_cannot_be_taken_cost_no_other_row() {
    let table = |name, bytes| Table { name, bytes, kind: KIND };
    let wrong_count = b"id,item,quantity\n1,tyre,3\n2,tyre\n3,tyre,4\n";
    check(&table("count.csv", wrong_count), &["line 3"], 2, 1);
    let bad_bytes = b"id,item,quantity\n1,tyre,3\n2,ty\xff\xfere,3\n3,tyre,4\n";
    check(&table("bytes.csv", bad_bytes), &["line 3"], 2, 1);
    let bad_number = b"id,item,quantity\n1,tyre,many\n2,tyre,3\n";
    check(&table("number.csv", bad_number), &["line 2", "quantity"], 1, 1);
}

const ORDERS: &str = r#"
kind = "repair_order"
key = ["ID"]
site = { column = "Site" }
state = { column = "State", values = { "Done" = "closed", "Odd*" = "" } }
[fields]
odometer = { column = "Km" }
sale_date = { column = "Sold", date = ["%d.%m.%Y"] }
promised_at = { column = "Due" }
outcome = { column = "Result", values = { "OK" = "fixed" } }
symptom = { column = "Text" }
"labour#1.hours" = { column = "Hours", decimal = "," }
"part#1.quantity" = { column = "Qty", unit = "件" }
"part#1.price" = { column = "Price", unit = "EUR" }
"#;
const HEADER: &str = "ID;Site;State;Km;Sold;Due;Result;Text;Hours;Qty;Price";
const GOOD: &str = "1;3701;Done;12000;31.12.2025;2026-01-02 08:30;OK;漏油;1,25;2;19.99";

/// One bad row for every rule there is: the cell to spoil, what with, and the column and words of the reject.
#[test]
fn every_rule_that_rejects_a_row_names_its_column_and_why() {
    let long = "x".repeat(64 * 1024 + 1);
    let too_long = "x".repeat(1024 * 1024);
    let spoiled: Vec<(usize, &str, &str, &str)> = vec![
        (0, " ", "ID", "this is empty, but the map makes it the row's identity"),
        (1, "", "Site", "this is empty, but it names the site"),
        (1, "\u{7}", "Site", "is not a site name"),
        (2, "Lost", "State", "the map's values do not list it"),
        (2, "", "State", "this is empty, but it names the state"),
        (2, "Odd one", "State", "this is empty, but it names the state"),
        (3, "-1", "Km", "'-1' does not fit: expected"),
        (3, "1.5", "Km", "'1.5' does not fit: expected"),
        (3, "99999999999999999999", "Km", "does not fit: expected"),
        (4, "30.02.2025", "Sold", "'30.02.2025' does not fit the map's date formats: %d.%m.%Y"),
        (4, "2025-12-31", "Sold", "does not fit the map's date formats"),
        (5, "soon", "Due", "'soon' does not fit: expected"),
        (6, "maybe", "Result", "the map's values do not list it"),
        (7, &long, "Text", "text"),
        (7, &too_long, "", "longer than"),
        (8, "1.234,567", "Hours", "'1.234,567' does not fit: expected"),
        (9, "many", "Qty", "'many' does not fit: expected a quantity"),
        (9, "1.2345", "Qty", "does not fit: expected a quantity"),
        (10, "19.999", "Price", "'19.999' does not fit: expected"),
        (10, "19.99 dollars", "Price", "does not fit: expected"),
        (7, "a;b", "", "expected 11 cells, found 12"),
        (7, "\"ab\"c", "", "quote"),
    ];
    let mut text = format!("{HEADER}\n{GOOD}\n");
    for (number, (index, cell, ..)) in spoiled.iter().enumerate() {
        let mut cells: Vec<&str> = GOOD.split(';').collect();
        let id = format!("{}", number + 2);
        cells[0] = &id;
        cells[*index] = cell;
        text.push_str(&cells.join(";"));
        text.push('\n');
    }
    text.push_str("99;3701;Done;1\n");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (file, map) = (folder.path().join("orders.csv"), folder.path().join("orders.toml"));
    fs::write(&file, text).expect("the test's folder can be written");
    fs::write(&map, ORDERS).expect("the test's folder can be written");
    let output = import::command(&folder.path().join("data"), "repair_order", &map, &file).output();
    let summary = Summary::read(&output.expect("the importer starts").stdout);
    let count = spoiled.len() as u64 + 1;
    assert_eq!((summary.rows, summary.captured, summary.rejected), (count + 1, 1, count), "{summary:?}");

    let rejects = fs::read(folder.path().join("orders.rejects.csv")).expect("a rejects file");
    let mut table = csv::ReaderBuilder::new().delimiter(b';').from_reader(&rejects[3..]);
    let at = |name: &str| {
        HEADER.split(';').count()
            + ["_line", "_occurrence", "_key", "_column", "_reason", "_raw"]
                .iter()
                .position(|column| *column == name)
                .expect("a column of rejects")
    };
    let rows: Vec<csv::StringRecord> = table.records().map(|row| row.expect("a good CSV")).collect();
    for (number, (_, cell, column, reason)) in spoiled.iter().enumerate() {
        let (row, shown) = (&rows[number], cell.chars().take(20).collect::<String>());
        assert_eq!(row[at("_line")].parse::<usize>(), Ok(number + 3), "{shown}");
        assert!(column.is_empty() || row[at("_column")] == **column, "{shown}: {}", &row[at("_column")]);
        assert!(row[at("_reason")].contains(reason), "{shown}: {}", &row[at("_reason")]);
    }
    assert!(rows[spoiled.len()][at("_reason")].contains("expected 11 cells, found 4"));
}

/// The same table in every encoding, with every line end, plain and compressed.
#[test]
fn every_encoding_and_line_end_gives_the_same_documents() {
    let text = format!("{HEADER}\n{GOOD}\n2;3701;Done;;;;;\"zwei\nZeilen; 空调不制冷\";;;\n");
    let utf16 = |text: &str, is_big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    let encoded = |encoding: &str, text: &str| -> Vec<u8> {
        match encoding {
            "utf-8" => text.as_bytes().to_vec(),
            "utf-8 with a mark" => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            "gbk" => encoding_rs::GBK.encode(text).0.into_owned(),
            "utf-16le" => utf16(text, false),
            "utf-16be" => utf16(text, true),
            _ => text.chars().map(|c| u8::try_from(u32::from(c)).expect("a Latin-1 text")).collect(),
        }
    };
    for encoding in ["utf-8", "utf-8 with a mark", "gbk", "utf-16le", "utf-16be", "latin-1"] {
        for (end, name) in [("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")] {
            let is_latin = encoding == "latin-1";
            let table = if is_latin {
                text.replace("漏油", "Öl").replace("空调不制冷", "kühlt nicht")
            } else {
                text.clone()
            };
            let bytes = encoded(encoding, &table.replace('\n', end));
            let (expected, lines) = if is_latin { ("Öl", "kühlt nicht") } else { ("漏油", "空调不制冷") };
            let map = if is_latin { format!("encoding = \"latin-1\"\n{ORDERS}") } else { ORDERS.to_owned() };
            check_texts(&map, &bytes, &[expected, lines], &format!("{encoding} {name}"));
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gz, &bytes).expect("memory takes bytes");
            let packed = gz.finish().expect("memory takes bytes");
            check_texts(&map, &packed, &[expected, lines], &format!("{encoding} {name} gz"));
        }
    }
}

#[track_caller]
fn check_texts(map: &str, bytes: &[u8], symptoms: &[&str], case: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (file, path) = (folder.path().join("orders.csv"), folder.path().join("orders.toml"));
    fs::write(&file, bytes).expect("the test's folder can be written");
    fs::write(&path, map).expect("the test's folder can be written");
    let data = folder.path().join("data");
    let output = import::command(&data, "repair_order", &path, &file).output().expect("the importer starts");
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(Summary::read(&output.stdout).captured, 2, "{case}");
    let data = data.display().to_string();
    let listed = run("waystation-agent", &["export", "--data", &data, "--kind", "repair_order"]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    for symptom in symptoms {
        assert!(listed.contains(symptom), "{case}: no '{symptom}' in {listed}");
    }
}

#[test]
fn files_that_cannot_be_taken_at_all_are_refused() {
    let table = |name, bytes, kind| Table { name, bytes, kind };
    check(&table("empty.csv", b"", KIND), &[], 0, 0);
    check(&table("column.csv", b"id,item\n1,tyre\n", KIND), &["quantity"], 0, 0);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (output, _) = import_into(folder.path(), KIND, folder.path());
    refused(&output, &folder.path().display().to_string(), &[]);
    let (output, _) = import_into(folder.path(), KIND, &folder.path().join("absent.csv"));
    refused(&output, "absent.csv", &[]);
    let file = folder.path().join("good.csv");
    fs::write(&file, movements(3)).expect("the test's folder can be written");
    let (output, _) = import_into(folder.path(), "no_such_kind", &file);
    refused(&output, "no_such_kind", &["stock_movement"]);
}

/// A dry run of the test's table, and what it answers.
#[track_caller]
fn rehearse(data: &Path, map: &Path, file: &Path) -> (u64, u64, u64) {
    let output = import::command(data, KIND, map, file).arg("--dry-run").output().expect("the importer starts");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(json["dry_run"], true, "{json}");
    let summary = Summary::read(&output.stdout);
    (summary.captured, summary.duplicate, summary.rejected)
}

#[test]
fn a_dry_run_knows_what_was_imported_before_with_the_agent_stopped_and_running() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (file, data, map) = (folder.path().join("some.csv"), folder.path().join(SITE), write_map(folder.path()));
    fs::write(&file, movements(3)).expect("the test's folder can be written");
    assert_eq!(rehearse(&data, &map, &file), (3, 0, 0));
    assert!(!data.exists(), "a dry run leaves no data folder behind");
    let real = import::command(&data, KIND, &map, &file).output().expect("the importer starts");
    assert_eq!(Summary::read(&real.stdout).captured, 3);
    fs::write(&file, format!("{}x,tyre,many\n", movements(5))).expect("the test's folder can be written");
    assert_eq!(rehearse(&data, &map, &file), (2, 3, 1));
    let agent = agent(folder.path(), SITE, &format!("127.0.0.1:{}", free_port()), &[]);
    assert_eq!(rehearse(&data, &map, &file), (2, 3, 1));
    assert_eq!(unsent(&agent.http()), Some(3), "a dry run captures nothing");
}

#[test]
fn a_damaged_packed_file_is_refused_whole_and_the_summary_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("movements.csv.gz");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, movements(20_000).as_bytes()).expect("memory takes bytes");
    let mut bytes = gz.finish().expect("memory takes bytes");
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    fs::write(&file, bytes).expect("the test's folder can be written");
    let (output, data) = import_into(folder.path(), KIND, &file);
    refused(&output, "movements.csv.gz", &["damaged", "nothing of it was captured"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(json["captured"], 0, "{json}");
    assert!(json["error"].as_str().is_some_and(|error| error.contains("damaged")), "{json}");
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn a_quote_left_open_before_200_mb_costs_one_row() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("open.csv");
    let row = format!("2,tyre,3,{}\n", "x".repeat(20_000));
    let rows = 200 * 1024 * 1024 / row.len();
    fs::write(&file, format!("id,item,quantity,remark\n\"1,tyre,3,\n{}", row.repeat(rows))).expect("room for 200 MB");
    let (output, _) = import_into(folder.path(), KIND, &file);
    refused(&output, "open.csv", &["line 2", "quote"]);
    let summary = Summary::read(&output.stdout);
    assert_eq!((summary.captured, summary.rejected), (rows as u64, 1));
}

#[test]
fn the_same_file_twice_captures_nothing_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("movements.csv");
    fs::write(&file, movements(500)).expect("the test's folder can be written");
    for (captured, duplicate) in [(500, 0), (0, 500)] {
        let (output, _) = import_into(folder.path(), KIND, &file);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = Summary { rows: 500, captured, duplicate, skipped: 0, rejected: 0 };
        assert_eq!(Summary::read(&output.stdout), expected);
    }
}

/// Starts an import and kills `victim` once `is_midway`; true if rows were captured before and some were left.
fn kill_midway(mut importer: Command, is_midway: &dyn Fn() -> bool, kill: &mut dyn FnMut(&mut std::process::Child)) {
    let quiet = importer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().expect("the importer starts");
    eventually(Duration::from_secs(120), "the middle of the import", || {
        let has_ended = child.try_wait().expect("our own child can be asked").is_some();
        if has_ended || is_midway() { Ok(()) } else { Err("not yet midway".to_owned()) }
    });
    kill(&mut child);
    child.wait().expect("our own child can be awaited");
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

#[test]
fn an_importer_killed_in_the_middle_can_be_run_again() {
    for attempt in 1..=TRIES {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (file, data) = (folder.path().join("movements.csv"), folder.path().join(SITE));
        fs::write(&file, movements(ROWS)).expect("the test's folder can be written");
        let map = write_map(folder.path());
        let midway = || size(&data) > attempt * 1024 * 1024;
        kill_midway(import::command(&data, KIND, &map, &file), &midway, &mut |importer| {
            importer.kill().expect("our own child can be killed");
        });
        let again = import::command(&data, KIND, &map, &file).output().expect("the importer starts");
        let summary = Summary::read(&again.stdout);
        assert_eq!((summary.captured + summary.duplicate, summary.rejected), (ROWS, 0), "{summary:?}");
        if summary.captured > 0 && summary.duplicate > 0 {
            println!("killed at row {} of {ROWS}", summary.duplicate);
            return each_row_once(folder.path());
        }
    }
    panic!("no kill of {TRIES} struck in the middle of the import");
}

#[test]
fn an_agent_killed_under_a_running_import_captures_nothing_twice() {
    for attempt in 1..=TRIES {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (file, data) = (folder.path().join("movements.csv"), folder.path().join(SITE));
        fs::write(&file, movements(ROWS)).expect("the test's folder can be written");
        let map = write_map(folder.path());
        let mut agent = agent(folder.path(), SITE, &format!("127.0.0.1:{}", free_port()), &[]);
        let http = agent.http();
        let midway = || unsent(&http).is_some_and(|count| count >= attempt * 500);
        kill_midway(import::command(&data, KIND, &map, &file), &midway, &mut |_| agent.kill9());
        agent.restart();
        let before = unsent(&agent.http()).expect("a restarted agent answers");
        let again = import::command(&data, KIND, &map, &file).output().expect("the importer starts");
        let summary = Summary::read(&again.stdout);
        assert_eq!((summary.duplicate, summary.captured + summary.duplicate), (before, ROWS), "{summary:?}");
        if summary.captured > 0 && summary.duplicate > 0 {
            println!("the agent was killed at row {before} of {ROWS}");
            agent.kill9();
            return each_row_once(folder.path());
        }
    }
    panic!("no kill of {TRIES} struck in the middle of the import");
}

/// Syncs the agent's data and wants every row of the file at the hub exactly once.
fn each_row_once(folder: &Path) {
    let hub = hub(folder, "embedded");
    let agent = agent(folder, SITE, &hub.address("mqtt"), &["--reconnect-max-s", "1"]);
    waystation_tests::oracle::settled(&hub.http(), &[agent.http()], Duration::from_secs(120));
    let documents = api::documents(&hub.http()).unwrap_or_else(|error| panic!("{error}"));
    let mut rows: Vec<String> = documents
        .iter()
        .filter_map(|document| document.fields["source_document"].as_str().map(str::to_owned))
        .collect();
    rows.sort();
    rows.dedup();
    assert_eq!((documents.len() as u64, rows.len() as u64), (ROWS, ROWS), "documents, and rows they stand for");
}
