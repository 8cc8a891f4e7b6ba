//! The downward journal in the store: random work at two ends and at a hub, against a fold of the plain sets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::document::Document;
use waystation_protocol::document::fold::{Writer, fold};
use waystation_protocol::down::{Amended, Fate, Receipt, Stamp, is_on_document};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, StreamId};

use super::outlet::{Outlet, at, count, movement, run, survey, wish};
use super::*;

const DOWN: StreamId = StreamId::from_bytes([40; 16]);

/// A hub that decides as it likes, and what it tells the agent of it.
struct Hub {
    stream: StreamId,
    /// Accepted, in this order.
    chains: BTreeMap<DocId, (Document, Vec<EntryId>)>,
    /// How far the agent's journal was judged.
    judged: Seq,
    /// How far it was when the agent last had heard all.
    heard: Seq,
    /// What is set aside, with its place.
    aside: Vec<(Seq, Entry)>,
    waived: BTreeSet<EntryId>,
    /// The downward journal.
    told: Vec<Vec<u8>>,
    sent: usize,
    /// Receipts that earlier downward journals brought.
    before: Vec<Entry>,
    mark: Mark,
    has_pruned: bool,
    has_begun_anew: bool,
    drawn: u64,
}

impl Hub {
    fn new() -> Hub {
        Hub {
            stream: DOWN,
            chains: BTreeMap::new(),
            judged: Seq(0),
            heard: Seq(0),
            aside: Vec::new(),
            waived: BTreeSet::new(),
            told: Vec::new(),
            sent: 0,
            before: Vec::new(),
            mark: Mark::ZERO,
            has_pruned: false,
            has_begun_anew: false,
            drawn: 0,
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.drawn += 1;
        let mut id = [0xbb; 16];
        id[8..].copy_from_slice(&self.drawn.to_be_bytes());
        Stamp { id: EntryId::from_bytes(id), now: at(i64::try_from(self.drawn).unwrap_or(0)).now }
    }

    /// An entry of someone else's, accepted and relayed.
    fn relay(&mut self, entry: Entry) {
        if self.apply(&entry) {
            self.told.push(entry.to_bytes());
        }
    }

    fn apply(&mut self, entry: &Entry) -> bool {
        let id = entry.document();
        let before = self.chains.get(&id).map(|(document, _)| document);
        let Ok(document) = fold(before, entry, Writer::Accepted, &|_| true) else { return false };
        let mut ids = self.chains.remove(&id).map_or_else(Vec::new, |(_, ids)| ids);
        ids.push(entry.id);
        self.chains.insert(id, (document, ids));
        true
    }

    /// A step of someone else's on a document.
    fn rival(&mut self, id: DocId, is_note: bool) {
        let Some((document, _)) = self.chains.get(&id) else { return };
        let (kind, head) = (document.kind.clone(), document.head);
        let stamp = self.stamp();
        let set = if is_note { ("note_text", "别处") } else { ("vehicle", "别处") };
        self.relay(Entry {
            document: Some(id),
            after: (!is_note).then_some(head),
            act: if is_note { "note" } else { "add" }.into(),
            set: BTreeMap::from([(set.0.to_owned(), Value::from(set.1))]),
            ..bare(stamp, &kind)
        });
    }

    /// Someone else's document.
    fn open(&mut self, wish: Wish) -> DocId {
        let stamp = self.stamp();
        let mut set = wish.set;
        set.insert("site".into(), Value::from("3702"));
        let act = if wish.act.is_empty() { "post".to_owned() } else { wish.act };
        self.relay(Entry { act, set, ..bare(stamp, &wish.kind) });
        stamp.id.opens()
    }

    /// Judges the agent's next entry: as it stands, or against it all the same.
    fn judge(&mut self, store: &Store, captured: &[Entry], is_strict: bool) {
        let Some(entry) = captured.get(usize::try_from(self.judged.0).unwrap()).cloned() else { return };
        self.judged = self.judged.next();
        let id = entry.document();
        if !is_on_document(&entry.kind) {
            return;
        }
        let is_behind = self.aside.iter().any(|(_, earlier)| earlier.document() == id);
        let fate = match (is_behind, is_strict) {
            (true, _) => Fate::Parked,
            (false, true) => Fate::Quarantined,
            (false, false) if self.apply(&entry) => return,
            (false, false) => Fate::Quarantined,
        };
        self.aside.push((self.judged, entry.clone()));
        self.say(&entry, self.judged, fate, None, store);
    }

    /// A person looks at what is set aside: gives up the first, or lets it pass, as it was or amended.
    fn resolve(&mut self, index: usize, how: u8, store: &Store) {
        let (seq, entry) = self.aside[index].clone();
        let mut amended = entry.clone();
        let (fate, amend) = match how % 3 {
            0 => (Fate::Waived, None),
            1 => (Fate::Replayed, None),
            _ => {
                amended.set.insert("note_text".into(), Value::from("改"));
                (Fate::Fixed, Some(Amended { act: amended.act.clone(), set: amended.set.clone() }))
            }
        };
        let earlier = self.aside[..index].iter().any(|(_, earlier)| earlier.document() == entry.document());
        if fate != Fate::Waived && (earlier || !self.apply(&amended)) {
            return;
        }
        self.aside.remove(index);
        if fate == Fate::Waived {
            self.waived.insert(entry.id);
        }
        self.say(&entry, seq, fate, amend, store);
        self.release(entry.document(), store);
    }

    /// What was parked on a document passes where it can.
    fn release(&mut self, id: DocId, store: &Store) {
        while let Some(index) = self.aside.iter().position(|(_, entry)| entry.document() == id) {
            let (seq, entry) = self.aside[index].clone();
            if !self.apply(&entry) {
                return;
            }
            self.aside.remove(index);
            self.say(&entry, seq, Fate::Released, None, store);
        }
    }

    fn say(&mut self, entry: &Entry, seq: Seq, fate: Fate, amended: Option<Amended>, store: &Store) {
        let receipt = Receipt {
            entry: Some(entry.id),
            document: Some(entry.document()),
            stream: store.identity().stream,
            seq,
            fate,
            code: "test".into(),
            zh: "试".into(),
            en: "tried".into(),
            amended,
            resolved: None,
        };
        let stamp = self.stamp();
        self.told.push(receipt.entry(stamp).to_bytes());
    }

    /// Sends up to `most` entries.
    fn send(&mut self, store: &Store, most: usize) {
        let mut entries = Vec::new();
        for bytes in self.told.iter().skip(self.sent).take(most) {
            self.mark = self.mark.extend(bytes);
            entries.push((self.mark, bytes.clone()));
        }
        if !entries.is_empty() {
            self.sent += entries.len();
            store.hear(self.stream, entries).unwrap();
        }
    }

    /// Parts of what was judged and told, and of the downward journal, may go.
    fn let_go(&mut self, store: &Store, own: Seq, down: Seq) {
        self.has_pruned = true;
        store.record_stored(store.head(), self.judged, own).unwrap();
        store.record_down_prunable(down);
        store.rest();
    }

    /// The downward journal is lost: another one begins with all that others did and stands.
    fn begin_anew(&mut self) {
        let relayed = |bytes: &Vec<u8>| is_on_document(&Entry::from_bytes(bytes).unwrap().kind);
        let unsent: Vec<Vec<u8>> = self.told[self.sent..].iter().filter(|bytes| !relayed(bytes)).cloned().collect();
        let sent = self.told[..self.sent].iter().filter(|bytes| !relayed(bytes));
        self.before.extend(sent.map(|bytes| Entry::from_bytes(bytes).unwrap()));
        self.told.retain(relayed);
        self.told.extend(unsent);
        self.stream = StreamId::from_bytes([self.stream.as_bytes()[0] + 1; 16]);
        (self.sent, self.mark, self.has_begun_anew) = (0, Mark::ZERO, true);
    }
}

impl Hub {
    /// What has arrived and counts: of the present downward journal, and receipts of earlier ones.
    fn said(&self) -> impl Iterator<Item = Entry> {
        let present = self.told[..self.sent].iter().map(|bytes| Entry::from_bytes(bytes).unwrap());
        self.before.iter().cloned().chain(present)
    }
}

fn bare(stamp: Stamp, kind: &str) -> Entry {
    Entry {
        id: stamp.id,
        document: None,
        after: None,
        kind: kind.into(),
        form: 1,
        act: String::new(),
        set: BTreeMap::new(),
        author: "别人".into(),
        cause: None,
        occurred_at: stamp.now,
        mono_ms: 0,
        boot: 0,
        clock: 0,
    }
}

/// The plain sets, folded the plain way: what the agent should hold.
fn folded(captured: &[Entry], hub: &Hub) -> BTreeMap<DocId, [u8; 32]> {
    let mut heard: Vec<Entry> = Vec::new();
    let mut words: BTreeMap<EntryId, Receipt> = BTreeMap::new();
    for entry in hub.said() {
        match Receipt::read(&entry) {
            Some(receipt) => drop(words.insert(receipt.entry.unwrap(), receipt)),
            None => heard.push(entry),
        }
    }
    let mut own = captured.to_vec();
    own.retain(|entry| {
        let fate = words.get(&entry.id).map(|word| word.fate);
        !matches!(fate, Some(Fate::Quarantined | Fate::Parked | Fate::Waived)) && is_on_document(&entry.kind)
    });
    for entry in &mut own {
        if let Some(amended) = words.get(&entry.id).and_then(|word| word.amended.clone()) {
            (entry.act, entry.set) = (amended.act, amended.set);
        }
    }
    let accepted: BTreeSet<EntryId> = words.values().filter_map(|word| word.entry).collect();
    let (accepted, pending): (Vec<Entry>, Vec<Entry>) = own.into_iter().partition(|entry| accepted.contains(&entry.id));
    let all: Vec<Entry> = heard.into_iter().chain(accepted).chain(pending).collect();
    let mut documents: BTreeMap<DocId, Document> = BTreeMap::new();
    let mut is_news = true;
    while std::mem::take(&mut is_news) {
        for entry in all.iter().filter(|entry| entry.act != "note") {
            let before = documents.get(&entry.document());
            if before.map(|document| document.head) == entry.after
                && before.is_none() == entry.is_opening()
                && let Ok(next) = fold(before, entry, Writer::Accepted, &|_| true)
            {
                documents.insert(next.id, next);
                is_news = true;
                break;
            }
        }
    }
    for entry in all.iter().filter(|entry| entry.act == "note") {
        if let Some(Ok(next)) =
            documents.get(&entry.document()).map(|before| fold(Some(before), entry, Writer::Accepted, &|_| true))
        {
            documents.insert(next.id, next);
        }
    }
    documents.into_iter().map(|(id, document)| (id, document.digest())).collect()
}

fn listed(store: &Store) -> BTreeMap<DocId, [u8; 32]> {
    let mut filter = Filter { limit: 7, ..Filter::default() };
    let mut all = BTreeMap::new();
    loop {
        let page = store.documents(&filter).unwrap();
        for document in page.items {
            assert_eq!(store.document(document.id).unwrap().as_ref(), Some(&document));
            assert!(all.insert(document.id, document.digest()).is_none(), "listed twice");
        }
        let Some(next) = page.next else { return all };
        filter.cursor = Some(next);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Run(u8),
    Survey(u8),
    Move(i8),
    Add(prop::sample::Index, bool),
    /// Of someone else.
    Rival(prop::sample::Index, bool),
    Open(bool),
    Judge(bool),
    Resolve(prop::sample::Index, u8),
    Send(u8),
    /// The cache is written.
    Rest,
    /// Another downward journal takes the place of the present one.
    Anew,
    /// Parts of both journals may go.
    Prune(prop::sample::Index, prop::sample::Index),
    Close,
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Run),
        1 => any::<u8>().prop_map(Step::Survey),
        2 => any::<i8>().prop_map(Step::Move),
        5 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, is_note)| Step::Add(index, is_note)),
        3 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, is_note)| Step::Rival(index, is_note)),
        1 => any::<bool>().prop_map(Step::Open),
        5 => (0u8..6).prop_map(|strict| Step::Judge(strict == 0)),
        3 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(index, how)| Step::Resolve(index, how)),
        4 => (1u8..5).prop_map(Step::Send),
        1 => Just(Step::Rest),
        1 => Just(Step::Anew),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(own, down)| Step::Prune(own, down)),
        1 => Just(Step::Close),
        1 => Just(Step::Cut),
    ]
}

