//! How a map may fail to fit, before any row is read.

/// A map that does not fit the kinds, or the file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MappingError {
    /// Nobody knows this kind.
    #[error("there is no kind '{found}'; known kinds: {known}")]
    UnknownKind {
        /// The name given.
        found: String,
        /// All names.
        known: String,
    },
    /// Neither the command nor a map names a kind.
    #[error("name the kind: --kind, or --map with a map that names it")]
    NoKind,
    /// The command and the map name different kinds.
    #[error("--kind says '{asked}' but the map is for '{mapped}': use the map's kind, or another map")]
    OtherKind {
        /// The command's.
        asked: String,
        /// The map's.
        mapped: String,
    },
    /// The kind has no such field.
    #[error("[fields.{field}]: {kind} has no such field; it has {known}")]
    UnknownField {
        /// The map's key.
        field: String,
        /// The kind's name.
        kind: &'static str,
        /// The kind's fields.
        known: String,
    },
    /// A field every document has, that the importer fills itself.
    #[error("[fields.{0}]: the importer sets this itself; use the map's own keys for site, state and identity")]
    ReservedField(String),
    /// A constant is not of its field's type.
    #[error("[{place}]: {reason}")]
    Constant {
        /// The table.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The time zone is unknown.
    #[error("{place}: '{found}' is not an IANA time zone, such as Asia/Shanghai")]
    Zone {
        /// The key, or the table that holds it.
        place: String,
        /// What it says.
        found: String,
    },
    /// The file lacks a column that the map names.
    #[error("the file has no column '{column}', which the map names; name one of its columns there: {columns}")]
    MissingColumn {
        /// The column.
        column: String,
        /// The file's.
        columns: String,
    },
    /// No row could say which site it belongs to.
    #[error("the map names no site and this agent stands for several: add site = {{ column = \"…\" }} or a constant")]
    NoSite,
}

impl MappingError {
    /// The table or key of the map that is to blame, where it is one.
    pub(in crate::import) fn place(&self) -> Option<String> {
        match self {
            MappingError::UnknownKind { .. } | MappingError::OtherKind { .. } => Some("kind".to_owned()),
            MappingError::UnknownField { field, .. } | MappingError::ReservedField(field) => {
                Some(format!("fields.{field}"))
            }
            MappingError::Constant { place, .. } | MappingError::Zone { place, .. } => Some(place.clone()),
            MappingError::MissingColumn { .. } | MappingError::NoSite | MappingError::NoKind => None,
        }
    }
}
