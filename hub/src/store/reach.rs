//! Between which sites documents went, so that after a restore the hub knows who may have seen what it has forgotten.
//!
//! The hub may have told another site of a document after the backup was taken, and nothing in the database says so. The
//! pairs are few and only ever added to; they are in `hub.reach` beside the database before a document goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use waystation_protocol::site::SiteId;

use super::{StoreError, beside};

/// The file's name in the data folder.
const NAME: &str = "hub.reach";

/// Every site, in the place of one.
const ALL: &str = "*";

/// Documents of a site go to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reach {
    owner: String,
    /// The site, or [`ALL`].
    site: String,
    has_pen: bool,
}

/// A document of `owner` goes to `site`, or to all; `has_pen`: its pen does. Within the caller's transaction.
pub(crate) fn note(conn: &Connection, owner: &SiteId, site: Option<&SiteId>, has_pen: bool) -> Result<(), StoreError> {
    let (owner, site) = (owner.as_str(), site.map_or(ALL, SiteId::as_str));
    let sql = "SELECT has_pen FROM reach WHERE owner = ?1 AND site = ?2";
    let known: Option<bool> = conn.prepare_cached(sql)?.query_row([owner, site], |row| row.get(0)).optional()?;
    if known.is_some_and(|had_pen| had_pen || !has_pen) {
        return Ok(());
    }
    put(conn, &Reach { owner: owner.to_owned(), site: site.to_owned(), has_pen })?;
    let dir = conn.path().and_then(|path| Path::new(path).parent()).map(PathBuf::from);
    let dir = dir.ok_or_else(|| StoreError::damaged("the database has no folder"))?;
    beside::write(&dir, NAME, &all(conn)?)
}

fn put(conn: &Connection, reach: &Reach) -> Result<(), StoreError> {
    let sql = "INSERT INTO reach (owner, site, has_pen) VALUES (?1, ?2, ?3)
               ON CONFLICT (owner, site) DO UPDATE SET has_pen = max(has_pen, excluded.has_pen)";
    conn.prepare_cached(sql)?.execute(params![reach.owner, reach.site, reach.has_pen])?;
    Ok(())
}

fn all(conn: &Connection) -> Result<Vec<Reach>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT owner, site, has_pen FROM reach ORDER BY owner, site")?;
    let rows = statement.query_map([], |row| Ok(Reach { owner: row.get(0)?, site: row.get(1)?, has_pen: row.get(2)? }));
    Ok(rows?.collect::<Result<_, _>>()?)
}

/// At the start: takes what the file knows into the books.
pub(crate) fn recall(conn: &Connection, dir: &Path) -> Result<(), StoreError> {
    let known = beside::load::<Vec<Reach>>(dir, NAME, "a restored hub may decide again what another site saw decided");
    known.unwrap_or_default().iter().try_for_each(|reach| put(conn, reach))
}

/// The sites that must stand still while agents of the `awaited` ones are: all that may write on a document of which
/// an awaited one may have been told.
pub(crate) fn touched(conn: &Connection, awaited: BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
    let mut by_owner: BTreeMap<String, Vec<Reach>> = BTreeMap::new();
    for reach in all(conn)? {
        by_owner.entry(reach.owner.clone()).or_default().push(reach);
    }
    let mut touched = awaited.clone();
    for (owner, reaches) in by_owner {
        let may_know = |reach: &Reach| reach.site == ALL || awaited.contains(&reach.site);
        if !awaited.is_empty() && (awaited.contains(&owner) || reaches.iter().any(may_know)) {
            touched.extend(reaches.into_iter().filter(|reach| reach.has_pen).map(|reach| reach.site));
            touched.insert(owner);
        }
    }
    Ok(touched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open_writer;

    #[test]
    fn who_may_write_where_an_awaited_site_may_have_read_stands_still() {
        let dir = tempfile::tempdir().unwrap();
        let conn = open_writer(dir.path()).unwrap();
        let site = |name: &str| name.parse::<SiteId>().unwrap();
        note(&conn, &site("a"), Some(&site("b")), false).unwrap();
        note(&conn, &site("a"), Some(&site("c")), true).unwrap();
        note(&conn, &SiteId::hub(), None, false).unwrap();
        note(&conn, &site("a"), Some(&site("c")), false).unwrap();
        // a database put back knows it from the file
        conn.execute("DELETE FROM reach", []).unwrap();
        recall(&conn, dir.path()).unwrap();
        for (awaited, expected) in
            [("", ""), ("a", "a c hub"), ("b", "a b c hub"), ("c", "a c hub"), ("d", "d hub"), ("hub", "hub")]
        {
            let awaited = awaited.split_whitespace().map(str::to_owned).collect();
            let found: Vec<String> = touched(&conn, awaited).unwrap().into_iter().collect();
            assert_eq!(found.join(" "), expected);
        }
    }
}
