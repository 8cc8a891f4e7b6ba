//! One document as the store holds it, and how one entry or one receipt more changes it.
//!
//! An entry that extends the head is folded at once. Anything else is settled anew from all the document's entries, so
//! that the outcome never depends on the order of arrival. Entries that are pruned stand in a base that is not unwound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::fold::{Writer, fold};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, StreamId};

use super::down::DownState;
use super::error::StoreError;
use super::ground::Ground;
use super::overlay::{ImportKey, import_key_of};
use super::settle::{Known, Origin, SetAside, Standing, Word, settle};

/// A document together with what the store keeps beside it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: DocId,
    /// None where not even its opening stands, or has arrived.
    pub(super) document: Option<Document>,
    /// The seqs of its entries in this agent's journal.
    pub(super) seqs: Vec<Seq>,
    /// The key under which the cached list shows it; none if it does not yet.
    pub(super) listed: Option<Vec<u8>>,
    /// Of documents that the hub spoke of.
    pub(super) dossier: Option<Arc<Dossier>>,
}

/// What the hub said about a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dossier {
    /// The downward journal `down` speaks of.
    stream: Option<StreamId>,
    /// Places of the document's entries there.
    down: Vec<Seq>,
    /// Whether it was opened elsewhere.
    is_foreign: bool,
    /// The last word about each entry that was not simply applied.
    words: BTreeMap<EntryId, Word>,
    aside: Vec<SetAside>,
    /// Entries that may yet stand, whatever becomes of their journal's rows; and those that came to stand on the base.
    kept: Vec<(Origin, Entry)>,
    base: Option<Base>,
}

/// A document as of entries that are pruned, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Base {
    document: Option<Document>,
    own: Seq,
    down: Seq,
}

impl Base {
    /// Whether the place lies where all that counted is in the base.
    fn covers(&self, origin: Origin) -> bool {
        match origin {
            Origin::Own(seq) => seq <= self.own,
            Origin::Down(seq) => seq <= self.down,
        }
    }
}

/// A document after one thing more.
pub(super) struct Changed {
    pub(super) held: Held,
    /// The identity of the row it was imported from, and whether that row still counts as imported.
    pub(super) imported: Option<(ImportKey, bool)>,
}

impl Held {
    pub(super) fn empty(id: DocId) -> Held {
        Held { id, document: None, seqs: Vec::new(), listed: None, dossier: None }
    }

    /// Entries that do not count as they were captured.
    pub(super) fn aside(&self) -> &[SetAside] {
        self.dossier.as_ref().map_or(&[], |dossier| &dossier.aside)
    }

    /// How many of them may still change.
    pub(super) fn open_aside(&self) -> usize {
        self.aside().iter().filter(|aside| aside.is_in_the_way()).count()
    }

    /// Places of its entries in the present downward journal.
    pub(super) fn down(&self, stream: Option<StreamId>) -> &[Seq] {
        let dossier = self.dossier.as_ref().filter(|dossier| dossier.stream == stream);
        dossier.map_or(&[], |dossier| &dossier.down)
    }

    /// Whether it was there when the journal stood at `seq`.
    pub(super) fn is_older_than(&self, seq: Seq) -> bool {
        let is_foreign = self.dossier.as_ref().is_some_and(|dossier| dossier.is_foreign);
        is_foreign || self.seqs.first().is_some_and(|first| *first <= seq)
    }

    /// The document as it stands, with its entries at other places of the journal: that is its base from then on.
    pub(super) fn renumbered(&self, seqs: Vec<Seq>) -> Held {
        let mut held = Held { seqs, ..self.clone() };
        if let Some(stream) = held.dossier.as_ref().map(|dossier| dossier.stream) {
            held.lay_base(stream, None);
            held.dossier_mut().kept.clear();
        }
        held
    }

    /// Whether it stands on a base: entries below are never unwound.
    pub(super) fn has_base(&self) -> bool {
        self.dossier.as_ref().is_some_and(|dossier| dossier.base.is_some())
    }

