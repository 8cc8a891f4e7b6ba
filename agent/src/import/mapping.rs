//! One row of someone else's table becomes one row to import, by the map and the kind's declaration.
//!
//! Everything that can be wrong with the map itself is found before the first row: unknown fields, columns the file
//! lacks, constants that are not of their field's type.

mod error;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use waystation_protocol::document::field::Key as FieldKey;
use waystation_protocol::document::flow::VOID;
use waystation_protocol::kind::{self, Kind, header};
use waystation_protocol::site::{BadSite, SiteId, Sites};
use waystation_protocol::value::{Type, Value};

use super::identity::Identity;
use super::map::{Map, Mapping, Skip};
use crate::layout::unguarded;
use crate::store::ImportRow;
use waystation_protocol::form::{self, Reading};

pub use error::MappingError;

/// Who is named where the map names nobody.
const AUTHOR: &str = "import";

/// Why a row was not mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCell {
    /// The column's name.
    pub column: String,
    /// What is wrong, and the cure.
    pub reason: String,
}

/// What became of a row.
#[derive(Debug)]
pub enum Mapped {
    /// It can be imported.
    Row(Box<ImportRow>),
    /// It belongs to a site this agent does not stand for, or the map leaves it out.
    Skipped,
    /// A cell cannot be read.
    Bad(BadCell),
}

/// Cells that hold ISO dates and times whatever formats the map names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IsoDates {
    /// None.
    #[default]
    None,
    /// The cells at these places, which a workbook holds as dates.
    Cells(Vec<usize>),
    /// Whatever the map's formats do not read: a rejects file does not say what its cells were in a workbook.
    Unread,
}

/// A map made ready for the columns of one file.
pub struct Mapper<'a> {
    map: &'a Map,
    kind: &'static Kind,
    sites: &'a Sites,
    plan: Vec<Planned<'a>>,
    site: Option<Cell<'a>>,
    state: Cell<'a>,
    skip: Vec<(usize, &'a Skip)>,
    key: Key,
}

/// Where a row's identity stands.
enum Key {
    /// In these columns; in the whole row if there are none.
    Columns(Vec<usize>),
    /// In the first of these that the row fills; else in the whole row.
    Own { source_key: Option<usize>, source_occurrence: Option<usize>, id: Option<usize>, number: Option<usize> },
}

/// What a row says of its identity.
#[derive(Debug, PartialEq, Eq)]
pub enum RowKey<'r> {
    /// These cells, with their occurrence in the file; the whole row if there are none.
    Cells(Vec<&'r str>),
    /// Exactly this.
    Known(Identity),
}

/// A field, and where its value comes from.
struct Planned<'a> {
    key: &'a str,
    /// None for a field the hub defined.
    ty: Option<Type>,
    from: From<'a>,
}

enum From<'a> {
    /// Read once.
    Constant(Value),
    Cell(Cell<'a>),
}

/// A mapping, and where it looks.
struct Cell<'a> {
    mapping: &'a Mapping,
    /// The index of its column; none for constants.
    index: Option<usize>,
    /// The index of its unit's column, where it has one.
    unit: Option<usize>,
    zone: TimeZone,
}

/// The kind of this name.
pub fn kind_named(name: &str) -> Result<&'static Kind, MappingError> {
    let known = || kind::KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    kind::find(name).ok_or_else(|| MappingError::UnknownKind { found: name.to_owned(), known: known() })
}

/// The map's kind, with which the command's must agree if it names one.
pub fn kind_of(map: &Map, asked: Option<&str>) -> Result<&'static Kind, MappingError> {
    let asked = asked.map(kind_named).transpose()?;
    let found = kind_named(&map.kind)?;
    match asked {
        Some(asked) if asked.name != found.name => {
            Err(MappingError::OtherKind { asked: asked.name.to_owned(), mapped: map.kind.clone() })
        }
        _ => Ok(found),
    }
}

