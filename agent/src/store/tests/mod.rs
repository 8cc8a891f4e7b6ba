//! Tests of the store through its public calls: what is confirmed survives, what is refused leaves no trace.

mod copies;
mod damage;
mod down;
mod elsewhere;
mod faults;
mod imports;
mod model;
mod outlet;
mod pruning;

use std::collections::BTreeSet;

use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::entry::Entry;
use waystation_protocol::number;
use waystation_protocol::value::Value;

use super::*;
use outlet::{Outlet, at, movement, survey, wish};

#[test]
fn a_confirmed_capture_survives_reopening() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let receipt = store.capture(survey("回访"), at(1)).unwrap();
    assert_eq!((receipt.seq, receipt.document.state.as_str()), (Seq(1), "answered"));
    store.close();
    let store = outlet.open();
    let found = store.document(receipt.document.id).unwrap().unwrap();
    assert_eq!((found.digest(), store.head().seq), (receipt.document.digest(), Seq(1)));
    assert_eq!(store.history(found.id).unwrap()[0].1.id, receipt.entry);
}

#[test]
fn an_open_file_copied_at_any_moment_has_every_confirmed_capture() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let mut confirmed = Vec::new();
    for index in 0..40 {
        confirmed.push(store.capture(survey(&format!("{index}")), at(index)).unwrap().document);
        if index % 8 == 0 {
            let copy = outlet.copy();
            let reopened = copy.open();
            for document in &confirmed {
                let found = reopened.document(document.id).unwrap();
                assert_eq!(found.map(|found| found.digest()), Some(document.digest()), "after {index}");
            }
        }
    }
}

#[test]
fn the_identity_is_kept_and_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let outlet = Outlet::new();
    let store = outlet.open();
    let born = store.identity();
    store.pin_hub_key([7; 32]).unwrap();
    store.adopt_letter('B').unwrap();
    store.close();
    let mut options = outlet.options();
    (options.new_ids, options.new_key, options.letter) = ([[8; 16]; 2], [9; 32], 'Z');
    let store = Store::open(&outlet.dir, options).unwrap();
    let found = store.identity();
    assert_eq!((found.agent, found.stream, found.key.to_bytes()), (born.agent, born.stream, born.key.to_bytes()));
    assert_eq!((found.letter, store.hub_key()), ('B', Some([7; 32])));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&outlet.dir), mode(&outlet.dir.join("store.redb"))), (0o700, 0o600));
}

#[test]
fn a_second_opening_is_refused_and_says_why() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let refused = Store::open(&outlet.dir, outlet.options()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }));
    assert!(refused.to_string().contains("in use by another waystation-agent"), "{refused}");
    store.close();
    outlet.open();
}

#[test]
fn calls_after_closing_fail_and_do_not_hang() {
    let outlet = Outlet::new();
    let store = outlet.open();
    store.close();
    store.close();
    assert!(matches!(store.capture(survey("x"), at(1)), Err(CaptureError::Failed(_))));
    assert!(matches!(store.documents(&Filter::default()), Err(StoreError::Closed)));
}

#[test]
fn callers_that_wait_together_share_commits() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let before = store.counts();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let store = &store;
            scope.spawn(move || {
                for index in 0..50 {
                    store.capture(survey(&format!("{thread}/{index}")), at(index)).unwrap();
                }
            });
        }
    });
    let after = store.counts();
    assert_eq!(after.entries - before.entries, 800);
    assert!(after.commits - before.commits < 400, "{} commits", after.commits - before.commits);
    let rest = store.backlog();
    assert_eq!((rest.entries, rest.oldest_at), (800, Some(outlet::DAY)));
}

#[test]
fn a_refused_act_tells_its_problems_and_writes_nothing() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let answered = store.capture(survey("x"), at(1)).unwrap().document;
    let commits = store.counts().commits;
    let mut unknown = survey("x");
    unknown.kind = "nothing".into();
    let mut numbered = survey("x");
    numbered.set.insert("number".into(), Value::from("SV-1"));
    let mut foreign = survey("x");
    foreign.set.insert("site".into(), Value::from("9999"));
    let mut imported = survey("x");
    imported.act = "imported".into();
    let again = wish(Some(answered.id), "survey", "answer", &[]);
    for refused in [unknown, numbered, foreign, imported, again, wish(None, "survey", "", &[])] {
        let name = format!("{refused:?}");
        assert!(matches!(store.capture(refused, at(2)), Err(CaptureError::Problems(_))), "{name}");
    }
    let missing = wish(Some(waystation_protocol::id::DocId::from_bytes([3; 16])), "survey", "answer", &[]);
    assert!(matches!(store.capture(missing, at(2)), Err(CaptureError::NotFound)));
    assert_eq!((store.head().seq, store.counts().commits), (Seq(1), commits));
}

