//! What readers ask: agents, sites, documents, histories and totals.

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{AgentId, DocId, StreamId};
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;

use super::rows::{AgentRow, Filter, HistoryEntry, Page, SiteRow, Totals};
use super::{Store, StoreError, array_at, clock_step, journals, presence, quarantine, raw, seq_at};
use crate::apply::{history, recount};

/// Documents on a page where the reader asks for no number.
const PAGE: usize = 50;
/// Most documents on a page.
const PAGE_MAX: usize = 500;

impl Store {
    /// Every agent that ever said HELLO, with its current journal.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let sql = "SELECT agent.agent, sites, agent.journal, build, letter, first_seen, last_seen, died_at,
            coalesce(heard.head_seq, 0), coalesce(stored_seq, 0), coalesce(processed_seq, 0), coalesce(prunable_seq, 0),
            backlog_entries, backlog_bytes, oldest_unsent_ms,
            (SELECT count(*) FROM quarantine q JOIN stream s ON s.id = q.stream
                WHERE s.agent = agent.id AND resolved_at IS NULL AND is_parked = 0),
            (SELECT count(*) FROM quarantine q JOIN stream s ON s.id = q.stream
                WHERE s.agent = agent.id AND resolved_at IS NULL AND is_parked = 1),
            (SELECT coalesce(sum(conflicts), 0) FROM stream s WHERE s.agent = agent.id), clock_offset_ms, disk_free,
            heard.caught_up_at,
            -- an older session that still speaks after a newer one began, both lately
            EXISTS (SELECT 1 FROM session AS old JOIN session AS new ON new.agent = old.agent
                WHERE old.agent = agent.id AND new.began_at > old.began_at AND old.last_seen > new.began_at
                AND old.died_at IS NULL AND new.died_at IS NULL
                AND min(old.last_seen, new.last_seen) >= agent.last_seen - 90000)
            FROM agent LEFT JOIN stream ON stream.stream = agent.journal LEFT JOIN heard ON heard.stream = agent.journal
            WHERE agent.journal IS NOT NULL ORDER BY agent.id";
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map([], agent_row)?;
        let mut agents = rows.map(|row| row?).collect::<Result<Vec<AgentRow>, StoreError>>()?;
        let journals = journals::all(&conn)?;
        for agent in &mut agents {
            let gaps = journals::gaps(&journals, agent.agent);
            (agent.lost, agent.absent) = (gaps.lost, gaps.absent);
            (agent.clock_steps, agent.last_clock_step) = clock_step::of_agent(&conn, agent.agent.as_bytes())?;
        }
        Ok(agents)
    }

    /// Every site known.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn sites(&self) -> Result<Vec<SiteRow>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let mut statement = conn.prepare_cached("SELECT id, site, name, zone, documents FROM site ORDER BY site")?;
        let sql = "SELECT agent.agent FROM agent_site JOIN agent ON agent.id = agent_site.agent
                   WHERE agent_site.site = ?1 ORDER BY agent.id";
        let mut agents = conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut sites = Vec::new();
        while let Some(row) = rows.next()? {
            let of_site = agents.query_map([row.get::<_, i64>(0)?], |row| array_at(row, 0).map(AgentId::from_bytes))?;
            sites.push(SiteRow {
                site: site_at(row, 1)?,
                name: row.get(2)?,
                zone: row.get(3)?,
                agents: of_site.collect::<Result<_, _>>()?,
                documents: seq_at(row, 4)?.0,
            });
        }
        Ok(sites)
    }

    /// A page of documents, the latest arrivals first.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCursor`] for a cursor no page gave, or the database fails.
    pub fn documents(&self, filter: &Filter) -> Result<Page, StoreError> {
        let conn = self.inner.pool.lend()?;
        let (limit, before) = (page_size(filter.limit), page_start(filter.cursor.as_deref())?);
        let like = filter.q.as_deref().map(str::trim).filter(|q| !q.is_empty()).map(pattern);
        let conditions = [
            ("kind = ?3", filter.kind.is_some()),
            ("site = (SELECT id FROM site WHERE site = ?4)", filter.site.is_some()),
            ("state = ?5", filter.state.is_some()),
            ("n IN (SELECT document FROM trait WHERE is_flagged = 1)", filter.is_flagged),
            ("search LIKE ?6 ESCAPE '\\'", like.is_some()),
        ];
        let conditions: String =
            conditions.iter().filter(|(_, is_asked)| *is_asked).map(|(sql, _)| format!(" AND {sql}")).collect();
        // every parameter is named, so that any choice of conditions binds the same six
        let sql = format!(
            "SELECT n, body FROM document WHERE n < ?1 AND coalesce(?3, ?4, ?5, ?6, '') IS NOT NULL{conditions}
             ORDER BY n DESC LIMIT ?2"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let site = filter.site.as_ref().map(SiteId::as_str);
        let mut rows = statement.query(params![before, limit as i64 + 1, filter.kind, site, filter.state, like])?;
        let (mut page, mut last) = (Page::default(), 0i64);
        while let Some(row) = rows.next()? {
            if page.items.len() == limit {
                page.next = Some(last.to_string());
                break;
            }
            last = row.get(0)?;
            page.items.push(document_at(row, 1)?);
        }
        Ok(page)
    }

    /// One document.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn document(&self, id: DocId) -> Result<Option<Document>, StoreError> {
        document_of(&*self.inner.pool.lend()?, id)
    }

    /// Every applied entry of a document as it counts, in the order of application; none for an unknown document.
    ///
    /// # Errors
    ///
    /// The database fails, or stored bytes are damaged.
    pub fn history(&self, id: DocId) -> Result<Vec<HistoryEntry>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let sql = "SELECT history FROM document WHERE id = ?1";
        let found: Option<Vec<u8>> =
            conn.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
        let mut fixes = quarantine::fixes(&conn, id)?;
        let mut entries = Vec::new();
        let mut open: Option<(i64, raw::Stored)> = None;
        for place in found.as_deref().map_or_else(Vec::new, history::read) {
            let holds = |(stream, stored): &(i64, raw::Stored)| {
                *stream == place.stream
                    && place.seq > stored.entries.before().seq
                    && place.seq <= stored.entries.last().seq
            };
            if !open.as_ref().is_some_and(holds) {
                open = Some((place.stream, raw::containing(&conn, place.stream, place.seq)?));
            }
            let Some((_, stored)) = &open else { continue };
            let bytes = stored.entries.entries_from(place.seq).next().map(|(_, bytes)| bytes);
            let entry = bytes.and_then(|bytes| Entry::from_bytes(bytes).ok());
            let mut entry = entry.ok_or_else(|| StoreError::damaged("an applied entry cannot be read"))?;
            let amended = fixes.remove(&entry.id).map(|(fix, amendment)| {
                fix.amend(&mut entry);
                amendment
            });
            let (stream, agent) = owner(&conn, place.stream)?;
            let received_at = stored.received_at;
            entries.push(HistoryEntry { entry, agent, stream, seq: place.seq, received_at, amended });
        }
        Ok(entries)
    }

    /// What the hub holds altogether.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        let conn = self.inner.pool.lend()?;
        // a fork's entries begin above its floor, a lost range holds none, and what fills one is processed by itself
        let sql = "SELECT
            (SELECT coalesce(sum(stored_seq - floor_seq), 0) FROM stream WHERE is_aside = 0)
                - (SELECT coalesce(sum(open_last - first_seq + 1), 0) FROM lost_range WHERE filled_at IS NULL),
            (SELECT coalesce(sum(processed_seq - floor_seq), 0) FROM stream WHERE is_aside = 0)
                - (SELECT coalesce(sum(open_last - first_seq + 1), 0) FROM lost_range
                   JOIN stream ON stream.id = lost_range.stream
                   WHERE filled_at IS NULL AND processed_seq >= open_last)
                - (SELECT coalesce(sum(last_seq - judged_seq), 0) FROM fill),
            (SELECT coalesce(sum(documents), 0) FROM site),
            (SELECT count(*) FROM quarantine WHERE resolved_at IS NULL AND is_parked = 0),
            (SELECT count(*) FROM quarantine WHERE resolved_at IS NULL AND is_parked = 1)";
        let totals = conn.prepare_cached(sql)?.query_row([], |row| {
            let number = |column| seq_at(row, column).map(|number| number.0);
            Ok(Totals {
                stored: number(0)?,
                processed: number(1)?,
                documents: number(2)?,
                quarantined: number(3)?,
                parked: number(4)?,
            })
        })?;
        Ok(totals)
    }

    /// Why a stored journal cannot be processed, if one cannot.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn damage(&self) -> Result<Option<String>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let sql = "SELECT damage FROM stream WHERE damage IS NOT NULL LIMIT 1";
        Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?)
    }
}

