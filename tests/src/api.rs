//! The JSON that the oracle reads, in this one place.

use serde_json::{Map, Value};

use crate::http::Http;

/// The most documents a page gives.
const PAGE: usize = 500;

/// A document as the agent or the hub shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// Its kind's name.
    pub kind: String,
    /// Its outlet.
    pub site: String,
    /// Its state's name.
    pub state: String,
    /// Every field by name, or by group#number.field.
    pub fields: Map<String, Value>,
}

/// How far one agent's journal has come, as the hub shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The last entry announced.
    pub head: u64,
    /// The last entry stored without a gap.
    pub stored: u64,
    /// The last entry processed without a gap.
    pub processed: u64,
    /// Entries that were not applied.
    pub quarantined: u64,
}

/// Every document, page by page.
///
/// # Errors
///
/// No answer, or one of another shape: in words.
pub fn documents(http: &Http) -> Result<Vec<Document>, String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = answered(http, &format!("/api/v1/documents?limit={PAGE}{cursor}"))?;
        let items = page["items"].as_array().ok_or_else(|| misshapen("items", &page))?;
        for item in items {
            all.push(document(item)?);
        }
        let Some(next) = page["next"].as_str() else { return Ok(all) };
        let following = format!("&cursor={next}");
        if following == cursor || items.is_empty() {
            return Err(format!("the cursor {next} leads nowhere"));
        }
        cursor = following;
    }
}

/// How many acts the hub has applied to a document.
///
/// # Errors
///
/// As for [`documents`].
pub fn history_length(http: &Http, id: &str) -> Result<usize, String> {
    let answer = answered(http, &format!("/api/v1/documents/{id}"))?;
    answer["history"].as_array().map(Vec::len).ok_or_else(|| misshapen("history", &answer))
}

/// The marks of every agent the hub knows.
///
/// # Errors
///
/// As for [`documents`].
pub fn marks(hub: &Http) -> Result<Vec<Marks>, String> {
    let answer = answered(hub, "/api/v1/agents")?;
    let rows = answer.as_array().ok_or_else(|| misshapen("agents", &answer))?;
    let read = |row: &Value| {
        let count = |key: &str| row[key].as_u64().ok_or_else(|| misshapen(key, row));
        Ok(Marks {
            head: count("head_seq")?,
            stored: count("stored_seq")?,
            processed: count("processed_seq")?,
            quarantined: count("quarantined")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Every journal the hub knows, with where it branched off and what of it is lost.
///
/// # Errors
///
/// As for [`documents`].
pub fn streams(hub: &Http) -> Result<Vec<Value>, String> {
    let answer = answered(hub, "/api/v1/journals")?;
    answer.as_array().cloned().ok_or_else(|| misshapen("streams", &answer))
}

/// Open cases of the hub's quarantine, parked ones included.
///
/// # Errors
///
/// As for [`documents`].
pub fn quarantined(hub: &Http) -> Result<Vec<Value>, String> {
    let answer = answered(hub, "/api/v1/quarantine?limit=500")?;
    answer["items"].as_array().cloned().ok_or_else(|| misshapen("items", &answer))
}

fn document(item: &Value) -> Result<Document, String> {
    let text = |key: &str| item[key].as_str().map(str::to_owned).ok_or_else(|| misshapen(key, item));
    Ok(Document {
        id: text("id")?,
        kind: text("kind")?,
        site: text("site")?,
        state: text("state")?,
        fields: item["fields"].as_object().cloned().ok_or_else(|| misshapen("fields", item))?,
    })
}

fn answered(http: &Http, path: &str) -> Result<Value, String> {
    let answer = http.try_get(path)?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("GET {path}: {} {}", answer.status, answer.body)) }
}

fn misshapen(key: &str, value: &Value) -> String {
    format!("the answer's '{key}' has another shape: {value}")
}
