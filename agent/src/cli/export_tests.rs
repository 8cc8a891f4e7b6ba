//! What is exported is imported again, for every kind, header and format, as it was.

use std::collections::BTreeMap;
use std::path::Path;

use waystation_protocol::document::Document;
use waystation_protocol::document::field::Field;
use waystation_protocol::kind::KINDS;

use super::super::output::Format;
use super::*;
use crate::api::work::Opening;
use crate::config::Settings;
use crate::import::run::{self, Order, Summary, Taken, Watch};
use crate::lang::Lang;
use crate::store::{Filter, ImportOutcome, ImportRow};

/// Texts that tables, spreadsheets and importers like to take for something else.
const TEXTS: [&str; 12] = [
    "=1+1",
    "'=x",
    " padded ",
    "line one\nline two",
    "a,b;\"c\"\td",
    "0012",
    "2026-11-23",
    "true",
    "站😀",
    "-5",
    "N/A",
    "1e5",
];

struct Quiet;

impl Watch for Quiet {
    fn progress(&self, _read: u64, _total: u64) {}
    fn tell(&self, _line: &str) {}
}

/// An agent's store in a folder of its own.
struct Outlet {
    folder: tempfile::TempDir,
    config: Config,
    desk: Desk,
}

impl Outlet {
    fn new() -> Outlet {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = Some(folder.path().join("data"));
        let settings = Settings { data, sites: Some("*".to_owned()), ..Settings::default() };
        let config = Config::new(settings, [7; 32]).expect("good settings");
        let desk = Desk::open(&config).expect("a new store opens");
        Outlet { folder, config, desk }
    }

    fn work(&self) -> &crate::api::Work {
        match &self.desk {
            Desk::Local(work) => work,
            Desk::Remote(_) => panic!("nothing runs on a new folder"),
        }
    }

    fn import_rows(&self, rows: Vec<ImportRow>) -> Vec<ImportOutcome> {
        self.work().import(rows).expect("the store takes rows")
    }

    fn export(&self, kind: &'static Kind, format: Format, lang: Option<Lang>) -> std::path::PathBuf {
        let ending = if format == Format::Csv { "csv" } else { "xlsx" };
        let path = self.folder.path().join(format!("{}.{ending}", kind.name));
        let wanted = Wanted { format, lang, output: Some(path.clone()) };
        run(&self.desk, &self.config, kind.name, &wanted).expect("a table is written");
        path
    }

    fn import(&self, kind: &'static Kind, file: &Path) -> Summary {
        let (sites, zone, fallback) = (&self.config.sites, &self.config.zone, self.folder.path());
        let order = Order { kind: Some(kind.name), map: None, file, dry_run: false, sites, zone, fallback };
        let taken = |outcome| match outcome {
            ImportOutcome::Captured(_) => Taken::Captured,
            ImportOutcome::Duplicate => Taken::Duplicate,
            ImportOutcome::Refused(problems) => Taken::Refused { field: None, reason: format!("{problems:?}") },
        };
        let mut capture = |rows| Ok(self.import_rows(rows).into_iter().map(taken).collect());
        run::run(&order, &mut capture, &Quiet).expect("the table is read")
    }

    /// Documents by what tells them apart in the first outlet: their id there, or the key they were imported by.
    fn documents(&self, kind: &'static Kind, origin: fn(&Document) -> String) -> BTreeMap<String, Document> {
        let filter = Filter { kind: Some(kind.name.to_owned()), ..Filter::default() };
        let page = self.work().store.documents(&filter).expect("the store lists");
        assert!(page.next.is_none(), "one page holds the test's documents");
        page.items.into_iter().map(|document| (origin(&document), document)).collect()
    }
}

fn key_of(document: &Document) -> String {
    let text = |name: &str| document.fields.get(name).and_then(Value::as_text).map(str::to_owned);
    let key = text("source_key").unwrap_or_else(|| document.id.to_string());
    format!("{key} {:?}", document.fields.get("source_occurrence"))
}

/// A value of a field's type that is hard to carry; another for each `turn`.
fn hard(field: &Field, turn: usize) -> Value {
    match field.ty {
        Type::Text => Value::from(TEXTS[turn % TEXTS.len()]),
        // what a kind bounds lies between 1 and 100
        Type::Integer if ["score", "weight"].contains(&field.name) => Value::Int([1, 100, 92][turn % 3]),
        Type::Integer => Value::Int([-7, 999_999_999_999, 0][turn % 3]),
        Type::Km => Value::Int([0, 123_456][turn % 2]),
        Type::Quantity => Value::measured([-38_500, 1, 2_000][turn % 3], "箱"),
        Type::Money => Value::measured([1999, -150_000_000, 5][turn % 3], "USD"),
        Type::Labour => Value::Int([125, 5][turn % 2]),
        Type::Date => Value::Int([0, 20_780, -1][turn % 3]),
        Type::Time | Type::Due => Value::Int(1_795_000_000_000 + [0, 999, 86_399_999][turn % 3]),
        Type::Flag => Value::Flag(turn.is_multiple_of(2)),
        Type::Choice(choices) => Value::from(choices[turn % choices.len()].name),
        Type::Link(_) => Value::from(waystation_protocol::id::DocId::from_bytes([9; 16]).to_string()),
    }
}

