//! The oracle: what must be true, judged by its own reading of bytes and its own arithmetic.
//!
//! It shares no code with the product beyond plain ids: chains, batches and entries are read here once more, with
//! other crates, and the hub's database by SQL.

pub(crate) mod awaited;
pub(crate) mod balances;
pub(crate) mod books;
pub(crate) mod down;
pub(crate) mod effects;
pub(crate) mod frames;
pub(crate) mod journal;
pub(crate) mod judgement;
pub(crate) mod named;
pub(crate) mod papers;
pub(crate) mod promises;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use waystation_agent::store::Store;
use waystation_protocol::chain::Mark;
use waystation_protocol::id::{AgentId, SessionId};

use crate::violation::{Violation, broken};
use frames::Said;

/// A journal, a seq, and the chain's hash there.
type Place = ([u8; 16], u64, [u8; 32]);

/// Statements of the oracle's that stay prepared.
const STATEMENTS: usize = 64;

/// Listens while a schedule runs.
#[derive(Default)]
pub(crate) struct Oracle {
    reader: Option<Connection>,
    /// Marks of journals that this database was seen to hold: it forgets none.
    held: BTreeSet<Place>,
    /// How far each journal goes in some backup.
    covered: BTreeMap<[u8; 16], i64>,
    /// The restore that is open.
    frozen: Frozen,
    /// The downward direction.
    pub(crate) down: down::Down,
}

/// What might be deleted of each journal when a restore was first seen open: there the marks stand still. What the hub let go
/// before it says again, and to some agents for the first time.
#[derive(Default)]
pub(crate) struct Frozen {
    /// Row and epoch of the restore; none while none is open. One that an agent's word began has the epoch of the one before.
    restore: Option<(i64, i64)>,
    upward: BTreeMap<[u8; 16], i64>,
    downward: BTreeMap<[u8; 16], i64>,
}

impl Frozen {
    fn look(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT id, epoch FROM restore WHERE ended_at IS NULL ORDER BY id DESC LIMIT 1";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let open = query.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(sql)?;
        if self.restore != open {
            let (upward, downward) =
                (marks(books, "stream", "prunable_seq")?, marks(books, "down_stream", "prunable_seq")?);
            *self = Frozen { restore: open, upward, downward };
        }
        Ok(())
    }

    /// Whether a restore is open, and this much of a downward journal might not be deleted before.
    fn forbids_told(&self, stream: [u8; 16], mark: i64) -> bool {
        self.restore.is_some() && mark > self.downward.get(&stream).copied().unwrap_or_default()
    }
}

impl Oracle {
    /// Lets go of the database: its file is about to be replaced.
    pub(crate) fn close(&mut self) {
        self.reader = None;
        self.held.clear();
    }

