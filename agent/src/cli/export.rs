//! `export`: the documents of a kind as CSV that spreadsheets open and the importer reads back.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use waystation_protocol::kind::{self, Kind, header};
use waystation_protocol::value::{Type, Value};

use super::desk::Desk;
use crate::api::work::Query;
use crate::config::Config;
use crate::form::{self, Reading};
use crate::store::PAGE_LIMIT;

/// What every exported row begins with.
const FIXED: [&str; 7] = ["id", "site", "state", "number", "opened_at", "changed_at", "whereabouts"];

pub(super) fn csv(desk: &Desk, config: &Config, name: &str) -> Result<()> {
    let kind = kind::find(name).with_context(|| {
        let known: Vec<&str> = kind::KINDS.iter().map(|kind| kind.name).collect();
        format!("there is no kind '{name}'; known kinds: {}", known.join(", "))
    })?;
    let mut extra = BTreeSet::new();
    each(desk, name, |item| {
        let keys = item["fields"].as_object().into_iter().flat_map(|fields| fields.keys());
        extra.extend(keys.filter(|key| !is_plain(kind, key)).cloned());
        Ok(())
    })?;
    let declared = kind.fields.iter().chain(header::FIELDS).map(|field| field.name);
    let declared = declared.filter(|field| !FIXED.contains(field)).map(str::to_owned);
    let fields: Vec<String> = declared.chain(extra).collect();
    let mut writer = csv::Writer::from_writer(std::io::stdout().lock());
    writer.write_record(FIXED.iter().copied().chain(fields.iter().map(String::as_str)))?;
    each(desk, name, |item| {
        let fixed = FIXED.iter().map(|column| defused(item[*column].as_str().unwrap_or_default()));
        let values = fields.iter().map(|key| cell(kind, key, &item["fields"][key], &config.zone));
        Ok(writer.write_record(fixed.chain(values))?)
    })?;
    writer.flush().context("cannot write to standard output")
}

fn is_plain(kind: &Kind, key: &str) -> bool {
    kind.field(key).is_some()
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

fn cell(kind: &Kind, key: &str, json: &Json, zone: &TimeZone) -> String {
    if json.is_null() {
        return String::new();
    }
    let ty = form::field_of(kind, key).map(|field| field.ty);
    let value = ty.and_then(|ty| form::from_json(ty, json, &Reading::plain(zone)).ok().map(|value| (ty, value)));
    match value {
        Some((Type::Text, Value::Text(text))) => defused(&text),
        Some((ty, value)) => form::to_text(ty, &value, zone),
        None => defused(json.as_str().unwrap_or(&json.to_string())),
    }
}

/// Text that a spreadsheet would take for a formula, with a quote before it (OWASP, CSV injection).
fn defused(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_defused_and_numbers_stay_numbers() {
        let kind = kind::find("stock_movement").unwrap();
        let zone = waystation_protocol::time::zone("").unwrap();
        for (key, json, expected) in [
            ("item", json!("=1+1"), "'=1+1"),
            ("item", json!("－x"), "'－x"),
            ("quantity", json!({ "quantity": "-38", "unit": "件" }), "-38 件"),
            ("unit_cost", json!({ "amount": "-1.50", "currency": "CNY" }), "-1.50 CNY"),
            ("reason", json!("sale"), "sale"),
            ("lot", json!(null), ""),
        ] {
            assert_eq!(cell(kind, key, &json, &zone), expected, "{json}");
        }
    }
}
