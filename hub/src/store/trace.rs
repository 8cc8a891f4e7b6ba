//! From figures back to documents: which documents the facts of a scope come from, and what each adds.
//!
//! A document whose facts in the scope cancel (it changed, or was voided) adds nothing and is left out.

use rusqlite::params_from_iter;

use super::read::{document_at, page_size, page_start};
use super::rows::{Trace, TracePage};
use super::scope::Query;
use super::{Store, StoreError};

impl Store {
    /// A page of the documents behind sums, the latest arrivals first. Over all pages, their sums are those of
    /// [`Store::sums`].
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCursor`] for a cursor no page gave, or the database fails.
    pub fn trace(&self, trace: &Trace) -> Result<TracePage, StoreError> {
        let conn = self.inner.pool.lend()?;
        let (limit, before) = (page_size(trace.limit), page_start(trace.cursor.as_deref())?);
        let mut query = Query::of("fact");
        let sums = query.sums(&trace.scope, &trace.sums);
        let condition = query.condition(&trace.scope);
        let (before, most) = (query.bind(before), query.bind(limit as i64 + 1));
        let counts: Vec<String> = sums.iter().map(|sum| format!("{sum} <> 0")).collect();
        let sql = format!(
            "SELECT document, {} FROM fact WHERE {condition} AND document < {before}
             GROUP BY document HAVING {} ORDER BY document DESC LIMIT {most}",
            sums.join(", "),
            counts.join(" OR ")
        );
        let mut bodies = conn.prepare_cached("SELECT body FROM document WHERE n = ?1")?;
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&query.values))?;
        let (mut page, mut last) = (TracePage::default(), 0i64);
        while let Some(row) = rows.next()? {
            if page.items.len() == limit {
                page.next = Some(last.to_string());
                break;
            }
            last = row.get(0)?;
            let values = (1..=sums.len()).map(|index| row.get(index)).collect::<Result<_, _>>()?;
            let document = bodies.query_row([last], |row| Ok(document_at(row, 0)))??;
            page.items.push((document, values));
        }
        Ok(page)
    }
}
