//! `/quarantine`: what is set aside and why, what waits behind it, and the requests to fix, replay or waive it.
//!
//! A request is answered once the applier decided it, or with 202 where that takes longer than an asker waits.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json_, json};
use utoipa::{IntoParams, ToSchema};
use waystation_protocol::form;
use waystation_protocol::id::DocId;
use waystation_protocol::kind;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::acts::values;
use super::documents::zones;
use super::problem::Problem;
use super::{App, Params};
use crate::store::{
    Action, Ask, AskError, Case, Change, EntryPlace, QuarantineFilter, QuarantineRow, ReasonText, ResolutionRow, Store,
};

/// Rows on a page unless told otherwise.
const PAGE: usize = 50;
/// Most rows on a page.
const PAGE_MAX: usize = 500;
/// The applier decides within milliseconds, unless it is deriving everything anew; nobody waits for that.
const PATIENCE_MS: u64 = 10_000;

/// Which entries to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct QuarantineQuery {
    /// Of this site.
    pub site: Option<String>,
    /// Of this document.
    pub document: Option<String>,
    /// Set aside for this reason.
    pub code: Option<String>,
    /// `open` (set aside now) or `resolved`; open unless told otherwise.
    pub state: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// At most so many: 1 to 500, 50 unless told otherwise.
    pub limit: Option<usize>,
}

/// A sentence in both languages.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Sentence {
    #[serde(rename = "zh-CN")]
    zh: String,
    en: String,
}

/// An entry that is or was set aside.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QuarantineItem {
    /// Its place, `STREAM.SEQ`: the id of its case.
    id: String,
    /// The agent that captured it.
    agent: String,
    /// The site of its document, or the one its opening names.
    site: Option<String>,
    /// Its document; null if it could not be read.
    document: Option<String>,
    /// The reason's stable name.
    code: String,
    /// The reason for people.
    reason: Sentence,
    /// Whether it only waits for another entry or a newer build; otherwise a person must look.
    parked: bool,
    /// `open` or `resolved`.
    state: &'static str,
    /// When it reached the hub.
    since: String,
    /// When it left quarantine.
    resolved_at: Option<String>,
    /// How: released (by itself), replayed, fixed or waived.
    resolution: Option<String>,
    /// The kind its author meant; null if it could not be read.
    kind: Option<String>,
    /// The act.
    act: Option<String>,
    /// Who did it.
    author: Option<String>,
}

/// An entry with all that is known of its case.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QuarantineCase {
    #[serde(flatten)]
    item: QuarantineItem,
    /// The entry as captured; null if it could not be read.
    #[schema(value_type = Object)]
    entry: Json_,
    /// The bytes in hexadecimal, of an entry that could not be read.
    bytes: Option<String>,
    /// What waits for it: at most 200.
    behind: Vec<QuarantineItem>,
    /// What people asked for, in the order of asking.
    trail: Vec<TrailItem>,
}

/// One request, and what it came to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrailItem {
    /// Its number.
    id: i64,
    /// fix, replay or waive.
    action: String,
    /// Who asked.
    by: String,
    /// Why.
    why: String,
    /// When.
    at: String,
    /// A fix: the act and the fields that stand for the captured ones.
    #[schema(value_type = Object)]
    fix: Json_,
    /// Why the entry was set aside then.
    before: TrailReason,
    /// applied, waived, still (judged and set aside still), refused (a fix that does not pass) or moot (it had left
    /// quarantine); null until the hub came to it.
    outcome: Option<String>,
    /// Why it is still set aside, or why the request was refused.
    after: Option<TrailReason>,
}

/// A reason.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrailReason {
    /// Its stable name.
    code: String,
    /// For people.
    reason: Sentence,
}

/// A page of entries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QuarantineList {
    /// The entries, the latest first.
    items: Vec<QuarantineItem>,
    /// The next page's `cursor`; null on the last.
    next: Option<String>,
}