struct Bench {
    outlet: Outlet,
    store: Store,
    hub: Hub,
    runs: Vec<DocId>,
    /// All that the agent ever captured.
    captured: Vec<Entry>,
}

impl Bench {
    fn new() -> Bench {
        let outlet = Outlet::new();
        let store = outlet.open();
        Bench { outlet, store, hub: Hub::new(), runs: Vec::new(), captured: Vec::new() }
    }

    fn act(&mut self, step: &Step, second: i64) {
        self.step(step, second);
        let seqs: Vec<Seq> = (self.captured.len() as u64 + 1..=self.store.head().seq.0).map(Seq).collect();
        let database = self.store.shared.database().unwrap();
        let fresh = journal::entries_at(&database, &seqs).unwrap();
        self.captured.extend(fresh.into_iter().map(|(_, entry)| entry));
    }

    fn step(&mut self, step: &Step, second: i64) {
        let (store, hub) = (&self.store, &mut self.hub);
        let captured = match step {
            Step::Run(route) => store.capture(run(&route.to_string()), at(second)),
            Step::Survey(form) => store.capture(survey(&form.to_string()), at(second)),
            Step::Move(quantity) => store.capture(movement("滤芯", i64::from(*quantity) * 1_000), at(second)),
            Step::Add(index, is_note) if !self.runs.is_empty() => {
                let set = if *is_note { ("note_text", Value::from("备")) } else { ("vehicle", Value::from("鲁A")) };
                let act = if *is_note { "note" } else { "add" };
                store.capture(wish(Some(*index.get(&self.runs)), "delivery_run", act, &[set]), at(second))
            }
            Step::Rival(index, is_note) if !self.runs.is_empty() => return hub.rival(*index.get(&self.runs), *is_note),
            Step::Add(..) | Step::Rival(..) => return,
            Step::Open(true) => return self.runs.push(hub.open(run("别处"))),
            Step::Open(false) => {
                hub.open(movement("滤芯", 3_000));
                return;
            }
            Step::Judge(is_strict) => return hub.judge(store, &self.captured, *is_strict),
            Step::Resolve(_, _) if hub.aside.is_empty() => return,
            Step::Resolve(index, how) => return hub.resolve(index.index(hub.aside.len()), *how, store),
            Step::Send(most) => return hub.send(store, usize::from(*most)),
            Step::Rest => return store.rest(),
            Step::Anew if !hub.told.is_empty() => {
                hub.begin_anew();
                return hub.send(store, 1);
            }
            Step::Anew => return,
            Step::Prune(own, down) => {
                if hub.sent == hub.told.len() {
                    hub.heard = hub.judged;
                }
                let seq = |index: &prop::sample::Index, last: usize| Seq(index.index(last + 1) as u64);
                let heard = usize::try_from(hub.heard.0).unwrap();
                return hub.let_go(store, seq(own, heard), seq(down, hub.sent));
            }
            Step::Close | Step::Cut => return self.reopen(matches!(step, Step::Cut)),
        };
        match captured {
            Ok(receipt) if matches!(step, Step::Run(_)) => self.runs.push(receipt.document.id),
            Ok(_) | Err(CaptureError::Problems(_) | CaptureError::NotFound) => {}
            Err(error) => panic!("{step:?}: {error}"),
        }
    }

