//! One entry against its document: applied, there before, or set aside with the reason.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::tz::TimeZone;
use waystation_protocol::PROTOCOL_VERSION;
use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::fold::{self, Writer};
use waystation_protocol::down::{ClockStep, CommandResult};
use waystation_protocol::entry::Entry;
use waystation_protocol::fact::{self, Fact};
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;

use super::Applier;
use super::aside::{Change, SetAsideRow};
use super::draft::Draft;
use super::history::{self, Record, ShortHash};
use super::reason::{self, Reason};
use super::shelf::Card;
use super::standing::{Decision, Fix, Key, key_of};
use super::waiting::{SetAside, Try, digest, named_site};
use crate::down::readers::Readers;
use crate::down::relay::{Applied, Relayed};
use crate::store::{StoreError, raw};

/// Where an entry stands, and how it arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) stream: i64,
    pub(super) seq: Seq,
    pub(super) received_at: Timestamp,
    pub(super) protocol: u8,
}

/// An entry that can be read, as it counts: with its fix, if one stands.
pub(super) struct Read {
    pub(super) entry: Entry,
    /// Of the bytes as captured.
    pub(super) hash: ShortHash,
    pub(super) key: Key,
}

/// Bytes that cannot be read.
pub(super) struct Unread {
    pub(super) reason: Reason,
    pub(super) key: Key,
}

/// What became of an entry.
pub(super) enum Verdict {
    Applied,
    /// It was there before, with the same bytes.
    Repeated,
    /// A person gave it up.
    Waived,
    Refused(Reason),
}

/// An entry judged once more: where it stands, and what became of it if it can be read.
pub(super) type Again = (Place, Result<(Read, Verdict), Unread>);

/// What an entry makes of its document.
struct Folded {
    document: Document,
    facts: Vec<Fact>,
    readers: Readers,
}

impl Applier {
    /// Judges one entry as it comes in its stream's order.
    pub(super) fn judge(
        &mut self,
        draft: &mut Draft,
        place: Place,
        writer: Writer<'_>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        draft.entries += 1;
        draft.bytes += bytes.len();
        if let Some((stream, seq)) = self.waiting.take_branch(bytes) {
            let at = place.received_at;
            draft.gone.insert((stream, seq));
            draft.slice.changes.push(Change::Left { stream, seq, at, word: "stored", fix: None });
        }
        let read = match self.read(place, bytes) {
            Ok(read) => read,
            Err(unread) => {
                let row = SetAsideRow::open(place, None, None, unread.reason, bytes);
                draft.set_aside(self.settled(place, &unread.key, row));
                return Ok(());
            }
        };
        if let Some(result) = CommandResult::read(&read.entry) {
            draft.slice.results.push((place.stream, result, place.received_at));
            return Ok(());
        }
        if let Some(step) = ClockStep::read(&read.entry) {
            draft.slice.clock_steps.push((place.stream, read.entry, step, place.received_at));
            return Ok(());
        }
        let id = read.entry.document();
        let verdict = self.verdict(draft, place, writer, &read, false)?;
        let site = self.site_of(id, &read.entry);
        let refused = match verdict {
            Verdict::Refused(reason) => reason,
            Verdict::Applied | Verdict::Repeated | Verdict::Waived => {
                draft.slice.repeated += u64::from(matches!(verdict, Verdict::Repeated));
                // an entry that people resolved stays visible, also where everything is derived anew
                if self.standings.find(&read.key).is_some_and(|standing| standing.is_at(place)) {
                    let row = SetAsideRow::open(place, Some(id), site, Reason::settled(), bytes);
                    draft.set_aside(self.settled(place, &read.key, row));
                }
                return match verdict {
                    Verdict::Applied => self.release(draft, id, Some(place.received_at), Try::Fitting),
                    Verdict::Repeated | Verdict::Waived | Verdict::Refused(_) => Ok(()),
                };
            }
        };
        draft.set_aside(SetAsideRow::open(place, Some(id), site, refused.clone(), bytes));
        self.note_refused(draft, place, &read, &refused);
        Ok(())
    }

