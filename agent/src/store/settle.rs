//! What a document is: a pure function of the entries captured here, those the hub relays, and the hub's receipts.
//!
//! Entries follow each other by `after`. Where two follow the same one, the relayed one stands, because the hub has
//! accepted it; then one that a receipt lets in; then one that still waits for the hub. What the hub set aside does not
//! stand, nor does what follows it. The order in which anything arrived plays no part.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Problem;
use waystation_protocol::document::fold::{Refusal, Writer, fold};
use waystation_protocol::down::{Amended, Fate, Receipt};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::EntryId;
use waystation_protocol::kind::header;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

/// The journal an entry stands in, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Origin {
    /// Relayed by the hub.
    Down(Seq),
    /// Captured here.
    Own(Seq),
}

/// Why an entry does not count as it was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The hub set it aside until a person looks.
    Quarantined,
    /// It waits for something else.
    Parked,
    /// Another entry stands in its place.
    Superseded,
    /// It counts, with other values than the captured ones.
    Fixed,
    /// It was given up by a person.
    Waived,
}

/// An entry that does not count as it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Which.
    pub entry: EntryId,
    /// Where it stands.
    pub origin: Origin,
    /// Its document's kind.
    pub kind: String,
    /// Its act.
    pub act: String,
    /// Who did it.
    pub author: String,
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub standing: Standing,
    /// The reason's stable name.
    pub code: String,
    /// The reason in Chinese.
    pub zh: String,
    /// The reason in English.
    pub en: String,
}

/// The hub's last word about an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    fate: String,
    code: String,
    zh: String,
    en: String,
    /// The act and fields that stand for the captured ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amended: Option<(String, BTreeMap<String, Value>)>,
}

/// An entry and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) origin: Origin,
    pub(super) entry: Entry,
}

/// What a document's entries come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// None where not even its opening stands.
    pub(super) document: Option<Document>,
    /// By the order of their journals.
    pub(super) aside: Vec<SetAside>,
}

impl Standing {
    /// Whether it may still change, and holds up what would follow.
    pub fn is_open(self) -> bool {
        match self {
            Standing::Quarantined | Standing::Parked | Standing::Superseded => true,
            Standing::Fixed | Standing::Waived => false,
        }
    }

    /// Its wire name.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Quarantined => "quarantined",
            Standing::Parked => "parked",
            Standing::Superseded => "superseded",
            Standing::Fixed => "fixed",
            Standing::Waived => "waived",
        }
    }
}

impl SetAside {
    /// Whether it holds up further acts: the hub would park what this journal adds behind it.
    pub fn is_in_the_way(&self) -> bool {
        match self.origin {
            Origin::Own(_) => self.standing.is_open(),
            Origin::Down(_) => self.standing == Standing::Parked,
        }
    }

    /// What a person who wants to act on the document all the same is told.
    pub fn hindrance(&self) -> Problem {
        Problem::whole(
            format!("单据有记录被搁置，须先由中心处理：{}", self.zh),
            format!("an entry of this document is set aside and must be resolved at the hub first: {}", self.en),
        )
    }

    fn new(known: &Known, standing: Standing, code: &str, zh: &str, en: &str) -> SetAside {
        let entry = &known.entry;
        SetAside {
            entry: entry.id,
            origin: known.origin,
            kind: entry.kind.clone(),
            act: entry.act.clone(),
            author: entry.author.clone(),
            at: entry.occurred_at,
            standing,
            code: code.to_owned(),
            zh: zh.to_owned(),
            en: en.to_owned(),
        }
    }

    fn by_word(known: &Known, standing: Standing, word: &Word) -> SetAside {
        SetAside::new(known, standing, &word.code, &word.zh, &word.en)
    }

    fn superseded(known: &Known) -> SetAside {
        let en = "the hub has accepted another entry in its place";
        SetAside::new(known, Standing::Superseded, "superseded", "中心已接受另一条记录", en)
    }

    fn behind(known: &Known) -> SetAside {
        let en = "what it follows was set aside, or has not arrived";
        SetAside::new(known, Standing::Parked, "behind", "它所依据的记录被搁置，或尚未到达", en)
    }

    fn refused(known: &Known, refusal: &Refusal) -> SetAside {
        SetAside::new(known, Standing::Parked, refusal.code(), "不能计入单据", &refusal.to_string())
    }
}

impl Word {
    pub(super) fn of(receipt: Receipt) -> Word {
        let Receipt { fate, code, zh, en, amended, .. } = receipt;
        let amended = amended.map(|Amended { act, set }| (act, set));
        Word { fate: fate.name().to_owned(), code, zh, en, amended }
    }