    /// What of it is kept where the cache is built anew: all that cannot be had from the journals' entries that are here.
    pub(super) fn for_rebuild(mut self, pruned: Seq, down: &DownState) -> Option<Held> {
        let is_own_cut = self.seqs.first().is_some_and(|first| *first <= pruned);
        let is_down_cut = self.down(down.stream()).first().is_some_and(|first| *first <= down.pruned());
        if is_own_cut || is_down_cut || self.has_base() {
            return Some(self.for_stream(down.stream(), pruned));
        }
        let dossier = self.dossier_mut();
        let words = std::mem::take(&mut dossier.words);
        if words.is_empty() {
            return None;
        }
        // The receipts' own rows may be deleted; those that are not are heard again, and come later.
        let dossier = Dossier { words, ..Dossier::default() };
        Some(Held { dossier: Some(Arc::new(dossier)), ..Held::empty(self.id) })
    }

    /// Fits it to the present downward journal: what an earlier one relayed is relayed again where it stands. What is deleted of this
    /// agent's own comes from nowhere again, and stands in the base.
    fn for_stream(mut self, stream: Option<StreamId>, pruned: Seq) -> Held {
        let is_other =
            self.dossier.as_ref().is_some_and(|dossier| dossier.stream.is_some() && dossier.stream != stream);
        if !is_other {
            return self;
        }
        let base = self.dossier.as_ref().and_then(|dossier| dossier.base.as_ref());
        let is_deleted = |seq: &Seq| *seq <= pruned && base.is_some_and(|base| *seq > base.own);
        if base.is_none() || self.seqs.iter().any(is_deleted) {
            let before = self.dossier.as_ref().and_then(|dossier| dossier.stream);
            self.lay_base(before, None);
        }
        let dossier = self.dossier_mut();
        dossier.stream = stream;
        dossier.down.clear();
        dossier.kept.retain(|(origin, _)| matches!(origin, Origin::Own(_)));
        if let Some(base) = &mut dossier.base {
            base.down = Seq(0);
            let (document, own) = (base.document.clone(), base.own);
            let kept = dossier.kept.iter().map(|(origin, entry)| Known { origin: *origin, entry: entry.clone() });
            let document = settle(document.as_ref(), kept.collect(), &dossier.words).document;
            // What is above the base is folded again from the journal.
            dossier.aside.retain(|aside| aside.origin <= Origin::Own(own) && matches!(aside.origin, Origin::Own(_)));
            self.seqs.retain(|seq| *seq <= own);
            self.document = document;
        }
        self
    }

    /// Whether it holds the entry at this place already.
    fn has(&self, origin: Origin, stream: Option<StreamId>) -> bool {
        match origin {
            Origin::Own(seq) => self.seqs.binary_search(&seq).is_ok(),
            Origin::Down(seq) => self.down(stream).binary_search(&seq).is_ok(),
        }
    }

    /// Whether an entry may be folded onto the document without looking at what came before it.
    fn is_calm_for(&self, entry: &Entry) -> bool {
        let is_new = match &self.document {
            None => self.seqs.is_empty() && self.dossier.is_none(),
            Some(document) => !document.notes.contains_key(&entry.id),
        };
        is_new
            && self.open_aside() == 0
            && self.dossier.as_ref().is_none_or(|dossier| !dossier.words.contains_key(&entry.id))
    }

    /// The document with one entry more; none where it has it already. `ready`: as capturing folded it.
    pub(super) fn add(
        mut self,
        known: &Known,
        ready: Option<&Document>,
        ground: &Ground<'_>,
    ) -> Result<Option<Changed>, StoreError> {
        let Known { origin, entry } = known;
        if self.has(*origin, ground.stream) {
            return Ok(None);
        }
        let folded = match ready {
            _ if !self.is_calm_for(entry) => None,
            Some(ready) => Some(ready.clone()),
            None => fold(self.document.as_ref(), entry, Writer::Accepted, &|_| true).ok(),
        };
        if folded.is_some() {
            self.found(ground);
        }
        self.put(*origin, entry, ground.stream);
        match folded {
            Some(document) => {
                self.document = Some(document);
                let imported = import_key_of(entry).map(|key| (key, true));
                Ok(Some(Changed { held: self, imported }))
            }
            None => self.settled(Some(*origin), ground).map(Some),
        }
    }