/// A request to replay or to waive.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskBody {
    /// Who asks.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A request to fix: what it leaves out stays as captured.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FixBody {
    /// Fields that are set to something else, or besides; values as the case shows them, null clears.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub set: Map<String, Json_>,
    /// Captured fields that were not meant to be set.
    #[serde(default)]
    pub drop: Vec<String>,
    /// Another act.
    #[serde(default)]
    pub act: Option<String>,
    /// Who asks.
    pub by: String,
    /// Why.
    pub why: String,
}

/// What a fix changes, as people and programs write it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fix {
    /// Fields that are set to something else, or besides.
    pub(crate) set: Map<String, Json_>,
    /// Captured fields that were not meant to be set.
    pub(crate) drop: Vec<String>,
    /// Another act.
    pub(crate) act: Option<String>,
}

/// A JSON body; a problem where it makes no sense.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let body = Json::<T>::from_request(request, state).await;
        body.map(|body| Body(body.0)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

impl QuarantineQuery {
    /// The store's filter. Empty values ask for nothing.
    ///
    /// # Errors
    ///
    /// A value is not what its parameter takes.
    pub fn filter(&self) -> Result<QuarantineFilter, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let site = given(&self.site).map(|site| site.parse::<SiteId>()).transpose();
        let document = given(&self.document).map(|id| id.trim().parse::<DocId>()).transpose();
        let is_resolved = match given(&self.state).as_deref() {
            None | Some("open") => false,
            Some("resolved") => true,
            Some(other) => {
                return Err(Problem::bad_request(format!("'{other}' is no state; there are open, resolved")));
            }
        };
        if self.limit == Some(0) {
            return Err(Problem::bad_request("limit is at least 1"));
        }
        Ok(QuarantineFilter {
            site: site.map_err(|error| Problem::bad_request(error.to_string()))?,
            document: document.map_err(|error| Problem::bad_request(error.to_string()))?,
            code: given(&self.code),
            is_resolved,
            cursor: given(&self.cursor),
            limit: self.limit.unwrap_or(PAGE).min(PAGE_MAX),
        })
    }
}

/// How rows become JSON: instants in their site's zone.
pub(crate) struct Told {
    zones: HashMap<SiteId, TimeZone>,
    /// For rows of no known site.
    utc: TimeZone,
}

impl Told {
    /// With the zones of all sites.
    pub(crate) fn of(store: &Store) -> Result<Told, crate::store::StoreError> {
        Ok(Told { zones: zones(store)?, utc: TimeZone::UTC })
    }

    /// The zone of a row's site.
    pub(crate) fn zone(&self, row: &QuarantineRow) -> &TimeZone {
        row.site.as_ref().and_then(|site| self.zones.get(site)).unwrap_or(&self.utc)
    }

    pub(crate) fn item(&self, row: &QuarantineRow) -> QuarantineItem {
        let at = |at: Timestamp| at.rfc3339(self.zone(row));
        let entry = row.entry.as_ref();
        QuarantineItem {
            id: row.place().to_string(),
            agent: row.agent.to_string(),
            site: row.site.as_ref().map(ToString::to_string),
            document: row.document.map(|id| id.to_string()),
            code: row.reason.code.clone(),
            reason: sentence(&row.reason),
            parked: row.is_parked,
            state: if row.resolved.is_some() { "resolved" } else { "open" },
            since: at(row.since),
            resolved_at: row.resolved.as_ref().map(|(resolved, _)| at(*resolved)),
            resolution: row.resolved.as_ref().map(|(_, word)| word.clone()),
            kind: entry.map(|entry| entry.kind.clone()),
            act: entry.map(|entry| entry.act.clone()),
            author: entry.map(|entry| entry.author.clone()),
        }
    }

    pub(crate) fn case(&self, case: &Case) -> QuarantineCase {
        let row = &case.row;
        QuarantineCase {
            item: self.item(row),
            entry: row.entry.as_ref().map_or(Json_::Null, |entry| {
                let mut json = serde_json::to_value(entry).unwrap_or_default();
                json["set"] = self.set(row, &entry.set).into();
                json
            }),
            bytes: row.entry.is_none().then(|| data_encoding::HEXLOWER.encode(&row.bytes)),
            behind: case.behind.iter().map(|row| self.item(row)).collect(),
            trail: case.trail.iter().map(|step| self.step(step, row)).collect(),
        }
    }

