//! A first map for a table that nobody has mapped yet, proposed from its header and its first rows.
//!
//! `look` reads the beginning of the file; `fit` finds the kind and what goes where, by `words` with their `synonyms`
//! and by `content` with its `dates`; `plan` puts this together with what a person must decide, `write` prints it. A
//! proposal is tried on the rows seen before it is given; nothing is captured, and no data folder is needed.

mod content;
mod dates;
mod fit;
mod key;
mod look;
mod plan;
mod private;
mod remarks;
mod synonyms;
mod words;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use waystation_protocol::kind::{self, Kind};
use waystation_protocol::site::Sites;

use super::identity::Identity;
use super::map::Map;
use super::mapping::{IsoDates, Mapped, Mapper, kind_of};
use super::sheet::SheetError;
use super::source::SourceError;
use super::table::TableError;
use fit::Candidate;
use look::Seen;
use plan::Plan;
use words::Dictionary;

/// Sheets of a workbook that are looked at beside the first.
const OTHER_SHEETS: usize = 8;

/// Why nothing can be proposed.
#[derive(Debug, thiserror::Error)]
pub enum SuggestError {
    /// The file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is a workbook that cannot be read.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// It is no table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Its beginning is one endless line.
    #[error("{0} has no line end in its first 64 KiB: check that it is a table of text")]
    NoLines(PathBuf),
    /// It can be read only once.
    #[error("{0} is a pipe, and a proposal reads its file twice: save it to a file first")]
    Pipe(PathBuf),
    /// Nobody knows this kind.
    #[error("there is no kind '{found}'; known kinds: {known}")]
    UnknownKind {
        /// The name given.
        found: String,
        /// All names.
        known: String,
    },
    /// Nothing fits.
    #[error(
        "{file}: its columns fit no kind of document ({columns}): if a title stands above its header, take that away, or \
         say in a map on which line the header stands (header = 3); else name the kind that is meant with --kind: {known}"
    )]
    NoFit {
        /// The file.
        file: PathBuf,
        /// Its columns.
        columns: String,
        /// All names.
        known: String,
    },
    /// The proposal does not read back, which is our fault.
    #[error("the map proposed for {file} is not sound, which is a fault of this program: {reason}")]
    Unsound {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The text of a map, complete and with comments.
    pub map: String,
    /// The kind it is for.
    pub kind: &'static str,
    /// What was seen, what else was considered and what must be decided: line by line, for people.
    pub report: Vec<String>,
}

/// Proposes a map for `file`: for `kind` where it is named, else for the kind that fits best.
pub fn suggest(file: &Path, kind: Option<&str>) -> Result<Suggestion, SuggestError> {
    let asked = kind.map(|name| kind::find(name).ok_or_else(|| unknown_kind(name))).transpose()?;
    let dictionary = Dictionary::new();
    let (seen, candidates) = best_sheet(file, asked, &dictionary)?;
    let best =
        candidates.first().filter(|best| asked.is_some() || best.is_enough()).ok_or_else(|| no_fit(file, &seen))?;
    let name = file.file_name().map_or_else(|| "table".into(), |name| name.to_string_lossy());
    let mut plan = Plan::new(best, &seen, &name);
    let unsound = |reason| SuggestError::Unsound { file: file.to_owned(), reason };
    for (column, rejected) in rejected(&write::map(&plan, &seen, &name), best.kind, &seen).map_err(unsound)? {
        plan.tell_rejects(&column, rejected, seen.rows.len());
    }
    let map = write::map(&plan, &seen, &name);
    let report = report(&candidates, &plan, &seen, &name);
    Ok(Suggestion { map, kind: best.kind.name, report })
}

/// What is seen of the file, and what fits it; of a workbook, of the sheet that fits some kind best. A cover sheet often
/// stands before the one that is meant.
fn best_sheet(
    file: &Path,
    asked: Option<&'static Kind>,
    dictionary: &Dictionary,
) -> Result<(Seen, Vec<Candidate>), SuggestError> {
    let fitted = |seen: Seen| {
        let candidates = fit::candidates(&seen, asked, dictionary);
        (seen, candidates)
    };
    let score = |(_, candidates): &(Seen, Vec<Candidate>)| candidates.first().map_or(0, |best| best.score);
    let first = fitted(look::look(file, None, dictionary)?);
    let sheets: Vec<String> = first.0.sheet.iter().chain(&first.0.other_sheets).cloned().collect();
    let mut best = first;
    for name in sheets.iter().skip(1).take(OTHER_SHEETS) {
        // one that is no table is not meant
        let Ok(seen) = look::look(file, Some(name), dictionary) else { continue };
        let other = fitted(seen);
        if score(&other) > score(&best) {
            best = other;
        }
    }
    best.0.other_sheets = sheets.into_iter().filter(|name| Some(name) != best.0.sheet.as_ref()).collect();
    Ok(best)
}

fn unknown_kind(name: &str) -> SuggestError {
    SuggestError::UnknownKind { found: name.to_owned(), known: known_kinds() }
}

