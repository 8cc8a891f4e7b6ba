//! Damage: flipped bits, torn and foreign files. Whatever is read is what was captured; whatever is not is named.

use std::collections::BTreeMap;

use waystation_protocol::id::DocId;

use super::outlet::{self, Outlet, at, movement, survey, wish};
use super::*;
/// What an outlet captured: documents as they were last, and where their entries stood.
struct Captured {
    documents: BTreeMap<DocId, (Document, Vec<u64>)>,
    drafts: Vec<Draft>,
    head: Seq,
    pruned: Seq,
    numbers: BTreeSet<String>,
}

/// An outlet's day, closed at its end. The hub has let a part of it go.
fn day(outlet: &Outlet, is_pruned: bool) -> Captured {
    let store = outlet.open();
    let mut runs = Vec::new();
    for index in 0..60 {
        store.capture(survey(&format!("表{index}")), at(index)).unwrap();
        store.capture(movement(&format!("物料{}", index % 5), 1_000 * (index + 1)), at(index)).unwrap();
        if index % 6 == 0 {
            runs.push(store.capture(outlet::run(&format!("{index}")), at(index)).unwrap().document.id);
        }
        for run in &runs {
            if index % 7 == 3 {
                let set = [("vehicle", Value::from(format!("鲁A{index}")))];
                store.capture(wish(Some(*run), "", "add", &set), at(index)).unwrap();
            }
        }
        if index == 30 && is_pruned {
            let head = store.head();
            store.record_stored(head, head.seq, Seq(head.seq.0 - 7)).unwrap();
            store.rest();
        }
        if index % 20 == 19 {
            store.rest();
        }
    }
    let draft = Draft {
        document: None,
        kind: "survey".into(),
        set: survey("半").set,
        author: "王芳".into(),
        changed_at: at(99).now,
        seen: None,
    };
    store.save_draft(None, draft.clone()).unwrap();
    let mut filter = Filter { limit: 500, ..Filter::default() };
    let mut documents = BTreeMap::new();
    loop {
        let page = store.documents(&filter).unwrap();
        for document in page.items {
            let seqs = store.seqs(document.id).unwrap().iter().map(|seq| seq.0).collect();
            documents.insert(document.id, (document, seqs));
        }
        let Some(next) = page.next else { break };
        filter.cursor = Some(next);
    }
    let numbers = documents.values().filter_map(|(document, _)| document.number()).map(str::to_owned).collect();
    let captured = Captured { documents, drafts: vec![draft], head: store.head().seq, pruned: store.pruned(), numbers };
    store.close();
    captured
}

/// Others change the file while it is open: closing it in order vouches for nothing of that.
#[test]
fn a_file_that_was_damaged_while_it_was_open_is_salvaged_at_the_next_start() {
    for first in [4_096, 9_000, 20_000] {
        let outlet = Outlet::new();
        let captured = day(&outlet, false);
        let store = outlet.open();
        let path = outlet.dir.join("store.redb");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().skip(first).step_by(60_000).for_each(|byte| *byte ^= 0x10);
        std::fs::write(&path, bytes).unwrap();
        store.close();
        let salvage = check(&outlet, &captured, "changed while open");
        assert!(salvage.is_some(), "from {first} on");
    }
    let outlet = Outlet::new();
    day(&outlet, false);
    let store = outlet.open();
    std::fs::OpenOptions::new().write(true).open(outlet.dir.join("store.redb")).unwrap().set_len(0).unwrap();
    store.close();
    assert!(outlet.open().salvage().is_some(), "emptied while open");
}

/// The full report beside a salvaged store.
fn report(outlet: &Outlet, store: &Store) -> Option<Salvage> {
    let salvage = store.salvage()?;
    let text = std::fs::read(outlet.dir.join(&salvage.report)).unwrap();
    assert!(outlet.dir.join(&salvage.damaged).exists(), "the damaged file stays");
    Some(serde_json::from_slice(&text).unwrap())
}