impl<'a> Mapper<'a> {
    /// Checks `map` against `kind` and the file's `columns`. `zone` is the site's, where the map names none.
    pub fn new(
        map: &'a Map,
        kind: &'static Kind,
        columns: &[String],
        sites: &'a Sites,
        zone: &TimeZone,
    ) -> Result<Mapper<'a>, MappingError> {
        let zone = zone_of(map.time_zone.as_deref(), "time_zone", zone)?;
        if map.site.is_none() && sites.default_site().is_none() {
            return Err(MappingError::NoSite);
        }
        let cell = |mapping: &'a Mapping, place: &str| -> Result<Cell<'a>, MappingError> {
            let index = |column: &Option<String>| column.as_deref().map(|column| index_of(columns, column)).transpose();
            let zone = zone_of(mapping.time_zone.as_deref(), place, &zone)?;
            Ok(Cell { mapping, index: index(&mapping.column)?, unit: index(&mapping.unit_column)?, zone })
        };
        let skip = map.skip.iter().map(|skip| Ok((index_of(columns, &skip.column)?, skip)));
        let mut mapper = Mapper {
            map,
            kind,
            sites,
            plan: Vec::with_capacity(map.fields.len()),
            site: map.site.as_ref().map(|site| cell(site, "site")).transpose()?,
            state: cell(&map.state, "state")?,
            skip: skip.collect::<Result<_, _>>()?,
            key: key_of(map, columns)?,
        };
        for text in mapper.state.mapping.translations() {
            let state = mapper.state_named(text);
            state.map_err(|reason| MappingError::Constant { place: "state".into(), reason })?;
        }
        if mapper.state.index.is_none() {
            let state =
                mapper.state(&[]).map_err(|bad| MappingError::Constant { place: "state".into(), reason: bad.reason });
            state?;
        }
        for (key, mapping) in &map.fields {
            let planned = mapper.planned(key, mapping, cell(mapping, &format!("fields.{key}"))?)?;
            mapper.plan.push(planned);
        }
        Ok(mapper)
    }

    fn planned(&self, key: &'a str, mapping: &'a Mapping, cell: Cell<'a>) -> Result<Planned<'a>, MappingError> {
        let reserved = [header::SITE, header::STATE, header::SOURCE_KEY].map(|column| column.name());
        if reserved.contains(&key) || key == header::SOURCE_OCCURRENCE.name() {
            return Err(MappingError::ReservedField(key.to_owned()));
        }
        let ty = match FieldKey::parse(key) {
            Some(FieldKey::Custom(_)) => None,
            _ => Some(self.declared(key)?),
        };
        let constant = |reason: String| MappingError::Constant { place: format!("fields.{key}"), reason };
        refuse_useless(key, ty, mapping)?;
        let can_negate = matches!(ty, Some(Type::Integer | Type::Quantity | Type::Money));
        if mapping.negate && !can_negate {
            return Err(constant(format!("negate needs a number, {key} holds {}", ty.map_or("any value", Type::name))));
        }
        if let Some(ty @ (Type::Choice(_) | Type::Flag)) = ty {
            let reading = Reading { zone: &cell.zone, unit: None, formats: &[] };
            let misfit = mapping.translations().find(|text| form::from_text(ty, text, &reading).is_err());
            if let Some(text) = misfit {
                return Err(constant(form::mismatch(ty, text).en));
            }
        }
        let is_fixed = cell.index.is_none() && cell.unit.is_none();
        let from = match is_fixed {
            false => From::Cell(cell),
            true => From::Constant(cell.value(ty, &[], &IsoDates::None).map_err(constant)?),
        };
        Ok(Planned { key, ty, from })
    }

    fn declared(&self, key: &str) -> Result<Type, MappingError> {
        self.kind.field_at(key).map(|field| field.ty).ok_or_else(|| MappingError::UnknownField {
            field: key.to_owned(),
            kind: self.kind.name,
            known: known_fields(self.kind),
        })
    }

    /// What a row says of its identity; a row whose key columns are all blank is bad.
    pub fn row_key<'r>(&self, cells: &'r [String]) -> Result<RowKey<'r>, BadCell> {
        match &self.key {
            Key::Columns(columns) => {
                let key: Vec<&str> = columns.iter().map(|index| cells[*index].as_str()).collect();
                let is_blank = !key.is_empty() && key.iter().all(|cell| cell.trim().is_empty());
                if is_blank {
                    return Err(BadCell {
                        column: self.map.key.join(", "),
                        reason: "this is empty, but the map makes it the row's identity: fill it in".into(),
                    });
                }
                Ok(RowKey::Cells(key))
            }
            Key::Own { source_key, source_occurrence, id, number } => {
                let filled = |index: &Option<usize>| filled(cells, *index);
                // a key as it stands: `u5` and `u5 ` are two
                let is_keyed = filled(source_key).is_some();
                if let Some(key) = source_key.and_then(|index| cells.get(index)).filter(|_| is_keyed) {
                    let key = unguarded(key);
                    let occurrence = filled(source_occurrence).map_or(Ok(1), str::parse);
                    let occurrence = occurrence.map_err(|_| BadCell {
                        column: "source_occurrence".to_owned(),
                        reason: "expected a whole number from 1, as the export wrote it".to_owned(),
                    })?;
                    return Ok(RowKey::Known(Identity { key: key.to_owned(), occurrence }));
                }
                if let Some(id) = filled(id) {
                    return Ok(RowKey::Known(Identity { key: id.to_owned(), occurrence: 1 }));
                }
                Ok(RowKey::Cells(filled(number).into_iter().collect()))
            }
        }
    }

    /// Whether a row is none of this agent's: it is blank, the map leaves it out, or it is of another site.
    pub fn passes_over(&self, cells: &[String]) -> bool {
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return true;
        }
        let is_skipped = self.skip.iter().any(|(index, skip)| cells.get(*index).is_some_and(|cell| skip.takes(cell)));
        is_skipped || self.site(cells).is_ok_and(|site| !self.sites.include(&site))
    }

    /// Maps the cells of a row, as many as there are columns.
    pub fn map(&self, cells: &[String], dates: &IsoDates, identity: Identity) -> Mapped {
        match self.row(cells, dates, identity) {
            Ok(Some(row)) => Mapped::Row(Box::new(row)),
            Ok(None) => Mapped::Skipped,
            Err(bad) => Mapped::Bad(bad),
        }
    }

    fn row(&self, cells: &[String], dates: &IsoDates, identity: Identity) -> Result<Option<ImportRow>, BadCell> {
        if self.passes_over(cells) {
            return Ok(None);
        }
        let site = self.site(cells)?;
        let state = self.state(cells)?;
        let mut set = BTreeMap::new();
        for planned in &self.plan {
            let value = match &planned.from {
                From::Constant(value) => value.clone(),
                From::Cell(cell) => {
                    let bad = |reason| BadCell { column: cell.name(), reason };
                    cell.value(planned.ty, cells, dates).map_err(bad)?
                }
            };
            if value != Value::Null {
                set.insert(planned.key.to_owned(), value);
            }
        }
        Ok(Some(ImportRow {
            kind: self.kind.name.to_owned(),
            site: site.into(),
            state,
            set,
            source: self.map.source.clone().unwrap_or_else(|| self.kind.name.to_owned()),
            key: identity.key,
            occurrence: identity.occurrence,
            author: self.map.author.clone().unwrap_or_else(|| AUTHOR.to_owned()),
        }))
    }

    fn site(&self, cells: &[String]) -> Result<SiteId, BadCell> {
        let Some(cell) = &self.site else {
            let default = self.sites.default_site().cloned();
            return default.ok_or_else(|| BadCell { column: "site".into(), reason: "no site is named".into() });
        };
        let bad = |reason: String| BadCell { column: cell.name(), reason };
        let text = cell.mapping.text(cell.text(cells)).map_err(|reason| bad(reason.to_owned()))?;
        let is_own = self.map.own.is_some();
        if let (None, true, Some(site)) = (text, is_own, self.sites.default_site()) {
            return Ok(site.clone());
        }
        let text = text.ok_or_else(|| bad("this is empty, but it names the site".to_owned()))?;
        let parsed = |text: &str| text.parse().map_err(|error: BadSite| bad(error.to_string()));
        let (exact, trimmed): (SiteId, SiteId) = (parsed(text)?, parsed(text.trim())?);
        // Blanks around the name of a site the agent knows are the table's; an unknown one stays as it is.
        Ok(if self.sites.include(&exact) || !self.sites.include(&trimmed) { exact } else { trimmed })
    }

    fn state(&self, cells: &[String]) -> Result<String, BadCell> {
        let cell = &self.state;
        let bad = |reason: String| BadCell { column: cell.name(), reason };
        let text = cell.mapping.text(cell.text(cells)).map_err(|reason| bad(reason.to_owned()))?;
        let text = text.ok_or_else(|| bad("this is empty, but it names the state".to_owned()))?;
        self.state_named(text).map_err(bad)
    }

    fn state_named(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let mut states = self.kind.states.iter().chain([&VOID]);
        let found = states.find(|state| state.name == text || state.zh == text || state.en.eq_ignore_ascii_case(text));
        found.map(|state| state.name.to_owned()).ok_or_else(|| {
            let known: Vec<&str> = self.kind.states.iter().map(|state| state.name).collect();
            format!("'{text}' is not a state of {}: expected one of {}", self.kind.name, known.join(", "))
        })
    }
}

