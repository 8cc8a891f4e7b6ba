//! Settling as a table: each row is what three parties did to one delivery run, and what it then is.

use waystation_protocol::chain::Seq;
use waystation_protocol::down::{Amended, Fate, Receipt};
use waystation_protocol::id::StreamId;

use super::*;

/// Builds a run from words, each an entry: `a` captured here, `A` relayed. `b<a` follows `a`, `n` is a note; `a` opens. A
/// suffix is the hub's word: `?` quarantined, `~` parked, `!` released, `x` waived, `*` fixed.
fn settled(script: &str) -> Settled {
    let (mut entries, mut words) = (Vec::new(), BTreeMap::new());
    for (index, word) in (1..).zip(script.split_whitespace()) {
        let (name, rest) = word.split_at(1);
        let letter = name.to_lowercase();
        let after = rest.strip_prefix('<').and_then(|rest| rest.chars().next());
        let entry = entry(&letter, after);
        if let Some(fate) = rest.chars().last().and_then(fate) {
            words.insert(entry.id, Word::of(receipt(&entry, fate)));
        }
        let origin = if name == letter { Origin::Own(Seq(index)) } else { Origin::Down(Seq(index)) };
        entries.push(Known { origin, entry });
    }
    settle(None, entries, &words)
}

fn id(letter: char) -> EntryId {
    EntryId::from_bytes([letter as u8; 16])
}

fn entry(letter: &str, after: Option<char>) -> Entry {
    let name = letter.chars().next().unwrap();
    let is_opening = name == 'a';
    let (act, field) = match name {
        'a' => ("plan", "route"),
        'n' => ("note", "note_text"),
        _ => ("add", "vehicle"),
    };
    let mut set = BTreeMap::from([(field.to_owned(), Value::from(letter))]);
    if is_opening {
        set.insert("site".into(), Value::from("3702"));
    }
    Entry {
        id: id(name),
        document: (!is_opening).then(|| id('a').opens()),
        after: after.map(id),
        kind: "delivery_run".into(),
        form: 1,
        act: act.into(),
        set,
        author: "王芳".into(),
        cause: None,
        occurred_at: Timestamp(1),
        mono_ms: 0,
        boot: 0,
        clock: 0,
    }
}

fn fate(mark: char) -> Option<Fate> {
    match mark {
        '?' => Some(Fate::Quarantined),
        '~' => Some(Fate::Parked),
        '!' => Some(Fate::Released),
        'x' => Some(Fate::Waived),
        '*' => Some(Fate::Fixed),
        _ => None,
    }
}

fn receipt(entry: &Entry, fate: Fate) -> Receipt {
    let set = BTreeMap::from([("vehicle".to_owned(), Value::from("改"))]);
    let amended = (fate == Fate::Fixed).then(|| Amended { act: entry.act.clone(), set });
    let (stream, code) = (StreamId::from_bytes([1; 16]), "told".to_owned());
    let (zh, en) = ("中心所述".to_owned(), "as the hub says".to_owned());
    Receipt { entry: Some(entry.id), document: None, stream, seq: Seq(1), fate, code, zh, en, amended, resolved: None }
}

fn check(script: &str, expected: &str) {
    let settled = settled(script);
    let document = settled.document.map_or("nothing".to_owned(), |document| {
        let vehicle = document.fields.get("vehicle").and_then(Value::as_text).unwrap_or("-").to_owned();
        let head = char::from(document.head.as_bytes()[0]);
        format!("{head} {vehicle} {}", document.notes.len())
    });
    let aside = settled
        .aside
        .iter()
        .map(|aside| format!("; {} {}", char::from(aside.entry.as_bytes()[0]), aside.standing.name()));
    assert_eq!(format!("{document}{}", aside.collect::<String>()), expected, "{script}");
}

#[test]
fn what_nobody_contradicts_stands() {
    check("a b<a c<b n", "c c 1");
    check("A B<a C<b N", "c c 1");
    check("a B<a c<b", "c c 0");
}

/// Proves R-TIME-1.
#[test]
fn the_order_of_arrival_plays_no_part() {
    check("c<b b<a n a", "c c 1");
    check("C<b n B<a a", "c c 1");
    check("b<a", "nothing; b parked");
}

/// Proves R-DOWN-4, I8.
#[test]
fn a_relayed_entry_stands_before_one_captured_here() {
    check("a b<a C<a", "c c 0; b superseded");
    check("a b<a d<b C<a", "c c 0; b superseded; d parked");
    check("a b<a B<a", "b b 0");
}

/// Proves R-DOWN-4.
#[test]
fn what_the_hub_set_aside_does_not_stand_nor_does_what_follows_it() {
    check("a b<a?", "a - 0; b quarantined");
    check("a b<a? c<b", "a - 0; b quarantined; c parked");
    check("a? n", "nothing; a quarantined; n parked");
    check("a b<a~ C<a", "c c 0; b parked");
}

#[test]
fn what_people_resolved_stands_as_they_resolved_it() {
    check("a b<a! c<b", "c c 0");
    check("a b<ax c<a", "c c 0; b waived");
    check("a b<ax c<b", "a - 0; b waived; c parked");
    check("a b<a* c<b", "c c 0; b fixed");
    check("a b<a*", "b 改 0; b fixed");
    check("a b<a! c<a", "b b 0; c superseded");
}