    fn reopen(&mut self, is_cut: bool) {
        if is_cut {
            let copy = self.outlet.copy();
            self.store.close();
            self.outlet = copy;
        } else {
            self.store.close();
        }
        self.store = self.outlet.open();
    }

    /// Stock on hand by a plain sum over the documents, against what a count is told.
    fn check_stock(&self) {
        let filter = Filter { kind: Some("stock_movement".into()), limit: 500, ..Filter::default() };
        let items = self.store.documents(&filter).unwrap().items;
        let sum: i64 = items.iter().map(|item| item.fields["quantity"].as_measured().unwrap().0).sum();
        let sheet = self.store.capture(count("滤芯"), at(9_000)).unwrap().document;
        assert_eq!(sheet.fields["item#1.expected"], Value::measured(sum, "件"));
    }
}

/// What the hub lets in of a document whose entries are deleted here stands on what is left of it, one after the other.
#[test]
fn notes_let_in_after_their_rows_are_deleted_stand_together() {
    let mut bench = Bench::new();
    let run = bench.store.capture(run("0"), at(0)).unwrap().document.id;
    for (second, text) in (1..).zip(["一", "二"]) {
        let note = wish(Some(run), "delivery_run", "note", &[("note_text", text.into())]);
        bench.store.capture(note, at(second)).unwrap();
    }
    bench.act(&Step::Rest, 3);
    for is_strict in [false, true, false] {
        bench.act(&Step::Judge(is_strict), 4);
    }
    let (store, hub) = (&bench.store, &mut bench.hub);
    hub.send(store, usize::MAX);
    hub.let_go(store, Seq(3), Seq(0));
    hub.resolve(0, 1, store);
    hub.send(store, usize::MAX);
    assert_eq!(store.document(run).unwrap().unwrap().notes.len(), 2);
    hub.let_go(store, Seq(3), hub.mark.seq);
    bench.reopen(true);
    assert_eq!(bench.store.document(run).unwrap().unwrap().notes.len(), 2);
}