impl Cell<'_> {
    fn text<'r>(&self, cells: &'r [String]) -> &'r str {
        self.index.and_then(|index| cells.get(index)).map_or("", String::as_str)
    }

    fn name(&self) -> String {
        self.mapping.column.clone().unwrap_or_else(|| "constant".to_owned())
    }

    /// The value this gives for a row, by its field's type.
    fn value(&self, ty: Option<Type>, cells: &[String], dates: &IsoDates) -> Result<Value, String> {
        let (mapping, cell) = (self.mapping, self.text(cells));
        let Some(text) = mapping.text(cell).map_err(|reason| format!("'{cell}': {reason}"))? else {
            return Ok(Value::Null);
        };
        let Some(ty) = ty else { return Ok(form::custom_from_text(text)) };
        let value = match ty {
            Type::Date | Type::Time | Type::Due if !mapping.date.is_empty() => self.date(ty, text, dates)?,
            _ => self.plain(ty, text, cells)?,
        };
        if mapping.negate { negated(value).ok_or_else(|| format!("'{text}' is too large")) } else { Ok(value) }
    }

    /// A date by the map's formats, or an ISO date where the cell holds one beside them.
    fn date(&self, ty: Type, text: &str, dates: &IsoDates) -> Result<Value, String> {
        let formats = &self.mapping.date;
        let read = |formats| form::from_text(ty, text, &Reading { zone: &self.zone, unit: None, formats }).ok();
        if self.mapping.is_guarded {
            return read(&[]).or_else(|| read(formats)).ok_or_else(|| form::mismatch(ty, text).en);
        }
        let found = match dates {
            IsoDates::None => read(formats),
            IsoDates::Cells(places) if self.index.is_some_and(|index| places.contains(&index)) => read(&[]),
            IsoDates::Cells(_) => read(formats),
            IsoDates::Unread => read(formats).or_else(|| read(&[])),
        };
        found.ok_or_else(|| {
            let is_long = formats.iter().any(|format| format.contains("%Y"));
            let digits = if is_long { "; %Y is a year of four digits, %y one of two" } else { "" };
            format!("'{text}' does not fit the map's date formats: {}{digits}", formats.join(", "))
        })
    }

    fn plain(&self, ty: Type, text: &str, cells: &[String]) -> Result<Value, String> {
        let mapping = self.mapping;
        let is_number = matches!(ty, Type::Integer | Type::Km | Type::Labour | Type::Quantity | Type::Money);
        let swapped = (is_number && mapping.decimal == Some(',')).then(|| points_for_commas(text));
        let unit = self.unit.and_then(|index| cells.get(index)).map(|unit| unit.trim()).filter(|unit| !unit.is_empty());
        let unit = unit.or(mapping.unit.as_deref());
        let reading = Reading { zone: &self.zone, unit, formats: &[] };
        let mut number = swapped.as_deref().unwrap_or(text);
        if let (Type::Integer | Type::Km | Type::Labour, Some(unit)) = (ty, unit) {
            number = number.trim().strip_suffix(unit).unwrap_or(number);
        }
        let value = form::from_text(ty, number, &reading);
        value.map_err(|_| form::mismatch(ty, text).en)
    }
}