    /// The document after a receipt about one of its entries.
    pub(super) fn hear(mut self, about: EntryId, word: Word, ground: &Ground<'_>) -> Result<Changed, StoreError> {
        self.dossier_mut().words.insert(about, word);
        self.settled(None, ground)
    }

    fn dossier_mut(&mut self) -> &mut Dossier {
        Arc::make_mut(self.dossier.get_or_insert_default())
    }

    fn put(&mut self, origin: Origin, entry: &Entry, stream: Option<StreamId>) {
        match origin {
            Origin::Own(seq) => self.seqs.push(seq),
            Origin::Down(seq) => {
                let dossier = self.dossier_mut();
                dossier.stream = stream;
                dossier.down.push(seq);
                dossier.is_foreign |= entry.is_opening();
            }
        }
    }

    /// Lays the document as it stands as the base, once its first entries are deleted and the hub has decided on the rest. Where it
    /// has not, [`Held::on_base_through`] has laid one.
    fn found(&mut self, ground: &Ground<'_>) {
        let down = self.down(ground.stream);
        let is_cut = self.seqs.first().is_some_and(|first| *first <= ground.own_pruned)
            || down.first().is_some_and(|first| *first <= ground.down_pruned);
        let is_decided = self.seqs.last().is_none_or(|last| *last <= ground.decided) && self.open_aside() == 0;
        if is_cut && is_decided {
            self.lay_base(ground.stream, None);
        }
    }

    /// The same on a base of what lies up to `own` here, and of what the hub has told beneath what comes after. None where
    /// nothing comes after, or that is in its base already.
    pub(super) fn on_base_through(&self, own: Seq, ground: &Ground<'_>) -> Result<Option<Held>, StoreError> {
        let base = self.dossier.as_ref().and_then(|dossier| dossier.base.as_ref());
        let (base_own, base_down) = base.map_or((Seq(0), Seq(0)), |base| (base.own, base.down));
        let last_own = self.seqs.iter().rev().find(|seq| **seq <= own).copied().unwrap_or(Seq(0));
        if !self.goes_on_after(own) {
            return Ok(None);
        }
        let Some(entries) = self.entries(ground)? else { return Ok(None) };
        let later = |known: &Known| matches!(known.origin, Origin::Own(seq) if seq > own);
        let later: BTreeSet<EntryId> =
            entries.iter().filter(|known| later(known)).map(|known| known.entry.id).collect();
        let follows = |known: &&Known| known.entry.after.is_some_and(|after| later.contains(&after));
        let told = |known: &Known| match known.origin {
            Origin::Down(seq) => Some(seq),
            Origin::Own(_) => None,
        };
        let first_later = entries.iter().filter(follows).filter_map(told).min();
        let last_down = self.down(ground.stream).iter().rev().find(|seq| first_later.is_none_or(|first| **seq < first));
        let last_down = last_down.copied().unwrap_or(Seq(0));
        if last_own <= base_own && last_down <= base_down {
            return Ok(None);
        }
        let reach = Base { document: None, own: last_own.max(base_own), down: last_down.max(base_down) };
        let below: Vec<Known> = entries.into_iter().filter(|known| reach.covers(known.origin)).collect();
        let mut held = self.clone();
        let dossier = held.dossier_mut();
        let base = dossier.base.take().and_then(|base| base.document);
        let settled = settle(base.as_ref(), below.clone(), &dossier.words);
        let is_open =
            |known: &Known| settled.aside.iter().any(|aside| aside.origin == known.origin && aside.is_in_the_way());
        dossier.kept = below.into_iter().filter(is_open).map(|known| (known.origin, known.entry)).collect();
        dossier.base = Some(Base { document: settled.document, ..reach });
        held.settled(None, ground).map(|changed| Some(changed.held))
    }