/// An entry is processed, and its document's earlier ones go, before the agent hears that another took its place.
#[test]
fn what_was_captured_after_entries_that_are_deleted_is_taken_out_again() {
    for is_cached in [false, true] {
        let mut bench = Bench::new();
        let run = bench.store.capture(run("0"), at(0)).unwrap().document.id;
        bench.runs.push(run);
        bench.act(&Step::Rest, 1);
        bench.act(&Step::Judge(false), 1);
        let add = wish(Some(run), "delivery_run", "add", &[("vehicle", "鲁A".into())]);
        bench.store.capture(add, at(2)).unwrap();
        if is_cached {
            bench.store.rest();
        }
        bench.hub.rival(run, false);
        bench.act(&Step::Judge(false), 3);
        bench.hub.let_go(&bench.store, Seq(1), Seq(0));
        bench.reopen(true);
        bench.hub.send(&bench.store, usize::MAX);
        let shown = bench.store.document(run).unwrap().unwrap();
        assert_eq!(shown.fields["vehicle"].as_text(), Some("别处"));
        assert_eq!(bench.store.set_aside(run).unwrap().len(), 1);
    }
}

/// What the next downward journal tells again of a document, all of whose entries are deleted here, stands on it already.
#[test]
fn what_is_told_again_of_a_document_whose_rows_are_deleted_changes_nothing() {
    let mut bench = Bench::new();
    let run = bench.store.capture(run("0"), at(0)).unwrap().document.id;
    bench.runs.push(run);
    bench.act(&Step::Rest, 1);
    bench.act(&Step::Judge(false), 1);
    bench.hub.let_go(&bench.store, Seq(1), Seq(0));
    let note = wish(Some(run), "delivery_run", "note", &[("note_text", "备".into())]);
    bench.store.capture(note, at(2)).unwrap();
    bench.act(&Step::Rest, 2);
    bench.hub.rival(run, false);
    bench.act(&Step::Judge(false), 3);
    bench.hub.send(&bench.store, usize::MAX);
    bench.hub.let_go(&bench.store, Seq(2), Seq(1));
    let before = bench.store.document(run).unwrap().unwrap();
    assert_eq!((before.notes.len(), before.fields["vehicle"].as_text()), (1, Some("别处")));
    bench.hub.begin_anew();
    bench.hub.send(&bench.store, usize::MAX);
    assert_eq!(bench.store.document(run).unwrap().unwrap(), before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Proves R-DOWN-4, I4, I8.
    #[test]
    fn any_history_folds_to_what_its_sets_say_and_in_the_end_to_what_the_hub_has(
        steps in prop::collection::vec(step(), 1..70),
    ) {
        let mut bench = Bench::new();
        for (second, step) in (0..).zip(&steps) {
            bench.act(step, second);
            // Documents whose entries are pruned know more than a journal that has only begun to arrive.
            if !bench.hub.has_pruned || !bench.hub.has_begun_anew || bench.hub.sent == bench.hub.told.len() {
                let expected = folded(&bench.captured, &bench.hub);
                prop_assert_eq!(listed(&bench.store), expected, "after step {} {:?}", second, step);
            }
        }
        for _ in 0..bench.captured.len() {
            bench.hub.judge(&bench.store, &bench.captured, false);
        }
        bench.hub.send(&bench.store, usize::MAX);
        let at_hub: BTreeMap<DocId, [u8; 32]> =
            bench.hub.chains.iter().map(|(id, (document, _))| (*id, document.digest())).collect();
        prop_assert_eq!(listed(&bench.store), at_hub);
        bench.reopen(false);
        prop_assert_eq!(listed(&bench.store), folded(&bench.captured, &bench.hub));
        bench.check_stock();
    }
}
