//! The map of a table that has the kind's own headers: none needs to be written.

use std::collections::BTreeMap;

use waystation_protocol::kind::{Kind, header};
use waystation_protocol::value::Type;

use super::{Part, Spellings};
use crate::import::map::{Map, Mapping, OwnIdentity};

/// A table whose headers are not the kind's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A column nobody knows.
    #[error(
        "column '{column}' is none of {kind}: take its columns from `template {kind}`, remove it, or say with --map what \
         it means (`import --suggest` proposes a map)"
    )]
    Unknown {
        /// The header.
        column: String,
        /// The kind's name.
        kind: &'static str,
    },
    /// Two columns for one thing.
    #[error("columns '{first}' and '{second}' both mean {name}: remove one of them")]
    Twice {
        /// The first header.
        first: String,
        /// The other.
        second: String,
        /// The wire name.
        name: String,
    },
    /// Nothing says which state the documents are in.
    #[error("there is no column 'state' (状态 State): add it, `template {0}` shows all columns")]
    NoState(&'static str),
}

/// How a Chinese Excel saves dates and times. ISO 8601 is read besides.
const DATES: [&str; 6] =
    ["%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"];

/// The map that reads a table with these headers as documents of `kind`.
pub fn map_of(kind: &'static Kind, headers: &[String]) -> Result<Map, LayoutError> {
    let spellings = Spellings::new(kind);
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    let mut identity = OwnIdentity::default();
    let (mut site, mut state, mut fields) = (None, None, BTreeMap::new());
    for name in headers {
        let unknown = || LayoutError::Unknown { column: name.clone(), kind: kind.name };
        let column = spellings.find(name).ok_or_else(unknown)?;
        if let Some(first) = seen.insert(column.name.clone(), name) {
            return Err(LayoutError::Twice { first: first.clone(), second: name.clone(), name: column.name });
        }
        let read = Mapping { column: Some(name.clone()), is_guarded: true, ..Mapping::default() };
        match column.part {
            Part::Id => identity.id = Some(name.clone()),
            Part::Site => site = Some(read),
            Part::State => state = Some(read),
            Part::SourceKey => identity.source_key = Some(name.clone()),
            Part::SourceOccurrence => identity.source_occurrence = Some(name.clone()),
            Part::Told => {}
            Part::Field => {
                if column.name == header::NUMBER.name() {
                    identity.number = Some(name.clone());
                }
                let is_date = column.field.is_some_and(|field| matches!(field.ty, Type::Date | Type::Time | Type::Due));
                let date = DATES.iter().filter(|_| is_date).map(|format| (*format).to_owned()).collect();
                fields.insert(column.name, Mapping { date, ..read });
            }
        }
    }
    let state = state.ok_or(LayoutError::NoState(kind.name))?;
    Ok(Map::own(kind, identity, site, state, fields))
}