    /// Whether something was captured on it after `own`.
    pub(super) fn goes_on_after(&self, own: Seq) -> bool {
        self.seqs.last().is_some_and(|last| *last > own)
    }

    /// The first of its entries in a downward journal that is in no base.
    pub(super) fn first_above_base(&self, stream: Option<StreamId>) -> Option<Seq> {
        let base = self.dossier.as_ref().and_then(|dossier| dossier.base.as_ref());
        self.down(stream).iter().find(|seq| base.is_none_or(|base| **seq > base.down)).copied()
    }

    /// Makes the document as it stands the base, without the entry at `but`.
    fn lay_base(&mut self, stream: Option<StreamId>, but: Option<Origin>) {
        let last = |seqs: &[Seq], but: Option<Seq>| {
            seqs.iter().rev().find(|seq| Some(**seq) != but).copied().unwrap_or(Seq(0))
        };
        let (but_own, but_down) = match but {
            Some(Origin::Own(seq)) => (Some(seq), None),
            Some(Origin::Down(seq)) => (None, Some(seq)),
            None => (None, None),
        };
        let base = Base {
            document: self.document.clone(),
            own: last(&self.seqs, but_own),
            down: last(self.down(stream), but_down),
        };
        let Dossier { aside, kept, base: present, .. } = self.dossier_mut();
        kept.retain(|(at, _)| aside.iter().any(|aside| aside.origin == *at && aside.is_in_the_way()));
        *present = Some(base);
    }

    /// The document, from all its entries. `newest`: the one that is not in it yet.
    fn settled(mut self, newest: Option<Origin>, ground: &Ground<'_>) -> Result<Changed, StoreError> {
        let entries = match self.entries(ground)? {
            Some(entries) => entries,
            None => {
                tracing::warn!(document = %self.id, "entries of a document are deleted here: it is not unwound");
                self.lay_base(ground.stream, newest);
                self.entries(ground)?.unwrap_or_default()
            }
        };
        let opening = entries.iter().map(|known| &known.entry).find(|entry| entry.is_opening());
        let opening = opening.and_then(|entry| Some((entry.id, import_key_of(entry)?)));
        let dossier = self.dossier_mut();
        let base = dossier.base.as_ref();
        let settled = settle(base.and_then(|base| base.document.as_ref()), entries.clone(), &dossier.words);
        let is_waived =
            |id: EntryId| settled.aside.iter().any(|aside| aside.entry == id && aside.standing == Standing::Waived);
        let is_kept = |known: &&Known| {
            let is_open = |aside: &SetAside| aside.origin == known.origin && aside.is_in_the_way();
            let is_on_base = base.is_some_and(|base| base.covers(known.origin)) && !is_waived(known.entry.id);
            is_on_base || settled.aside.iter().any(is_open)
        };
        dossier.kept = entries.iter().filter(is_kept).map(|known| (known.origin, known.entry.clone())).collect();
        let imported = opening.map(|(id, key)| (key, !is_waived(id)));
        dossier.aside = settled.aside;
        self.document = settled.document;
        Ok(Changed { held: self, imported })
    }

    /// Its entries above the base; none if one of them is deleted.
    fn entries(&self, ground: &Ground<'_>) -> Result<Option<Vec<Known>>, StoreError> {
        let base = self.dossier.as_ref().and_then(|dossier| dossier.base.as_ref());
        let own = self.seqs.iter().map(|seq| Origin::Own(*seq));
        let down = self.down(ground.stream).iter().map(|seq| Origin::Down(*seq));
        let mut entries = Vec::new();
        for origin in own.chain(down) {
            let kept = self.dossier.as_ref().and_then(|dossier| dossier.kept.iter().find(|(at, _)| *at == origin));
            if base.is_some_and(|base| base.covers(origin)) && kept.is_none() {
                continue;
            }
            match kept.map_or_else(|| (ground.entry_at)(origin), |(_, entry)| Ok(Some(entry.clone())))? {
                Some(entry) => entries.push(Known { origin, entry }),
                None => return Ok(None),
            }
        }
        Ok(Some(entries))
    }
}
