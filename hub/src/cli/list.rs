//! Quarantine for people and for scripts. Contents of documents are shown only where one entry is asked for.

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use waystation_protocol::id::StreamId;

use crate::store::QuarantineRow;

/// `STREAM/SEQ`: what `show` takes.
fn place(row: &QuarantineRow) -> String {
    format!("{}/{}", row.stream, row.seq.0)
}

fn since(row: &QuarantineRow) -> String {
    row.since.rfc3339(&jiff::tz::TimeZone::UTC)
}

fn json_row(row: &QuarantineRow) -> Json {
    json!({
        "entry": place(row),
        "agent": row.agent,
        "site": row.site,
        "document": row.document,
        "code": row.code,
        "reason": row.reason,
        "parked": row.is_parked,
        "since": since(row),
    })
}

/// One array.
pub(super) fn as_json(rows: &[QuarantineRow]) -> String {
    Json::from(rows.iter().map(json_row).collect::<Vec<_>>()).to_string()
}

/// One line each.
pub(super) fn as_text(rows: &[QuarantineRow]) -> String {
    if rows.is_empty() {
        return "nothing is in quarantine".to_owned();
    }
    let line = |row: &QuarantineRow| {
        let site = row.site.as_ref().map_or("-", |site| site.as_str());
        let sort = if row.is_parked { "parked" } else { "quarantined" };
        format!("{}  {sort}  {}  site {site}  {}: {}", place(row), since(row), row.code, row.reason)
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One row with its entry.
pub(super) fn one(rows: &[QuarantineRow], wanted: &str) -> anyhow::Result<String> {
    let (stream, seq) = wanted.split_once('/').context("expected STREAM/SEQ, as `quarantine list` writes it")?;
    let stream: StreamId = stream.parse()?;
    let seq: u64 = seq.parse().with_context(|| format!("'{seq}' is no place in a journal"))?;
    let Some(row) = rows.iter().find(|row| row.stream == stream && row.seq.0 == seq) else {
        bail!("entry {wanted} is not in quarantine; see `quarantine list`");
    };
    let mut json = json_row(row);
    json["captured"] = serde_json::to_value(&row.entry)?;
    Ok(serde_json::to_string_pretty(&json)?)
}
