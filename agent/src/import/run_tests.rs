//! Whole files as tables: what they hold, and what becomes of it.

use std::path::PathBuf;
use std::sync::Mutex;

use super::*;

const MAP: &str = r##"
kind = "survey"
key = ["ID"]
site = { column = "Site" }
state = { constant = "answered" }
[fields]
form = { column = "ID" }
score = { column = "Score" }
"##;

struct Quiet(Mutex<Vec<String>>);

impl Watch for Quiet {
    fn progress(&self, _read: u64, _total: u64) {}
    fn tell(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

struct Bench {
    folder: tempfile::TempDir,
    seen: Vec<(String, u32)>,
    told: Vec<String>,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap(), seen: Vec::new(), told: Vec::new() }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Imports for real and lets `look` see each row.
    fn import_with(
        &mut self,
        file: &Path,
        map: &str,
        look: &mut dyn FnMut(&ImportRow),
    ) -> Result<Summary, ImportError> {
        self.import_all(file, map, false, look)
    }

    fn import(&mut self, file: &Path, map: &str, dry_run: bool) -> Result<Summary, ImportError> {
        self.import_all(file, map, dry_run, &mut |_| ())
    }

    /// Imports into a memory that refuses scores above 100.
    fn import_all(
        &mut self,
        file: &Path,
        map: &str,
        dry_run: bool,
        look: &mut dyn FnMut(&ImportRow),
    ) -> Result<Summary, ImportError> {
        let map = self.file("map.toml", map);
        let sites = Sites::Only(vec!["a".parse().unwrap()]);
        let zone = waystation_protocol::time::zone("").unwrap();
        let fallback = self.folder.path().to_owned();
        let order =
            Order { kind: None, map: Some(&map), file, dry_run, sites: &sites, zone: &zone, fallback: &fallback };
        let seen = &mut self.seen;
        let mut capture = |rows: Vec<ImportRow>| {
            let mut take = |row: ImportRow| {
                look(&row);
                let identity = (row.key.clone(), row.occurrence);
                if row.set.get("score").and_then(|score| score.as_int()) > Some(100) {
                    return Taken::Refused { field: Some("score".into()), reason: "too high".into() };
                }
                if seen.contains(&identity) {
                    return Taken::Duplicate;
                }
                if !dry_run {
                    seen.push(identity);
                }
                Taken::Captured
            };
            Ok(rows.into_iter().map(&mut take).collect())
        };
        let quiet = Quiet(Mutex::new(Vec::new()));
        let summary = run(&order, &mut capture, &quiet);
        self.told = quiet.0.into_inner().unwrap();
        summary
    }

    fn counts(&mut self, file: &Path, map: &str) -> [u64; 5] {
        let summary = self.import(file, map, false).unwrap();
        [summary.rows, summary.captured, summary.duplicate, summary.skipped, summary.rejected]
    }
}

#[test]
fn good_rows_are_captured_and_the_rest_can_be_mended_and_imported_again() {
    let mut bench = Bench::new();
    let text = "ID,Site,Score\n1,a,7\n2,b,8\n3,a,nine\n4,a\n5,a,101\n\"6\"x,a,1\n7,a,7\n1,a,7\n";
    let file = bench.file("scores.csv", text);
    assert_eq!(bench.counts(&file, MAP), [8, 3, 0, 1, 4]);
    let told = |index: usize, expected: &str| assert!(bench.told[index].contains(expected), "{:?}", bench.told);
    told(0, "scores.csv, line 4, column 'Score': 'nine' does not fit: expected a whole number");
    told(1, "scores.csv, line 5, character 4: expected 3 cells, found 2");
    let text = bench.read("scores.rejects.csv");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert_eq!(bench.counts(&file, MAP), [8, 0, 3, 1, 4]);

    let mended = text.replace(",nine,", ",9,").replace("\"4,a\"", "\"4,a,4\"").replace(",101,", ",100,");
    let rejects = bench.file("scores.rejects.csv", mended.replace("\"\"\"6\"\"x,", "\"6,"));
    assert_eq!(bench.counts(&rejects, MAP), [4, 4, 0, 0, 0]);
    assert_eq!(bench.counts(&rejects, MAP), [4, 0, 4, 0, 0]);
    assert_eq!(bench.seen.len(), 7);
    assert!(bench.seen.contains(&("1".to_owned(), 2)), "equal keys are told apart by their occurrence");
}

#[test]
fn an_earlier_rejects_file_is_never_overwritten() {
    let mut bench = Bench::new();
    let file = bench.file("scores.csv", "ID,Site,Score\n1,a,x\n");
    bench.file("scores.rejects.csv", "half corrected by a clerk");
    let summary = bench.import(&file, MAP, false).unwrap();
    assert_eq!(summary.rejects_file, Some(bench.folder.path().join("scores.rejects-2.csv")));
    let summary = bench.import(&summary.rejects_file.unwrap(), MAP, false).unwrap();
    assert_eq!(summary.rejects_file, Some(bench.folder.path().join("scores.rejects-3.csv")));
    assert_eq!(bench.read("scores.rejects.csv"), "half corrected by a clerk");
}

#[test]
fn a_row_corrected_into_the_likeness_of_another_is_not_lost() {
    for key in ["key = []", "key = [\"ID\"]"] {
        let map = MAP.replace("key = [\"ID\"]", key);
        let mut bench = Bench::new();
        let file = bench.file("scores.csv", "ID,Site,Score\n1,a,7\n1,a,seven\n1,a\n");
        assert_eq!(bench.counts(&file, &map), [3, 1, 0, 0, 2], "{key}");
        // Corrected in two rounds: the second rejects file remembers as much as the first.
        let mended = bench.read("scores.rejects.csv").replace("1,a,seven", "1,a,7");
        let file = bench.file("scores.rejects.csv", mended);
        assert_eq!(bench.counts(&file, &map), [2, 1, 0, 0, 1], "{key}");
        let mended = bench.read("scores.rejects-2.csv").replace("\"1,a\"", "\"1,a,7\"");
        assert!(mended.contains("\r\n,,,4,1,#raw:"), "the line of the first file: {mended}");
        let file = bench.file("scores.rejects-2.csv", mended);
        assert_eq!(bench.counts(&file, &map), [1, 1, 0, 0, 0], "{key}");
        assert_eq!(bench.counts(&file, &map), [1, 0, 1, 0, 0], "{key}");
        assert_eq!(bench.seen.len(), 3, "{key}");
    }
}

#[test]
fn a_key_filled_in_later_never_takes_another_rows_place() {
    let mut bench = Bench::new();
    let file = bench.file("scores.csv", "ID,Site,Score\n1,a,7\n,a,8\n");
    assert_eq!(bench.counts(&file, MAP), [2, 1, 0, 0, 1]);
    assert!(bench.told[0].contains("line 3, column 'ID': this is empty"), "{:?}", bench.told);
    let mended = bench.read("scores.rejects.csv").replace("\n,a,8", "\n1,a,8");
    let file = bench.file("scores.rejects.csv", mended);
    assert_eq!(bench.counts(&file, MAP), [1, 1, 0, 0, 0]);
}

#[test]
fn surplus_cells_and_torn_rows_stand_in_the_rejects_and_are_split_again() {
    let mut bench = Bench::new();
    let file = bench.file("scores.csv", "ID,Site,Score\n1,a,7,surplus\n2,a,\"8\n3,a,9\n");
    assert_eq!(bench.counts(&file, MAP), [3, 1, 0, 0, 2]);
    let text = bench.read("scores.rejects.csv");
    assert!(text.contains("\"1,a,7,surplus\"") && text.contains("\"2,a,\"\"8\""), "{text}");
    let again = bench.file("scores.rejects.csv", &text);
    assert_eq!(bench.counts(&again, MAP), [2, 0, 0, 0, 2]);
    let mended = bench.file("mended.csv", text.replace(",surplus", "").replace("\"\"8\"", "8\""));
    assert_eq!(bench.counts(&mended, MAP), [2, 2, 0, 0, 0]);
}

#[test]
fn rejects_are_written_as_their_map_will_read_them() {
    let mut bench = Bench::new();
    let map = format!("encoding = \"gbk\"\ndelimiter = \";\"\n{MAP}").replace("ID", "编号");
    let (gbk, _, _) = encoding_rs::GBK.encode("编号;Site;Score\n漏,油;a;七\n");
    let file = bench.file("scores.txt", gbk);
    assert_eq!(bench.counts(&file, &map), [1, 0, 0, 0, 1]);
    let text = bench.read("scores.rejects.csv");
    assert!(text.starts_with("\u{feff}编号;Site;Score;_line;_occurrence;_key;_column;_reason;_raw\r\n"), "{text}");
    let mended = bench.file("scores.rejects.csv", text.replace(";七;", ";7;"));
    assert_eq!(bench.counts(&mended, &map), [1, 1, 0, 0, 0]);
    assert_eq!(bench.seen, [("漏,油".to_owned(), 1)]);
}

#[test]
fn a_dry_run_captures_nothing_and_writes_nothing() {
    let mut bench = Bench::new();
    let file = bench.file("scores.csv", "ID,Site,Score\n1,a,7\n2,a,x\n");
    let summary = bench.import(&file, MAP, true).unwrap();
    assert!(summary.dry_run);
    assert_eq!(summary.rejected_in_short(), "1 for column 'Score'");
    assert_eq!((summary.captured, summary.rejected, summary.rejects_file), (1, 1, None));
    assert!(bench.seen.is_empty() && !bench.folder.path().join("scores.rejects.csv").exists());
}

#[test]
fn tables_without_a_header_in_other_encodings_and_many_chunks_are_read() {
    let mut bench = Bench::new();
    let headless =
        MAP.replace("kind", "header = false\nkind").replace("Site", "#2").replace("ID", "#1").replace("Score", "#3");
    let file = bench.file("bare.tsv", "1\ta\t7\n2\ta\tx\n");
    assert_eq!(bench.counts(&file, &headless), [2, 1, 0, 0, 1]);
    let mended = bench.read("bare.rejects.csv").replace("2\ta\tx", "2\ta\t8");
    let mended = bench.file("bare.rejects.csv", mended);
    assert_eq!(bench.counts(&mended, &headless), [1, 1, 0, 0, 0]);

    let (gbk, _, _) = encoding_rs::GBK.encode("编号,网点,得分\n甲,a,1\n乙,a,2\n");
    let file = bench.file("gbk.csv", gbk);
    let chinese = MAP.replace("ID", "编号").replace("Site", "网点").replace("Score", "得分");
    assert_eq!(bench.counts(&file, &chinese), [2, 2, 0, 0, 0]);

    let many: String = (0..2_500).map(|number| format!("m{number},a,{}\n", number % 100)).collect();
    let file = bench.file("many.csv", format!("ID,Site,Score\n{many}"));
    assert_eq!(bench.counts(&file, MAP), [2_500, 2_500, 0, 0, 0]);
}

#[test]
fn what_cannot_be_begun_captures_nothing_and_says_why() {
    let mut bench = Bench::new();
    let good = bench.file("good.csv", "ID,Site,Score\n1,a,7\n");
    let empty = bench.file("empty.csv", "");
    let twice = bench.file("twice.csv", "ID,Site,ID\n1,a,7\n");
    let folder = bench.folder.path().to_owned();
    for (file, map, expected) in [
        (&empty, MAP.to_owned(), "is empty"),
        (&folder, MAP.to_owned(), "is a folder"),
        (&folder.join("none.csv"), MAP.to_owned(), "cannot read"),
        (&good, MAP.replace("\"Score\"", "\"Points\""), "the file has no column 'Points'"),
        (&good, MAP.replace("\"survey\"", "\"moon\""), "there is no kind 'moon'"),
        (&good, MAP.replace("state =", "stat ="), "line 5"),
        (&good, MAP.replace("score =", "points ="), "map.toml, line 8: [fields.points]: survey has no such field"),
        (&good, MAP.replace("\"Score\"", "\"Score\", date = [\"%!\"]"), "map.toml, line 8, [fields.score]: '%!'"),
        (&twice, MAP.to_owned(), "twice.csv, line 1: columns 1 and 3 are both named 'ID'"),
    ] {
        let error = bench.import(file, &map, false).map(|_| ()).map_err(anyhow::Error::new).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
    assert!(bench.seen.is_empty());
}

#[test]
fn a_dry_run_tells_rows_that_were_imported_before() {
    let mut bench = Bench::new();
    let file = bench.file("scores.csv", "ID,Site,Score\n1,a,7\n2,a,8\n");
    assert_eq!(bench.counts(&file, MAP), [2, 2, 0, 0, 0]);
    let longer = bench.file("scores.csv", "ID,Site,Score\n1,a,7\n2,a,8\n3,a,9\n4,a,101\n");
    let summary = bench.import(&longer, MAP, true).unwrap();
    assert_eq!((summary.captured, summary.duplicate, summary.rejected), (1, 2, 1));
    assert_eq!(bench.counts(&longer, MAP), [4, 1, 2, 0, 1]);
}

/// A table of 20,000 rows, packed: longer than the sample, and than a chunk.
fn packed() -> Vec<u8> {
    let rows: String = (0..20_000).map(|number| format!("m{number},a,{}\n", number * 7 % 100)).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, format!("ID,Site,Score\n{rows}").as_bytes()).unwrap();
    gz.finish().unwrap()
}

#[test]
fn nothing_is_captured_of_a_damaged_packed_file() {
    let mut bench = Bench::new();
    let whole = packed();
    let cut = whole[..whole.len() / 2].to_vec();
    let headless = whole[..5].to_vec();
    let mut checksum = whole.clone();
    let at = whole.len() - 8;
    checksum[at] ^= 1;
    let mut length = whole.clone();
    length[at + 4] ^= 1;
    let trailing = [&whole[..], b"rest of another file"].concat();
    for (case, bytes) in [cut, headless, checksum, length, trailing].into_iter().enumerate() {
        let file = bench.file("scores.csv.gz", bytes);
        for dry_run in [true, false] {
            let error = bench.import(&file, MAP, dry_run).unwrap_err();
            let told = error.to_string();
            assert!(told.contains("scores.csv.gz is damaged") && told.contains("nothing of it was captured"), "{told}");
            assert!(bench.seen.is_empty(), "case {case}");
        }
    }
    let file = bench.file("scores.csv.gz", [&whole[..], &whole[..]].concat());
    assert_eq!(bench.counts(&file, MAP)[..2], [40_001, 40_000], "two members are one file");
}

#[test]
fn an_import_that_stops_midway_tells_what_it_did() {
    let bench = Bench::new();
    let file = bench.file("scores.csv.gz", packed());
    let map = bench.file("map.toml", MAP);
    let (sites, zone) = (Sites::Only(vec!["a".parse().unwrap()]), waystation_protocol::time::zone("").unwrap());
    let fallback = bench.folder.path();
    let (file, map) = (&file, Some(&*map));
    let order = Order { kind: None, map, file, dry_run: false, sites: &sites, zone: &zone, fallback };
    let mut chunks = 0;
    let mut capture = |rows: Vec<ImportRow>| {
        chunks += 1;
        if chunks == 3 { Err("the disk is full".into()) } else { Ok(vec![Taken::Captured; rows.len()]) }
    };
    let error = run(&order, &mut capture, &Quiet(Mutex::new(Vec::new()))).unwrap_err();
    let ImportError::Stopped { summary, .. } = &error else { panic!("{error:?}") };
    assert_eq!((summary.rows, summary.captured), (4_000, 4_000));
    let told = format!("{:#}", anyhow::Error::new(error));
    assert!(told.contains("4000 captured") && told.contains("the disk is full"), "{told}");
}

#[path = "workbook_tests.rs"]
mod workbooks;

#[test]
fn rows_that_are_none_of_ours_need_no_key() {
    let mut bench = Bench::new();
    let map = MAP.replace("[fields]", "[[skip]]\ncolumn = \"Score\"\nvalues = [\"合计*\"]\n[fields]");
    let file = bench.file("scores.csv", "ID,Site,Score\n1,a,7\n,,\n,b,8\n,,合计：15\n,a,9\n");
    assert_eq!(bench.counts(&file, &map), [5, 1, 0, 3, 1]);
    assert!(bench.told[0].contains("line 6, column 'ID': this is empty"), "{:?}", bench.told);
}

#[test]
fn a_rejects_file_runs_no_formula_and_gives_back_what_it_was_given() {
    let mut bench = Bench::new();
    let map = format!("{MAP}comment = {{ column = \"Text\" }}\n");
    let file = bench.file("scores.csv", "ID,Site,Score,Text\n=1,a,x,=HYPERLINK(1)\n'=2,a,x,-5\n");
    assert_eq!(bench.counts(&file, &map), [2, 0, 0, 0, 2]);
    let text = bench.read("scores.rejects.csv");
    assert!(text.contains("\r\n'=1,a,x,'=HYPERLINK(1),") && text.contains("\r\n''=2,a,x,'-5,"), "{text}");
    let mended = bench.file("scores.rejects.csv", text.replace(",x,", ",7,"));
    let mut texts = Vec::new();
    let summary =
        bench.import_with(&mended, &map, &mut |row| texts.push((row.key.clone(), row.set["comment"].clone()))).unwrap();
    assert_eq!(summary.captured, 2);
    assert_eq!(texts[0].1.as_text(), Some("=HYPERLINK(1)"));
    assert_eq!((texts[1].0.as_str(), texts[1].1.as_text()), ("'=2", Some("-5")));
}

/// docs/import.md.
const MANUAL: &str = include_str!("../../../docs/import.md");

/// The block of the manual that begins with `first`.
fn of_manual(first: &str) -> &'static str {
    let mut blocks = MANUAL.split("\n```").filter_map(|block| block.split_once('\n')).map(|(_, block)| block);
    blocks.find(|block| block.starts_with(first)).expect("the manual has this block")
}

#[test]
fn the_two_maps_of_the_manual_bring_in_what_comes_and_what_goes() {
    let mut bench = Bench::new();
    let file = bench.file("ledger.csv", of_manual("单号,"));
    let mut quantities = Vec::new();
    for first in ["# ledger-in.toml", "# ledger-out.toml"] {
        let mut look = |row: &ImportRow| quantities.push(row.set["quantity"].as_measured().unwrap().0);
        let summary = bench.import_with(&file, of_manual(first), &mut look).unwrap();
        assert_eq!((summary.captured, summary.skipped, summary.rejected), (1, 1, 0), "{:?}", bench.told);
    }
    assert_eq!(quantities.iter().sum::<i64>(), 7_000, "{quantities:?}");
}