/// Adds or changes a site within the writer's transaction.
/// Adds a site or changes it; without `zone` its zone stays. In another zone its documents are counted anew, by its days.
pub(super) fn put_site(conn: &Connection, site: &SiteId, name: &str, zone: Option<&str>) -> Result<(), StoreError> {
    if site.is_hub() {
        return Err(StoreError::ReservedSite(site.to_string()));
    }
    let row = presence::ensure_site(conn, site)?;
    let (old, documents): (String, i64) =
        conn.query_row("SELECT zone, documents FROM site WHERE id = ?1", [row], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let name = if name.trim().is_empty() { site.as_str() } else { name };
    let zone = zone.unwrap_or(&old);
    conn.execute("UPDATE site SET name = ?2, zone = ?3 WHERE id = ?1", params![row, name, zone])?;
    if old != zone && documents > 0 { recount::recount_site(conn, row) } else { Ok(()) }
}

fn agent_row(row: &Row<'_>) -> rusqlite::Result<Result<AgentRow, StoreError>> {
    let sites: Vec<u8> = row.get(1)?;
    let Ok(sites) = codec::decode_own(&sites) else {
        return Ok(Err(StoreError::damaged("an agent's sites cannot be read")));
    };
    let letter: Option<String> = row.get(4)?;
    let died_at: Option<i64> = row.get(7)?;
    let number = |column| seq_at(row, column).map(|number| number.0);
    Ok(Ok(AgentRow {
        agent: AgentId::from_bytes(array_at(row, 0)?),
        sites,
        stream: StreamId::from_bytes(array_at(row, 2)?),
        build: row.get(3)?,
        letter: letter.and_then(|text| text.chars().next()).unwrap_or('-'),
        session_open: died_at.is_none(),
        first_seen: Timestamp(row.get(5)?),
        last_seen: Timestamp(row.get(6)?),
        died_at: died_at.map(Timestamp),
        head_seq: Seq(number(8)?.max(number(9)?)),
        stored_seq: seq_at(row, 9)?,
        processed_seq: seq_at(row, 10)?,
        prunable_seq: seq_at(row, 11)?,
        backlog_entries: number(12)?,
        backlog_bytes: number(13)?,
        oldest_unsent_ms: number(14)?,
        quarantined: number(15)?,
        parked: number(16)?,
        conflicts: number(17)?,
        lost: Vec::new(),
        absent: Vec::new(),
        is_doubled: row.get(21)?,
        clock_offset_ms: row.get(18)?,
        clock_steps: 0,
        last_clock_step: None,
        disk_free: number(19)?,
        caught_up_at: row.get::<_, Option<i64>>(20)?.map(Timestamp),
    }))
}

fn owner(conn: &Connection, stream: i64) -> Result<(StreamId, AgentId), StoreError> {
    let sql =
        "SELECT stream.stream, agent.agent FROM stream JOIN agent ON agent.id = stream.agent WHERE stream.id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([stream], |row| {
        Ok((StreamId::from_bytes(array_at(row, 0)?), AgentId::from_bytes(array_at(row, 1)?)))
    })?)
}

