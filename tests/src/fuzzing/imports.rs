//! Whole imports: any file, read by a map made for its columns, every row refused, and its rejects file read again.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use tempfile::TempDir;
use waystation_agent::import::map::Map;
use waystation_agent::import::rejects::ADDED;
use waystation_agent::import::run::{ImportError, Order, Summary, Taken, Watch, run};
use waystation_agent::import::sheet::{Sheet, is_workbook};
use waystation_agent::import::source::Source;
use waystation_agent::import::table::Table;
use waystation_agent::store::ImportRow;
use waystation_protocol::site::Sites;
use waystation_protocol::time::zone;

use super::Input;

const ENCODINGS: [Option<&str>; 8] =
    [None, None, Some("utf-8"), Some("gbk"), Some("gb18030"), Some("utf-16le"), Some("utf-16be"), Some("latin-1")];
const DELIMITERS: [Option<&str>; 8] = [None, None, Some(","), Some(";"), Some("\\t"), Some("|"), Some("a"), Some("_")];
const KIND: &str = "stock_movement";

struct Silent;

impl Watch for Silent {
    fn progress(&self, _: u64, _: u64) {}
    fn tell(&self, line: &str) {
        assert!(!line.is_empty());
    }
}

/// How a map made here reads a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) header: bool,
    pub(super) encoding: Option<&'static str>,
    pub(super) delimiter: Option<&'static str>,
    pub(super) is_keyed: bool,
    pub(super) is_sparse: bool,
}

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Gives `with` an empty folder, in memory where the system has room for files there.
pub(super) fn in_folder(with: impl FnOnce(&Path)) {
    let path = FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| {
            let shared = Path::new("/dev/shm");
            let in_memory = tempfile::tempdir_in(shared).ok().filter(|_| shared.is_dir());
            in_memory.unwrap_or_else(|| tempfile::tempdir().expect("a scratch folder"))
        });
        folder.path().to_owned()
    });
    for entry in fs::read_dir(&path).expect("the scratch folder is read") {
        fs::remove_file(entry.expect("an entry").path()).expect("the scratch folder is emptied");
    }
    with(&path);
}

/// A text table.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    let wish = Wish {
        header: how & 1 == 0,
        is_keyed: how & 2 != 0,
        is_sparse: how & 4 != 0,
        encoding: input.pick(&ENCODINGS),
        delimiter: input.pick(&DELIMITERS),
    };
    in_folder(|folder| {
        let file = folder.join("orders.csv");
        fs::write(&file, input.rest()).expect("the scratch folder takes a file");
        refuse_and_take_again(&file, wish);
    });
}

/// Refuses every row of `file`; what the rejects file then gives are the same rows with the same identities.
pub(super) fn refuse_and_take_again(file: &Path, wish: Wish) {
    let Some(columns) = columns(file, wish) else { return };
    let map = file.with_file_name("map.toml");
    fs::write(&map, map_text(wish, &columns)).expect("the scratch folder takes a map");
    let first = refuse(file, &map).unwrap_or_else(|error| panic!("a table that opens is imported: {error:?}"));
    let Ok((summary, offered)) = first else { return };
    let Some(rejects) = &summary.rejects_file else { return };
    let (again, offered_again) = match refuse(rejects, &map).expect("the map fits the rejects file") {
        Ok(done) => done,
        Err(error) => panic!("a rejects file is read with the map of its original: {error:?}"),
    };
    assert_eq!((again.rows, again.rejected), (summary.rejected, summary.rejected), "every reject comes back");
    // A torn line of a rejects file is torn in another way where it comes back as a line of its original.
    if is_rejects(file) {
        return;
    }
    // What was wrong with a workbook's cell is no longer wrong with its text.
    let mut found = offered_again.iter();
    let all_are_there = offered.iter().all(|row| found.any(|found| found == row));
    assert!(all_are_there, "good rows come back with their identity: {offered:#?} {offered_again:#?}");
    assert!(is_workbook(file) || offered_again.len() == offered.len(), "{offered:#?} {offered_again:#?}");
    let rejected_again = again.rejects_file.expect("all are refused again");
    assert_eq!(lasting(&rejected_again, wish), lasting(rejects, wish), "every row comes back as it was");
}

fn is_rejects(file: &Path) -> bool {
    Source::open(file, None).is_ok_and(|source| source.sample.contains(ADDED[5]))
}