    /// Judges one entry of a branch that no journal holds: it is shown, unless its bytes are known from elsewhere.
    pub(super) fn judge_aside(
        &mut self,
        draft: &mut Draft,
        place: Place,
        writer: Writer<'_>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let bytes_key = digest(bytes);
        if self.waiting.is_branch(&bytes_key) {
            return Ok(());
        }
        let (key, named) = match self.read(place, bytes) {
            Ok(read) => (read.key, Some(read)),
            Err(unread) => (unread.key, None),
        };
        match self.standings.find(&key) {
            // what people decided about it stands, also where everything is derived anew
            Some(standing) if standing.is_at(place) => return self.judge(draft, place, writer, bytes),
            Some(_) => return Ok(()),
            None => {}
        }
        draft.entries += 1;
        draft.bytes += bytes.len();
        let mut of = (None, None);
        if let Some(read) = named {
            let (id, entry) = (read.entry.document(), read.entry.id);
            let applied = history::find(&self.shelf.card(&self.conn, id)?.history, entry);
            if applied.or_else(|| self.waiting.find(id, entry)) == Some(read.hash) {
                return Ok(());
            }
            of = (Some(id), self.site_of(id, &read.entry));
        }
        draft.set_aside(SetAsideRow::open(place, of.0, of.1, Reason::branch(), bytes));
        self.waiting.put_branch(bytes_key, (place.stream, place.seq));
        Ok(())
    }

    /// Reads an entry, with the fix that stands for it.
    pub(super) fn read(&self, place: Place, bytes: &[u8]) -> Result<Read, Unread> {
        match Entry::from_bytes(bytes) {
            Ok(mut entry) => {
                let key = key_of(place.stream, place.seq, bytes, true);
                if let Some(Decision::Fixed(fix)) = self.standings.find(&key).map(|standing| &standing.decision) {
                    fix.amend(&mut entry);
                }
                Ok(Read { entry, hash: history::short(&key), key })
            }
            Err(error) => {
                let key = key_of(place.stream, place.seq, bytes, false);
                let is_newer = place.protocol > PROTOCOL_VERSION;
                let reason =
                    if is_newer { Reason::newer_protocol(place.protocol) } else { Reason::undecodable(&error) };
                Err(Unread { reason, key })
            }
        }
    }

    /// The row, as resolved if a person's word about it stands.
    fn settled(&self, place: Place, key: &Key, row: SetAsideRow) -> SetAsideRow {
        match self.standings.find(key).filter(|standing| standing.is_at(place)) {
            Some(standing) => SetAsideRow {
                reason: standing.before.clone(),
                resolved: Some((standing.decision.word(), standing.at)),
                ..row
            },
            None => row,
        }
    }

    /// Applies an entry, or says why not. `is_again`: it is set aside already.
    pub(super) fn verdict(
        &mut self,
        draft: &mut Draft,
        place: Place,
        writer: Writer<'_>,
        read: &Read,
        is_again: bool,
    ) -> Result<Verdict, StoreError> {
        let (id, entry) = (read.entry.document(), &read.entry);
        if matches!(writer, Writer::Accepted) {
            self.waiting.note_told(place.stream);
        }
        let standing = self.standings.find(&read.key);
        if let Some(waived) = standing.filter(|standing| matches!(standing.decision, Decision::Waived)) {
            return Ok(if waived.is_at(place) { Verdict::Waived } else { Verdict::Repeated });
        }
        let applied = history::find(&self.shelf.card(&self.conn, id)?.history, entry.id);
        let aside = || self.waiting.find(id, entry.id).or_else(|| self.standings.find_waived(id, entry.id));
        match applied.or_else(aside) {
            Some(known) if known != read.hash => return Ok(Verdict::Refused(Reason::same_id())),
            Some(_) if is_planted(Plant::NoDuplicateCheck) => {}
            Some(_) if applied.is_some() || !is_again => return Ok(Verdict::Repeated),
            Some(_) | None => {}
        }
        let obstacle = if let Some(code) = self.standings.outranked(&read.key) {
            Some(Reason::outranked(code, entry.after))
        } else if place.protocol > PROTOCOL_VERSION {
            Some(Reason::newer_protocol(place.protocol))
        } else if let Some(waived) = self.waiting.rests_on(id, entry.after, entry.cause) {
            Some(Reason::rests_on_waived(waived))
        } else if !matches!(writer, Writer::Accepted) && self.is_outdone(id, entry)? {
            Some(Reason::outranked(reason::SUPERSEDED, entry.after))
        } else if self.waiting.is_behind(id, place.stream, place.seq) {
            Some(Reason::behind())
        } else if entry.cause.is_some_and(|cause| self.waiting.holds(cause)) {
            Some(Reason::cause())
        } else {
            self.try_apply(draft, place, writer, entry, read.hash)?
        };
        Ok(obstacle.map_or(Verdict::Applied, Verdict::Refused))
    }

