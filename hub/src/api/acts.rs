//! What people do at the hub: acts on documents, and commands to agents.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::down::Command;
use waystation_protocol::form;
use waystation_protocol::id::{AgentId, DocId, EntryId};
use waystation_protocol::kind::{self, Kind, header};
use waystation_protocol::limits;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::App;
use super::documents::{DocumentJson, document_json, zones};
use super::problem::{Problem, Wrong};
use super::quarantine::Body;
use crate::down::{ActError, CommandRow};
use crate::store::Store;

/// An act is applied within milliseconds, unless everything is being derived anew; nobody waits for that.
const PATIENCE_MS: u64 = 10_000;

/// Longest name of a command, in bytes.
const NAME_BYTES: usize = 256;

/// An act on a document.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActBody {
    /// Who does it.
    #[serde(alias = "by")]
    author: String,
    /// Field, or `group#number.field`, to value as documents show it, amounts and quantities also as text with their
    /// unit; null clears.
    #[serde(default)]
    #[schema(value_type = Object)]
    set: Map<String, Json_>,
    /// The document's `head` when its author last saw it.
    #[serde(default)]
    seen: Option<String>,
}

/// A document to be opened by the hub.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningBody {
    /// The kind.
    kind: String,
    /// The opening act; the kind's first unless told otherwise.
    #[serde(default)]
    act: String,
    /// The outlet it belongs to; of no outlet (`hub`) where absent.
    #[serde(default)]
    site: Option<String>,
    /// Who does it.
    #[serde(alias = "by")]
    author: String,
    /// As for an act.
    #[serde(default)]
    #[schema(value_type = Object)]
    set: Map<String, Json_>,
}

/// A command to an agent.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// Who gives it.
    by: String,
    /// What is to be done.
    name: String,
    /// With what, as text that the command reads.
    #[serde(default)]
    args: String,
    /// The last moment to do it.
    not_after: String,
}

/// A command and what it came to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CommandJson {
    /// Its entry.
    id: String,
    /// What is to be done; null where the hub has forgotten it and knows only the result.
    name: Option<String>,
    /// With what.
    args: Option<String>,
    /// The last moment to do it.
    not_after: Option<String>,
    /// Who gave it.
    given_by: Option<String>,
    /// When.
    given_at: Option<String>,
    /// `done`, `refused` or `expired`; null until the agent told.
    outcome: Option<String>,
    /// What the agent said.
    text: Option<String>,
    /// When that reached the hub.
    reported_at: Option<String>,
}

/// The commands of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CommandList {
    /// The latest first.
    items: Vec<CommandJson>,
}

/// A command that was given.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Given {
    /// Its entry.
    id: String,
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Problem {
        let detail = error.to_string();
        match error {
            ActError::NotFound(_) => Problem::not_found(detail),
            ActError::Superseded => Problem::conflict(detail),
            ActError::Frozen(_) => Problem::locked(detail),
            ActError::Problems(problems) => Problem::problems(problems.into_iter().map(Wrong::from).collect()),
            ActError::Busy => Problem::unavailable(detail),
            ActError::SetAside(_) => Problem::refused(detail),
            ActError::Store(error) => error.into(),
        }
    }
}

/// The hub opens a document, where the kind lets it; answers the document as it then is, with its number.
#[utoipa::path(post, path = "/api/v1/documents", tag = "documents", request_body = OpeningBody,
    responses((status = 201, body = DocumentJson), (status = 400, body = Problem),
        (status = 422, body = Problem, description = "everything that is wrong with it"),
        (status = 423, body = Problem, description = "the hub came back older; the site is read-only until all is back"),
        (status = 503, body = Problem)))]
pub async fn open(
    State(app): State<App>,
    Body(body): Body<OpeningBody>,
) -> Result<(StatusCode, Json<DocumentJson>), Problem> {
    let json = app
        .ask(move |store| {
            let zone = zone_of(store, body.site.as_deref().unwrap_or_default())?;
            let mut set = values(kind::find(&body.kind), &body.set, &zone)?;
            if let Some(site) = body.site {
                set.insert(header::SITE.name().to_owned(), Value::Text(site));
            }
            done(
                store,
                Wish { document: None, kind: body.kind, act: body.act, set, author: body.author, cause: None },
                None,
            )
        })
        .await?;
    Ok((StatusCode::CREATED, Json(json)))
}

/// The hub acts on a document that is its to act on; answers the document as it then is.
#[utoipa::path(post, path = "/api/v1/documents/{id}/acts/{act}", tag = "documents", request_body = ActBody,
    params(("id" = String, Path, description = "the document's id"), ("act" = String, Path, description = "the act")),
    responses((status = 200, body = DocumentJson), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the document has changed since it was seen"),
        (status = 422, body = Problem, description = "everything that is wrong with the act"),
        (status = 423, body = Problem, description = "the hub came back older; the site is read-only until all is back"),
        (status = 503, body = Problem)))]
