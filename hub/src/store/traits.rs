//! Rules across documents and sites: what each document contributes, and which clash.
//!
//! Written in the commit that changes the document. Whether a document clashes is a pure function of what all of them
//! contribute, whatever the order in which they came.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::document::Document;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{self, Clash, Cross, Trait};
use waystation_protocol::time::Timestamp;

use super::{Store, StoreError, array_at};

/// Most clashing documents that are named.
const NAMED: i64 = 20;

/// A clash of a document with others.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The rule.
    pub rule: &'static Cross,
    /// The others in their order, with their printed numbers; at most twenty.
    pub others: Vec<(DocId, Option<String>)>,
}

/// The condition under which `trait` clashes with (?3, ?4) of document ?5, both being of rule ?1 and key ?2.
fn condition(clash: Clash) -> &'static str {
    match clash {
        Clash::Same => "rule = ?1 AND key = ?2 AND document <> ?5 AND ?3 IS NOT NULL AND ?4 IS NOT NULL",
        Clash::Falls => {
            "rule = ?1 AND key = ?2 AND document <> ?5
             AND ((at < ?3 AND value > ?4) OR (at > ?3 AND value < ?4))"
        }
    }
}

/// A document contributes this to a rule from now on, or nothing. Within the caller's transaction.
pub(crate) fn put(conn: &Connection, cross: &Cross, document: i64, found: Option<&Trait>) -> Result<(), StoreError> {
    let known = of(conn, cross.name, document)?;
    if known.as_ref().map(|(known, _)| known) == found {
        return Ok(());
    }
    if let Some((known, _)) = known {
        let sql = "DELETE FROM trait WHERE rule = ?1 AND document = ?2";
        conn.prepare_cached(sql)?.execute(params![cross.name, document])?;
        for other in clashing(conn, cross, document, &known)? {
            let Some((own, _)) = of(conn, cross.name, other)? else { continue };
            let sql = format!(
                "UPDATE trait SET is_flagged = EXISTS (SELECT 1 FROM trait WHERE {})
                 WHERE rule = ?1 AND document = ?5",
                condition(cross.clash)
            );
            conn.prepare_cached(&sql)?.execute(params![cross.name, own.key, own.at.0, own.value, other])?;
        }
    }
    let Some(found) = found else { return Ok(()) };
    let place = params![cross.name, found.key, found.at.0, found.value, document];
    let condition = condition(cross.clash);
    let sql = format!(
        "INSERT INTO trait (rule, key, at, value, document, is_flagged)
         VALUES (?1, ?2, ?3, ?4, ?5, EXISTS (SELECT 1 FROM trait WHERE {condition}))"
    );
    conn.prepare_cached(&sql)?.execute(place)?;
    let sql = format!("UPDATE trait SET is_flagged = 1 WHERE is_flagged = 0 AND {condition}");
    conn.prepare_cached(&sql)?.execute(place)?;
    Ok(())
}

/// What a document contributes to a rule, and whether it clashes.
fn of(conn: &Connection, rule: &str, document: i64) -> Result<Option<(Trait, bool)>, StoreError> {
    let sql = "SELECT key, at, value, is_flagged FROM trait WHERE rule = ?1 AND document = ?2";
    let found = conn.prepare_cached(sql)?.query_row(params![rule, document], |row| {
        let found = Trait { key: row.get(0)?, at: Timestamp(row.get(1)?), value: row.get(2)? };
        Ok((found, row.get(3)?))
    });
    Ok(found.optional()?)
}

/// The documents that clash with what one contributes.
fn clashing(conn: &Connection, cross: &Cross, document: i64, found: &Trait) -> Result<Vec<i64>, StoreError> {
    let sql = format!("SELECT document FROM trait WHERE {}", condition(cross.clash));
    let mut statement = conn.prepare_cached(&sql)?;
    let place = params![cross.name, found.key, found.at.0, found.value, document];
    let documents = statement.query_map(place, |row| row.get(0))?;
    Ok(documents.collect::<Result<_, _>>()?)
}

impl Store {
    /// Where a document clashes with others, in the order in which its kind declares the rules.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn flags(&self, document: &Document) -> Result<Vec<Flag>, StoreError> {
        let rules = kind::find(&document.kind).map_or(&[][..], |kind| kind.cross);
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        let conn = self.reader()?;
        let sql = "SELECT n FROM document WHERE id = ?1";
        let n: Option<i64> =
            conn.prepare_cached(sql)?.query_row([document.id.as_bytes()], |row| row.get(0)).optional()?;
        let Some(n) = n else { return Ok(Vec::new()) };
        let mut flags = Vec::new();
        for rule in rules {
            let Some((found, true)) = of(&conn, rule.name, n)? else { continue };
            let sql = format!(
                "SELECT document.id, document.number FROM document WHERE n IN (SELECT document FROM trait WHERE {}
                 ORDER BY at, document LIMIT {NAMED}) ORDER BY n",
                condition(rule.clash)
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let place = params![rule.name, found.key, found.at.0, found.value, n];
            let others = statement.query_map(place, |row| Ok((DocId::from_bytes(array_at(row, 0)?), row.get(1)?)))?;
            flags.push(Flag { rule, others: others.collect::<Result<_, _>>()? });
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::open_writer;

    static SAME: Cross = Cross { name: "same", zh: "重复", en: "Twice", of: |_| None, clash: Clash::Same };
    static FALLS: Cross = Cross { name: "falls", zh: "倒退", en: "Falls", of: |_| None, clash: Clash::Falls };

    fn flagged(conn: &Connection, rule: &str) -> Vec<i64> {
        let mut statement =
            conn.prepare("SELECT document FROM trait WHERE rule = ?1 AND is_flagged = 1 ORDER BY 1").unwrap();
        let documents = statement.query_map([rule], |row| row.get(0)).unwrap();
        documents.collect::<Result<_, _>>().unwrap()
    }

    /// What the rule says, of plain sets.
    fn expected(cross: &Cross, held: &BTreeMap<i64, Trait>) -> Vec<i64> {
        let clash = |(n, own): (&i64, &Trait), (m, other): (&i64, &Trait)| {
            n != m
                && own.key == other.key
                && match cross.clash {
                    Clash::Same => true,
                    Clash::Falls => {
                        (other.at < own.at && other.value > own.value) || (other.at > own.at && other.value < own.value)
                    }
                }
        };
        held.iter().filter(|own| held.iter().any(|other| clash(*own, other))).map(|(n, _)| *n).collect()
    }

    /// Whatever comes, changes and goes in whatever order, what clashes is what the whole says.
    #[test]
    fn flags_follow_from_what_is_contributed_and_not_from_the_order_of_arrival() {
        let dir = tempfile::tempdir().unwrap();
        let conn = open_writer(dir.path()).unwrap();
        let mut seed = 7u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut held = [BTreeMap::new(), BTreeMap::new()];
        for _ in 0..600 {
            let document = draw(12) as i64;
            let contributed = (draw(4) > 0).then(|| Trait {
                key: ["甲", "乙"][draw(2) as usize].to_owned(),
                at: Timestamp(draw(5) as i64),
                value: draw(6) as i64,
            });
            for (cross, held) in [&SAME, &FALLS].into_iter().zip(&mut held) {
                put(&conn, cross, document, contributed.as_ref()).unwrap();
                match &contributed {
                    Some(found) => held.insert(document, found.clone()),
                    None => held.remove(&document),
                };
                assert_eq!(flagged(&conn, cross.name), expected(cross, held), "{}: {held:?}", cross.name);
            }
        }
    }
}