/// The table's columns; none where it cannot be read.
fn columns(file: &Path, wish: Wish) -> Option<Vec<String>> {
    let map = Map::parse(&map_text(wish, &[]), file).expect("a map made here is sound");
    let table = if is_workbook(file) {
        Table::of_sheet(Sheet::open(file, None).ok()?, file, &map)
    } else {
        Table::open(Source::open(file, wish.encoding).ok()?, file, &map)
    };
    table.ok().map(|table| table.columns().to_vec())
}

fn map_text(wish: Wish, columns: &[String]) -> String {
    // TOML takes the escapes of JSON, and wants one more.
    let quoted = |text: &str| serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f");
    let mut text = format!("kind = \"{KIND}\"\nheader = {}\nstate = {{ constant = \"posted\" }}\n", wish.header);
    if let Some(encoding) = wish.encoding {
        text.push_str(&format!("encoding = \"{encoding}\"\n"));
    }
    if let Some(delimiter) = wish.delimiter {
        text.push_str(&format!("delimiter = \"{delimiter}\"\n"));
    }
    if let (true, Some(key)) = (wish.is_keyed, columns.first()) {
        text.push_str(&format!("key = [{}]\n", quoted(key)));
    }
    text.push_str("[fields]\nreason = { constant = \"receipt\" }\n");
    let fields: &[&str] =
        if wish.is_sparse { &["item"] } else { &["item", "quantity = { unit = \"件\", ", "occurred_at", "lot"] };
    for (field, column) in fields.iter().zip(columns) {
        let (field, rest) = field.split_once(" = { ").unwrap_or((field, ""));
        text.push_str(&format!("{field} = {{ {rest}column = {} }}\n", quoted(column)));
    }
    text
}

type Refused = Result<(Summary, Vec<ImportRow>), ImportError>;

/// Imports a file whose every row is refused. The outer error is the map's, the inner one the file's, midway.
fn refuse(file: &Path, map: &Path) -> Result<Refused, ImportError> {
    let zone: TimeZone = zone("").expect("the default zone is bundled");
    let sites = Sites::Only(vec!["3702".parse().expect("a site's name")]);
    let fallback = file.parent().unwrap_or(Path::new("."));
    let order = Order { kind: Some(KIND), map: Some(map), file, dry_run: false, sites: &sites, zone: &zone, fallback };
    let mut offered = Vec::new();
    let mut capture = |rows: Vec<ImportRow>| {
        let answers =
            vec![Taken::Refused { field: Some("item".into()), reason: "no, \"not\"\r\nso".into() }; rows.len()];
        offered.extend(rows);
        Ok(answers)
    };
    match run(&order, &mut capture, &Silent) {
        Ok(summary) => {
            assert_eq!(summary.rows, summary.skipped + summary.rejected, "every row is accounted for");
            assert_eq!((summary.captured, summary.duplicate), (0, 0), "only blank rows are passed over");
            Ok(Ok((summary, offered)))
        }
        Err(ImportError::Stopped { source, .. }) if matches!(*source, ImportError::Table(_)) => Ok(Err(*source)),
        Err(error @ (ImportError::Table(_) | ImportError::Source(_) | ImportError::Sheet(_))) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// The rows of a rejects file without what this import said of them.
fn lasting(rejects: &PathBuf, wish: Wish) -> Vec<Vec<String>> {
    let bytes = fs::read(rejects).expect("the rejects file is read");
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).expect("it begins with a byte-order mark");
    let delimiter = delimiter_of(text, wish);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(text);
    let rows = reader.records().map(|row| {
        let row: Vec<String> = row.expect("the rejects file is sound").iter().map(str::to_owned).collect();
        let told = row.len() - ADDED.len() + 3..row.len() - 1;
        row.into_iter().enumerate().filter(|(at, _)| !told.contains(at)).map(|(_, cell)| cell).collect()
    });
    rows.collect()
}

/// The delimiter of a rejects file: what stands before its last column.
fn delimiter_of(text: &[u8], wish: Wish) -> u8 {
    if let Some(named) = wish.delimiter {
        return if named == "\\t" { b'\t' } else { named.as_bytes()[0] };
    }
    let header = text.windows(5).position(|window| window == b"_raw\r").unwrap_or(1);
    text[header - 1]
}