/// How many documents a page has.
pub(super) fn page_size(asked: usize) -> usize {
    if asked == 0 { PAGE } else { asked.min(PAGE_MAX) }
}

/// The `n` below which a page's documents lie.
pub(super) fn page_start(cursor: Option<&str>) -> Result<i64, StoreError> {
    let bad = |cursor: &str| StoreError::BadCursor(cursor.to_owned());
    cursor.map_or(Ok(i64::MAX), |cursor| cursor.parse().map_err(|_| bad(cursor)))
}

/// One document as the books have it.
pub(crate) fn document_of(conn: &Connection, id: DocId) -> Result<Option<Document>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT body FROM document WHERE id = ?1")?;
    let mut rows = statement.query([id.as_bytes()])?;
    rows.next()?.map(|row| document_at(row, 0)).transpose()
}

pub(crate) fn document_at(row: &Row<'_>, column: usize) -> Result<Document, StoreError> {
    let body: Vec<u8> = row.get(column)?;
    codec::decode_own(&body).map_err(|error| StoreError::damaged(format!("a document cannot be read: {error}")))
}

fn site_at(row: &Row<'_>, column: usize) -> rusqlite::Result<SiteId> {
    let name: String = row.get(column)?;
    name.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Any text containing `q`, whose own wildcards mean themselves.
fn pattern(q: &str) -> String {
    let escaped = q.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
