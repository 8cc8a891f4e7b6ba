//! Quarantine as people see and resolve it: what is set aside, what waits behind it, and the trail.
//!
//! Nothing is resolved here. A request is a row of the trail; the applier of the process that runs the hub decides it,
//! so asking is sound from any process that can open the database.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{AgentId, DocId, EntryId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::case::{
    Action, Amendment, Ask, AskError, AskedAll, Case, Change, EntryPlace, QuarantineFilter, QuarantinePage,
    QuarantineRow, ReasonText, ResolutionRow,
};
use super::{Store, StoreError, array_at, int, read, seq_at};
use crate::apply::reason::{BEHIND, BRANCH, CAUSE, RESTS_ON_WAIVED, SAME_ID, SUPERSEDED};
use crate::apply::standing::{Fix, fields, key_of};
use crate::clock;
use crate::down::freeze;

/// Most entries listed as waiting behind one.
const BEHIND_MAX: i64 = 200;

const COLUMNS: &str =
    "quarantine.id, stream.stream, quarantine.seq, agent.agent, site, document, code, reason, reason_zh, is_parked,
    since, resolved_at, resolution, entry
    FROM quarantine JOIN stream ON stream.id = quarantine.stream JOIN agent ON agent.id = stream.agent";

impl Store {
    /// Entries still set aside, the latest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<QuarantineRow>, StoreError> {
        Ok(self.quarantine_page(&QuarantineFilter { limit, ..QuarantineFilter::default() })?.items)
    }

    /// A page of entries set aside, or of those that were, the latest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCursor`] for a cursor no page gave, or the database fails.
    pub fn quarantine_page(&self, filter: &QuarantineFilter) -> Result<QuarantinePage, StoreError> {
        let conn = self.inner.pool.lend()?;
        let before = read::page_start(filter.cursor.as_deref())?;
        let sql = format!(
            "SELECT {COLUMNS} WHERE quarantine.id < ?1 AND (resolved_at IS NOT NULL) = ?2
             AND (?3 IS NULL OR site = ?3) AND (?4 IS NULL OR document = ?4) AND (?5 IS NULL OR code = ?5)
             ORDER BY quarantine.id DESC LIMIT ?6"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let (site, document) =
            (filter.site.as_ref().map(SiteId::as_str), filter.document.as_ref().map(DocId::as_bytes));
        let most = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows = statement.query(params![before, filter.is_resolved, site, document, filter.code, most])?;
        let (mut page, mut last) = (QuarantinePage::default(), 0i64);
        while let Some(row) = rows.next()? {
            if page.items.len() == filter.limit {
                page.next = Some(last.to_string());
                break;
            }
            last = row.get(0)?;
            page.items.push(quarantine_row(row)?);
        }
        Ok(page)
    }

    /// One entry that is or was set aside, with what waits for it and its trail.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn quarantine_case(&self, place: EntryPlace) -> Result<Option<Case>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let sql = format!("SELECT {COLUMNS} WHERE stream.stream = ?1 AND quarantine.seq = ?2");
        let found = conn
            .prepare_cached(&sql)?
            .query_row(params![place.stream.as_bytes(), int(place.seq)], quarantine_row)
            .optional()?;
        let Some(row) = found else { return Ok(None) };
        let behind = behind(&conn, &row)?;
        let is_frozen = row.resolved.is_none() && is_frozen(&conn, &row)?;
        let sql = "SELECT resolution.id, action, who, why, at, act, fields, before_code, before_reason, before_zh,
                   outcome, after_code, after_reason, after_zh FROM resolution
                   JOIN stream ON stream.id = resolution.stream
                   WHERE stream.stream = ?1 AND seq = ?2 ORDER BY resolution.id";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![place.stream.as_bytes(), int(place.seq)])?;
        let mut trail = Vec::new();
        while let Some(row) = rows.next()? {
            trail.push(resolution_row(row)?);
        }
        Ok(Some(Case { row, behind, trail, is_frozen }))
    }

    /// Takes a request down in the trail; the applier decides it. Gives its number.
    ///
    /// # Errors
    ///
    /// [`AskError`] says what is wrong with it; then nothing was taken down.
    pub fn ask(&self, place: EntryPlace, ask: Ask) -> Result<i64, AskError> {
        ask.check()?;
        let now = clock::now();
        let taken = self.command(Box::new(move |conn| Ok(take_down(conn, place, &ask, now))))?;
        self.inner.shared.mailbox.tell_asked();
        taken
    }

    /// Asks to judge again everything whose reason may have passed: what waits behind other entries follows them, and
    /// what lost against another entry never can, about a branch a person decides entry by entry, and frozen sites wait.
    ///
    /// # Errors
    ///
    /// [`AskError`] says what is wrong with it; then nothing was taken down.
    pub fn ask_replay_all(&self, who: &str, why: &str) -> Result<AskedAll, AskError> {
        let ask = Ask { action: Action::Replay, who: who.to_owned(), why: why.to_owned() };
        ask.check()?;
        let now = clock::now();
        let taken = self.command(Box::new(move |conn| {
            let hopeless = [BEHIND, SUPERSEDED, SAME_ID, RESTS_ON_WAIVED, BRANCH];
            let mut places = Vec::new();
            let sql = "SELECT stream.stream, quarantine.seq, code FROM quarantine
                       JOIN stream ON stream.id = quarantine.stream WHERE resolved_at IS NULL ORDER BY quarantine.id";
            let mut statement = conn.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let code: String = row.get(2)?;
                if !hopeless.contains(&code.as_str()) {
                    places.push(EntryPlace { stream: StreamId::from_bytes(array_at(row, 0)?), seq: seq_at(row, 1)? });
                }
            }
            Ok(take_down_all(conn, places, &ask, now))
        }))?;
        self.inner.shared.mailbox.tell_asked();
        taken
    }

    /// One request of the trail.
    ///
    /// # Errors
    ///
    /// There is none of this number, or the database fails.
    pub fn resolution(&self, id: i64) -> Result<ResolutionRow, StoreError> {
        let conn = self.inner.pool.lend()?;
        let sql = "SELECT id, action, who, why, at, act, fields, before_code, before_reason, before_zh, outcome,
                   after_code, after_reason, after_zh FROM resolution WHERE id = ?1";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let row = rows.next()?.ok_or_else(|| StoreError::damaged(format!("the trail has no resolution {id}")))?;
        resolution_row(row)
    }

    /// Waits until a request is decided, at most `patience_ms`; gives it as it then is.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn wait_decided(&self, id: i64, patience_ms: u64) -> Result<ResolutionRow, StoreError> {
        let mut changes = self.watch_changes();
        let started = clock::tick();
        loop {
            changes.mark_unchanged();
            let row = self.resolution(id)?;
            if row.outcome.is_some() || clock::tick().0 - started.0 >= patience_ms {
                return Ok(row);
            }
            self.inner.shared.queues.wait_for_change(&mut changes)?;
        }
    }
}

