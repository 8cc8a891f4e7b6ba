//! Quarantine as a slice changes it: entries set aside, judged again or gone, and what was decided about requests.

use rusqlite::{Connection, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::down::Fate;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::DocId;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::Timestamp;

use super::draft::Draft;
use super::judge::Place;
use super::reason::Reason;
use super::receipt;
use super::slice::Slice;
use super::standing::{Decision, Fix, Key};
use crate::store::{StoreError, int};

/// An entry that was not applied.
#[derive(Debug)]
pub(super) struct SetAsideRow {
    pub(super) stream: i64,
    pub(super) seq: Seq,
    pub(super) site: Option<SiteId>,
    pub(super) document: Option<DocId>,
    pub(super) reason: Reason,
    pub(super) since: Timestamp,
    /// What people made of it, where that stands already.
    pub(super) resolved: Option<(&'static str, Timestamp)>,
    pub(super) entry: Vec<u8>,
}

/// What became of an entry set aside before.
#[derive(Debug)]
pub(super) enum Change {
    /// It is resolved by this word: released, replayed, fixed, waived. `fix`: what stands for it.
    Left { stream: i64, seq: Seq, at: Timestamp, word: &'static str, fix: Option<Fix> },
    /// It waits for another reason, or needs a person after all. `named`: its document and site, if only now known.
    Judged { stream: i64, seq: Seq, named: Option<(DocId, Option<SiteId>)>, reason: Reason },
}

/// What a request came to.
#[derive(Debug)]
pub(super) struct Decided {
    /// The request's row.
    pub(super) id: i64,
    pub(super) outcome: Outcome,
    /// Why it is still set aside, or why the request was refused.
    pub(super) after: Option<Reason>,
    /// Where its entry is set aside, and its key: a request that an agent brought back does not know them.
    pub(super) stands: Option<(i64, Seq, Key)>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The entry was applied.
    Applied,
    /// It was given up.
    Waived,
    /// It was judged again and is set aside still.
    Still,
    /// The fix does not pass; nothing changed.
    Refused,
    /// It had left quarantine already.
    Moot,
}

impl Outcome {
    /// Its word in the trail.
    pub(super) fn word(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Waived => "waived",
            Outcome::Still => "still",
            Outcome::Refused => "refused",
            Outcome::Moot => "moot",
        }
    }
}

impl SetAsideRow {
    /// A row that nobody resolved.
    pub(super) fn open(
        place: Place,
        document: Option<DocId>,
        site: Option<SiteId>,
        reason: Reason,
        bytes: &[u8],
    ) -> SetAsideRow {
        let (stream, seq, since) = (place.stream, place.seq, place.received_at);
        SetAsideRow { stream, seq, site, document, reason, since, resolved: None, entry: bytes.to_vec() }
    }
}

impl Change {
    /// An entry left by a person's decision or by itself.
    pub(super) fn left(stream: i64, seq: Seq, decision: Option<&Decision>, at: Timestamp) -> Change {
        let fix = match decision {
            Some(Decision::Fixed(fix)) => Some(fix.clone()),
            Some(Decision::Replayed | Decision::Waived) | None => None,
        };
        Change::Left { stream, seq, at, word: decision.map_or("released", Decision::word), fix }
    }

    pub(super) fn judged(place: Place, entry: &Entry, reason: Reason) -> Change {
        let named = Some((entry.document(), None));
        Change::Judged { stream: place.stream, seq: place.seq, named, reason }
    }
}

impl Draft {
    /// An entry is set aside.
    pub(super) fn set_aside(&mut self, row: SetAsideRow) {
        let (stream, seq, code) = (row.stream, row.seq.0, row.reason.code.as_str());
        match (row.resolved, row.reason.is_parked) {
            (Some(_), _) => {}
            (None, true) => tracing::debug!(stream, seq, code, "entry parked"),
            (None, false) => tracing::warn!(stream, seq, code, "entry put into quarantine"),
        }
        if !is_planted(Plant::RefusedNotKept) {
            self.slice.set_aside.push(row);
        }
    }
}

/// The site of an entry whose own nobody knows, since what opened its document is not here: its agent's, if it has one only.
fn only_site(conn: &Connection, stream: i64) -> Result<Option<SiteId>, StoreError> {
    let sql = "SELECT stands_for FROM agent JOIN stream ON stream.agent = agent.id WHERE stream.id = ?1";
    let sites: Vec<u8> = conn.prepare_cached(sql)?.query_row([stream], |row| row.get(0))?;
    let sites = codec::decode_own(&sites).map_err(|error| StoreError::damaged(error.to_string()))?;
    Ok(match sites {
        Sites::Only(sites) => <[SiteId; 1]>::try_from(sites).ok().map(|[site]| site),
        Sites::All => None,
    })
}

/// Writes a slice's part in quarantine within the caller's transaction.
pub(super) fn write(conn: &Connection, slice: &Slice, now: Timestamp) -> Result<(), StoreError> {
    let insert = "INSERT INTO quarantine (stream, seq, site, document, code, reason, reason_zh, is_parked, since,
                  resolved_at, resolution, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    for row in &slice.set_aside {
        let only = if row.site.is_none() { only_site(conn, row.stream)? } else { None };
        conn.prepare_cached(insert)?.execute(params![
            row.stream,
            int(row.seq),
            row.site.as_ref().or(only.as_ref()).map(SiteId::as_str),
            row.document.as_ref().map(DocId::as_bytes),
            row.reason.code,
            row.reason.en,
            row.reason.zh,
            row.reason.is_parked,
            row.since.0,
            row.resolved.map(|(_, at)| at.0),
            row.resolved.map(|(word, _)| word),
            row.entry
        ])?;
        if row.resolved.is_none() {
            receipt::tell(conn, (row.stream, row.seq), fate_of(&row.reason), (None, None), now)?;
        }
    }
    for change in &slice.changes {
        write_change(conn, change, now)?;
    }
    for decided in &slice.decided {
        let sql = "UPDATE resolution SET outcome = ?2, after_code = ?3, after_reason = ?4, after_zh = ?5,
                   stream = coalesce(?6, stream), seq = coalesce(?7, seq), entry_key = coalesce(?8, entry_key)
                   WHERE id = ?1";
        let after = decided.after.as_ref();
        conn.prepare_cached(sql)?.execute(params![
            decided.id,
            decided.outcome.word(),
            after.map(|reason| &reason.code),
            after.map(|reason| &reason.en),
            after.map(|reason| &reason.zh),
            decided.stands.map(|(stream, _, _)| stream),
            decided.stands.map(|(_, seq, _)| int(seq)),
            decided.stands.map(|(_, _, key)| key)
        ])?;
    }
    Ok(())
}

/// What setting aside for a reason comes to.
fn fate_of(reason: &Reason) -> Fate {
    if reason.is_parked { Fate::Parked } else { Fate::Quarantined }
}

fn write_change(conn: &Connection, change: &Change, now: Timestamp) -> Result<(), StoreError> {
    match change {
        Change::Left { stream, seq, at, word, fix } => {
            let sql = "UPDATE quarantine SET resolved_at = ?3, resolution = ?4 WHERE stream = ?1 AND seq = ?2";
            conn.prepare_cached(sql)?.execute(params![stream, int(*seq), at.0, word])?;
            tracing::info!(stream, seq = seq.0, resolution = word, "an entry left quarantine");
            let fate = Fate::find(word).unwrap_or(Fate::Released);
            receipt::tell(conn, (*stream, *seq), fate, (fix.as_ref(), Some(*at)), now)
        }
        Change::Judged { stream, seq, named, reason } => {
            let sql = "UPDATE quarantine SET code = ?3, reason = ?4, reason_zh = ?5, is_parked = ?6,
                       document = coalesce(document, ?7), site = coalesce(site, ?8) WHERE stream = ?1 AND seq = ?2";
            let document = named.as_ref().map(|(document, _)| document.as_bytes());
            let site = named.as_ref().and_then(|(_, site)| site.as_ref()).map(SiteId::as_str);
            let row = params![stream, int(*seq), reason.code, reason.en, reason.zh, reason.is_parked, document, site];
            conn.prepare_cached(sql)?.execute(row)?;
            receipt::tell(conn, (*stream, *seq), fate_of(reason), (None, None), now)
        }
    }
}