fn row(kind: &Kind, turn: usize) -> ImportRow {
    let fields =
        kind.fields.iter().enumerate().map(|(index, field)| (field.name.to_owned(), hard(field, turn + index)));
    let lines = kind.lines.iter().flat_map(|group| (1..=turn % 3).map(move |number| (group, number)));
    let lines = lines.flat_map(|(group, number)| {
        group.fields.iter().enumerate().map(move |(index, field)| {
            (format!("{}#{number}.{}", group.name, field.name), hard(field, turn + number + index))
        })
    });
    let mut set: BTreeMap<String, Value> = fields.chain(lines).collect();
    set.insert("number".to_owned(), Value::from("=2"));
    if turn.is_multiple_of(2) {
        set.insert("custom.colour".to_owned(), [Value::from("5"), Value::Int(5), Value::Flag(true)][turn % 3].clone());
    }
    ImportRow {
        kind: kind.name.to_owned(),
        site: "=城东站 ".to_owned(),
        state: kind.states.last().expect("a kind has states").name.to_owned(),
        set,
        source: "旧系统".to_owned(),
        key: format!("=k{}", turn / 2),
        occurrence: u32::try_from(turn % 2 + 1).expect("one or two"),
        author: "import".to_owned(),
    }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for kind in KINDS {
        let first = Outlet::new();
        let outcomes = first.import_rows((0..13).map(|turn| row(kind, turn)).collect());
        for outcome in outcomes {
            assert!(matches!(outcome, ImportOutcome::Captured(_)), "{}: {outcome:?}", kind.name);
        }
        let before = first.documents(kind, key_of);
        assert_eq!(before.len(), 13);
        for (format, lang) in [
            (Format::Csv, None),
            (Format::Csv, Some(Lang::Zh)),
            (Format::Csv, Some(Lang::En)),
            (Format::Xlsx, None),
            (Format::Xlsx, Some(Lang::Zh)),
        ] {
            let case = format!("{} {format:?} {lang:?}", kind.name);
            let file = first.export(kind, format, lang);
            let summary = first.import(kind, &file);
            assert_eq!((summary.duplicate, summary.rejected), (13, 0), "{case}: its own agent has them all");
            let second = Outlet::new();
            let summary = second.import(kind, &file);
            assert_eq!((summary.captured, summary.rejected), (13, 0), "{case}");
            for (key, document) in second.documents(kind, key_of) {
                let original = &before[&key];
                let mut fields = document.fields;
                if !original.fields.contains_key("occurred_at") {
                    fields.remove("occurred_at");
                }
                assert_eq!((&document.site, &document.state), (&original.site, &original.state), "{case}");
                assert_eq!(fields, original.fields, "{case}");
            }
        }
    }
}

#[test]
fn what_clerks_captured_comes_back_under_its_id() {
    let kind = kind::find("survey").expect("surveys exist");
    let first = Outlet::new();
    let set = serde_json::json!({ "form": "访后", "score": 92 }).as_object().cloned().expect("an object");
    let opening = Opening { kind: "survey".to_owned(), site: Some("3702".to_owned()), set, ..Opening::default() };
    first.work().open(opening).expect("a survey is captured");
    let file = first.export(kind, Format::Csv, Some(Lang::Zh));
    assert_eq!(first.import(kind, &file).duplicate, 1);
    let second = Outlet::new();
    assert_eq!(second.import(kind, &file).captured, 1);
    assert_eq!(second.import(kind, &file).duplicate, 1);
    let (before, after) = (first.documents(kind, key_of), second.documents(kind, key_of));
    let (old, new) = (before.values().next().expect("one"), after.values().next().expect("one"));
    assert_eq!(new.fields["source_key"], Value::from(old.id.to_string()));
    assert_eq!((&new.fields["number"], &new.fields["score"]), (&old.fields["number"], &old.fields["score"]));
    assert_eq!(new.occurred_at().0 / 1000, old.opened_at.0 / 1000, "it counts for the day it was captured");
}

#[test]
fn a_table_with_other_headers_is_refused_with_the_cure() {
    let outlet = Outlet::new();
    let kind = kind::find("survey").expect("surveys exist");
    for (header, expected) in [
        ("状态,问卷,颜色", "column '颜色' is none of survey"),
        ("状态,问卷,form", "columns '问卷' and 'form' both mean form"),
        ("问卷,得分", "there is no column 'state'"),
    ] {
        let file = outlet.folder.path().join("foreign.csv");
        std::fs::write(&file, format!("{header}\n1,2,3\n")).expect("room");
        let (sites, zone, fallback) = (&outlet.config.sites, &outlet.config.zone, outlet.folder.path());
        let order = Order { kind: Some(kind.name), map: None, file: &file, dry_run: true, sites, zone, fallback };
        let error = run::run(&order, &mut |_| Ok(Vec::new()), &Quiet).expect_err("it is refused");
        let told = format!("{:#}", anyhow::Error::new(error));
        assert!(told.contains(expected) && told.contains("foreign.csv"), "{told}");
    }
}