/// Opens what is left and compares it with what was captured. Gives what was salvaged, if anything had to be.
fn check(outlet: &Outlet, captured: &Captured, name: &str) -> Option<Salvage> {
    let store = outlet.open();
    let salvage = report(outlet, &store);
    let named: BTreeSet<u64> = salvage
        .iter()
        .flat_map(|salvage| salvage.lost.iter().chain(&salvage.without_document))
        .flat_map(|range| range.first.0..=range.last.0)
        .collect();
    for (id, (document, seqs)) in &captured.documents {
        let found = store.document(*id).unwrap();
        let is_named = seqs.iter().any(|seq| named.contains(seq));
        assert!(
            found.as_ref() == Some(document) || is_named,
            "{name}: document {id} {seqs:?}, named {named:?}: {found:?}"
        );
        let lost = salvage.iter().flat_map(|salvage| &salvage.lost).flat_map(|range| range.first.0..=range.last.0);
        let lost: BTreeSet<u64> = lost.collect();
        let (is_lost, place) = (seqs.iter().any(|seq| lost.contains(seq)), store.whereabouts(*id).unwrap());
        let says_so = matches!(place, Whereabouts::Damaged | Whereabouts::Aside);
        // where its row is lost too, nobody knows whose a lost entry was: the document is as it was before
        let is_as_before = is_lost && found.as_ref() != Some(document);
        assert!(
            found.is_none() || is_lost == says_so || is_as_before,
            "{name}: {id} {seqs:?}, lost {lost:?}: {place:?}"
        );
    }
    let mut listed = 0;
    let mut filter = Filter { limit: 500, ..Filter::default() };
    loop {
        let page = store.documents(&filter).unwrap();
        listed += page.items.len();
        for document in &page.items {
            assert!(captured.documents.contains_key(&document.id), "{name}: nothing is made up");
        }
        let Some(next) = page.next else { break };
        filter.cursor = Some(next);
    }
    assert!(listed + named.len() >= captured.documents.len(), "{name}: {listed} listed");
    assert!(named.iter().all(|seq| *seq <= captured.head.0), "{name}: {named:?}");
    let range = SeqRange { first: store.pruned().next(), last: store.head().seq };
    if range.first <= range.last {
        assert_eq!(store.fill_batch(range, &mut Builder::new()).unwrap().last, store.head().seq, "{name}");
    }
    for (_, draft) in store.drafts().unwrap() {
        assert!(captured.drafts.contains(&draft), "{name}");
    }
    assert!(!store.is_copy(), "{name}");
    let printed = store.capture(survey("新"), at(200)).unwrap().document;
    assert!(!captured.numbers.contains(printed.number().unwrap()), "{name}: {:?}", printed.number());
    if let Some(salvage) = &salvage {
        let gone = salvage.lost_entries();
        assert_eq!(salvage.kept + salvage.moved + gone + store.pruned().0, captured.head.0, "{name}: {salvage:?}");
        let line = store.line();
        assert_eq!(line.len(), usize::from(gone > 0), "{name}: a gap leads to a new stream, and nothing else does");
        if let Some(parent) = line.first() {
            assert_eq!(parent.at.seq.0, store.pruned().0 + salvage.kept, "{name}");
            assert_eq!(store.hash_at(parent.at.seq), Some(parent.at.hash), "{name}");
        }
    }
    store.close();
    let again = outlet.open();
    assert_eq!(report(outlet, &again), salvage, "{name}: a salvaged store is a sound one");
    salvage
}

