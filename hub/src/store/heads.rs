//! How far every journal was known to go, kept beside the database in `hub.heads`.
//!
//! If an older database is put in place, this file still knows what there was. It is written every minute in which
//! anything changed and at a clean end, so it may lag behind the database and never runs ahead of it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use waystation_protocol::chain::Mark;
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::site::Sites;

use super::{StoreError, array_at, hash_at, line, seq_at};
use crate::durable;

/// The file's name in the data folder.
pub(crate) const NAME: &str = "hub.heads";

/// A journal, as far as it was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) stream: StreamId,
    pub(crate) agent: AgentId,
    pub(crate) sites: Sites,
    /// Committed here.
    pub(crate) stored: Mark,
    /// The highest seq stored or announced.
    pub(crate) had: Mark,
    /// Whether it is the journal down to that agent: then the marks are what the agent acknowledged, without hashes.
    #[serde(default)]
    pub(crate) is_down: bool,
}

/// Every journal the books know of, those of an unfinished restore included.
pub(crate) fn gather(conn: &Connection) -> Result<Vec<Head>, StoreError> {
    let mut heads = in_books(conn)?;
    // a database of an earlier build lacks what came later
    let has = |table: &str| {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
        conn.query_row(sql, [table], |row| row.get::<_, i64>(0)).map(|count| count > 0)
    };
    if has("restore_stream")? {
        heads = union(heads, awaited(conn)?);
    }
    if has("restore_told")? {
        heads = union(heads, told(conn)?);
    }
    Ok(heads)
}

/// What agents acknowledged of their downward journals, or had when an unfinished restore began and have not brought back.
fn told(conn: &Connection) -> Result<Vec<Head>, StoreError> {
    let sql = "SELECT down_stream.stream, agent.agent, stands_for, stored_seq, zeroblob(32), 0, zeroblob(32)
               FROM down_stream JOIN agent ON agent.id = down_stream.agent WHERE is_current = 1 AND stored_seq > 0
               UNION ALL
               SELECT told.stream, told.agent, sites, had_seq, zeroblob(32), 0, zeroblob(32)
               FROM restore_told AS told JOIN restore ON restore.id = told.restore
               LEFT JOIN down_stream ON down_stream.stream = told.stream
               WHERE ended_at IS NULL AND coalesce(head_seq, 0) < had_seq";
    Ok(read(conn, sql)?.into_iter().map(|head| Head { is_down: true, ..head }).collect())
}

fn in_books(conn: &Connection) -> Result<Vec<Head>, StoreError> {
    if !line::has_forks(conn)? {
        let sql = "SELECT stream.stream, agent.agent, stands_for, stored_seq, stored_hash, head_seq, head_hash
                   FROM stream JOIN agent ON agent.id = stream.agent ORDER BY stream.id";
        return read(conn, sql);
    }
    // an agent may have announced more of a journal than is here, or all of one
    let sql = "SELECT stream.stream, agent.agent, stands_for, stored_seq, stored_hash,
               coalesce(heard.head_seq, 0), coalesce(heard.head_hash, zeroblob(32))
               FROM stream JOIN agent ON agent.id = stream.agent LEFT JOIN heard ON heard.stream = stream.stream
               WHERE is_aside = 0
               UNION ALL
               SELECT heard.stream, agent.agent, stands_for, 0, zeroblob(32), heard.head_seq, heard.head_hash
               FROM heard JOIN agent ON agent.id = heard.agent
               WHERE head_seq > 0 AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.stream = heard.stream)";
    read(conn, sql)
}

/// What an earlier restore still waits for: the highest of it per journal.
fn awaited(conn: &Connection) -> Result<Vec<Head>, StoreError> {
    let sql = "SELECT stream, agent, sites, 0, zeroblob(32), had_seq, had_hash FROM restore_stream
               WHERE settled_at IS NULL ORDER BY restore";
    read(conn, sql)
}

fn read(conn: &Connection, sql: &str) -> Result<Vec<Head>, StoreError> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = Mark { seq: seq_at(row, 3)?, hash: hash_at(row, 4)? };
        let announced = Mark { seq: seq_at(row, 5)?, hash: hash_at(row, 6)? };
        let sites = codec::decode_own(&row.get::<_, Vec<u8>>(2)?);
        heads.push(Head {
            stream: StreamId::from_bytes(array_at(row, 0)?),
            agent: AgentId::from_bytes(array_at(row, 1)?),
            sites: sites.map_err(|error| StoreError::damaged(error.to_string()))?,
            stored,
            had: higher(stored, announced),
            is_down: false,
        });
    }
    Ok(heads)
}

/// Both lists as one, with the higher marks of each journal.
pub(crate) fn union(one: Vec<Head>, other: Vec<Head>) -> Vec<Head> {
    let mut all: BTreeMap<StreamId, Head> = BTreeMap::new();
    for head in one.into_iter().chain(other) {
        match all.get_mut(&head.stream) {
            Some(known) => {
                known.stored = higher(known.stored, head.stored);
                known.had = higher(known.had, head.had);
            }
            None => drop(all.insert(head.stream, head)),
        }
    }
    all.into_values().collect()
}

fn higher(one: Mark, other: Mark) -> Mark {
    if other.seq > one.seq { other } else { one }
}

/// Writes the file durably, its digest in front.
pub(crate) fn write(dir: &Path, heads: &[Head]) -> Result<(), StoreError> {
    let body = codec::encode(&heads);
    let digest = blake3::hash(&body);
    let bytes = [&digest.as_bytes()[..], &body].concat();
    durable::replace(dir, NAME, &bytes).map_err(|source| StoreError::Folder { dir: dir.to_owned(), source })
}

/// The file in `dir`. One that is missing or damaged knows of nothing: it only ever adds to what the database says.
pub(crate) fn load(dir: &Path) -> Vec<Head> {
    let Ok(bytes) = std::fs::read(dir.join(NAME)) else { return Vec::new() };
    let found = bytes.split_first_chunk::<32>().filter(|(digest, body)| blake3::hash(body) == **digest);
    match found.and_then(|(_, body)| codec::decode_own(body).ok()) {
        Some(heads) => heads,
        None => {
            tracing::warn!(dir = %dir.display(), "hub.heads is damaged and passed over");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use waystation_protocol::chain::Seq;

    use super::*;

    fn head(n: u8, stored: u64, had: u64) -> Head {
        let mark = |seq| (0..seq).fold(Mark::ZERO, |mark: Mark, _| mark.extend(b"x"));
        Head {
            stream: StreamId::from_bytes([n; 16]),
            agent: AgentId::from_bytes([n; 16]),
            sites: Sites::All,
            stored: mark(stored),
            had: mark(had),
            is_down: false,
        }
    }

    #[test]
    fn the_higher_marks_of_two_lists_count() {
        let both = union(vec![head(1, 5, 7), head(2, 1, 1)], vec![head(1, 6, 6), head(3, 0, 2)]);
        let seqs: Vec<(Seq, Seq)> = both.iter().map(|head| (head.stored.seq, head.had.seq)).collect();
        assert_eq!(seqs, [(Seq(6), Seq(7)), (Seq(1), Seq(1)), (Seq(0), Seq(2))]);
    }

    #[test]
    fn the_file_is_read_as_written_and_damage_is_never_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), []);
        let heads = vec![head(1, 5, 7), head(2, 1, 1)];
        write(dir.path(), &heads).unwrap();
        assert_eq!(load(dir.path()), heads);
        let path = dir.path().join(NAME);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert_eq!(load(dir.path()), [], "byte {at}");
        }
    }
}
