//! Resolutions asked for by people, carried out: fix, replay, waive.
//!
//! Whoever asks (command line, API, page) only adds a row to the trail, in this process or another. The applier, which
//! owns the documents, finds it here, judges, and writes what it came to in the same commit as the documents it
//! changes. So a crash leaves either a request that is still to be decided, or one that was decided with all effects.
//! While the hub, come back older, waits for a site's agents, requests about that site wait too: they may have been decided before.

use rusqlite::{Connection, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::header;
use waystation_protocol::time::Timestamp;

use super::Applier;
use super::aside::{Change, Decided, Outcome};
use super::draft::Draft;
use super::judge::Verdict;
use super::reason::{self, Reason};
use super::slice::Slice;
use super::standing::{Decision, Fix, Key, Standing, fields, key_of};
use super::waiting::{Try, digest};
use crate::down::freeze;
use crate::store::{StoreError, int, raw, seq_at};

/// Most requests in a slice.
const REQUESTS: usize = 200;

/// One request.
struct Request {
    id: i64,
    stream: i64,
    seq: Seq,
    at: Timestamp,
    /// The entry meant, where it can be read.
    entry: Option<EntryId>,
    document: Option<DocId>,
    wish: Wish,
}

enum Wish {
    Fix(Fix),
    Replay,
    Waive,
}

/// An open row of quarantine.
struct Open {
    before: Reason,
    entry: Vec<u8>,
}

/// Whether a request waits that can be decided: while everything is derived anew, it waits for its entry's turn.
pub(super) fn is_asked(conn: &Connection) -> Result<bool, StoreError> {
    Ok(!asked(conn, 1)?.is_empty())
}

/// The oldest requests that can be decided.
fn asked(conn: &Connection, most: usize) -> Result<Vec<Request>, StoreError> {
    let sql =
        "SELECT r.id, r.stream, r.seq, r.at, r.action, r.act, r.fields, q.site, r.entry, r.document FROM resolution r
               JOIN stream s ON s.id = r.stream LEFT JOIN quarantine q ON q.stream = r.stream AND q.seq = r.seq
               WHERE r.outcome IS NULL AND s.processed_seq >= r.seq ORDER BY r.id";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        if requests.len() == most {
            break;
        }
        if freeze::is_case_frozen(conn, row.get(1)?, row.get::<_, Option<String>>(7)?.as_deref())? {
            continue;
        }
        let action: String = row.get(4)?;
        let wish = match action.as_str() {
            "fix" => Wish::Fix(Fix { act: row.get(5)?, set: fields(&row.get::<_, Vec<u8>>(6)?)? }),
            "waive" => Wish::Waive,
            _ => Wish::Replay,
        };
        let (stream, seq, at) = (row.get(1)?, seq_at(row, 2)?, Timestamp(row.get(3)?));
        let entry = row.get::<_, Option<[u8; 16]>>(8)?.map(EntryId::from_bytes);
        let document = row.get::<_, Option<[u8; 16]>>(9)?.map(DocId::from_bytes);
        requests.push(Request { id: row.get(0)?, stream, seq, at, entry, document, wish });
    }
    Ok(requests)
}

/// Where entries of a document are set aside.
fn open_of(conn: &Connection, document: DocId) -> Result<Vec<(i64, Seq)>, StoreError> {
    let sql = "SELECT stream, seq FROM quarantine WHERE document = ?1 AND resolved_at IS NULL ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let places = statement.query_map([document.as_bytes()], |row| Ok((row.get(0)?, seq_at(row, 1)?)))?;
    Ok(places.collect::<Result<_, _>>()?)
}

impl Open {
    /// The id of its entry, where it can be read.
    fn id(&self) -> Option<EntryId> {
        Entry::from_bytes(&self.entry).ok().map(|entry| entry.id)
    }
}

fn open(conn: &Connection, stream: i64, seq: Seq) -> Result<Option<Open>, StoreError> {
    let sql = "SELECT code, reason, reason_zh, is_parked, entry FROM quarantine
               WHERE stream = ?1 AND seq = ?2 AND resolved_at IS NULL";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![stream, int(seq)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let before = Reason { code: row.get(0)?, en: row.get(1)?, zh: row.get(2)?, is_parked: row.get(3)? };
    Ok(Some(Open { before, entry: row.get(4)? }))
}