/// Who fixed which entries of a document, and what stands for them.
pub(super) fn fixes(conn: &Connection, document: DocId) -> Result<HashMap<EntryId, (Fix, Amendment)>, StoreError> {
    let sql = "SELECT entry, act, fields, who, why, at FROM resolution
               WHERE document = ?1 AND outcome IN ('applied', 'waived') AND action = 'fix' ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([document.as_bytes()])?;
    let mut fixes = HashMap::new();
    while let Some(row) = rows.next()? {
        let amendment = Amendment { who: row.get(3)?, why: row.get(4)?, at: Timestamp(row.get(5)?) };
        let fix = Fix { act: row.get(1)?, set: fields(&row.get::<_, Vec<u8>>(2)?)? };
        fixes.insert(EntryId::from_bytes(array_at(row, 0)?), (fix, amendment));
    }
    Ok(fixes)
}

fn is_frozen(conn: &Connection, row: &QuarantineRow) -> Result<bool, StoreError> {
    let stream: i64 = conn
        .prepare_cached("SELECT id FROM stream WHERE stream = ?1")?
        .query_row([row.stream.as_bytes()], |found| found.get(0))?;
    freeze::is_case_frozen(conn, stream, row.site.as_ref().map(SiteId::as_str))
}

fn take_down_all(conn: &Connection, places: Vec<EntryPlace>, ask: &Ask, now: Timestamp) -> Result<AskedAll, AskError> {
    let mut all = AskedAll::default();
    for place in places {
        match take_down(conn, place, ask, now) {
            Ok(request) => all.requests.push(request),
            Err(AskError::Frozen(_)) => all.frozen += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Takes a request down in the trail, within the caller's transaction.
pub(super) fn take_down(conn: &Connection, place: EntryPlace, ask: &Ask, now: Timestamp) -> Result<i64, AskError> {
    let sql = "SELECT quarantine.stream, code, reason, reason_zh, resolution, entry, site FROM quarantine
               JOIN stream ON stream.id = quarantine.stream WHERE stream.stream = ?1 AND seq = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![place.stream.as_bytes(), int(place.seq)])?;
    let row = rows.next()?.ok_or(AskError::Unknown(place))?;
    if let Some(resolution) = row.get::<_, Option<String>>(4)? {
        return Err(AskError::Resolved(place, resolution));
    }
    let (stream, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(5)?);
    if freeze::is_case_frozen(conn, stream, row.get::<_, Option<String>>(6)?.as_deref())? {
        return Err(AskError::Frozen(place));
    }
    let entry = Entry::from_bytes(&bytes).ok();
    let fix = match &ask.action {
        Action::Fix(change) => Some(fixed(entry.as_ref().ok_or(AskError::Unreadable(place))?, change)?),
        Action::Replay | Action::Waive => None,
    };
    let sql = "INSERT INTO resolution (stream, seq, entry_key, entry, document, action, act, fields, who, why, at,
               before_code, before_reason, before_zh)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    conn.prepare_cached(sql)?.execute(params![
        stream,
        int(place.seq),
        key_of(stream, place.seq, &bytes, entry.is_some()),
        entry.as_ref().map(|entry| *entry.id.as_bytes()),
        entry.as_ref().map(|entry| *entry.document().as_bytes()),
        ask.action.word(),
        fix.as_ref().map(|(act, _)| act),
        fix.as_ref().map(|(_, set)| codec::encode(set)),
        ask.who.trim(),
        ask.why.trim(),
        now.0,
        row.get::<_, String>(1)?,
        row.get::<_, String>(2)?,
        row.get::<_, String>(3)?
    ])?;
    Ok(conn.last_insert_rowid())
}

/// What stands for the entry. It must be an entry that could have come over the wire: everything that reads the trail
/// relies on that.
fn fixed(entry: &Entry, change: &Change) -> Result<(String, BTreeMap<String, Value>), AskError> {
    let mut fixed = entry.clone();
    fixed.set.retain(|key, _| !change.drop.contains(key));
    fixed.set.extend(change.set.clone());
    if let Some(act) = &change.act {
        fixed.act.clone_from(act);
    }
    if fixed.set.len() > limits::ENTRY_FIELDS || Entry::from_bytes(&fixed.to_bytes()).is_err() {
        return Err(AskError::TooLarge);
    }
    Ok((fixed.act, fixed.set))
}

/// What waits for an entry: later entries of its document from its journal, those that follow it, and its effects.
fn behind(conn: &Connection, of: &QuarantineRow) -> Result<Vec<QuarantineRow>, StoreError> {
    let Some(entry) = of.entry.as_ref().filter(|_| of.resolved.is_none()) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {COLUMNS} WHERE resolved_at IS NULL AND (stream.stream <> ?1 OR quarantine.seq <> ?2)
         AND (document = ?3 OR code = ?4) ORDER BY quarantine.stream, quarantine.seq LIMIT 10000"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let document = entry.document();
    let rows =
        statement.query_map(params![of.stream.as_bytes(), int(of.seq), document.as_bytes(), CAUSE], quarantine_row)?;
    let mut behind = Vec::new();
    for row in rows {
        let row = row?;
        let Some(other) = &row.entry else { continue };
        let is_later = other.document() == document && row.stream == of.stream && row.seq > of.seq;
        if is_later || other.after == Some(entry.id) || other.cause == Some(entry.id) {
            behind.push(row);
        }
        if behind.len() as i64 == BEHIND_MAX {
            break;
        }
    }
    Ok(behind)
}

fn quarantine_row(row: &Row<'_>) -> rusqlite::Result<QuarantineRow> {
    let bytes: Vec<u8> = row.get(13)?;
    let (code, en, zh): (String, String, String) = (row.get(6)?, row.get(7)?, row.get(8)?);
    let resolved_at: Option<i64> = row.get(11)?;
    Ok(QuarantineRow {
        stream: StreamId::from_bytes(array_at(row, 1)?),
        seq: seq_at(row, 2)?,
        agent: AgentId::from_bytes(array_at(row, 3)?),
        site: row.get::<_, Option<String>>(4)?.and_then(|site| site.parse().ok()),
        document: row.get::<_, Option<[u8; 16]>>(5)?.map(DocId::from_bytes),
        reason: reason_text(code, en, zh),
        is_parked: row.get(9)?,
        since: Timestamp(row.get(10)?),
        resolved: resolved_at.map(Timestamp).zip(row.get(12)?),
        entry: Entry::from_bytes(&bytes).ok(),
        bytes,
    })
}

/// Rows of a build that had no Chinese show their English.
fn reason_text(code: String, en: String, zh: String) -> ReasonText {
    let zh = if zh.is_empty() { en.clone() } else { zh };
    ReasonText { code, zh, en }
}

fn resolution_row(row: &Row<'_>) -> Result<ResolutionRow, StoreError> {
    let act: Option<String> = row.get(5)?;
    let set = row.get::<_, Option<Vec<u8>>>(6)?.map(|bytes| fields(&bytes)).transpose()?;
    let after: Option<String> = row.get(11)?;
    let after = match after {
        Some(code) => Some(reason_text(code, row.get(12)?, row.get(13)?)),
        None => None,
    };
    Ok(ResolutionRow {
        id: row.get(0)?,
        action: row.get(1)?,
        who: row.get(2)?,
        why: row.get(3)?,
        at: Timestamp(row.get(4)?),
        fix: act.zip(set),
        before: reason_text(row.get(7)?, row.get(8)?, row.get(9)?),
        outcome: row.get(10)?,
        after,
    })
}