    /// The hub's database, to be read.
    pub(crate) fn books(&mut self, folder: &Path) -> Result<&Connection, Violation> {
        if self.reader.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let opened = Connection::open_with_flags(folder.join("hub.sqlite"), flags);
            let opened = opened.map_err(sql)?;
            opened.set_prepared_statement_cache_capacity(STATEMENTS);
            self.reader = Some(opened);
        }
        Ok(self.reader.as_ref().expect("it was there or has just been opened"))
    }

    /// The hub says something: it must be backed by what is committed at this moment. What came before `due` may be deleted.
    pub(crate) fn hear_hub(&mut self, folder: &Path, agent: AgentId, bytes: &[u8], due: i64) -> Result<(), Violation> {
        if frames::is_batch(bytes) {
            return Ok(());
        }
        let said = frames::read(bytes);
        if let Some(
            Said::Ack { stream, prunable, down_prunable, .. } | Said::Welcome { stream, prunable, down_prunable, .. },
        ) = said
        {
            let is_downward = is_downward(self.books(folder)?, &stream)?;
            let may_go = if is_downward { (0, prunable.max(down_prunable)) } else { (prunable, down_prunable) };
            let Oracle { reader: Some(books), down, frozen, .. } = self else { return Ok(()) };
            frozen.look(books)?;
            down.hear_hub((books, frozen), *agent.as_bytes(), may_go, due)?;
        }
        match said {
            Some(Said::Ack { stream, stored, processed, prunable, .. }) => {
                self.backed(folder, stream, stored)?;
                let books = self.books(folder)?;
                if is_downward(books, &stream)? {
                    return Ok(());
                }
                judge_prunable(books, &stream, processed, prunable, due)?;
                self.judge_cover(folder, stream, prunable)
            }
            Some(Said::Welcome { stream, ladder, .. }) => {
                ladder.into_iter().try_for_each(|rung| self.backed(folder, stream, rung))
            }
            _ => Ok(()),
        }
    }

    /// I5: a mark that the hub claims is one that its database holds.
    fn backed(&mut self, folder: &Path, stream: [u8; 16], mark: (u64, [u8; 32])) -> Result<(), Violation> {
        let place = (stream, mark.0, mark.1);
        if !self.held.contains(&place) {
            backed(self.books(folder)?, &stream, mark)?;
            self.held.insert(place);
        }
        Ok(())
    }

    /// An agent says something: what it acknowledges is on its disk.
    pub(crate) fn hear_agent(&mut self, bytes: &[u8], store: &Store) -> Result<(), Violation> {
        if frames::is_batch(bytes) { Ok(()) } else { self.down.hear_agent(frames::read(bytes), store) }
    }

    /// A backup was taken.
    pub(crate) fn note_backup(&mut self, folder: &Path) -> Result<(), Violation> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let backup = Connection::open_with_flags(folder.join("hub.sqlite"), flags).map_err(sql)?;
        self.down.note_backup(&backup)?;
        for (stream, stored) in marks(&backup, "stream", "stored_seq")? {
            let covered = self.covered.entry(stream).or_default();
            *covered = stored.max(*covered);
        }
        Ok(())
    }

    /// What may be deleted is in a backup, once the books know one; and stands still while a restore is open.
    fn judge_cover(&mut self, folder: &Path, stream: [u8; 16], prunable: u64) -> Result<(), Violation> {
        let prunable = i64::try_from(prunable).unwrap_or(i64::MAX);
        let books = self.books(folder)?;
        let mut counted = books.prepare_cached("SELECT count(*) FROM backup").map_err(sql)?;
        let backups: i64 = counted.query_row([], |row| row.get(0)).map_err(sql)?;
        drop(counted);
        let stream = holder(books, stream, prunable)?;
        let covered = self.covered.get(&stream).copied().unwrap_or_default();
        if backups > 0 && prunable > covered {
            return Err(broken("I9", format!("{prunable} may be deleted, backups hold {covered}")));
        }
        let frozen = self.frozen.upward.get(&stream).copied().unwrap_or_default();
        if self.frozen.restore.is_some() && prunable > frozen {
            return Err(broken("I9", format!("{prunable} may be deleted although a restore is open")));
        }
        Ok(())
    }

    /// An agent's stored mark moves only by an ACK or a WELCOME of its current session, to what that says.
    pub(crate) fn judge_marks(
        &self,
        bytes: &[u8],
        session: Option<SessionId>,
        before: Mark,
        after: Mark,
    ) -> Result<(), Violation> {
        if before == after {
            return Ok(());
        }
        let is = |mark: &(u64, [u8; 32])| mark.0 == after.seq.0 && mark.1 == *after.hash.as_bytes();
        let current = session.map(|session| *session.as_bytes());
        match frames::read(bytes) {
            Some(Said::Ack { session, stored, .. }) if Some(session) == current && is(&stored) => Ok(()),
            Some(Said::Welcome { session, ladder, .. }) if Some(session) == current && ladder.iter().any(is) => Ok(()),
            said => Err(broken("I5", format!("an agent moves its mark to {} because of {said:?}", after.seq))),
        }
    }
}

/// A mark of every journal in a table.
fn marks(books: &Connection, table: &str, column: &str) -> Result<BTreeMap<[u8; 16], i64>, Violation> {
    let mut query = books.prepare(&format!("SELECT stream, {column} FROM {table}")).map_err(sql)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
    rows.collect::<Result<_, _>>().map_err(sql)
}

/// The journal in which the entry at `seq` of this one stands: itself, or one it came from.
fn holder(books: &Connection, mut stream: [u8; 16], seq: i64) -> Result<[u8; 16], Violation> {
    let query = "SELECT parent_stream FROM stream WHERE stream = ?1 AND floor_seq >= ?2 AND parent_stream IS NOT NULL";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    while let Some(parent) = query.query_row(params![&stream[..], seq], |row| row.get(0)).optional().map_err(sql)? {
        stream = parent;
    }
    Ok(stream)
}

/// Whether a stream is one of the hub's own, of which an agent brings something back.
fn is_downward(books: &Connection, stream: &[u8; 16]) -> Result<bool, Violation> {
    let query = "SELECT EXISTS (SELECT 1 FROM down_stream WHERE stream = ?1)";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    query.query_row([&stream[..]], |row| row.get(0)).map_err(sql)
}

