//! Random work with prunings and reopenings at random points, against a fold of all entries from scratch.

use std::collections::BTreeMap;

use proptest::prelude::*;

use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::document::fold::{Writer, fold};
use waystation_protocol::id::DocId;
use waystation_protocol::message::Batch;

use super::outlet::{Outlet, at, count, movement, run, survey, wish};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Survey(u8),
    Move(u8, i8),
    Run(u8),
    /// Acts on one of the runs.
    Add(prop::sample::Index, bool),
    Count(u8),
    Import(u8),
    /// The hub has all and lets a part go.
    Prune(prop::sample::Index),
    /// The cache is thrown away.
    Forget,
    Close,
    /// What a power cut leaves.
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Survey),
        3 => (0u8..3, any::<i8>()).prop_map(|(item, quantity)| Step::Move(item, quantity)),
        2 => any::<u8>().prop_map(Step::Run),
        4 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, is_note)| Step::Add(index, is_note)),
        1 => (0u8..3).prop_map(Step::Count),
        2 => (0u8..40).prop_map(Step::Import),
        2 => any::<prop::sample::Index>().prop_map(Step::Prune),
        1 => Just(Step::Forget),
        1 => Just(Step::Close),
        1 => Just(Step::Cut),
    ]
}

/// The hub: all entries, in their order.
struct Hub {
    head: Mark,
    entries: Vec<Vec<u8>>,
}

impl Hub {
    /// Takes what the journal has beyond what is here, as a batch.
    fn fetch(&mut self, store: &Store) {
        let mut builder = Builder::new();
        let range = SeqRange { first: self.head.seq.next(), last: store.head().seq };
        if range.last < range.first {
            return;
        }
        let filled = store.fill_batch(range, &mut builder).unwrap();
        assert_eq!(filled.last, store.head().seq, "these journals fit one batch");
        let batch = Batch {
            stream: store.identity().stream,
            parent: None,
            first_seq: range.first,
            count: builder.count(),
            prev_hash: filled.prev_hash,
            base: None,
            payload: builder.finish().into(),
        };
        assert_eq!(filled.prev_hash, self.head.hash);
        let unpacked = Unpacked::open(&batch).unwrap();
        assert_eq!(unpacked.last(), store.head());
        self.entries.extend(unpacked.entries_from(range.first).map(|(_, bytes)| bytes.to_vec()));
        self.head = store.head();
    }

    /// Every document, folded from all entries.
    fn folded(&self) -> BTreeMap<DocId, [u8; 32]> {
        let mut documents: BTreeMap<DocId, Document> = BTreeMap::new();
        for bytes in &self.entries {
            let entry = Entry::from_bytes(bytes).unwrap();
            let before = documents.remove(&entry.document());
            let document = fold(before.as_ref(), &entry, Writer::Agent(&Sites::All), &|_| true).unwrap();
            documents.insert(document.id, document);
        }
        documents.into_iter().map(|(id, document)| (id, document.digest())).collect()
    }
}

fn listed(store: &Store) -> BTreeMap<DocId, [u8; 32]> {
    let mut filter = Filter { limit: 7, ..Filter::default() };
    let mut all = BTreeMap::new();
    loop {
        let page = store.documents(&filter).unwrap();
        for document in page.items {
            assert_eq!(store.document(document.id).unwrap().as_ref(), Some(&document));
            let (history, earlier) = (store.history(document.id).unwrap(), store.earlier(document.id).unwrap());
            let last = history.last().map(|(seq, _)| *seq);
            assert!(store.seqs(document.id).unwrap().is_sorted_by(|a, b| a < b), "no entry is folded twice");
            assert!(last == store.last_seq(document.id).unwrap() || (history.is_empty() && earlier > 0));
            assert!(all.insert(document.id, document.digest()).is_none(), "listed twice");
        }
        let Some(next) = page.next else { return all };
        filter.cursor = Some(next);
    }
}

fn act(store: &Store, step: &Step, second: i64, runs: &mut Vec<DocId>) {
    let item = |item: u8| format!("物料{item}");
    let captured = match step {
        Step::Survey(form) => store.capture(survey(&form.to_string()), at(second)),
        Step::Move(name, quantity) => store.capture(movement(&item(*name), i64::from(*quantity) * 1_000), at(second)),
        Step::Run(route) => store.capture(run(&route.to_string()), at(second)),
        Step::Add(_, _) if runs.is_empty() => return,
        Step::Add(index, true) => {
            let set = [("note_text", Value::from("备"))];
            store.capture(wish(Some(*index.get(runs)), "", "note", &set), at(second))
        }
        Step::Add(index, false) => {
            let set = [("vehicle", Value::from(second.to_string()))];
            store.capture(wish(Some(*index.get(runs)), "", "add", &set), at(second))
        }
        Step::Count(name) => store.capture(count(&item(*name)), at(second)),
        Step::Import(key) => {
            let row = ImportRow {
                kind: "stock_movement".into(),
                site: "3702".into(),
                state: "posted".into(),
                set: movement(&item(key % 3), 7_000).set,
                source: "old".into(),
                key: key.to_string(),
                occurrence: 1,
                author: "import".into(),
            };
            store.capture_import(vec![row.clone(), row], at(second)).unwrap();
            return;
        }
        Step::Prune(_) | Step::Forget | Step::Close | Step::Cut => return,
    };
    match captured {
        Ok(receipt) if matches!(step, Step::Run(_)) => runs.push(receipt.document.id),
        Ok(_) | Err(CaptureError::Problems(_)) => {}
        Err(error) => panic!("{step:?}: {error}"),
    }
}

/// Stock on hand by a plain sum over the documents, against what a count is told.
fn check_stock(store: &Store) {
    for name in 0..3 {
        let name = format!("物料{name}");
        let mut filter = Filter { kind: Some("stock_movement".into()), limit: 500, ..Filter::default() };
        filter.q = Some(name.clone());
        let items = store.documents(&filter).unwrap().items;
        let sum: i64 = items.iter().map(|item| item.fields["quantity"].as_measured().unwrap().0).sum();
        let sheet = store.capture(count(&name), at(9_000)).unwrap().document;
        assert_eq!(sheet.fields["item#1.expected"], Value::measured(sum, "件"), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_work_folds_to_what_its_journal_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut outlet = Outlet::new();
        let mut store = outlet.open();
        let mut runs = Vec::new();
        let mut hub = Hub { head: Mark::ZERO, entries: Vec::new() };
        for (second, step) in (0..).zip(&steps) {
            match step {
                Step::Close => {
                    store.close();
                    store = outlet.open();
                }
                Step::Cut => {
                    let copy = outlet.copy();
                    store.close();
                    outlet = copy;
                    store = outlet.open();
                }
                Step::Prune(index) => {
                    hub.fetch(&store);
                    let head = store.head();
                    let prunable = Seq(index.index(head.seq.0 as usize + 1) as u64);
                    store.record_stored(head, head.seq, prunable).unwrap();
                    store.rest();
                }
                Step::Forget => {
                    store.close();
                    outlet.forget_cache();
                    store = outlet.open();
                }
                step => act(&store, step, second, &mut runs),
            }
        }
        hub.fetch(&store);
        prop_assert_eq!(listed(&store), hub.folded());
        check_stock(&store);
        store.close();
        let store = outlet.open();
        hub.fetch(&store);
        prop_assert_eq!(listed(&store), hub.folded());
    }
}
