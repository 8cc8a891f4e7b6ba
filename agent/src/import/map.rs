//! The map file: what the columns of someone else's table mean here.
//!
//! TOML, documented with examples in docs/import.md. Unknown keys are errors; every error names file, line and cure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, GB18030};
use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};
use toml::de::DeTable;
use waystation_protocol::kind::Kind;

use super::encoding;
use super::source::SourceError;
use crate::layout::unguarded;

/// A map file's contents.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// The kind of document each row becomes.
    pub kind: String,
    /// The file's encoding, where detection would be wrong: utf-8, gbk, gb18030, utf-16le, utf-16be, latin-1.
    pub encoding: Option<String>,
    /// The sheet of a workbook; the first visible one that holds anything where absent. Text has none.
    pub sheet: Option<String>,
    /// One character; detected among comma, tab and semicolon where absent.
    pub delimiter: Option<char>,
    /// The line of the row that names the columns, which may also be given as `true` for the first row that is not blank;
    /// what stands above it is passed over. 0, or `false`, is a table without a header: its columns are called `#1`, `#2` …
    #[serde(default = "first_line", deserialize_with = "header_line")]
    pub header: usize,
    /// The IANA time zone of dates and times; the site's where absent.
    pub time_zone: Option<String>,
    /// The namespace of row identities; the kind where absent. Rows of two sources never count as duplicates.
    pub source: Option<String>,
    /// The columns that identify a row, together with its occurrence in the file; the whole row where empty.
    #[serde(default)]
    pub key: Vec<String>,
    /// Who is named as the author; `import` where absent.
    pub author: Option<String>,
    /// Which site a row belongs to; the agent's own where absent.
    pub site: Option<Mapping>,
    /// The state a row's document is in.
    pub state: Mapping,
    /// Rows that are no documents, such as totals: those of which a cell is one of these. They count as skipped.
    #[serde(default)]
    pub skip: Vec<Skip>,
    /// Field, or group#number.field, to where its value comes from.
    #[serde(default)]
    pub fields: BTreeMap<String, Mapping>,
    /// Where its keys stand.
    #[serde(skip)]
    pub(super) lines: BTreeMap<String, usize>,
    /// Set where the table has the kind's own headers: then its rows say themselves what they are told apart by.
    #[serde(skip)]
    pub(super) own: Option<OwnIdentity>,
}

/// The columns that tell the rows of a kind's own table apart: the first of them that a row fills, else the whole row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnIdentity {
    /// The identity an earlier import gave the document.
    pub source_key: Option<String>,
    /// Which occurrence of it.
    pub source_occurrence: Option<String>,
    /// The document's id.
    pub id: Option<String>,
    /// Its printed number.
    pub number: Option<String>,
}

/// Cells by which a row is left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// The column to look at.
    pub column: String,
    /// Texts or patterns; the empty text is an empty cell.
    pub values: Vec<String>,
}

/// Where a value comes from and how its text is read. Texts to compare with may be patterns: `*` is any text.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The column to read.
    pub column: Option<String>,
    /// The same value for every row.
    pub constant: Option<String>,
    /// Translations of cell texts, tried before anything else.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// What stands for cells that `values` does not list; without it they are refused, unless `keep`.
    pub default: Option<String>,
    /// Cells that `values` does not list stay as they are.
    #[serde(default)]
    pub keep: bool,
    /// Cell texts that mean nothing is known, besides the empty one.
    #[serde(default)]
    pub null: Vec<String>,
    /// Formats of dates and times in strptime's letters, tried in turn; ISO 8601 where absent.
    #[serde(default)]
    pub date: Vec<String>,
    /// The IANA time zone of this column's dates and times; the map's where absent.
    pub time_zone: Option<String>,
    /// The decimal mark of numbers: `.` with commas between thousands where absent, or `,` with points between them.
    pub decimal: Option<char>,
    /// The currency of amounts, or the unit of quantities.
    pub unit: Option<String>,
    /// The column that holds it, where rows differ.
    pub unit_column: Option<String>,
    /// Multiplies a quantity by −1: a sale of 6 moves stock by −6.
    #[serde(default)]
    pub negate: bool,
    /// It reads a table of ours: an apostrophe before what looks like a formula is the export's, and taken off; dates may
    /// be ISO 8601 whatever the formats.
    #[serde(skip)]
    pub is_guarded: bool,
}