/// `1.234,56` as `1,234.56`. Blanks and apostrophes between digits part thousands too.
pub(super) fn points_for_commas(text: &str) -> String {
    let is_part = |at: usize| {
        let digit = |character: Option<char>| character.is_some_and(|character| character.is_ascii_digit());
        digit(text[..at].chars().next_back()) && digit(text[at + 1..].chars().next())
    };
    let swap = |character: char| match character {
        '.' => Some(','),
        ',' => Some('.'),
        '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '’' => None,
        other => Some(other),
    };
    let parts = |(at, character): &(usize, char)| *character != ' ' || !is_part(*at);
    text.char_indices().filter(parts).filter_map(|(_, character)| swap(character)).collect()
}

/// What a map can name: the kind's own fields, one of each group of lines, and those of every document.
fn known_fields(kind: &Kind) -> String {
    let own = kind.fields.iter().map(|field| field.name.to_owned());
    let lines =
        kind.lines.iter().flat_map(|group| group.fields.iter().map(|field| format!("{}#1.{}", group.name, field.name)));
    let common = [header::NUMBER.name(), header::OCCURRED_AT.name(), header::TEXT.name()].map(str::to_owned);
    own.chain(lines).chain(common).collect::<Vec<_>>().join(", ")
}

fn zone_of(name: Option<&str>, place: &str, otherwise: &TimeZone) -> Result<TimeZone, MappingError> {
    let Some(name) = name else { return Ok(otherwise.clone()) };
    let unknown = |_| MappingError::Zone { place: place.to_owned(), found: name.to_owned() };
    waystation_protocol::time::zone(name).map_err(unknown)
}

