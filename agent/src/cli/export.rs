//! `export`: the documents of a kind as a table that spreadsheets open and `import` reads back without a map.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use waystation_protocol::document::field::Key;
use waystation_protocol::kind::{self, Kind, header};
use waystation_protocol::value::{Type, Value};

use super::desk::Desk;
use super::output::{self, Wanted};
use crate::api::work::Query;
use crate::config::Config;
use crate::layout::sheet::Cell;
use crate::layout::{self, Column, Headers, Part};
use crate::store::PAGE_LIMIT;
use waystation_protocol::form::{self, Reading};

pub(super) fn run(desk: &Desk, config: &Config, name: &str, wanted: &Wanted) -> Result<()> {
    let kind = kind_named(name)?;
    let found = found_keys(desk, kind)?;
    let columns = layout::columns(kind, &found.lines, &found.custom);
    let headers = wanted.lang.map_or(Headers::Names, Headers::Lang);
    wanted.write(&format!("{name}.xlsx"), |out| {
        let mut sheet = output::sheet(out, wanted.format, kind, &columns, headers)?;
        each(desk, name, |item| {
            let cells = columns.iter().map(|column| cell(kind, column, item, headers, &config.zone));
            Ok(sheet.write(&cells.collect::<Vec<Cell>>())?)
        })?;
        Ok(sheet.finish()?)
    })
}

/// The kind of this name.
pub(super) fn kind_named(name: &str) -> Result<&'static Kind> {
    kind::find(name).with_context(|| {
        let known: Vec<&str> = kind::KINDS.iter().map(|kind| kind.name).collect();
        format!("there is no kind '{name}'; known kinds: {}", known.join(", "))
    })
}

/// What the documents hold beyond the declared fields.
#[derive(Default)]
struct Found {
    /// The highest line of each group.
    lines: BTreeMap<&'static str, u32>,
    /// Fields the hub defined.
    custom: Vec<String>,
}

fn found_keys(desk: &Desk, kind: &'static Kind) -> Result<Found> {
    let (mut lines, mut custom) = (BTreeMap::new(), BTreeSet::new());
    each(desk, kind.name, |item| {
        for key in item["fields"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            match Key::parse(key) {
                Some(Key::Line { group, number, .. }) => {
                    if let Some(group) = kind.lines.iter().find(|lines| lines.name == group) {
                        let highest = lines.entry(group.name).or_insert(0);
                        *highest = number.max(*highest);
                    }
                }
                Some(Key::Custom(_)) => {
                    custom.insert(key.clone());
                }
                Some(Key::Field(_)) | None => {}
            }
        }
        Ok(())
    })?;
    Ok(Found { lines, custom: custom.into_iter().collect() })
}

fn each(desk: &Desk, kind: &str, mut visit: impl FnMut(&Json) -> Result<()>) -> Result<()> {
    let mut cursor = None;
    loop {
        let query = Query { kind: Some(kind.to_owned()), cursor, limit: Some(PAGE_LIMIT), ..Query::default() };
        let page = desk.list(query)?;
        for item in page["items"].as_array().into_iter().flatten() {
            visit(item)?;
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn cell(kind: &Kind, column: &Column, item: &Json, headers: Headers, zone: &TimeZone) -> Cell {
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    match column.part {
        Part::Id | Part::Told => Cell::Plain(text(&item[&column.name])),
        Part::Site => Cell::Text(text(&item["site"])),
        Part::State => Cell::Plain(state(kind, item["state"].as_str().unwrap_or_default(), headers)),
        Part::SourceKey => Cell::Text(text(&item["fields"][&column.name])),
        Part::SourceOccurrence => {
            Cell::Number(item["fields"][&column.name].as_i64().map_or(String::new(), |n| n.to_string()))
        }
        // Who reads the table elsewhere knows nothing of when this agent recorded it.
        Part::Field if column.name == header::OCCURRED_AT.name() && item["fields"][&column.name].is_null() => {
            Cell::Plain(text(&item["opened_at"]))
        }
        Part::Field => field(column, &item["fields"][&column.name], headers, zone),
    }
}

fn state(kind: &Kind, name: &str, headers: Headers) -> String {
    match (headers, kind.state(name)) {
        (Headers::Lang(lang), Some(state)) => lang.pick(state.zh, state.en).to_owned(),
        _ => name.to_owned(),
    }
}

fn field(column: &Column, json: &Json, headers: Headers, zone: &TimeZone) -> Cell {
    if json.is_null() {
        return Cell::Plain(String::new());
    }
    let Some(ty) = column.field.map(|field| field.ty) else {
        let value: Value = serde_json::from_value(json.clone()).unwrap_or_default();
        return Cell::Text(form::custom_to_text(&value));
    };
    let Ok(value) = form::from_json(ty, json, &Reading::plain(zone)) else {
        return Cell::Text(json.as_str().map_or_else(|| json.to_string(), str::to_owned));
    };
    let written = form::to_text(ty, &value, zone);
    match (ty, headers) {
        (Type::Text, _) => Cell::Text(written),
        (Type::Integer | Type::Km | Type::Labour, _) => Cell::Number(written),
        (Type::Choice(choices), Headers::Lang(lang)) => {
            let choice = choices.iter().find(|choice| choice.name == written);
            Cell::Plain(choice.map_or(written, |choice| lang.pick(choice.zh, choice.en).to_owned()))
        }
        _ => Cell::Plain(written),
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