/// A map that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file cannot be read.
    #[error("cannot read the map {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is written in another encoding.
    #[error("{path}, line {line}: the map is no UTF-8; {guess}: open it in an editor and save it as UTF-8")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The first line that is none, from 1.
        line: usize,
        /// What it looks like.
        guess: &'static str,
    },
    /// It is not TOML, or has a key no map has.
    #[error("{path}, line {line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Two keys contradict each other.
    #[error("{path}, line {line}, [{place}]: {reason}")]
    Meaning {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The table or key.
        place: String,
        /// What is wrong there, and the cure.
        reason: String,
    },
}

impl Map {
    /// Reads and checks a map file.
    pub fn read(path: &Path) -> Result<Map, MapError> {
        let bytes = std::fs::read(path).map_err(|source| MapError::Io { path: path.to_owned(), source })?;
        Map::parse(&decoded(bytes, path)?, path)
    }

    /// Checks a map's text; `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Map, MapError> {
        let syntax = |error: toml::de::Error| MapError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            reason: error.message().to_owned(),
        };
        let mut map: Map = toml::from_str(text).map_err(syntax)?;
        map.lines = lines(text, DeTable::parse(text).map_err(syntax)?.get_ref());
        match map.contradiction() {
            None => Ok(map),
            Some((place, reason)) => {
                let line = map.line_of(&place).unwrap_or(1);
                Err(MapError::Meaning { path: path.to_owned(), line, place, reason })
            }
        }
    }

    /// What is known of a table with a kind's own headers before these are read.
    pub fn headers_of(kind: &Kind) -> Map {
        Map::own(kind, OwnIdentity::default(), None, Mapping::default(), BTreeMap::new())
    }

    /// The map of a table with the kind's own headers.
    pub fn own(
        kind: &Kind,
        identity: OwnIdentity,
        site: Option<Mapping>,
        state: Mapping,
        fields: BTreeMap<String, Mapping>,
    ) -> Map {
        Map {
            kind: kind.name.to_owned(),
            encoding: None,
            delimiter: None,
            sheet: None,
            header: 1,
            time_zone: None,
            source: None,
            key: Vec::new(),
            author: None,
            site,
            state,
            skip: Vec::new(),
            fields,
            lines: BTreeMap::new(),
            own: Some(identity),
        }
    }

    /// The first thing that is wrong with this map whatever the file: its place, and the cure.
    fn contradiction(&self) -> Option<(String, String)> {
        let is_usable = |mark: char| mark.is_ascii() && !matches!(mark, '"' | '\n' | '\r' | '\0');
        if self.delimiter.is_some_and(|delimiter| !is_usable(delimiter)) {
            let reason = "one ASCII character other than the quote, line ends and NUL";
            return Some(("delimiter".to_owned(), reason.to_owned()));
        }
        if let Some(name) = self.encoding.as_ref().filter(|name| encoding::named(name).is_none()) {
            return Some(("encoding".to_owned(), SourceError::Encoding(name.clone()).to_string()));
        }
        let places = self.fields.iter().map(|(name, mapping)| (format!("fields.{name}"), mapping));
        let places = places.chain([("state".to_owned(), &self.state)]);
        let mut places = places.chain(self.site.as_ref().map(|site| ("site".to_owned(), site)));
        places.find_map(|(place, mapping)| mapping.contradiction().map(|reason| (place, reason)))
    }

    /// The line, from 1, of a top-level key, or of `fields.` and a field's name.
    pub(super) fn line_of(&self, place: &str) -> Option<usize> {
        self.lines.get(place).copied()
    }

    /// Every column this map reads.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let mappings = self.fields.values().chain([&self.state]).chain(&self.site);
        let read = mappings.flat_map(|mapping| [mapping.column.as_deref(), mapping.unit_column.as_deref()]).flatten();
        let skipped = self.skip.iter().map(|skip| skip.column.as_str());
        read.chain(self.key.iter().map(String::as_str)).chain(skipped)
    }
}

impl Mapping {
    fn contradiction(&self) -> Option<String> {
        if self.column.is_some() == self.constant.is_some() {
            return Some("name either a column or a constant".to_owned());
        }
        if self.default.is_some() && self.keep {
            return Some("a default leaves nothing to keep: drop one of them".to_owned());
        }
        if self.decimal.is_some_and(|mark| !matches!(mark, '.' | ',')) {
            return Some("the decimal mark is '.' or ','".to_owned());
        }
        if self.unit.is_some() && self.unit_column.is_some() {
            return Some("name either a unit or a unit_column".to_owned());
        }
        self.date.iter().find_map(|format| unreadable(format))
    }

