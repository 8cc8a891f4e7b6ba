//! Pruning: what the hub needs no more goes, and nothing that people or the hub may ask for goes with it.

use redb::{Database, ReadableDatabase, ReadableTableMetadata};

use super::outlet::{Outlet, at, movement, survey, wish};
use super::*;
use crate::store::tables::{KEPT, META};

/// The hub has all, processed all, and lets entries up to `prunable` go.
fn let_go(store: &Store, prunable: u64) {
    let head = store.head();
    store.record_stored(head, head.seq, Seq(prunable)).unwrap();
    store.rest();
}

fn change(path: &std::path::Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(path.join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    change(&write);
    write.commit().unwrap();
}

/// Captures `count` surveys, one for each second.
fn fill(store: &Store, count: i64) -> Vec<Document> {
    (0..count).map(|index| store.capture(survey(&format!("{index}")), at(index)).unwrap().document).collect()
}

#[test]
fn entries_go_only_up_to_the_lowest_of_all_marks() {
    let check = |stored: u64, processed: u64, prunable: u64, expected: u64| {
        let outlet = Outlet::new();
        let store = outlet.open();
        fill(&store, 10);
        let mark = Mark { seq: Seq(stored), hash: store.hash_at(Seq(stored)).unwrap() };
        store.record_stored(mark, Seq(processed), Seq(prunable)).unwrap();
        store.rest();
        assert_eq!(store.pruned(), Seq(expected), "stored {stored} processed {processed} prunable {prunable}");
        assert_eq!(store.counts().pruned, expected);
        assert_eq!(store.backlog().entries, 10 - stored);
    };
    check(10, 10, 10, 10);
    check(10, 10, 4, 4);
    check(10, 3, 10, 3);
    check(2, 10, 10, 2);
    check(0, 10, 10, 0);
    check(10, 10, 0, 0);
}

#[test]
fn a_store_pruned_to_its_head_goes_on_as_before() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let run = store.capture(outlet::run("1"), at(0)).unwrap().document.id;
    store.capture(movement("滤芯", 5_000), at(1)).unwrap();
    let head = store.head();
    let_go(&store, 2);
    for round in 0..2 {
        let store = if round == 0 { store.clone() } else { outlet.open() };
        assert_eq!((store.pruned(), store.head(), store.stored()), (Seq(2), head, head));
        assert_eq!(store.backlog(), Backlog::default());
        assert_eq!(store.hash_at(Seq(2)), Some(head.hash));
        assert_eq!((store.history(run).unwrap(), store.earlier(run).unwrap()), (vec![], 1));
        assert!(store.fill_batch(SeqRange { first: Seq(2), last: Seq(2) }, &mut Builder::new()).is_err());
        store.close();
    }
    let store = outlet.open();
    let add = wish(Some(run), "", "add", &[("vehicle", Value::from("鲁A"))]);
    let added = store.capture(add, at(3)).unwrap();
    assert_eq!((added.seq, store.backlog().entries, store.history(run).unwrap().len()), (Seq(3), 1, 1));
    let filled = store.fill_batch(SeqRange { first: Seq(3), last: Seq(9) }, &mut Builder::new()).unwrap();
    assert_eq!((filled.prev_hash, filled.last), (head.hash, Seq(3)));
    let sheet = store.capture(outlet::count("滤芯"), at(4)).unwrap().document;
    assert_eq!(sheet.fields["item#1.expected"], Value::measured(5_000, "件"));
}

#[test]
fn marks_the_hub_may_come_back_to_outlive_their_entries() {
    let outlet = Outlet::new();
    let store = outlet.open();
    fill(&store, 12);
    let hashes: Vec<_> = (0..=12).map(|seq| store.hash_at(Seq(seq)).unwrap()).collect();
    store.keep_hash_at(Seq(3));
    store.keep_hash_at(Seq(5));
    store.record_stored(Mark { seq: Seq(7), hash: hashes[7] }, Seq(7), Seq(0)).unwrap();
    store.keep_hash_at(Seq(12));
    let_go(&store, 9);
    let known = |store: &Store| -> Vec<u64> { (0..=12).filter(|seq| store.hash_at(Seq(*seq)).is_some()).collect() };
    assert_eq!(known(&store), [0, 3, 5, 7, 9, 10, 11, 12]);
    store.close();
    let store = outlet.open();
    assert_eq!(known(&store), [0, 3, 5, 7, 9, 10, 11, 12]);
    for seq in known(&store) {
        assert_eq!(store.hash_at(Seq(seq)), Some(hashes[seq as usize]));
    }
    let back = Mark { seq: Seq(5), hash: hashes[5] };
    store.record_stored(back, Seq(5), Seq(0)).unwrap();
    assert_eq!((store.stored(), store.backlog().entries), (back, 3), "what is pruned cannot be sent again");
    store.close();
    assert_eq!(outlet.open().stored(), back);
}

