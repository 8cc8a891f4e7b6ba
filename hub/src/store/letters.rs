//! The letters of printed numbers: one per journal, so that no two disks print the same number.
//!
//! A copied disk goes on in a fork, and each fork is given another letter once it is accepted. A letter is never given
//! again where its sites overlap: every grant is kept in the books and in `hub.letters` beside them, which a restore of
//! the database does not put back.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::site::Sites;

use super::{StoreError, array_at, beside};

/// The file's name in the data folder.
pub(crate) const NAME: &str = "hub.letters";

/// The letter in the hub's own numbers: no journal of an agent's gets it.
pub(crate) const HUBS: char = 'H';

/// A letter given to a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) agent: AgentId,
    pub(crate) stream: StreamId,
    pub(crate) letter: char,
    pub(crate) sites: Sites,
}

/// The letter of a journal, if it has one.
pub(crate) fn of_stream(conn: &Connection, stream: StreamId) -> Result<Option<char>, StoreError> {
    let sql = "SELECT letter FROM letter WHERE stream = ?1 ORDER BY id DESC LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row([stream.as_bytes()], |row| row.get::<_, String>(0)).optional()?;
    Ok(found.and_then(|text| text.chars().next()))
}

/// The letter of a journal: the one it has, unless another journal of one of its sites has it too; else the first that
/// nobody there ever had. Gives it, unless all are taken, and whether it was granted just now.
pub(crate) fn ensure(
    conn: &Connection,
    agent: AgentId,
    stream: StreamId,
    sites: &Sites,
) -> Result<(Option<char>, bool), StoreError> {
    let taken: Vec<Grant> = all(conn)?.into_iter().filter(|grant| overlap(&grant.sites, sites)).collect();
    if let Some(own) = of_stream(conn, stream)?
        && !taken.iter().any(|grant| grant.stream != stream && grant.letter == own)
    {
        let sql = "UPDATE letter SET sites = ?3 WHERE stream = ?1 AND letter = ?2 AND sites <> ?3";
        let row = params![stream.as_bytes(), String::from(own), codec::encode(sites)];
        let is_changed = conn.prepare_cached(sql)?.execute(row)? > 0;
        return Ok((Some(own), is_changed));
    }
    let is_free = |letter: &char| *letter != HUBS && !taken.iter().any(|grant| grant.letter == *letter);
    let Some(letter) = ('A'..='Z').find(is_free) else {
        tracing::error!(%agent, %stream, "every letter of its sites is taken: this journal can print no numbers");
        return Ok((None, false));
    };
    put(conn, &Grant { agent, stream, letter, sites: sites.clone() })?;
    Ok((Some(letter), true))
}

fn overlap(one: &Sites, other: &Sites) -> bool {
    match (one, other) {
        (Sites::All, _) | (_, Sites::All) => true,
        (Sites::Only(one), Sites::Only(other)) => one.iter().any(|site| other.contains(site)),
    }
}

fn put(conn: &Connection, grant: &Grant) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO letter (agent, stream, letter, sites) VALUES (?1, ?2, ?3, ?4)";
    let (agent, stream) = (grant.agent.as_bytes(), grant.stream.as_bytes());
    conn.prepare_cached(sql)?.execute(params![
        agent,
        stream,
        String::from(grant.letter),
        codec::encode(&grant.sites)
    ])?;
    Ok(())
}

/// Every grant, in the order of granting.
pub(crate) fn all(conn: &Connection) -> Result<Vec<Grant>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT agent, stream, letter, sites FROM letter ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut grants = Vec::new();
    while let Some(row) = rows.next()? {
        let letter = row.get::<_, String>(2)?.chars().next();
        let sites = codec::decode_own(&row.get::<_, Vec<u8>>(3)?);
        grants.push(Grant {
            agent: AgentId::from_bytes(array_at(row, 0)?),
            stream: StreamId::from_bytes(array_at(row, 1)?),
            letter: letter.ok_or_else(|| StoreError::damaged("a letter is none"))?,
            sites: sites.map_err(|error| StoreError::damaged(error.to_string()))?,
        });
    }
    Ok(grants)
}

/// Takes the grants of the file in `dir` into the books: those made after the database was copied are only there.
pub(crate) fn recall(conn: &Connection, dir: &Path) -> Result<(), StoreError> {
    for grant in load(dir) {
        put(conn, &grant)?;
    }
    Ok(())
}

/// Writes every grant durably beside the database.
pub(crate) fn write(dir: &Path, grants: &[Grant]) -> Result<(), StoreError> {
    beside::write(dir, NAME, &grants)
}

/// What the file in `dir` knows.
fn load(dir: &Path) -> Vec<Grant> {
    beside::load(dir, NAME, "a restored hub may grant a letter twice").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_written_and_damage_is_never_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), []);
        let (agent, stream) = (AgentId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
        let grants = vec![Grant { agent, stream, letter: 'C', sites: Sites::All }];
        write(dir.path(), &grants).unwrap();
        assert_eq!(load(dir.path()), grants);
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