fn negated(value: Value) -> Option<Value> {
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int),
        value => match value.as_measured() {
            Some((number, unit)) => number.checked_neg().map(|number| Value::measured(number, unit)),
            None => Some(value),
        },
    }
}

/// Options that mean nothing to a field of this type: whoever wrote them expects something of them.
fn refuse_useless(key: &str, ty: Option<Type>, mapping: &Mapping) -> Result<(), MappingError> {
    let is_number = matches!(ty, Some(Type::Integer | Type::Km | Type::Labour | Type::Quantity | Type::Money));
    let is_time = matches!(ty, Some(Type::Date | Type::Time | Type::Due));
    let useless = [
        ("unit", mapping.unit.is_some() && !is_number),
        ("unit_column", mapping.unit_column.is_some() && !matches!(ty, Some(Type::Quantity | Type::Money))),
        ("decimal", mapping.decimal.is_some() && !is_number),
        ("date", !mapping.date.is_empty() && !is_time),
        ("time_zone", mapping.time_zone.is_some() && !is_time),
    ];
    let holds = ty.map_or("any value", Type::name);
    let reason = match useless.iter().find(|(_, is_useless)| *is_useless) {
        Some((option, _)) => format!("{option} means nothing here, {key} holds {holds}: remove it"),
        None if mapping.keep && mapping.values.is_empty() => {
            "keep needs values: without them every cell stays as it is".to_owned()
        }
        None => return Ok(()),
    };
    Err(MappingError::Constant { place: format!("fields.{key}"), reason })
}

/// The cell of a column, if there is one and it is not blank.
fn filled(cells: &[String], index: Option<usize>) -> Option<&str> {
    index.and_then(|index| cells.get(index)).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
}

fn key_of(map: &Map, columns: &[String]) -> Result<Key, MappingError> {
    let Some(own) = &map.own else {
        let key = map.key.iter().map(|column| index_of(columns, column));
        return Ok(Key::Columns(key.collect::<Result<_, _>>()?));
    };
    let index = |column: &Option<String>| column.as_deref().map(|column| index_of(columns, column)).transpose();
    Ok(Key::Own {
        source_key: index(&own.source_key)?,
        source_occurrence: index(&own.source_occurrence)?,
        id: index(&own.id)?,
        number: index(&own.number)?,
    })
}

fn index_of(columns: &[String], name: &str) -> Result<usize, MappingError> {
    columns.iter().position(|column| column.trim() == name.trim()).ok_or_else(|| {
        // one column whose name holds delimiters is a table split at the wrong one
        let is_whole = columns.len() == 1 && columns[0].contains([',', '\t', ';']);
        let hint = if is_whole { "; if that is a whole header, correct the map's delimiter" } else { "" };
        MappingError::MissingColumn { column: name.to_owned(), columns: columns.join(", ") + hint }
    })
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
