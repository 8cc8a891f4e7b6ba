//! Counting anew: facts are a pure function of documents, so where a database was counted by other measures than this
//! build's, as after an upgrade, all documents are counted again before the hub goes on.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::fact;
use waystation_protocol::kind;
use waystation_protocol::time;

use super::slice::{FactRow, Slice, write_counted};
use crate::store::StoreError;

/// To be raised where documents count otherwise although names, keys and values of all measures stay.
const FORM: u32 = 2;

/// By which measures the database is counted: a hash.
const MEASURES: &str = "measures";
/// The last document counted, while not all are.
const COUNTED: &str = "counted_through";

/// Documents counted in one commit.
const COMMIT_DOCUMENTS: u32 = 2_000;

/// Counts all documents anew if the measures are not those of the last time, or if that was cut off.
pub(crate) fn recount(conn: &mut Connection) -> Result<(), StoreError> {
    let measures = measures();
    if meta(conn, MEASURES)?.is_none_or(|last| last != measures) {
        let tx = conn.transaction()?;
        tx.execute_batch("DELETE FROM fact; DELETE FROM rollup")?;
        put(&tx, MEASURES, &measures)?;
        put(&tx, COUNTED, &0_i64.to_be_bytes())?;
        tx.commit()?;
    }
    let Some(through) = meta(conn, COUNTED)? else { return Ok(()) };
    let mut through = i64::from_be_bytes(through.try_into().unwrap_or_default());
    let mut documents = 0_u64;
    loop {
        let tx = conn.transaction()?;
        let (slice, sites, last) = counted(&tx, through, None)?;
        let Some(last) = last else {
            tx.execute("DELETE FROM meta WHERE name = ?1", [COUNTED])?;
            tx.commit()?;
            break;
        };
        write_counted(&tx, &slice, &sites)?;
        put(&tx, COUNTED, &last.to_be_bytes())?;
        tx.commit()?;
        through = last;
        documents += u64::from(COMMIT_DOCUMENTS);
        if documents.is_multiple_of(100_000) {
            tracing::info!(documents, "documents are counted by this build's measures");
        }
    }
    Ok(())
}

/// Counts a site's documents anew, within the caller's transaction: its days are others now.
pub(crate) fn recount_site(conn: &Connection, site: i64) -> Result<(), StoreError> {
    conn.execute("DELETE FROM fact WHERE site = ?1", [site])?;
    conn.execute("DELETE FROM rollup WHERE site = ?1", [site])?;
    let mut through = 0;
    while let (slice, sites, Some(last)) = counted(conn, through, Some(site))? {
        write_counted(conn, &slice, &sites)?;
        through = last;
    }
    Ok(())
}

fn measures() -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&FORM.to_be_bytes());
    for measure in kind::measures() {
        hasher.update(format!("{measure:?}").as_bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}

/// The facts of the documents after `through`, of one site or all, the rows of their sites, and the last of them.
fn counted(conn: &Connection, through: i64, only: Option<i64>) -> Result<(Slice, Vec<i64>, Option<i64>), StoreError> {
    let sql = "SELECT n, body, site.id, zone FROM document JOIN site ON site.id = document.site
               WHERE n > ?1 AND (?3 IS NULL OR document.site = ?3) ORDER BY n LIMIT ?2";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(params![through, COMMIT_DOCUMENTS, only])?;
    let (mut slice, mut sites, mut last) = (Slice::default(), Vec::new(), None);
    while let Some(row) = rows.next()? {
        let (n, body, site, zone): (i64, Vec<u8>, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let damaged = |error: String| StoreError::damaged(format!("document {n}: {error}"));
        let document: Document = codec::decode_own(&body).map_err(|error| damaged(error.to_string()))?;
        let zone = time::zone(&zone).map_err(|error| damaged(error.to_string()))?;
        let facts = fact::of(&document, &zone).into_iter().map(|fact| FactRow {
            measure: fact.measure,
            site: sites.len(),
            day: fact.day.0,
            document: n,
            keys: fact.keys,
            values: fact.values,
        });
        slice.facts.extend(facts);
        sites.push(site);
        last = Some(n);
    }
    Ok((slice, sites, last))
}

fn meta(conn: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(conn.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()?)
}

fn put(conn: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    conn.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![name, value])?;
    Ok(())
}