pub async fn act(
    State(app): State<App>,
    Path((id, act)): Path<(String, String)>,
    Body(body): Body<ActBody>,
) -> Result<Json<DocumentJson>, Problem> {
    let missing = Problem::not_found(format!("there is no document '{id}'"));
    let Ok(document) = id.parse::<DocId>() else { return Err(missing) };
    let seen = body.seen.as_deref().map(str::parse::<EntryId>).transpose();
    let seen = seen.map_err(|error| Problem::bad_request(format!("seen: {error}")))?;
    let json = app
        .ask(move |store| {
            let found = store.document(document)?.ok_or(missing)?;
            let set = values(kind::find(&found.kind), &body.set, &zone_of(store, found.site.as_str())?)?;
            let wish =
                Wish { document: Some(document), kind: String::new(), act, set, author: body.author, cause: None };
            done(store, wish, seen)
        })
        .await?;
    Ok(Json(json))
}

fn done(store: &Store, wish: Wish, seen: Option<EntryId>) -> Result<DocumentJson, Problem> {
    let document = store.act(wish, seen, PATIENCE_MS)?;
    let zone = zone_of(store, document.site.as_str())?;
    Ok(document_json(&document, &zone))
}

/// What a body sets, read by the kind's declaration; as on the wire where there is none.
///
/// # Errors
///
/// Everything in it that is of another type.
pub(crate) fn values(
    kind: Option<&Kind>,
    set: &Map<String, Json_>,
    zone: &TimeZone,
) -> Result<BTreeMap<String, Value>, Problem> {
    match kind {
        Some(kind) => form::set_from_json(kind, set, zone)
            .map_err(|wrong| Problem::problems(wrong.into_iter().map(Wrong::from).collect())),
        None => serde_json::from_value(Json_::Object(set.clone()))
            .map_err(|error| Problem::bad_request(format!("set: {error}"))),
    }
}

fn zone_of(store: &Store, site: &str) -> Result<TimeZone, Problem> {
    let known =
        site.parse::<SiteId>().ok().map(|site| zones(store).map(|mut zones| zones.remove(&site))).transpose()?;
    Ok(known.flatten().unwrap_or(TimeZone::UTC))
}

/// Gives an agent a command.
#[utoipa::path(post, path = "/api/v1/agents/{agent}/commands", tag = "sync", request_body = CommandBody,
    params(("agent" = String, Path, description = "the agent's id")),
    responses((status = 201, body = Given), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem)))]
pub async fn give_command(
    State(app): State<App>,
    Path(agent): Path<String>,
    Body(body): Body<CommandBody>,
) -> Result<(StatusCode, Json<Given>), Problem> {
    let id = agent_id(&agent)?;
    named("by", &body.by)?;
    named("name", &body.name)?;
    let args = within("args", body.args, limits::TEXT_BYTES)?;
    let command = Command { name: body.name, args, not_after: instant("not_after", &body.not_after)? };
    let given = app.ask(move |store| store.give_command(id, command, &body.by)).await?;
    let given = given.ok_or_else(|| no_agent(&agent))?;
    Ok((StatusCode::CREATED, Json(Given { id: given.to_string() })))
}

/// The commands an agent was given, and what they came to.
#[utoipa::path(get, path = "/api/v1/agents/{agent}/commands", tag = "sync",
    params(("agent" = String, Path, description = "the agent's id")),
    responses((status = 200, body = CommandList), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn commands(State(app): State<App>, Path(agent): Path<String>) -> Result<Json<CommandList>, Problem> {
    let id = agent_id(&agent)?;
    let found = app.ask(move |store| store.commands(id)).await?.ok_or_else(|| no_agent(&agent))?;
    Ok(Json(CommandList { items: found.into_iter().map(CommandJson::from).collect() }))
}

fn agent_id(text: &str) -> Result<AgentId, Problem> {
    text.parse().map_err(|_| no_agent(text))
}

fn no_agent(text: &str) -> Problem {
    Problem::not_found(format!("there is no agent '{text}'"))
}

fn named(field: &str, text: &str) -> Result<(), Problem> {
    let most = if field == "by" { limits::AUTHOR_BYTES } else { NAME_BYTES };
    let is_good = !text.trim().is_empty() && text.len() <= most;
    if is_good { Ok(()) } else { Err(Problem::bad_request(format!("{field}: expected 1 to {most} bytes"))) }
}

fn within(field: &str, text: String, most: usize) -> Result<String, Problem> {
    if text.len() <= most { Ok(text) } else { Err(Problem::bad_request(format!("{field}: at most {most} bytes"))) }
}

fn instant(field: &str, text: &str) -> Result<Timestamp, Problem> {
    let refused =
        |_| Problem::bad_request(format!("{field}: '{text}' is no instant such as 2026-12-01T18:00:00+08:00"));
    text.parse().map_err(refused)
}

impl From<CommandRow> for CommandJson {
    fn from(row: CommandRow) -> CommandJson {
        let utc = jiff::tz::TimeZone::UTC;
        let at = |at: Option<Timestamp>| at.map(|at| at.rfc3339(&utc));
        let (name, args, not_after) = match row.command {
            Some(command) => (Some(command.name), Some(command.args), at(Some(command.not_after))),
            None => (None, None, None),
        };
        CommandJson {
            id: row.entry.to_string(),
            name,
            args,
            not_after,
            given_by: row.given_by,
            given_at: at(row.given_at),
            outcome: row.outcome,
            text: row.text,
            reported_at: at(row.reported_at),
        }
    }
}
