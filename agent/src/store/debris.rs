//! The rows of a damaged file that vouch for themselves, and the way of the chain through them.
//!
//! Old rows lie beside current ones, so an entry may be found several times, and entries of a commit that was never
//! confirmed too. The chain is followed from its end backwards, where every hash names the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::DocId;
use waystation_protocol::plant::{Plant, is_planted};

use super::disk::Folder;
use super::drafts::{self, Draft, DraftId};
use super::held::Held;
use super::pages::{self, Layout};
use super::place::{self, MEET, Meet, PLACE, Standing, TURN};
use super::prune::PRUNED;
use super::sealed::{self, Sealed};
use super::tables::{KEPT_BYTES, Row, is_checked_draft, parse_document, parse_kept};

/// A row that nothing vouches for says, so few seqs behind the end, at least that its own was written. Keys read from bytes
/// that are no rows are anywhere.
const NEAR: u64 = 4_096;

/// A journal row as found: its entry counts only if its hash follows from the row before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    hash: Hash,
    pub(super) entry: &'a [u8],
}

/// What `agent.turn` says of where the journal ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Closed {
    /// It was closed there, in the turn that the file is of.
    At(Mark),
    /// It was closed there in a turn that may be a later one than the file's: it went at least so far.
    AtLeast(Mark),
    /// It was not closed in order, as far as is known.
    Unknown,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Debris<'a> {
    rows: BTreeMap<Seq, Vec<Found<'a>>>,
    /// Where a row stands or stood, readable or not.
    claimed: BTreeSet<Seq>,
    /// Hash and bytes by seq.
    pub(super) kept: BTreeMap<Seq, (Hash, u64)>,
    /// The newest row of each document.
    pub(super) documents: HashMap<DocId, Held>,
    /// Each as it was last saved. One that was dropped lately may be among them.
    pub(super) drafts: BTreeMap<[u8; 16], (DraftId, Draft)>,
    pub(super) sealed: Option<Sealed>,
}

/// The chain as far as it can be followed.
pub(super) struct Walk<'a> {
    /// In their order.
    pub(super) entries: Vec<(Seq, &'a Found<'a>)>,
    pub(super) lost: BTreeSet<Seq>,
}