/// A closed store that can be put back as it was, in the same place: no copy, as far as it can know.
struct Bench {
    outlet: Outlet,
    captured: Captured,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Bench {
    fn new(is_pruned: bool) -> Bench {
        let outlet = Outlet::new();
        let captured = day(&outlet, is_pruned);
        let files = ["store.redb", "agent.turn"];
        let files = files.map(|name| (name, std::fs::read(outlet.dir.join(name)).expect("a file"))).to_vec();
        std::fs::hard_link(outlet.dir.join("store.redb"), outlet.dir.join("keep")).expect("a second name");
        Bench { outlet, captured, files }
    }

    fn bytes(&self) -> &[u8] {
        &self.files[0].1
    }

    fn reset(&self) -> &Outlet {
        for file in std::fs::read_dir(&self.outlet.dir).expect("a folder").flatten() {
            if file.file_name() != "keep" {
                std::fs::remove_file(file.path()).expect("a removal");
            }
        }
        std::fs::hard_link(self.outlet.dir.join("keep"), self.outlet.dir.join("store.redb")).expect("a second name");
        for (name, bytes) in &self.files {
            std::fs::write(self.outlet.dir.join(name), bytes).expect("a file");
        }
        &self.outlet
    }
}

fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Flips bits of a day's store: one bit, or several.
fn flip_many(is_pruned: bool, cases: u64) {
    let bench = Bench::new(is_pruned);
    assert_eq!(bench.captured.pruned > Seq(0), is_pruned);
    assert_eq!(check(bench.reset(), &bench.captured, "nothing flipped"), None);
    let used: Vec<usize> = bench
        .bytes()
        .chunks(4_096)
        .enumerate()
        .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
        .map(|(page, _)| page)
        .collect();
    let (mut state, mut salvaged, mut incomplete) = (u64::from(is_pruned), 0, 0);
    for case in 0..cases {
        let outlet = bench.reset();
        let mut bytes = bench.bytes().to_vec();
        let mut flips = Vec::new();
        for _ in 0..[1, 1, 3, 20][(case % 4) as usize] {
            let page = used[(chance(&mut state) % used.len() as u64) as usize];
            let (at, bit) = (page * 4_096 + (chance(&mut state) % 4_096) as usize, (chance(&mut state) % 8) as u8);
            bytes[at] ^= 1 << bit;
            flips.push((at, bit));
        }
        std::fs::write(outlet.dir.join("store.redb"), bytes).expect("a file");
        if let Some(salvage) = check(outlet, &bench.captured, &format!("case {case} {flips:?}")) {
            salvaged += 1;
            incomplete += u64::from(!salvage.is_complete());
        }
    }
    println!("{cases} cases: {salvaged} salvaged, {incomplete} of them not complete");
    assert!(salvaged > cases / 4 && incomplete > 0 && incomplete < salvaged, "{salvaged} {incomplete}");
}

/// Proves I7.
#[test]
fn no_flipped_bit_is_read_as_data() {
    flip_many(false, 150);
}

/// Proves I7.
#[test]
fn no_flipped_bit_is_read_as_data_where_entries_are_pruned() {
    flip_many(true, 150);
}

#[test]
fn a_damaged_entry_is_named_and_those_behind_it_go_on_in_a_new_stream() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let documents: Vec<Document> =
        (0..3).map(|index| store.capture(survey("x"), at(index)).unwrap().document).collect();
    let (stream, one) = (store.identity().stream, store.hash_at(Seq(1)).unwrap());
    let entry = store.history(documents[1].id).unwrap()[0].1.to_bytes();
    store.record_stored(store.head(), Seq(3), Seq(0)).unwrap();
    store.close();
    // Old rows lie in the file beside the current one: the bit flips in all of them.
    let path = outlet.dir.join("store.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let found: Vec<usize> = (0..bytes.len() - entry.len()).filter(|at| bytes[*at..].starts_with(&entry)).collect();
    found.iter().for_each(|at| bytes[at + entry.len() - 1] ^= 1);
    std::fs::write(&path, bytes).unwrap();
    let store = outlet.open();
    let salvage = store.salvage().unwrap();
    assert_eq!((salvage.kept, salvage.moved, salvage.lost_entries()), (1, 1, 1));
    assert_eq!(store.line(), [Parent { stream, at: Mark { seq: Seq(1), hash: one } }]);
    assert_ne!(store.identity().stream, stream);
    assert_eq!((store.head().seq, store.stored()), (Seq(2), Mark::ZERO));
    for document in &documents {
        assert_eq!(store.document(document.id).unwrap().as_ref(), Some(document));
    }
    assert_eq!(store.history(documents[2].id).unwrap()[0].0, Seq(2));
    let lost = documents[1].id;
    assert_eq!((store.history(lost).unwrap(), store.earlier(lost).unwrap()), (vec![], 0), "nor is it at the hub");
    assert_eq!(store.whereabouts(lost).unwrap(), Whereabouts::Damaged);
    store.dismiss_salvage().unwrap();
    assert_eq!(store.salvage(), None);
    store.close();
    assert_eq!(outlet.open().salvage(), None);
}

/// Four surveys in a store that is then damaged; where `is_crashed`, it was not closed in order. `damage` is given the
/// file's bytes and the entries, and says which it destroyed.
fn named(is_crashed: bool, damage: fn(&mut [u8], &[Vec<u8>]) -> Vec<u64>) {
    let outlet = Outlet::new();
    let store = outlet.open();
    let capture = |index| store.capture(survey(&format!("表{index}")), at(index)).unwrap().document.id;
    let documents: Vec<DocId> = (0..4).map(capture).collect();
    let entries: Vec<Vec<u8>> = documents.iter().map(|id| store.history(*id).unwrap()[0].1.to_bytes()).collect();
    let files = ["store.redb", "agent.turn"].map(|name| outlet.dir.join(name));
    let crashed = files.each_ref().map(|path| std::fs::read(path).unwrap());
    store.close();
    if is_crashed {
        files.iter().zip(crashed).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }
    let mut bytes = std::fs::read(&files[0]).unwrap();
    if is_crashed {
        // otherwise redb undoes the newest commit, which it takes for one that was cut short
        flip_slots(&mut bytes);
    }
    let destroyed: BTreeSet<u64> = damage(&mut bytes, &entries).into_iter().collect();
    std::fs::write(&files[0], bytes).unwrap();
    let store = outlet.open();
    let salvage = report(&outlet, &store).unwrap();
    let lost = salvage.lost.iter().flat_map(|range| range.first.0..=range.last.0).collect::<BTreeSet<u64>>();
    assert_eq!(lost, destroyed, "{salvage:?}");
    assert_eq!(store.head().seq.0 + salvage.lost_entries(), documents.len() as u64, "and all others are here");
}

/// Flips the bit `from_end` bytes before the end of every copy of an entry.
fn flip(bytes: &mut [u8], entry: &[u8], from_end: usize) {
    let found: Vec<usize> = (0..bytes.len() - entry.len()).filter(|at| bytes[*at..].starts_with(entry)).collect();
    assert!(!found.is_empty(), "the entry is in the file");
    found.iter().for_each(|at| bytes[at + entry.len() - from_end] ^= 1);
}

/// Damages both of redb's commit slots, and nothing else: no commit stands, every row can be read.
fn flip_slots(bytes: &mut [u8]) {
    bytes[64 + 8] ^= 1;
    bytes[192 + 8] ^= 1;
}

/// Destroys every record that says who the agent is.
fn flip_sealed(bytes: &mut [u8]) {
    let name = super::super::sealed::NAME.as_bytes();
    let found: Vec<usize> = (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    found.iter().for_each(|at| bytes[at / 4_096 * 4_096] = 0);
}

/// Proves I1.
#[test]
fn the_last_entry_is_named_although_nothing_follows_it() {
    for is_crashed in [false, true] {
        named(is_crashed, |bytes, entries| {
            flip(bytes, &entries[3], 1);
            vec![4]
        });
        // its bytes are no entry any more
        named(is_crashed, |bytes, entries| {
            flip(bytes, &entries[3], entries[3].len());
            vec![4]
        });
        named(is_crashed, |bytes, entries| {
            flip(bytes, &entries[3], 1);
            flip_sealed(bytes);
            vec![4]
        });
        // what follows a gap and stands alone has nothing that vouches for it
        named(is_crashed, |bytes, entries| {
            flip(bytes, &entries[2], entries[2].len());
            flip_sealed(bytes);
            vec![3, 4]
        });
    }
}

/// Proves R-COPY-1.
#[test]
fn an_older_file_that_was_put_back_damaged_prints_nothing_its_twin_printed() {
    for is_crashed in [false, true] {
        let outlet = Outlet::new();
        let [file, turn] = ["store.redb", "agent.turn"].map(|name| outlet.dir.join(name));
        let capture = |store: &Store, index| store.capture(survey("x"), at(index)).unwrap().document;
        let store = outlet.open();
        capture(&store, 0);
        store.close();
        let mut older = std::fs::read(&file).unwrap();
        let store = outlet.open();
        let printed: Vec<Document> = (1..300).map(|index| capture(&store, index)).collect();
        let open = std::fs::read(&turn).unwrap();
        store.close();
        if is_crashed {
            std::fs::write(turn, open).unwrap();
        }
        flip_slots(&mut older);
        std::fs::write(file, older).unwrap();
        let store = outlet.open();
        assert_eq!(store.salvage().unwrap().kept, 1);
        assert!(store.must_fork() || !store.line().is_empty(), "it goes on in a stream of its own");
        let number = capture(&store, 400).number().map(str::to_owned);
        assert!(!printed.iter().any(|document| document.number() == number.as_deref()), "{number:?}");
    }
}

#[test]
fn what_is_no_store_at_all_is_set_aside_and_a_new_agent_begins() {
    let check = |name: &str, damage: fn(&std::path::Path)| {
        let outlet = Outlet::new();
        let store = outlet.open();
        store.capture(survey("x"), at(1)).unwrap();
        let agent = store.identity().agent;
        store.close();
        let path = outlet.dir.join("store.redb");
        damage(&path);
        let left = std::fs::read(&path).unwrap();
        let mut options = outlet.options();
        options.new_ids = [[7; 16], [8; 16]];
        let store = Store::open(&outlet.dir, options).unwrap();
        let salvage = report(&outlet, &store).unwrap();
        assert!(salvage.is_new_agent && store.identity().agent != agent, "{name}");
        assert_eq!(std::fs::read(outlet.dir.join(&salvage.damaged)).unwrap(), left, "{name}");
        store.capture(survey("x"), at(2)).unwrap();
    };
    check("nothing in it", |path| std::fs::write(path, b"").unwrap());
    check("text", |path| std::fs::write(path, "not a store".repeat(1_000)).unwrap());
    check("zeros", |path| std::fs::write(path, vec![0; 1 << 20]).unwrap());
    check("its first page alone", |path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..4_096]).unwrap();
    });
}

#[test]
fn a_file_cut_short_or_with_a_stretch_of_zeros_gives_what_is_left() {
    let bench = Bench::new(true);
    let size = bench.bytes().len();
    for part in 1..8 {
        let outlet = bench.reset();
        let mut bytes = bench.bytes().to_vec();
        if part % 2 == 0 {
            bytes.truncate(size / 8 * part);
        } else {
            bytes[size / 8 * part..(size / 8 * part + 40_000).min(size)].fill(0);
        }
        std::fs::write(outlet.dir.join("store.redb"), bytes).unwrap();
        let store = outlet.open();
        let is_new = store.salvage().is_some_and(|salvage| salvage.is_new_agent);
        store.close();
        if !is_new {
            check(outlet, &bench.captured, &format!("part {part}"));
        }
    }
}
