//! Reports: sums of a measure's roll-ups, grouped as asked.

use rusqlite::params_from_iter;
use rusqlite::types::ValueRef;

use super::rows::{Rollup, RollupRow, Scope, Sum};
use super::scope::Query;
use super::{Store, StoreError};

impl Store {
    /// Sums a measure over its roll-ups, one row per group, ordered by the groups' texts.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn rollup(&self, rollup: &Rollup) -> Result<Vec<RollupRow>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let measure = rollup.scope.measure;
        let (groups, values) = (rollup.by.len(), measure.values.len());
        let mut query = Query::of("rollup");
        let keys: Vec<String> = rollup.by.iter().map(|group| query.key(*group, measure.keys.len())).collect();
        let all: Vec<Sum> = (0..values).map(|value| Sum { value, only: Vec::new() }).collect();
        let columns = [keys, query.sums(&rollup.scope, &all)].concat().join(", ");
        let condition = query.condition(&rollup.scope);
        let numbers: Vec<String> = (1..=groups).map(|index| index.to_string()).collect();
        let grouping = match groups {
            0 => String::new(),
            _ => format!(" GROUP BY {0} ORDER BY {0}", numbers.join(", ")),
        };
        let sql = format!("SELECT {columns} FROM rollup WHERE {condition}{grouping}");
        let mut statement = conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&query.values), |row| {
            let keys = (0..groups).map(|index| row.get::<_, String>(index)).collect::<Result<_, _>>()?;
            let values =
                (groups..groups + values).map(|index| row.get_ref(index).map(whole)).collect::<Result<_, _>>()?;
            Ok(RollupRow { keys, values })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The sums over a scope's roll-ups, in the order asked for.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn sums(&self, scope: &Scope, sums: &[Sum]) -> Result<Vec<i64>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let mut query = Query::of("rollup");
        let columns = query.sums(scope, sums).join(", ");
        let sql = format!("SELECT {columns} FROM rollup WHERE {}", query.condition(scope));
        let mut statement = conn.prepare_cached(&sql)?;
        let found = statement.query_row(params_from_iter(&query.values), |row| {
            (0..sums.len()).map(|index| row.get_ref(index).map(whole)).collect::<Result<_, _>>()
        })?;
        Ok(found)
    }
}

/// A sum beyond 64 bits is approximate; it is held at the bounds.
fn whole(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Integer(number) => number,
        ValueRef::Real(number) => number as i64,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => 0,
    }
}