/// A mark the hub claims is one its database holds: in the journal itself, or below its floor in one it came from.
fn backed(books: &Connection, stream: &[u8; 16], mark: (u64, [u8; 32])) -> Result<(), Violation> {
    let (seq, hash) = (i64::try_from(mark.0).unwrap_or(i64::MAX), mark.1);
    if seq == 0 {
        return Ok(());
    }
    let mut stream = *stream;
    loop {
        let query = "SELECT id, stored_seq, floor_seq, parent_stream, parent_hash FROM stream WHERE stream = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Journal {
                row: row.get(0)?,
                stored: row.get(1)?,
                floor: row.get(2)?,
                parent: row.get(3)?,
                floor_hash: row.get(4)?,
            })
        };
        let found = books
            .prepare_cached(query)
            .and_then(|mut query| query.query_row([&stream[..]], read).optional())
            .map_err(sql)?;
        let Some(journal) = found else {
            // its end may lie behind what nobody has any more, and has no row then
            if told(books, &stream, seq)? == Some(hash) || is_head(books, &stream, seq, hash)? {
                return Ok(());
            }
            return Err(broken("I5", format!("{seq} is claimed of an unknown journal")));
        };
        if seq > journal.stored {
            return Err(broken("I5", format!("{seq} is claimed, {} is committed", journal.stored)));
        }
        match journal.parent {
            Some(_) if seq == journal.floor && journal.floor_hash == Some(hash) => return Ok(()),
            Some(parent) if seq < journal.floor => stream = parent,
            _ => return holds(books, journal.row, seq, hash),
        }
    }
}

/// The chain's hash in a downward journal.
fn told(books: &Connection, stream: &[u8; 16], seq: i64) -> Result<Option<[u8; 32]>, Violation> {
    let query = "SELECT hash FROM down_entry JOIN down_stream ON down_stream.id = down_entry.stream
                 WHERE down_stream.stream = ?1 AND seq = ?2";
    let hash = books
        .prepare_cached(query)
        .and_then(|mut query| query.query_row(params![&stream[..], seq], |row| row.get::<_, [u8; 32]>(0)).optional());
    hash.map_err(sql)
}

/// Whether a downward journal ends there.
fn is_head(books: &Connection, stream: &[u8; 16], seq: i64, hash: [u8; 32]) -> Result<bool, Violation> {
    let query = "SELECT EXISTS (SELECT 1 FROM down_stream WHERE stream = ?1 AND head_seq = ?2 AND head_hash = ?3)";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    query.query_row(params![&stream[..], seq, hash], |row| row.get(0)).map_err(sql)
}

struct Journal {
    row: i64,
    stored: i64,
    floor: i64,
    parent: Option<[u8; 16]>,
    floor_hash: Option<[u8; 32]>,
}

/// The chain over the batch that holds `seq` has this hash there; or a range up to there is named lost with it.
fn holds(books: &Connection, row: i64, seq: i64, hash: [u8; 32]) -> Result<(), Violation> {
    let query = "SELECT first_seq, prev_hash, payload FROM raw WHERE stream = ?1 AND first_seq <= ?2 + 1
                 ORDER BY first_seq DESC LIMIT 2";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let mut rows = query.query(params![row, seq]).map_err(sql)?;
    while let Some(batch) = rows.next().map_err(sql)? {
        let first: i64 = batch.get(0).map_err(sql)?;
        let mut at: (i64, [u8; 32]) = (first - 1, batch.get(1).map_err(sql)?);
        for entry in journal::entries(&batch.get::<_, Vec<u8>>(2).map_err(sql)?)? {
            if at.0 == seq {
                break;
            }
            at = (at.0 + 1, journal::follow(at.1, &entry));
        }
        if at == (seq, hash) {
            return Ok(());
        }
    }
    let query = "SELECT 1 FROM lost_range WHERE stream = ?1
                 AND ((open_last = ?2 AND open_hash = ?3) OR (first_seq = ?2 + 1 AND prev_hash = ?3))";
    let lost = books
        .prepare_cached(query)
        .and_then(|mut query| query.query_row(params![row, seq, hash], |_| Ok(())).optional())
        .map_err(sql)?;
    match lost {
        Some(()) => Ok(()),
        None => Err(broken("I5", format!("mark {seq} is claimed and no committed batch has its hash there"))),
    }
}

/// What may be deleted is processed, and came before the retention period, by the hub's clock.
fn judge_prunable(
    books: &Connection,
    stream: &[u8; 16],
    processed: u64,
    prunable: u64,
    due: i64,
) -> Result<(), Violation> {
    if prunable > processed {
        return Err(broken("I9", format!("{prunable} may be deleted, {processed} is processed")));
    }
    // what fills a lost range came when nobody waited for it any more
    let query = "SELECT count(*) FROM raw JOIN stream ON stream.id = raw.stream
                 WHERE stream.stream = ?1 AND first_seq <= ?2 AND received_at > ?3
                 AND NOT EXISTS (SELECT 1 FROM lost_range AS lost WHERE lost.stream = raw.stream
                                 AND raw.first_seq BETWEEN lost.first_seq AND lost.last_seq)";
    let prunable = i64::try_from(prunable).unwrap_or(i64::MAX);
    let young: i64 = books
        .prepare_cached(query)
        .and_then(|mut query| query.query_row(params![&stream[..], prunable, due], |row| row.get(0)))
        .map_err(sql)?;
    if young > 0 { Err(broken("I9", format!("{prunable} may be deleted before its time"))) } else { Ok(()) }
}

/// The oracle's own database errors.
pub(crate) fn sql(error: rusqlite::Error) -> Violation {
    broken("harness", format!("the oracle cannot read the hub's database: {error}"))
}