impl Applier {
    /// Decides what was asked. Only while no slice is on the way: the rows of quarantine must be those judged last.
    pub(super) fn resolve(&mut self) -> Result<Slice, StoreError> {
        let mut draft = Draft::new(self.generation);
        for request in asked(&self.conn, REQUESTS)? {
            let decided = self.decide(&mut draft, request)?;
            draft.slice.decided.push(decided);
        }
        self.finish(draft)
    }

    fn decide(&mut self, draft: &mut Draft, asked: Request) -> Result<Decided, StoreError> {
        let (id, stands) = (asked.id, self.stands(draft, &asked)?);
        let Some((stream, seq, open)) = stands else {
            return Ok(Decided { id, outcome: Outcome::Moot, after: Some(Reason::settled()), stands: None });
        };
        let request = Request { stream, seq, ..asked };
        let key = key_of(stream, seq, &open.entry, open.id().is_some());
        let (outcome, after) = self.carry_out(draft, &request, open)?;
        Ok(Decided { id, outcome, after, stands: Some((stream, seq, key)) })
    }

    /// Where the entry meant is set aside: at its place, or where another copy of it came first.
    fn stands(&self, draft: &Draft, request: &Request) -> Result<Option<(i64, Seq, Open)>, StoreError> {
        let is_meant = |open: &Open| request.entry.is_none_or(|entry| open.id() == Some(entry));
        let mut places = vec![(request.stream, request.seq)];
        places.extend(request.document.map(|document| open_of(&self.conn, document)).transpose()?.unwrap_or_default());
        for (stream, seq) in places.into_iter().filter(|place| !draft.gone.contains(place)) {
            if let Some(open) = open(&self.conn, stream, seq)?.filter(is_meant) {
                return Ok(Some((stream, seq, open)));
            }
        }
        Ok(None)
    }

    fn carry_out(
        &mut self,
        draft: &mut Draft,
        request: &Request,
        open: Open,
    ) -> Result<(Outcome, Option<Reason>), StoreError> {
        if !matches!(request.wish, Wish::Waive) && self.is_damaged(request.stream, request.seq)? {
            return Ok((Outcome::Refused, Some(Reason::damaged())));
        }
        match &request.wish {
            Wish::Fix(fix) => {
                let branch = (open.before.code == reason::BRANCH).then(|| digest(&open.entry));
                let decided = self.fix(draft, request, open, fix)?;
                if let (Outcome::Refused, Some(bytes)) = (decided.0, branch) {
                    self.waiting.put_branch(bytes, (request.stream, request.seq));
                }
                Ok(decided)
            }
            Wish::Replay => self.replay(draft, request, open),
            Wish::Waive => self.waive(draft, request, open),
        }
    }