    /// A fate this build does not know says nothing.
    fn fate(&self) -> Option<Fate> {
        Fate::find(&self.fate)
    }
}

/// Folds `entries` onto `base`, or from nothing, as far as they stand. `words` are the hub's last ones by entry.
pub(super) fn settle(base: Option<&Document>, entries: Vec<Known>, words: &BTreeMap<EntryId, Word>) -> Settled {
    let mut settled = Settled { document: base.cloned(), aside: Vec::new() };
    let mut standing = settled.admit(entries, words);
    standing.sort_by_key(|(rank, known)| (*rank, known.origin));
    let standing: Vec<Known> = standing.into_iter().map(|(_, known)| known).collect();
    let (notes, mut states): (Vec<Known>, Vec<Known>) =
        standing.into_iter().partition(|known| known.entry.act == header::NOTE && !known.entry.is_opening());
    settled.follow_chain(&mut states);
    for note in notes {
        settled.take(&note);
    }
    // A base hides what lies below it: what the hub sends again of that fits nowhere, and says nothing new.
    let is_news = |known: &&Known| base.is_none() || matches!(known.origin, Origin::Own(_));
    settled.aside.extend(states.iter().filter(is_news).map(SetAside::behind));
    settled.aside.sort_by_key(|aside| aside.origin);
    settled
}

impl Settled {
    /// Sorts out what may not stand, amends what was fixed, and ranks the rest.
    fn admit(&mut self, entries: Vec<Known>, words: &BTreeMap<EntryId, Word>) -> Vec<(u8, Known)> {
        let is_relayed = |known: &Known| matches!(known.origin, Origin::Down(_));
        let mut relayed: BTreeSet<EntryId> = BTreeSet::new();
        let mut admitted = Vec::with_capacity(entries.len());
        let (down, own): (Vec<Known>, Vec<Known>) = entries.into_iter().partition(is_relayed);
        for mut known in down {
            if relayed.insert(known.entry.id) {
                let word = words.get(&known.entry.id);
                self.amend(&mut known, word);
                admitted.push((0, known));
            }
        }
        for mut known in own {
            // The hub relays this very entry: it has accepted it, whatever it said of this copy.
            if relayed.contains(&known.entry.id) {
                continue;
            }
            let word = words.get(&known.entry.id);
            let out = match word.and_then(Word::fate) {
                Some(Fate::Quarantined) => Some(Standing::Quarantined),
                Some(Fate::Parked) => Some(Standing::Parked),
                Some(Fate::Waived) => Some(Standing::Waived),
                Some(Fate::Released | Fate::Replayed | Fate::Fixed) => None,
                None => {
                    admitted.push((2, known));
                    continue;
                }
            };
            match out.zip(word) {
                Some((out, word)) => self.aside.push(SetAside::by_word(&known, out, word)),
                None => {
                    self.amend(&mut known, word);
                    admitted.push((1, known));
                }
            }
        }
        admitted
    }

    fn amend(&mut self, known: &mut Known, word: Option<&Word>) {
        if let Some((word, (act, set))) = word.and_then(|word| Some((word, word.amended.as_ref()?))) {
            self.aside.push(SetAside::by_word(known, Standing::Fixed, word));
            known.entry.act.clone_from(act);
            known.entry.set.clone_from(set);
        }
    }

    /// Takes from `states`, which come best first, one successor after the other.
    fn follow_chain(&mut self, states: &mut Vec<Known>) {
        loop {
            let head = self.document.as_ref().map(|document| document.head);
            let fits = |known: &Known| known.entry.after == head && known.entry.is_opening() == head.is_none();
            let (next, rest): (Vec<Known>, Vec<Known>) = std::mem::take(states).into_iter().partition(fits);
            *states = rest;
            if next.is_empty() {
                return;
            }
            let mut is_taken = false;
            for known in next {
                if is_taken {
                    self.aside.push(SetAside::superseded(&known));
                } else {
                    is_taken = self.take(&known);
                }
            }
            if !is_taken {
                return;
            }
        }
    }

    /// Folds one entry, or sets it aside with the reason.
    fn take(&mut self, known: &Known) -> bool {
        match fold(self.document.as_ref(), &known.entry, Writer::Accepted, &|_| true) {
            Ok(document) => {
                self.document = Some(document);
                true
            }
            Err(Refusal::Ahead) => {
                self.aside.push(SetAside::behind(known));
                false
            }
            Err(refusal) => {
                self.aside.push(SetAside::refused(known, &refusal));
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