fn known_kinds() -> String {
    kind::KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

fn no_fit(file: &Path, seen: &Seen) -> SuggestError {
    // A row taken for a header may hold anything.
    let shown = |name: &str| if private::leads_to_people(name) { "…".to_owned() } else { private::cut(name) };
    let mut columns: Vec<String> = seen.columns.iter().take(12).map(|column| shown(&column.name)).collect();
    if seen.columns.len() > columns.len() {
        columns.push("…".to_owned());
    }
    SuggestError::NoFit { file: file.to_owned(), columns: columns.join(", "), known: known_kinds() }
}

/// Tries `map` on the rows seen, as an import would: the columns for which rows would be rejected, and how many.
fn rejected(map: &str, kind: &'static Kind, seen: &Seen) -> Result<BTreeMap<String, usize>, String> {
    let map = Map::parse(map, Path::new("map.toml")).map_err(|error| error.to_string())?;
    kind_of(&map, Some(kind.name)).map_err(|error| error.to_string())?;
    let names: Vec<String> = seen.columns.iter().map(|column| column.name.clone()).collect();
    // Any site will do: that of a row, or one for all.
    let sites = match map.site {
        Some(_) => Sites::All,
        None => Sites::Only(vec!["0".parse().map_err(|_| "no site".to_owned())?]),
    };
    let mapper =
        Mapper::new(&map, kind, &names, &sites, &jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?;
    let mut rejected = BTreeMap::new();
    for cells in &seen.rows {
        let bad = match mapper.row_key(cells) {
            Err(bad) => bad,
            // What a workbook holds as a date is read as one whatever the map says.
            Ok(_) => match mapper.map(cells, &IsoDates::Unread, Identity { key: String::new(), occurrence: 1 }) {
                Mapped::Bad(bad) => bad,
                Mapped::Row(_) | Mapped::Skipped => continue,
            },
        };
        *rejected.entry(bad.column).or_default() += 1;
    }
    Ok(rejected)
}

/// What a person should know before reading the map.
fn report(candidates: &[Candidate], plan: &Plan, seen: &Seen, name: &str) -> Vec<String> {
    let delimiter = match seen.delimiter {
        b',' => "commas",
        b'\t' => "tabs",
        b';' => "semicolons",
        _ => "another delimiter",
    };
    let header = match (seen.header, seen.header_line) {
        (false, _) => "no header".to_owned(),
        (true, 1) => "a header".to_owned(),
        (true, line) => format!("a header on line {line}"),
    };
    let (columns, rows) = (seen.columns.len(), seen.rows.len() + seen.torn);
    let all = if seen.is_whole { ", all there are" } else { "" };
    let form = match (seen.encoding, &seen.sheet) {
        (Some(encoding), _) => format!("{encoding}, {delimiter}"),
        (None, sheet) => format!("sheet {}", write::quoted(sheet.as_deref().unwrap_or_default())),
    };
    let others: Vec<String> = seen.other_sheets.iter().map(|sheet| write::quoted(&private::visible(sheet))).collect();
    let form = if others.is_empty() { form } else { format!("{form}, not {}", others.join(", ")) };
    let name = private::visible(name);
    let mut lines = vec![
        format!("{name}: {form}, {header}, {columns} columns; looked at {rows} rows{all}"),
        String::new(),
        "kind:".to_owned(),
    ];
    lines.extend(kinds(candidates));
    lines.extend([String::new(), "decide first (marked ! in the map):".to_owned()]);
    lines.extend(decisions(plan, seen));
    if !plan.left.is_empty() {
        lines.push(format!("  {} of {columns} columns go nowhere; the map lists them at its end", plan.left.len()));
    }
    lines
}

/// What a person must decide before the first import.
fn decisions(plan: &Plan, seen: &Seen) -> Vec<String> {
    let rows = seen.rows.len() + seen.torn;
    let mut lines = Vec::new();
    if seen.torn > 0 {
        let cure = if seen.torn * 2 > rows {
            ": say on which line the header stands (header = 3), or mend the quotes"
        } else {
            ""
        };
        lines.push(format!(
            "  {} of {rows} rows do not have as many cells as the header and go to the rejects{cure}",
            seen.torn
        ));
    }
    if seen.is_latin {
        lines.push("  encoding: the text is not UTF-8, and hardly GBK: are its accents right as Latin-1?".to_owned());
    }
    if plan.key_note.is_open {
        lines.push(format!("  key: {}", plan.key_note.text));
    }
    for entry in plan.entries() {
        let open = entry.notes.iter().filter(|note| note.is_open);
        lines.extend(open.map(|note| format!("  {}: {}", entry.key, note.text)));
    }
    if lines.is_empty() {
        lines.push("  nothing".to_owned());
    }
    lines
}

/// The kinds in words, the best first; those that share nothing with the table are left out.
fn kinds(candidates: &[Candidate]) -> Vec<String> {
    let best = candidates.first().map_or(0, |best| best.score).max(1);
    let mut lines = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let found = candidate.found();
        let how = match candidate.score * 100 / best {
            _ if place == 0 => "proposed",
            85.. => "nearly as good",
            50.. => "fits in part",
            _ => "hardly fits",
        };
        if place == 0 || !found.is_empty() {
            let found = if found.is_empty() { "nothing of its own".to_owned() } else { found.join(", ") };
            lines.push(format!("  {:15} {how}: {found}", candidate.kind.name));
        }
    }
    lines
}

#[cfg(test)]
#[path = "suggest_tests.rs"]
mod tests;
