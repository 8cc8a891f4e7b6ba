//! Reports: sums of a measure's roll-ups, grouped as asked.

use rusqlite::types::{Value as Sql, ValueRef};
use waystation_protocol::fact::Measure;

use super::rows::{Group, Rollup, RollupRow};
use super::{Store, StoreError};

impl Store {
    /// Sums a measure over its roll-ups, one row per group, ordered by the groups' texts.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn rollup(&self, query: &Rollup) -> Result<Vec<RollupRow>, StoreError> {
        let conn = self.inner.pool.lend()?;
        let (groups, values) = (query.by.len(), query.measure.values.len());
        let mut statement = conn.prepare_cached(&sql(query))?;
        let from = Sql::Integer(query.from.map_or(i64::MIN, |day| i64::from(day.0)));
        let to = Sql::Integer(query.to.map_or(i64::MAX, |day| i64::from(day.0)));
        let rows = statement.query_map((query.measure.name, from, to), |row| {
            let keys = (0..groups).map(|index| row.get::<_, String>(index)).collect::<Result<_, _>>()?;
            let values =
                (groups..groups + values).map(|index| row.get_ref(index).map(whole)).collect::<Result<_, _>>()?;
            Ok(RollupRow { keys, values })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn sql(query: &Rollup) -> String {
    let keys: Vec<String> = query.by.iter().map(|group| expression(*group, query.measure)).collect();
    let sums = (1..=query.measure.values.len()).map(|index| format!("coalesce(sum(v{index}), 0)"));
    let columns: Vec<String> = keys.iter().cloned().chain(sums).collect();
    let numbers: Vec<String> = (1..=keys.len()).map(|index| index.to_string()).collect();
    let grouping = match keys.is_empty() {
        true => String::new(),
        false => format!(" GROUP BY {0} ORDER BY {0}", numbers.join(", ")),
    };
    let site = if query.by.contains(&Group::Site) { " JOIN site ON site.id = rollup.site" } else { "" };
    format!("SELECT {} FROM rollup{site} WHERE measure = ?1 AND day BETWEEN ?2 AND ?3{grouping}", columns.join(", "))
}

fn expression(group: Group, measure: &Measure) -> String {
    match group {
        Group::Site => "site.site".to_owned(),
        Group::Day => "coalesce(strftime('%Y-%m-%d', day * 86400, 'unixepoch'), '')".to_owned(),
        Group::Month => "coalesce(strftime('%Y-%m', day * 86400, 'unixepoch'), '')".to_owned(),
        Group::Key(index) if index < measure.keys.len() => format!("k{}", index + 1),
        Group::Key(_) => "''".to_owned(),
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