impl<'a> Debris<'a> {
    pub(super) fn gather(file: &'a [u8]) -> Debris<'a> {
        let mut debris = Debris::default();
        pages::visit(file, Layout::Keyed(8), |row| debris.take_entry(row.key, row.value));
        pages::visit(file, Layout::Keyed(16), |row| debris.take_document_or_draft(row.key, row.value));
        pages::visit(file, Layout::Fixed(8, KEPT_BYTES), |row| debris.take_kept(row.key, row.value));
        pages::visit(file, Layout::Free, |row| debris.take_sealed(row.key, row.value));
        debris
    }

    fn take_entry(&mut self, key: &[u8], value: &'a [u8]) {
        let Ok(seq) = key.try_into().map(u64::from_le_bytes) else { return };
        let Ok(row) = Row::parse(Seq(seq), value) else { return };
        if row.is_plausible(Seq(seq)) {
            self.claimed.insert(Seq(seq));
        }
        let found = self.rows.entry(Seq(seq)).or_default();
        if found.iter().any(|found| found.hash == row.hash && found.entry == row.entry) {
            return;
        }
        if codec::decode_own::<Entry>(row.entry).is_ok() {
            found.push(Found { hash: row.hash, entry: row.entry });
        }
        if self.rows.get(&Seq(seq)).is_some_and(Vec::is_empty) {
            self.rows.remove(&Seq(seq));
        }
    }

    fn take_document_or_draft(&mut self, key: &[u8], value: &[u8]) {
        let Some(id) = DocId::from_slice(key) else { return };
        if let Ok(held) = parse_document(id, value) {
            let age = |held: &Held| (held.seqs.last().copied(), held.seqs.len());
            if self.documents.get(&id).is_none_or(|newest| age(newest) < age(&held)) {
                self.documents.insert(id, held);
            }
        }
        let Some(id) = DraftId::from_slice(key).filter(|_| is_checked_draft(value)) else { return };
        let Ok(draft) = drafts::decode(id, value) else { return };
        let saved = self.drafts.get(id.as_bytes()).map(|(_, draft)| draft.changed_at);
        if saved.is_none_or(|saved| saved < draft.changed_at) {
            self.drafts.insert(*id.as_bytes(), (id, draft));
        }
    }

    fn take_kept(&mut self, key: &[u8], value: &[u8]) {
        let Ok(seq) = key.try_into().map(u64::from_le_bytes) else { return };
        let Ok(row) = value.try_into() else { return };
        if let Ok(known) = parse_kept(Seq(seq), row) {
            self.kept.insert(Seq(seq), known);
        }
    }

    fn take_sealed(&mut self, key: &[u8], value: &[u8]) {
        if key != sealed::NAME.as_bytes() {
            return;
        }
        let Some(found) = sealed::parse(value) else { return };
        if self.sealed.as_ref().is_none_or(|sealed| sealed.version < found.version) {
            self.sealed = Some(found);
        }
    }

    /// Up to where the journal was pruned.
    pub(super) fn pruned(&self) -> Seq {
        Seq(self.number(PRUNED).unwrap_or(0))
    }

    /// The turn the store was in.
    pub(super) fn turn(&self) -> Option<u64> {
        self.number(TURN)
    }

    /// What was due at the next meeting with the hub.
    pub(super) fn meet(&self) -> Option<Meet> {
        codec::decode_own(self.meta(MEET)?).ok()
    }

    /// Where the store says that it was written, and when.
    pub(super) fn standing(&self, folder: &Folder) -> Standing {
        place::judge(self.meta(PLACE), self.turn(), folder)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.meta(name)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn meta(&self, name: &str) -> Option<&[u8]> {
        self.sealed.as_ref()?.meta.get(name).map(sealed::BytesRow::as_slice)
    }

    /// Follows the chain from its end down to `base`.
    pub(super) fn walk(&'a self, base: Mark, closed: Closed) -> Walk<'a> {
        let mut walk = Walk { entries: Vec::new(), lost: BTreeSet::new() };
        let (end, known) = match closed {
            Closed::At(mark) => (mark.seq, Some(mark)),
            Closed::AtLeast(mark) => {
                let is_here = |found: &Found<'_>| found.hash == mark.hash;
                let is_here = self.rows.get(&mark.seq).is_some_and(|found| found.iter().any(is_here));
                (self.end(base).max(mark.seq), is_here.then_some(mark))
            }
            Closed::Unknown => (self.end(base), None),
        };
        let known = |seq: Seq| known.filter(|mark| mark.seq == seq).map(|mark| mark.hash);
        let mut wanted = None;
        for seq in (base.seq.next().0..=end.0).rev().map(Seq) {
            wanted = wanted.or_else(|| known(seq)).or_else(|| self.kept.get(&seq).map(|(hash, _)| *hash));
            let found = self.rows.get(&seq).map_or(&[][..], Vec::as_slice);
            let fitting = found.iter().filter(|found| wanted.is_none_or(|wanted| wanted == found.hash));
            let step = fitting.filter_map(|found| Some((found, self.before(base, seq, found)?))).next();
            wanted = step.map(|(_, before)| before);
            match step {
                Some((found, _)) => walk.entries.push((seq, found)),
                None => {
                    walk.lost.insert(seq);
                }
            }
        }
        walk.entries.reverse();
        walk
    }

    /// How far the journal went, where that is not known: to the last entry whose hash follows from another, the last kept
    /// mark, the last entry of any document; and to a row near it of which nothing but its place is sure. What is missing
    /// up to there was written and cannot be read.
    fn end(&self, base: Mark) -> Seq {
        let is_sound =
            |seq: &Seq, found: &Vec<Found<'a>>| found.iter().any(|found| self.before(base, *seq, found).is_some());
        let mut above = self.rows.range(base.seq.next()..).rev();
        let sound = above.find(|(seq, found)| is_sound(seq, found)).map(|(seq, _)| *seq);
        let kept = self.kept.keys().next_back().copied();
        let told = self.documents.values().filter_map(|held| held.seqs.last().copied()).max();
        let end = [sound, kept, told].into_iter().flatten().fold(base.seq, Seq::max);
        self.claimed.range(end..=end.plus(NEAR)).next_back().map_or(end, |claimed| end.max(*claimed))
    }

    /// The hash before `found`, if its own follows from one that is known there.
    fn before(&self, base: Mark, seq: Seq, found: &Found<'_>) -> Option<Hash> {
        let before = Seq(seq.0 - 1);
        let rows = self.rows.get(&before).map_or(&[][..], Vec::as_slice).iter().map(|found| found.hash);
        let kept = self.kept.get(&before).map(|(hash, _)| *hash);
        let base = (before == base.seq).then_some(base.hash);
        base.into_iter()
            .chain(kept)
            .chain(rows)
            .find(|hash| hash.extend(found.entry) == found.hash || is_planted(Plant::SalvageAnything))
    }
}
