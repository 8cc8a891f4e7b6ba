//! What folding needs to know of the store, and where what it makes goes: the overlay.
//!
//! Captures, arriving batches and opening all fold here, so that a document is the same whichever way it came about.

use std::sync::Arc;

use jiff::tz::TimeZone;

use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::down::{Receipt, is_on_document};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, StreamId};

use super::error::StoreError;
use super::held::Held;
use super::overlay::Overlay;
use super::settle::{Known, Origin, Word};

/// The store as folding sees it.
pub(super) struct Ground<'a> {
    pub(super) zone: &'a TimeZone,
    /// Up to where entries captured here are deleted, and where the hub has decided on them and told all about it.
    pub(super) own_pruned: Seq,
    pub(super) decided: Seq,
    /// The present downward journal, and up to where it is deleted here.
    pub(super) stream: Option<StreamId>,
    pub(super) down_pruned: Seq,
    /// Whether an entry at a place of this stream stands at the same place of the journal here.
    pub(super) is_own: &'a dyn Fn(StreamId, Seq) -> bool,
    /// An entry by its place; none where it is deleted.
    pub(super) entry_at: &'a dyn Fn(Origin) -> Result<Option<Entry>, StoreError>,
    /// A document as it is below the overlay.
    pub(super) below: &'a dyn Fn(DocId) -> Result<Option<Arc<Held>>, StoreError>,
}

impl Ground<'_> {
    /// Folds one entry more onto its document. `ready`: the document as capturing folded it.
    pub(super) fn take_in(
        &self,
        overlay: &mut Overlay,
        known: &Known,
        ready: Option<&Document>,
    ) -> Result<(), StoreError> {
        let id = known.entry.document();
        let before = self.held(overlay, id)?;
        let held = before.as_deref().cloned().unwrap_or_else(|| Held::empty(id));
        if let Some(changed) = held.add(known, ready, self)? {
            overlay.put(before.as_deref(), changed, self.zone);
        }
        Ok(())
    }

    /// Folds what the downward journal says of documents: an entry, or a receipt. Whether it was either.
    pub(super) fn hear(&self, overlay: &mut Overlay, seq: Seq, entry: Entry) -> Result<Option<Entry>, StoreError> {
        if is_on_document(&entry.kind) {
            self.take_in(overlay, &Known { origin: Origin::Down(seq), entry }, None)?;
            return Ok(None);
        }
        match Receipt::read(&entry) {
            Some(receipt) => self.hear_receipt(overlay, receipt).map(|()| None),
            None => Ok(Some(entry)),
        }
    }

    /// A receipt names its entry and document, or only the place; then the journal here knows the rest.
    fn hear_receipt(&self, overlay: &mut Overlay, receipt: Receipt) -> Result<(), StoreError> {
        let named = match (receipt.entry, receipt.document) {
            (Some(entry), Some(document)) => Some((entry, document)),
            (entry, _) if (self.is_own)(receipt.stream, receipt.seq) => {
                let found = (self.entry_at)(Origin::Own(receipt.seq))?;
                let found = found.filter(|found| entry.is_none_or(|entry| entry == found.id));
                found.map(|found| (found.id, found.document()))
            }
            (Some(_) | None, _) => None,
        };
        let Some((entry, document)) = named else {
            let Receipt { stream, seq, code, .. } = receipt;
            tracing::warn!(%stream, seq = seq.0, code, "a receipt speaks of an entry that is not known here");
            return Ok(());
        };
        let before = self.held(overlay, document)?;
        let held = before.as_deref().cloned().unwrap_or_else(|| Held::empty(document));
        let changed = held.hear(entry, Word::of(receipt), self)?;
        overlay.put(before.as_deref(), changed, self.zone);
        Ok(())
    }

    fn held(&self, overlay: &Overlay, id: DocId) -> Result<Option<Arc<Held>>, StoreError> {
        match overlay.documents.get(&id) {
            Some(held) => Ok(Some(Arc::clone(held))),
            None => (self.below)(id),
        }
    }
}
