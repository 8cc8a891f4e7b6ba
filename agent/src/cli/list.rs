//! `list` and `status`: for people in columns, for scripts as JSON.

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::desk::Desk;
use super::{print, print_json};
use crate::api::work::Query;
use crate::store::PAGE_LIMIT;

pub(super) fn documents(
    desk: &Desk,
    kind: Option<String>,
    state: Option<String>,
    limit: usize,
    as_json: bool,
) -> Result<()> {
    let mut items: Vec<Json> = Vec::new();
    let mut cursor = None;
    while items.len() < limit {
        let wanted = (limit - items.len()).min(PAGE_LIMIT);
        let query = Query { kind: kind.clone(), state: state.clone(), cursor, limit: Some(wanted), ..Query::default() };
        let mut page = desk.list(query)?;
        if let Json::Array(more) = page["items"].take() {
            items.extend(more);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if as_json {
        return print_json(&json!({ "items": items, "next": cursor }));
    }
    for item in &items {
        let text = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
        let number = item["number"].as_str().or(item["id"].as_str()).unwrap_or("-");
        print(&format!(
            "{number:<36}  {:<14}  {:<14}  {:<16}  {:<25}  {}",
            text("kind"),
            text("state"),
            text("site"),
            text("changed_at"),
            text("whereabouts"),
        ))?;
    }
    if items.is_empty() {
        print("no documents")?;
    }
    Ok(())
}

pub(super) fn status(desk: &Desk, as_json: bool) -> Result<()> {
    let status = desk.status()?;
    if as_json {
        return print_json(&status);
    }
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    let connection = match (&status["running"], &status["session_open"], &status["connected"]) {
        (Json::Bool(false), ..) => "the agent is stopped".to_owned(),
        (_, Json::Bool(true), _) => "connected to the hub".to_owned(),
        (_, _, Json::Bool(true)) => "connected to the broker, the hub has not answered".to_owned(),
        _ => format!("not connected: {}", status["last_error"].as_str().unwrap_or("no broker is reached yet")),
    };
    print(&format!("link      {connection}"))?;
    print(&format!(
        "waiting   {} entries, {} bytes, oldest {} s",
        number("unsent"),
        number("unsent_bytes"),
        number("oldest_unsent_age_s")
    ))?;
    print(&format!(
        "stored    {} of {} entries, {} processed",
        number("stored_seq"),
        number("head_seq"),
        number("processed_seq")
    ))?;
    if number("pruned_seq") > 0 {
        print(&format!("pruned    {} entries, which the hub has", number("pruned_seq")))?;
    }
    print(&format!("set aside {} entries", number("set_aside")))?;
    print(&format!("last ack  {}", status["last_ack_at"].as_str().unwrap_or("-")))?;
    print(&format!("disk      {} MiB free", number("disk_free") / (1 << 20)))?;
    print(&format!("sites     {}", status["sites"]))?;
    print(&format!("agent     {}", status["agent"].as_str().unwrap_or("-")))?;
    match status["problem"].as_str() {
        Some(problem) => print(&format!("problem   {problem}")),
        None => Ok(()),
    }
}
