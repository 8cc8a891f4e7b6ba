//! `GET /documents` and `GET /documents/{id}`: documents as their entries so far make them, and those entries.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json_};
use utoipa::{IntoParams, ToSchema};
use waystation_protocol::document::Document;
use waystation_protocol::form;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{self, KINDS};
use waystation_protocol::site::SiteId;

use super::kinds::{Labels, labels};
use super::problem::{Problem, Wrong};
use super::{App, Params};
use crate::board;
use crate::store::{Filter, Flag, HistoryEntry, Store, StoreError};
use crate::view;

/// Which documents to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DocumentQuery {
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this site.
    pub site: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Whether only those that clash with another document.
    pub flagged: Option<bool>,
    /// Whose number or searched fields contain this.
    pub q: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// At most so many: 1 to 500, 50 unless told otherwise.
    pub limit: Option<usize>,
}

/// A document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DocumentJson {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its site.
    pub site: String,
    /// Its printed number.
    pub number: Option<String>,
    /// Its state.
    pub state: String,
    /// The last state entry's id: what an act of the hub may name as seen.
    pub head: String,
    /// Who may act next: `hub`, or `site:` and its id.
    pub pen: String,
    /// How often it came back, from 1.
    pub round: u16,
    /// Who opened it.
    pub opened_by: String,
    /// When its opening was recorded, in its site's zone.
    pub opened_at: String,
    /// When its last state entry was recorded.
    pub changed_at: String,
    /// BLAKE3 of its canonical encoding: equal at agent and hub if and only if the documents are.
    pub digest: String,
    /// Field, or `group#number.field`, to value.
    #[schema(value_type = Object)]
    pub fields: Map<String, Json_>,
}

/// A document and how it came about.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DocumentWithHistory {
    #[serde(flatten)]
    document: DocumentJson,
    /// What is worth a second look: nothing is refused for it.
    warnings: Vec<Wrong>,
    /// Where it clashes with other documents, across sites: nothing is refused for it.
    flags: Vec<FlagJson>,
    /// When its latest entry reached the hub.
    received_at: Option<String>,
    /// Its entries in the order of application.
    history: Vec<EntryJson>,
}

/// A clash of a document with others.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FlagJson {
    /// The rule's name.
    rule: &'static str,
    /// What it says.
    labels: Labels,
    /// The other documents, at most twenty.
    documents: Vec<String>,
}

/// An applied entry.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EntryJson {
    /// Its place in its journal.
    seq: u64,
    /// Its id.
    id: String,
    /// The act.
    act: String,
    /// Who did it.
    author: String,
    /// When, by the recording machine's clock, in the site's zone.
    at: String,
    /// The agent that captured it.
    agent: String,
    /// Its journal.
    stream: String,
    /// When it reached the hub.
    received_at: String,
    /// What it set; null clears.
    #[schema(value_type = Object)]
    set: Map<String, Json_>,
    /// Whose fix stands for what was captured; then act and set are the fix's.
    amended: Option<AmendedJson>,
}

/// A fix in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AmendedJson {
    /// Who gave it.
    by: String,
    /// Why.
    why: String,
    /// When.
    at: String,
}

/// A page of documents.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DocumentPage {
    /// The documents, the latest arrivals first.
    items: Vec<DocumentJson>,
    /// The next page's `cursor`; null on the last.
    next: Option<String>,
}

impl DocumentQuery {
    /// The store's filter. Empty values ask for nothing.
    ///
    /// # Errors
    ///
    /// There is no such kind, no such site name, or the limit is 0.
    pub fn filter(&self) -> Result<Filter, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let kind = given(&self.kind);
        if let Some(name) = kind.as_deref().filter(|name| kind::find(name).is_none()) {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(Problem::bad_request(format!("'{name}' is no kind; there are {}", names.join(", "))));
        }
        let site = given(&self.site).map(|site| site.parse::<SiteId>()).transpose();
        let site = site.map_err(|error| Problem::bad_request(error.to_string()))?;
        if self.limit == Some(0) {
            return Err(Problem::bad_request("limit is at least 1"));
        }
        let limit = self.limit.unwrap_or(0);
        let (state, q, cursor) = (given(&self.state), given(&self.q), given(&self.cursor));
        Ok(Filter { kind, site, state, is_flagged: self.flagged == Some(true), q, cursor, limit })
    }
}