    /// What the map itself gives instead of a cell's text, where that is anything.
    pub(super) fn translations(&self) -> impl Iterator<Item = &str> {
        self.values.values().chain(&self.default).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    /// The text this mapping gives for a cell: translated, defaulted, or as it is; none where nothing is known.
    pub fn text<'a>(&'a self, cell: &'a str) -> Result<Option<&'a str>, &'static str> {
        let cell = self.constant.as_deref().unwrap_or(cell);
        let cell = if self.is_guarded { unguarded(cell) } else { cell };
        let trimmed = cell.trim();
        let translated = self.values.get(cell).or_else(|| self.values.get(trimmed)).or_else(|| self.pattern(trimmed));
        if let Some(translated) = translated {
            return Ok((!translated.is_empty()).then_some(translated));
        }
        if trimmed.is_empty() || self.null.iter().any(|null| fits(null, trimmed)) {
            return Ok(None);
        }
        if self.values.is_empty() || self.keep {
            return Ok(Some(cell));
        }
        self.default.as_deref().map(Some).ok_or("the map's values do not list it, and there is no default")
    }

    /// What the longest pattern that fits stands for.
    fn pattern(&self, cell: &str) -> Option<&String> {
        let fitting = self.values.iter().filter(|(pattern, _)| pattern.contains('*') && fits(pattern, cell));
        fitting.max_by_key(|(pattern, _)| pattern.len()).map(|(_, translated)| translated)
    }
}

impl Skip {
    /// Whether a row with this cell is left out.
    pub fn takes(&self, cell: &str) -> bool {
        self.values.iter().any(|value| fits(value, cell.trim()))
    }
}

/// Whether `text` is `pattern`, whose stars stand for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

/// A map's text: UTF-8, or what its byte-order mark says.
fn decoded(bytes: Vec<u8>, path: &Path) -> Result<String, MapError> {
    let other = |text: &[u8], at: usize, guess| {
        let line = text[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        MapError::Encoding { path: path.to_owned(), line, guess }
    };
    if let Some((encoding, mark)) = Encoding::for_bom(&bytes) {
        let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..]);
        let text = text.map(std::borrow::Cow::into_owned);
        return text.ok_or_else(|| other(&bytes, 0, "nor is it what its byte-order mark says"));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(other(&bytes, at, "it looks like UTF-16 without a byte-order mark"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let is_gbk = encoding::guess(bytes) == GB18030;
        other(bytes, at, if is_gbk { "it looks like GBK" } else { "it may be GBK or Latin-1" })
    })
}

fn first_line() -> usize {
    1
}

fn header_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "header is true, false, or the number of the line that names the columns")]
    enum Header {
        Is(bool),
        Line(usize),
    }
    Ok(match Header::deserialize(deserializer)? {
        Header::Is(is) => usize::from(is),
        Header::Line(line) => line,
    })
}

/// What is wrong with a date format. What it prints of a date it must read again, the date at least.
fn unreadable(format: &str) -> Option<String> {
    let sample = civil::date(2006, 6, 2).at(13, 4, 5, 0).to_zoned(TimeZone::UTC).ok()?;
    let read = strtime::format(format, &sample).and_then(|text| strtime::parse(format, text));
    match read.map(|read| read.to_date()) {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some(format!("the date format '{format}' gives no day, month and year: add %d, %m and %Y")),
        Err(error) => Some(format!("'{format}' is no date format such as %Y-%m-%d: {error}")),
    }
}

/// Where the top-level keys and the fields of a map stand.
fn lines(text: &str, table: &DeTable<'_>) -> BTreeMap<String, usize> {
    let fields = table.iter().filter(|(key, _)| key.get_ref() == "fields");
    let fields = fields.filter_map(|(_, value)| value.get_ref().as_table()).flat_map(DeTable::iter);
    let fields = fields.map(|(key, _)| (format!("fields.{}", key.get_ref()), key.span().start));
    let top = table.iter().map(|(key, _)| (key.get_ref().to_string(), key.span().start));
    top.chain(fields).map(|(place, at)| (place, line_at(text, at))).collect()
}

fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