#[test]
fn an_act_on_a_document_seen_before_it_changed_is_superseded() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let run = store.capture(outlet::run("1"), at(1)).unwrap();
    let add = || wish(Some(run.document.id), "", "add", &[("vehicle", Value::from("鲁A"))]);
    store.capture_seen(add(), Some(run.entry), at(2)).unwrap();
    assert!(matches!(store.capture_seen(add(), Some(run.entry), at(3)), Err(CaptureError::Superseded)));
    store.capture(add(), at(4)).unwrap();
}

#[test]
fn numbers_rise_within_their_series_and_never_repeat() {
    let outlet = Outlet::new();
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        let store = outlet.open();
        for _ in 0..30 {
            let document = store.capture(survey("x"), at(round)).unwrap().document;
            let number = document.number().unwrap().to_owned();
            assert!(number.starts_with("SV-3702A-2611-") && number::is_valid(&number), "{number}");
            assert!(seen.last().is_none_or(|last: &String| *last < number), "{number} after {:?}", seen.last());
            seen.insert(number);
        }
        if round % 2 == 0 {
            store.close();
        }
    }
    assert_eq!(seen.len(), 180);
}

#[test]
fn a_refused_act_uses_up_no_number() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let _ = store.capture(wish(None, "survey", "", &[]), at(1));
    let document = store.capture(survey("x"), at(1)).unwrap().document;
    assert!(document.number().unwrap().starts_with("SV-3702A-2611-00001-"), "{:?}", document.number());
}

#[test]
fn effects_stand_in_the_act_s_own_commit_and_name_their_cause() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let commits = store.counts().commits;
    let issued = outlet::order_with_parts_issued(&store);
    let last = store.history(issued.document.id).unwrap().pop().unwrap();
    assert_eq!(store.counts().commits - commits, last.0.0, "every act is one commit, effects included");
    let movements = store.documents(&Filter { kind: Some("stock_movement".into()), ..Filter::default() }).unwrap();
    assert_eq!(movements.items.len(), 2);
    for movement in movements.items {
        let opening = &store.history(movement.id).unwrap()[0].1;
        assert_eq!(opening.cause, Some(issued.entry));
        assert!(movement.number().is_some_and(|number| number.starts_with("SM-3702A-")));
        assert_eq!(movement.site.as_str(), "3702");
    }
}

#[test]
fn a_count_knows_the_stock_above_and_below_the_cache() {
    let outlet = Outlet::new();
    let store = outlet.open();
    store.capture(movement("滤芯", 5_000), at(1)).unwrap();
    store.close();
    let store = outlet.open();
    store.capture(movement("滤芯", -2_000), at(2)).unwrap();
    let sheet = store.capture(outlet::count("滤芯"), at(3)).unwrap().document;
    assert_eq!(sheet.fields["item#1.expected"], Value::measured(3_000, "件"));
    assert_eq!(sheet.fields["item#1.at_up"], Value::Int(2));
}

#[test]
fn a_batch_holds_a_stretch_of_the_chain() {
    let outlet = Outlet::new();
    let store = outlet.open();
    for index in 0..10 {
        store.capture(survey("x"), at(index)).unwrap();
    }
    let mut builder = Builder::new();
    let filled = store.fill_batch(SeqRange { first: Seq(4), last: Seq(7) }, &mut builder).unwrap();
    assert_eq!((filled.last, builder.count()), (Seq(7), 4));
    assert_eq!(Some(filled.prev_hash), store.hash_at(Seq(3)));
    let all = store.fill_batch(SeqRange { first: Seq(1), last: Seq(99) }, &mut Builder::new()).unwrap();
    assert_eq!((all.prev_hash, all.last), (Mark::ZERO.hash, Seq(10)));
    assert_eq!(store.hash_at(Seq(0)), Some(Mark::ZERO.hash));
    assert_eq!(store.hash_at(Seq(10)), Some(store.head().hash));
    assert_eq!(store.hash_at(Seq(11)), None);
    assert!(store.fill_batch(SeqRange { first: Seq(12), last: Seq(13) }, &mut Builder::new()).is_err());
}