/// The zones of all sites.
///
/// # Errors
///
/// The store fails.
pub fn zones(store: &Store) -> Result<HashMap<SiteId, TimeZone>, StoreError> {
    Ok(store.sites()?.iter().map(|site| (site.site.clone(), board::zone_of(site))).collect())
}

/// A document as JSON, its instants in `zone`.
pub(super) fn document_json(document: &Document, zone: &TimeZone) -> DocumentJson {
    DocumentJson {
        id: document.id.to_string(),
        kind: document.kind.clone(),
        site: document.site.to_string(),
        number: document.number().map(str::to_owned),
        state: document.state.clone(),
        head: document.head.to_string(),
        pen: view::pen(document),
        round: document.round,
        opened_by: document.opened_by.clone(),
        opened_at: document.opened_at.rfc3339(zone),
        changed_at: document.changed_at.rfc3339(zone),
        digest: view::digest(document),
        fields: form::fields_json(kind::find(&document.kind), &document.state, &document.fields, zone),
    }
}

fn entry_json(document: &Document, history: &HistoryEntry, zone: &TimeZone) -> EntryJson {
    let entry = &history.entry;
    EntryJson {
        seq: history.seq.0,
        id: entry.id.to_string(),
        act: entry.act.clone(),
        author: entry.author.clone(),
        at: entry.occurred_at.rfc3339(zone),
        agent: history.agent.to_string(),
        stream: history.stream.to_string(),
        received_at: history.received_at.rfc3339(zone),
        set: form::fields_json(kind::find(&document.kind), &document.state, &entry.set, zone),
        amended: history.amended.as_ref().map(|fix| AmendedJson {
            by: fix.who.clone(),
            why: fix.why.clone(),
            at: fix.at.rfc3339(zone),
        }),
    }
}

/// Documents, the latest arrivals first.
#[utoipa::path(get, path = "/api/v1/documents", tag = "documents", params(DocumentQuery),
    responses((status = 200, body = DocumentPage), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub async fn documents(
    State(app): State<App>,
    Params(query): Params<DocumentQuery>,
) -> Result<Json<DocumentPage>, Problem> {
    let filter = query.filter()?;
    let (page, zones) = app.ask(move |store| Ok::<_, Problem>((store.documents(&filter)?, zones(store)?))).await?;
    let json = |document: &Document| document_json(document, zones.get(&document.site).unwrap_or(&TimeZone::UTC));
    Ok(Json(DocumentPage { items: page.items.iter().map(json).collect(), next: page.next }))
}

/// One document with its history.
#[utoipa::path(get, path = "/api/v1/documents/{id}", tag = "documents",
    params(("id" = String, Path, description = "the document's id")),
    responses((status = 200, body = DocumentWithHistory), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn document(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DocumentWithHistory>, Problem> {
    let Found { document, history, flags, zone } = app.ask(move |store| find(store, &id)).await?;
    let flag = |flag: Flag| FlagJson {
        rule: flag.rule.name,
        labels: labels(flag.rule.zh, flag.rule.en),
        documents: flag.others.iter().map(|(id, _)| id.to_string()).collect(),
    };
    Ok(Json(DocumentWithHistory {
        document: document_json(&document, &zone),
        warnings: kind::odd(&document).into_iter().map(Wrong::from).collect(),
        flags: flags.into_iter().map(flag).collect(),
        received_at: history.iter().map(|entry| entry.received_at).max().map(|at| at.rfc3339(&zone)),
        history: history.iter().map(|entry| entry_json(&document, entry, &zone)).collect(),
    }))
}

/// A document with all that is shown of it.
pub struct Found {
    /// The document.
    pub document: Document,
    /// Its entries in the order of application.
    pub history: Vec<HistoryEntry>,
    /// Where it clashes with others.
    pub flags: Vec<Flag>,
    /// Its site's zone.
    pub zone: TimeZone,
}

/// The document of this id.
///
/// # Errors
///
/// There is no such document, or the store fails.
pub fn find(store: &Store, id: &str) -> Result<Found, Problem> {
    let missing = || Problem::not_found(format!("there is no document '{id}'"));
    let id = id.parse::<DocId>().map_err(|_| missing())?;
    let document = store.document(id)?.ok_or_else(missing)?;
    let zone = zones(store)?.remove(&document.site).unwrap_or(TimeZone::UTC);
    let (history, flags) = (store.history(id)?, store.flags(&document)?);
    Ok(Found { document, history, flags, zone })
}