    /// All values of an entry as documents show them; as on the wire what does not fit its field.
    pub(crate) fn set(&self, row: &QuarantineRow, set: &BTreeMap<String, Value>) -> Map<String, Json_> {
        let kind = row.entry.as_ref().and_then(|entry| kind::find(&entry.kind));
        let zone = self.zone(row);
        set.iter().map(|(key, value)| (key.clone(), form::field_json(kind, key, value, zone))).collect()
    }

    /// What is asked for: its values are read as [`Told::set`] writes them, and what is as it stands changes nothing.
    ///
    /// # Errors
    ///
    /// Everything that is not of its field's type.
    pub(crate) fn change(&self, row: &QuarantineRow, fix: Fix) -> Result<Change, Problem> {
        let entry = row.entry.as_ref();
        let shown = entry.map(|entry| self.set(row, &entry.set)).unwrap_or_default();
        let set = fix.set.into_iter().filter(|(key, json)| shown.get(key) != Some(json)).collect();
        let kind = entry.and_then(|entry| kind::find(&entry.kind));
        Ok(Change { act: fix.act, set: values(kind, &set, self.zone(row))?, drop: fix.drop })
    }

    fn step(&self, step: &ResolutionRow, of: &QuarantineRow) -> TrailItem {
        let told = |reason: &ReasonText| TrailReason { code: reason.code.clone(), reason: sentence(reason) };
        let fix = |(act, set): &(String, BTreeMap<String, Value>)| json!({ "act": act, "set": self.set(of, set) });
        TrailItem {
            id: step.id,
            action: step.action.clone(),
            by: step.who.clone(),
            why: step.why.clone(),
            at: step.at.rfc3339(self.zone(of)),
            fix: step.fix.as_ref().map_or(Json_::Null, fix),
            before: told(&step.before),
            outcome: step.outcome.clone(),
            after: step.after.as_ref().map(told),
        }
    }
}

fn sentence(reason: &ReasonText) -> Sentence {
    Sentence { zh: reason.zh.clone(), en: reason.en.clone() }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        let detail = error.to_string();
        match error {
            AskError::Unknown(_) => Problem::not_found(detail),
            AskError::Resolved(..) => Problem::conflict(detail),
            AskError::Frozen(_) => Problem::locked(detail),
            AskError::NoName | AskError::NoReason | AskError::NoChange | AskError::TooLarge => {
                Problem::bad_request(detail)
            }
            AskError::Unreadable(_) => Problem::refused(detail),
            AskError::Store(error) => error.into(),
        }
    }
}

/// Entries set aside, the latest first.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "quarantine", params(QuarantineQuery),
    responses((status = 200, body = QuarantineList), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    State(app): State<App>,
    Params(query): Params<QuarantineQuery>,
) -> Result<Json<QuarantineList>, Problem> {
    let filter = query.filter()?;
    let (page, told) =
        app.ask(move |store| Ok::<_, Problem>((store.quarantine_page(&filter)?, Told::of(store)?))).await?;
    Ok(Json(QuarantineList { items: page.items.iter().map(|row| told.item(row)).collect(), next: page.next }))
}

/// One entry with its reason, what waits behind it, and its trail.
#[utoipa::path(get, path = "/api/v1/quarantine/{id}", tag = "quarantine",
    params(("id" = String, Path, description = "the entry's place, STREAM.SEQ")),
    responses((status = 200, body = QuarantineCase), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn case(State(app): State<App>, Path(id): Path<String>) -> Result<Json<QuarantineCase>, Problem> {
    let (case, told) = app.ask(move |store| find(store, &id)).await?;
    Ok(Json(told.case(&case)))
}

/// A case, and how it is told.
///
/// # Errors
///
/// There is no such case, or the store fails.
pub(crate) fn find(store: &Store, id: &str) -> Result<(Case, Told), Problem> {
    let missing = || Problem::not_found(format!("there is no entry '{id}' in quarantine"));
    let place = id.parse::<EntryPlace>().map_err(|_| missing())?;
    let case = store.quarantine_case(place)?.ok_or_else(missing)?;
    Ok((case, Told::of(store)?))
}

/// Other values stand for the captured ones from now on, if they pass the same judgement.
#[utoipa::path(post, path = "/api/v1/quarantine/{id}/fix", tag = "quarantine", request_body = FixBody,
    params(("id" = String, Path, description = "the entry's place, STREAM.SEQ")),
    responses((status = 200, body = QuarantineCase), (status = 202, body = QuarantineCase, description = "not decided yet"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it left quarantine"),
        (status = 422, body = Problem, description = "the fix does not pass"),
        (status = 423, body = Problem, description = "the hub came back older; the site is read-only until all is back"),
        (status = 503, body = Problem)))]