#[test]
fn the_backlog_is_what_lies_above_the_stored_mark() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let mut bytes = Vec::new();
    for index in 0..10 {
        let receipt = store.capture(survey(&"站".repeat(index as usize + 1)), at(index)).unwrap();
        let entry: Entry = store.history(receipt.document.id).unwrap().pop().unwrap().1;
        bytes.push(entry.to_bytes().len() as u64);
    }
    for stored in [4u64, 10, 2] {
        let mark = Mark { seq: Seq(stored), hash: store.hash_at(Seq(stored)).unwrap() };
        store.record_stored(mark, Seq(1), Seq(0)).unwrap();
        let expected = Backlog {
            entries: 10 - stored,
            bytes: bytes[stored as usize..].iter().sum(),
            oldest_at: (stored < 10).then(|| at(stored as i64).now),
        };
        assert_eq!(store.backlog(), expected);
    }
    store.close();
    let store = outlet.open();
    assert_eq!((store.stored().seq, store.backlog().entries, store.processed_and_prunable().0), (Seq(2), 8, Seq(1)));
    assert!(store.record_stored(Mark { seq: Seq(5), hash: Mark::ZERO.hash }, Seq(0), Seq(0)).is_err());
    assert_eq!(store.stored().seq, Seq(2));
}

#[test]
fn the_head_can_be_watched() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let mut head = store.watch_head();
    store.capture(survey("x"), at(1)).unwrap();
    assert!(head.has_changed().unwrap());
    assert_eq!(*head.borrow_and_update(), Seq(1));
}

#[test]
fn lists_page_through_everything_once_whether_cached_or_not() {
    let outlet = Outlet::new();
    let store = outlet.open();
    for index in 0..20 {
        store.capture(survey(&format!("表{index}")), at(index)).unwrap();
    }
    let run = store.capture(outlet::run("7"), at(5)).unwrap();
    let check = |store: &Store, expected: usize| {
        let mut seen = Vec::new();
        let mut filter = Filter { limit: 3, ..Filter::default() };
        loop {
            let page = store.documents(&filter).unwrap();
            seen.extend(page.items.iter().map(|document| (document.changed_at, document.id)));
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen.len(), expected);
        assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    };
    check(&store, 21);
    store.close();
    let store = outlet.open();
    check(&store, 21);
    store.capture(survey("新"), at(3)).unwrap();
    let add = wish(Some(run.document.id), "", "add", &[("vehicle", Value::from("鲁A"))]);
    store.capture(add, at(30)).unwrap();
    check(&store, 22);
    assert_eq!(store.documents(&Filter::default()).unwrap().items[0].id, run.document.id);
    assert!(matches!(
        store.documents(&Filter { cursor: Some("x".into()), ..Filter::default() }),
        Err(StoreError::BadCursor(_))
    ));
}

#[test]
fn lists_are_filtered_by_kind_state_site_and_words() {
    let outlet = Outlet::new();
    let store = outlet.open();
    for index in 0..5 {
        store.capture(survey(&format!("Form-{index}")), at(index)).unwrap();
        store.capture(outlet::run(&format!("{index}")), at(index)).unwrap();
    }
    let check = |store: &Store, kind: Option<&str>, state: Option<&str>, q: Option<&str>, expected: usize| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let filter = Filter { kind: owned(kind), state: owned(state), q: owned(q), ..Filter::default() };
        assert_eq!(store.documents(&filter).unwrap().items.len(), expected, "{kind:?} {state:?} {q:?}");
    };
    for round in 0..2 {
        let store = if round == 0 { store.clone() } else { outlet.open() };
        check(&store, None, None, None, 10);
        check(&store, Some("survey"), None, None, 5);
        check(&store, None, Some("planned"), None, 5);
        check(&store, Some("survey"), Some("planned"), None, 0);
        check(&store, None, None, Some("orm-3"), 1);
        check(&store, None, None, Some("FORM sv-3702"), 5);
        check(&store, None, None, Some("dr-3702a"), 5);
        check(&store, None, None, Some("站"), 0);
        let filter = Filter { site: Some("3703".parse().unwrap()), ..Filter::default() };
        assert!(store.documents(&filter).unwrap().items.is_empty());
        store.close();
    }
}

#[test]
fn drafts_are_kept_until_dropped_and_are_no_entries() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let draft = |now: i64| Draft {
        document: None,
        kind: "survey".into(),
        set: survey("半").set,
        author: "王芳".into(),
        changed_at: at(now).now,
        seen: None,
    };
    let first = store.save_draft(None, draft(1)).unwrap();
    let second = store.save_draft(None, draft(2)).unwrap();
    store.save_draft(Some(first), draft(3)).unwrap();
    store.close();
    let store = outlet.open();
    assert_eq!(store.drafts().unwrap(), [(first, draft(3)), (second, draft(2))]);
    store.drop_draft(first).unwrap();
    assert_eq!((store.draft(first).unwrap(), store.draft(second).unwrap()), (None, Some(draft(2))));
    assert_eq!((store.head(), first.to_string().parse()), (Mark::ZERO, Ok(first)));
}