#[test]
fn marks_are_saved_together_and_cost_no_commit_each() {
    let outlet = Outlet::new();
    let store = outlet.open();
    fill(&store, 50);
    store.rest();
    let before = store.counts().commits;
    for end in 1..=50 {
        store.keep_hash_at(Seq(end));
    }
    store.rest();
    assert!(store.counts().commits - before <= 2, "{} commits", store.counts().commits - before);
    store.close();
    let database = Database::open(outlet.dir.join("store.redb")).unwrap();
    assert_eq!(database.begin_read().unwrap().open_table(KEPT).unwrap().len().unwrap(), 50);
}

#[test]
fn a_cache_that_is_lost_keeps_the_documents_whose_entries_are_pruned() {
    let check = |name: &str, damage: fn(&redb::WriteTransaction)| {
        let outlet = Outlet::new();
        let store = outlet.open();
        let run = store.capture(outlet::run("1"), at(1)).unwrap().document.id;
        store.capture(movement("滤芯", 2_000), at(1)).unwrap();
        let row = ImportRow {
            kind: "survey".into(),
            site: "3702".into(),
            state: "answered".into(),
            set: survey("旧").set,
            source: "old".into(),
            key: "1".into(),
            occurrence: 1,
            author: "import".into(),
        };
        store.capture_import(vec![row.clone()], at(2)).unwrap();
        let_go(&store, 3);
        let add = || wish(Some(run), "", "add", &[("vehicle", Value::from("鲁A"))]);
        store.capture(add(), at(3)).unwrap();
        store.capture(movement("滤芯", 500), at(4)).unwrap();
        store.rest();
        let document = store.capture(add(), at(5)).unwrap().document;
        store.close();
        change(&outlet.dir, damage);
        let store = outlet.open();
        assert_eq!(store.document(run).unwrap(), Some(document), "{name}");
        assert_eq!((store.history(run).unwrap().len(), store.earlier(run).unwrap()), (2, 1), "{name}");
        let listed = |q: &str| {
            let filter = Filter { q: Some(q.into()), ..Filter::default() };
            store.documents(&filter).unwrap().items.len()
        };
        assert_eq!((listed("滤芯"), listed("旧"), listed("")), (2, 1, 4), "{name}");
        assert_eq!(store.capture_import(vec![row], at(6)).unwrap(), [ImportOutcome::Duplicate], "{name}");
        let sheet = store.capture(outlet::count("滤芯"), at(7)).unwrap().document;
        assert_eq!(sheet.fields["item#1.expected"], Value::measured(2_500, "件"), "{name}");
    };
    check("a cache of another form", |write| {
        write.open_table(META).unwrap().insert("cache", &b"\x00"[..]).unwrap();
    });
    check("no watermark", |write| {
        write.open_table(META).unwrap().remove("cache").unwrap();
    });
    check("no list", |write| {
        write.delete_table(crate::store::tables::LIST).unwrap();
    });
    check("no sums", |write| {
        write.delete_table(crate::store::tables::BALANCES).unwrap();
    });
}

#[test]
fn many_entries_go_in_several_commits_and_the_file_shrinks() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let row = |key: u32| ImportRow {
        kind: "survey".into(),
        site: "3702".into(),
        state: "answered".into(),
        set: survey(&"长".repeat(400)).set,
        source: "old".into(),
        key: key.to_string(),
        occurrence: 1,
        author: "import".into(),
    };
    for chunk in 0..4 {
        store.capture_import((chunk * 2_500..(chunk + 1) * 2_500).map(row).collect(), at(1)).unwrap();
    }
    let size = || outlet.dir.join("store.redb").metadata().unwrap().len();
    let_go(&store, 0);
    let before = size();
    let commits = store.counts().commits;
    let head = store.head();
    store.record_stored(head, head.seq, head.seq).unwrap();
    for _ in 0..10 {
        store.rest();
    }
    assert_eq!(store.pruned(), Seq(10_000));
    assert!(store.counts().commits - commits >= 9);
    assert!(size() < before / 10 * 7, "{} of {before} bytes", size());
    store.close();
    let store = outlet.open();
    assert_eq!((store.pruned(), store.head()), (Seq(10_000), head));
    let found = store.documents(&Filter { q: Some("长".into()), limit: 500, ..Filter::default() }).unwrap();
    assert_eq!(found.items.len(), 500);
}