    /// Applies the entry, or says why not.
    fn try_apply(
        &mut self,
        draft: &mut Draft,
        place: Place,
        writer: Writer<'_>,
        entry: &Entry,
        hash: ShortHash,
    ) -> Result<Option<Reason>, StoreError> {
        let id = entry.document();
        let site = self.site_of(id, entry);
        // a document without a site is refused by the fold, whatever the zone
        let (_, zone) = match &site {
            Some(site) => draft.zone(&self.conn, site)?,
            None => (0, TimeZone::UTC),
        };
        let card = self.shelf.card(&self.conn, id)?;
        let folded = match fold_safely(card, entry, writer, &zone) {
            Ok(folded) => folded,
            Err(reason) => return Ok(Some(reason)),
        };
        let is_new = card.document.is_none();
        card.document = Some(folded.document);
        history::push(&mut card.history, Record { entry: entry.id, stream: place.stream, seq: place.seq, hash });
        if is_new {
            let n = self.shelf.next_n(id);
            self.shelf.card(&self.conn, id)?.n = n;
        }
        let card = self.shelf.card(&self.conn, id)?;
        if let Some(document) = &card.document {
            let (n, site, readers) = (card.n, document.site.clone(), folded.readers);
            let applied = Relayed { document: id, entry: entry.id, stream: place.stream, seq: place.seq };
            draft.slice.applied.push(Applied { entry: applied, is_opening: is_new, n, site, readers });
        }
        draft.touch(id, is_new, folded.facts);
        self.retry.extend(self.waiting.take_caused(entry.id));
        Ok(None)
    }

    /// Judges once more an entry that is set aside, as it is or as `fix` would have it.
    pub(super) fn judge_again(
        &mut self,
        draft: &mut Draft,
        stream: i64,
        seq: Seq,
        fix: Option<&Fix>,
    ) -> Result<Again, StoreError> {
        let (bytes, arrival) = raw::entry(&self.conn, stream, seq)?;
        draft.entries += 1;
        draft.bytes += bytes.len();
        // from here on it is judged as if it stood in a journal
        self.waiting.take_branch(&bytes);
        let place = Place { stream, seq, received_at: arrival.received_at, protocol: arrival.protocol };
        let mut read = match self.read(place, &bytes) {
            Ok(read) => read,
            Err(unread) => return Ok((place, Err(unread))),
        };
        if let Some(fix) = fix {
            fix.amend(&mut read.entry);
        }
        let origin = draft.origin_of(&self.conn, stream)?;
        let verdict = self.verdict(draft, place, origin.writer(), &read, true)?;
        Ok((place, Ok((read, verdict))))
    }