    /// Whether the stored bytes cannot be read back. That must not stop the applier.
    fn is_damaged(&self, stream: i64, seq: Seq) -> Result<bool, StoreError> {
        match raw::entry(&self.conn, stream, seq) {
            Ok(_) => Ok(false),
            Err(StoreError::Damaged(damage)) => {
                tracing::error!(stream, seq = seq.0, damage, "an entry in quarantine cannot be read back");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn fix(
        &mut self,
        draft: &mut Draft,
        request: &Request,
        open: Open,
        fix: &Fix,
    ) -> Result<(Outcome, Option<Reason>), StoreError> {
        if let Some(reason) = unfixable(&open.entry, fix) {
            return Ok((Outcome::Refused, Some(reason)));
        }
        let (place, judged) = self.judge_again(draft, request.stream, request.seq, Some(fix))?;
        match judged {
            Err(unread) => Ok((Outcome::Refused, Some(unread.reason))),
            Ok((_, Verdict::Refused(reason))) => Ok((Outcome::Refused, Some(reason))),
            Ok((read, Verdict::Applied | Verdict::Repeated | Verdict::Waived)) => {
                let decision = Decision::Fixed(fix.clone());
                self.leave(draft, place, &read, Some(&decision), request.at);
                self.stand(request, &open, read.key, Some(&read.entry), decision);
                self.release(draft, read.entry.document(), Some(request.at), Try::Fitting)?;
                Ok((Outcome::Applied, None))
            }
        }
    }

    fn replay(
        &mut self,
        draft: &mut Draft,
        request: &Request,
        open: Open,
    ) -> Result<(Outcome, Option<Reason>), StoreError> {
        let (place, judged) = self.judge_again(draft, request.stream, request.seq, None)?;
        match judged {
            Err(unread) => {
                draft.slice.changes.push(Change::Judged {
                    stream: place.stream,
                    seq: place.seq,
                    named: None,
                    reason: unread.reason.clone(),
                });
                Ok((Outcome::Still, Some(unread.reason)))
            }
            Ok((read, Verdict::Refused(reason))) => {
                draft.slice.changes.push(Change::judged(place, &read.entry, reason.clone()));
                self.note_refused(draft, place, &read, &reason);
                Ok((Outcome::Still, Some(reason)))
            }
            Ok((read, Verdict::Applied | Verdict::Repeated | Verdict::Waived)) => {
                let decision = Decision::Replayed;
                self.leave(draft, place, &read, Some(&decision), request.at);
                self.stand(request, &open, read.key, Some(&read.entry), decision);
                self.release(draft, read.entry.document(), Some(request.at), Try::Fitting)?;
                Ok((Outcome::Applied, None))
            }
        }
    }

    /// Gives an entry up. What was parked behind it is judged without it.
    fn waive(
        &mut self,
        draft: &mut Draft,
        request: &Request,
        open: Open,
    ) -> Result<(Outcome, Option<Reason>), StoreError> {
        let (stream, seq, at) = (request.stream, request.seq, request.at);
        let entry = Entry::from_bytes(&open.entry).ok();
        self.waiting.take_branch(&open.entry);
        draft.slice.changes.push(Change::left(stream, seq, Some(&Decision::Waived), at));
        draft.gone.insert((stream, seq));
        self.stand(request, &open, key_of(stream, seq, &open.entry, entry.is_some()), entry.as_ref(), Decision::Waived);
        let Some(entry) = entry else { return Ok((Outcome::Waived, None)) };
        let id = entry.document();
        self.waiting.remove(id, stream, seq);
        if open.before.code != reason::SAME_ID {
            self.lose(draft, entry.id, id, entry.id);
        }
        // those that stood behind it may be free, or have another reason now; what then passes may free more
        self.release(draft, id, Some(at), Try::All)?;
        self.release(draft, id, Some(at), Try::Fitting)?;
        Ok((Outcome::Waived, None))
    }

    fn stand(&mut self, request: &Request, open: &Open, key: Key, entry: Option<&Entry>, decision: Decision) {
        let standing =
            Standing { decision, place: (request.stream, request.seq), before: open.before.clone(), at: request.at };
        self.standings.add(key, entry.map(|entry| (entry.id, entry.document())), standing);
    }

    /// Judges again what a newer build may understand, as if it had just arrived.
    pub(super) fn take_up(&mut self, draft: &mut Draft, stream: i64, seq: Seq) -> Result<(), StoreError> {
        if self.is_damaged(stream, seq)? {
            return Ok(());
        }
        let (bytes, _) = raw::entry(&self.conn, stream, seq)?;
        let Ok(entry) = Entry::from_bytes(&bytes) else { return Ok(()) };
        // another one taken up may have released it
        if !self.waiting.is_held(entry.document(), stream, seq) {
            return Ok(());
        }
        let (place, judged) = self.judge_again(draft, stream, seq, None)?;
        let Ok((read, verdict)) = judged else { return Ok(()) };
        let id = read.entry.document();
        if let Verdict::Refused(reason) = verdict {
            let named = Some((id, self.site_of(id, &read.entry)));
            draft.slice.changes.push(Change::Judged { stream, seq, named, reason: reason.clone() });
            self.note_refused(draft, place, &read, &reason);
            return Ok(());
        }
        self.leave(draft, place, &read, None, place.received_at);
        self.release(draft, id, Some(place.received_at), Try::Fitting)
    }
}

/// Why this fix can stand for no such entry, whatever its document.
fn unfixable(bytes: &[u8], fix: &Fix) -> Option<Reason> {
    let Ok(mut entry) = Entry::from_bytes(bytes) else { return Some(Reason::unreadable_fix()) };
    let was_note = entry.act == header::NOTE;
    fix.amend(&mut entry);
    (was_note != (entry.act == header::NOTE)).then(Reason::other_sort)
}