pub async fn fix(State(app): State<App>, Path(id): Path<String>, Body(body): Body<FixBody>) -> Answer {
    let fix = Fix { set: body.set, drop: body.drop, act: body.act };
    let asked = id.clone();
    let change = app
        .ask(move |store| {
            let (case, told) = find(store, &asked)?;
            told.change(&case.row, fix)
        })
        .await?;
    answer(&app, id, Ask { action: Action::Fix(change), who: body.by, why: body.why }).await
}

/// The entry is judged again as it is.
#[utoipa::path(post, path = "/api/v1/quarantine/{id}/replay", tag = "quarantine", request_body = AskBody,
    params(("id" = String, Path, description = "the entry's place, STREAM.SEQ")),
    responses((status = 200, body = QuarantineCase), (status = 202, body = QuarantineCase, description = "not decided yet"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it left quarantine"),
        (status = 423, body = Problem, description = "the hub came back older; the site is read-only until all is back"),
        (status = 503, body = Problem)))]
pub async fn replay(State(app): State<App>, Path(id): Path<String>, Body(body): Body<AskBody>) -> Answer {
    answer(&app, id, Ask { action: Action::Replay, who: body.by, why: body.why }).await
}

/// The entry is given up; what waits behind it is judged without it.
#[utoipa::path(post, path = "/api/v1/quarantine/{id}/waive", tag = "quarantine", request_body = AskBody,
    params(("id" = String, Path, description = "the entry's place, STREAM.SEQ")),
    responses((status = 200, body = QuarantineCase), (status = 202, body = QuarantineCase, description = "not decided yet"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it left quarantine"),
        (status = 423, body = Problem, description = "the hub came back older; the site is read-only until all is back"),
        (status = 503, body = Problem)))]
pub async fn waive(State(app): State<App>, Path(id): Path<String>, Body(body): Body<AskBody>) -> Answer {
    answer(&app, id, Ask { action: Action::Waive, who: body.by, why: body.why }).await
}

type Answer = Result<(StatusCode, Json<QuarantineCase>), Problem>;

async fn answer(app: &App, id: String, ask: Ask) -> Answer {
    let (is_decided, case, told) = app
        .ask(move |store| {
            let decided = request(store, &id, ask)?;
            let (case, told) = find(store, &id)?;
            Ok::<_, Problem>((decided.outcome.is_some(), case, told))
        })
        .await?;
    let status = if is_decided { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(told.case(&case))))
}

/// Asks, and waits for the answer a while. Blocks.
///
/// # Errors
///
/// The request makes no sense, the entry left quarantine, or a fix does not pass.
pub(crate) fn request(store: &Store, id: &str, ask: Ask) -> Result<ResolutionRow, Problem> {
    let place = id.parse::<EntryPlace>();
    let place = place.map_err(|_| Problem::not_found(format!("there is no entry '{id}' in quarantine")))?;
    let number = store.ask(place, ask)?;
    let decided = store.wait_decided(number, PATIENCE_MS)?;
    match (decided.outcome.as_deref(), &decided.after) {
        (Some("refused"), Some(reason)) => {
            let what = if decided.action == "fix" { "the fix does not pass" } else { "it cannot be judged" };
            Err(Problem::refused(format!("{what}: {}", reason.en)))
        }
        (Some("moot"), _) => Err(Problem::conflict(format!("entry {place} left quarantine meanwhile"))),
        _ => Ok(decided),
    }
}
