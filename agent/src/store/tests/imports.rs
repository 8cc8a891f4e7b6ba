//! Imports: what was durable before is found again, whatever happened in between.

use std::collections::BTreeMap;

use super::outlet::{Outlet, at};
use super::*;

fn row(source: &str, key: &str, occurrence: u32) -> ImportRow {
    let set = BTreeMap::from([("form".to_owned(), Value::from("旧")), ("score".to_owned(), Value::Int(70))]);
    ImportRow {
        kind: "survey".into(),
        site: "3702".into(),
        state: "answered".into(),
        set,
        source: source.into(),
        key: key.into(),
        occurrence,
        author: "import".into(),
    }
}

fn rows(keys: std::ops::Range<u32>) -> Vec<ImportRow> {
    keys.map(|key| row("survey", &key.to_string(), 1)).collect()
}

fn count(outcomes: &[ImportOutcome]) -> (usize, usize, usize) {
    let count = |is: fn(&ImportOutcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    (
        count(|outcome| matches!(outcome, ImportOutcome::Captured(_))),
        count(|outcome| matches!(outcome, ImportOutcome::Duplicate)),
        count(|outcome| matches!(outcome, ImportOutcome::Refused(_))),
    )
}

#[test]
fn a_row_is_captured_once_before_and_after_reopening_and_after_a_cut() {
    let outlet = Outlet::new();
    let store = outlet.open();
    assert_eq!(count(&store.capture_import(rows(0..50), at(1)).unwrap()), (50, 0, 0));
    assert_eq!(count(&store.capture_import(rows(40..60), at(2)).unwrap()), (10, 10, 0));
    let cut = outlet.copy().open();
    assert_eq!(count(&cut.capture_import(rows(0..61), at(3)).unwrap()), (1, 60, 0));
    store.close();
    let store = outlet.open();
    assert_eq!(count(&store.capture_import(rows(0..61), at(3)).unwrap()), (1, 60, 0));
    assert_eq!(store.head().seq, Seq(61));
}

#[test]
fn a_rehearsal_answers_like_the_import_and_captures_nothing() {
    let outlet = Outlet::new();
    let store = outlet.open();
    store.capture_import(rows(0..10), at(1)).unwrap();
    let head = store.head();
    let mut wrong = row("survey", "wrong", 1);
    wrong.set.insert("score".into(), Value::from("九十"));
    let given = || [rows(5..15), rows(14..15), vec![wrong.clone()]].concat();
    for _ in 0..2 {
        assert_eq!(count(&store.rehearse_import(given(), at(2)).unwrap()), (5, 6, 1));
    }
    assert_eq!(store.head(), head);
    assert_eq!(count(&store.capture_import(given(), at(3)).unwrap()), (5, 6, 1));
}

#[test]
fn source_kind_and_occurrence_tell_rows_apart() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let mut other_kind = row("survey", "1", 1);
    (other_kind.kind, other_kind.state, other_kind.set) = ("delivery_run".into(), "closed".into(), BTreeMap::new());
    let given = vec![
        row("survey", "1", 1),
        row("survey", "1", 2),
        row("", "1", 2),
        row("legacy", "1", 1),
        row("legacy", "1", 1),
        other_kind,
    ];
    let outcomes = store.capture_import(given, at(1)).unwrap();
    assert_eq!(count(&outcomes), (4, 2, 0));
    let ImportOutcome::Captured(id) = outcomes[1] else { panic!("{outcomes:?}") };
    let document = store.document(id).unwrap().unwrap();
    assert_eq!(document.fields["source_occurrence"], Value::Int(2));
    assert_eq!((document.state.as_str(), document.number()), ("answered", None));
}

#[test]
fn a_bad_row_does_not_hold_up_the_good_ones() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let mut wrong_type = row("survey", "1", 1);
    wrong_type.set.insert("score".into(), Value::from("九十"));
    let mut wrong_state = row("survey", "2", 1);
    wrong_state.state = "flying".into();
    let mut wrong_site = row("survey", "3", 1);
    wrong_site.site = "9999".into();
    let outcomes = store.capture_import(vec![wrong_type, wrong_state, wrong_site, row("survey", "4", 1)], at(1));
    assert_eq!(count(&outcomes.unwrap()), (1, 0, 3));
    assert_eq!(store.head().seq, Seq(1));
}

#[test]
fn a_large_import_is_cached_in_pieces_and_found_in_lists() {
    let outlet = Outlet::new();
    let store = outlet.open();
    for chunk in 0..12 {
        let keys = chunk * 1_000..(chunk + 1) * 1_000;
        assert_eq!(count(&store.capture_import(rows(keys), at(1)).unwrap()).0, 1_000);
    }
    let check = |store: &Store| {
        let mut filter = Filter { kind: Some("survey".into()), limit: PAGE_LIMIT, ..Filter::default() };
        let mut seen = BTreeSet::new();
        loop {
            let page = store.documents(&filter).unwrap();
            seen.extend(page.items.iter().map(|document| document.id));
            let Some(next) = page.next else { break };
            filter.cursor = Some(next);
        }
        assert_eq!(seen.len(), 12_000);
    };
    check(&store);
    let copy = outlet.copy();
    check(&copy.open());
    assert_eq!(count(&store.capture_import(rows(0..12_000), at(2)).unwrap()).1, 12_000);
}