    /// Tries what is parked on a document, until nothing more passes. `at`: the arrival that may have helped.
    pub(super) fn release(
        &mut self,
        draft: &mut Draft,
        id: DocId,
        at: Option<Timestamp>,
        which: Try,
    ) -> Result<(), StoreError> {
        let mut tried: Vec<(i64, Seq)> = Vec::new();
        loop {
            let head = self.shelf.card(&self.conn, id)?.document.as_ref().map(|document| document.head);
            let Some(item) = self.waiting.candidate(id, head, &tried, which) else { return Ok(()) };
            tried.push((item.stream, item.seq));
            let (place, judged) = match self.judge_again(draft, item.stream, item.seq, None) {
                Ok(judged) => judged,
                // it stays parked; every other entry goes on
                Err(StoreError::Damaged(damage)) => {
                    self.note_damage(item.stream, &damage)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Ok((read, verdict)) = judged else {
                self.note_damage(item.stream, &format!("the parked entry at seq {} cannot be read", item.seq))?;
                continue;
            };
            match verdict {
                Verdict::Refused(reason) => {
                    draft.slice.changes.push(Change::judged(place, &read.entry, reason.clone()));
                    self.note_refused(draft, place, &read, &reason);
                }
                Verdict::Applied | Verdict::Repeated | Verdict::Waived => {
                    let decision = self.standings.find(&read.key).map(|standing| standing.decision.clone());
                    let at = at.unwrap_or(place.received_at);
                    self.leave(draft, place, &read, decision.as_ref(), at);
                }
            }
        }
    }

    /// An entry leaves quarantine, by a person's decision or by itself.
    pub(super) fn leave(
        &mut self,
        draft: &mut Draft,
        place: Place,
        read: &Read,
        decision: Option<&Decision>,
        at: Timestamp,
    ) {
        self.waiting.remove(read.entry.document(), place.stream, place.seq);
        draft.gone.insert((place.stream, place.seq));
        draft.slice.changes.push(Change::left(place.stream, place.seq, decision, at));
    }

    /// Remembers that an entry is set aside, and passes it on to those that rest on it.
    pub(super) fn note_refused(&mut self, draft: &mut Draft, place: Place, read: &Read, reason: &Reason) {
        let id = read.entry.document();
        // an id that is taken says nothing about the entry that has it
        if reason.code == reason::SAME_ID {
            return;
        }
        let item = SetAside::new(place.stream, place.seq, &read.entry, read.hash, reason.is_parked);
        self.waiting.put(item, &read.entry);
        if let Some(waived) = self.waiting.rests_on(id, read.entry.after, read.entry.cause) {
            self.lose(draft, read.entry.id, id, waived);
        }
    }

    /// An entry will never be applied, because `waived` was given up; nor will any that rests on it.
    ///
    /// Attaching a waived entry's successor to its predecessor would keep more, and is wrong: the successor's bytes
    /// name the waived entry, so an agent that folds by `after` would leave it out while the hub counts it, and the
    /// predecessor could get a second successor that names it rightly. So an entry stands only where everything it
    /// names stands; what is lost is seen in quarantine, and the pen's holder goes on from the last accepted entry.
    pub(super) fn lose(&mut self, draft: &mut Draft, entry: EntryId, document: DocId, waived: EntryId) {
        let mut lost = vec![(entry, document)];
        while let Some((entry, document)) = lost.pop() {
            self.waiting.lose(entry, waived);
            let mut documents = self.waiting.take_caused(entry);
            documents.push(document);
            for id in documents {
                for item in self.waiting.resting_on_lost(id) {
                    self.waiting.lose(item.entry, waived);
                    self.waiting.set_parked(id, item.stream, item.seq, false);
                    draft.slice.changes.push(Change::Judged {
                        stream: item.stream,
                        seq: item.seq,
                        named: None,
                        reason: Reason::rests_on_waived(waived),
                    });
                    lost.push((item.entry, id));
                }
            }
        }
    }

    pub(super) fn site_of(&mut self, id: DocId, entry: &Entry) -> Option<SiteId> {
        match self.shelf.at_hand(id).and_then(|card| card.document.as_ref()) {
            Some(document) => Some(document.site.clone()),
            None => named_site(entry).or_else(|| self.waiting.site(id).cloned()),
        }
    }
}

/// Folds, and counts the facts. A defect of ours on one entry must not stop every other document.
fn fold_safely(card: &Card, entry: &Entry, writer: Writer<'_>, zone: &TimeZone) -> Result<Folded, Reason> {
    let known = |id: EntryId| history::find(&card.history, id).is_some();
    let folded = catch_unwind(AssertUnwindSafe(|| {
        let before = card.document.as_ref();
        let document = fold::fold(before, entry, writer, &known)?;
        let facts = fact::difference(before, Some(&document), zone);
        let readers = Readers::of(&document);
        Ok(Folded { document, facts, readers })
    }));
    match folded {
        Ok(folded) => folded.map_err(|refusal: fold::Refusal| refusal.into()),
        Err(_) => {
            tracing::error!(entry = %entry.id, "folding panicked");
            Err(Reason::defect())
        }
    }
}
