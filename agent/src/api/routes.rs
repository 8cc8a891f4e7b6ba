//! The one router file: every path of the agent's HTTP side, and the thin handlers behind them.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query as UrlQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::Fault;
use super::guard::guard;
use super::work::{Change, Opening, Query, Work};
use crate::link::{LinkStatus, NetworkSwitch};
use crate::store::{ImportOutcome, ImportRow};
use crate::{metrics, page};

/// An act is at most 256 KiB encoded; its JSON may be three times that.
const BODY_BYTES: usize = 1024 * 1024;
/// A chunk of import rows: 4 MiB of cells, each byte of which JSON may escape into six, and the names of their fields.
const IMPORT_BYTES: usize = 32 * 1024 * 1024;

/// What handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The store, the clock and the zone.
    pub work: Work,
    /// The link as it stands.
    pub link: LinkStatus,
    /// The network switch, where the page may use it.
    pub switch: Option<NetworkSwitch>,
}

/// The answer of [`import`]: outcomes in the order of the rows.
#[derive(Debug, serde::Serialize, Deserialize)]
pub struct Imported {
    /// One per row.
    pub outcomes: Vec<Outcome>,
}

/// What became of an imported row.
#[derive(Debug, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It opened this document.
    Captured(String),
    /// It was imported before.
    Duplicate,
    /// What is wrong with it.
    Refused(Vec<super::fault::Wrong>),
}

#[derive(Debug, Deserialize)]
struct Rows {
    rows: Vec<ImportRow>,
}

#[derive(Debug, Deserialize)]
struct Plug {
    plugged: bool,
}

/// Every path.
pub fn router(shared: Shared) -> Router {
    // A rehearsal has a path of its own: an older agent that still runs refuses it, and would capture a flagged import.
    let imports = Router::new()
        .route("/api/v1/imports", post(import))
        .route("/api/v1/imports/rehearsal", post(rehearse))
        .layer(DefaultBodyLimit::max(IMPORT_BYTES));
    Router::new()
        .route("/", get(page::show))
        .route("/assets/style.css", get(page::style))
        .route("/assets/status.js", get(page::script))
        .route("/network", post(network))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics::show))
        .route("/api/v1/status", get(status))
        .route("/api/v1/documents", get(list).post(open))
        .route("/api/v1/documents/{id}", get(show).patch(draft_change))
        .route("/api/v1/documents/{id}/acts/{act}", post(act))
        .route("/api/v1/drafts", get(drafts))
        .route("/api/v1/drafts/{id}", delete(drop_draft))
        .route("/api/v1/lookup", get(lookup))
        .route("/api/v1/salvage", delete(dismiss_salvage))
        .route("/api/v1/aside", get(aside))
        .route("/api/v1/forms", get(forms))
        .route("/notices/{id}/read", post(acknowledge))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .merge(imports)
        .fallback(async || Fault::not_found("there is nothing at this path"))
        .layer(middleware::from_fn(guard))
        .with_state(Arc::new(shared))
}

/// Runs a blocking call of the store away from the server's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    call: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || call(&shared)).await.unwrap_or_else(|_| Err(Fault::interrupted()))
}

async fn health(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Fault> {
    let agent = blocking(&shared, |shared| Ok(shared.work.store.identity().agent)).await?;
    Ok(Json(json!({ "ok": true, "agent": agent })))
}

async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Fault> {
    blocking(&shared, |shared| shared.work.status(&shared.link.snapshot())).await.map(Json)
}

async fn list(State(shared): State<Arc<Shared>>, UrlQuery(query): UrlQuery<Query>) -> Result<Json<Value>, Fault> {
    blocking(&shared, |shared| shared.work.list(query)).await.map(Json)
}

#[derive(Debug, Default, Deserialize)]
struct DraftQuery {
    draft: Option<String>,
}

async fn open(
    State(shared): State<Arc<Shared>>,
    UrlQuery(query): UrlQuery<DraftQuery>,
    headers: HeaderMap,
    Body(mut opening): Body<Opening>,
) -> Result<(StatusCode, Json<Value>), Fault> {
    opening.author = named_author(opening.author, &headers);
    let is_draft = query.draft.is_some_and(|draft| draft != "0");
    let answer =
        blocking(
            &shared,
            move |shared| {
                if is_draft { shared.work.draft_opening(opening) } else { shared.work.open(opening) }
            },
        );
    Ok((StatusCode::CREATED, Json(answer.await?)))
}

async fn act(
    State(shared): State<Arc<Shared>>,
    Path((id, act)): Path<(String, String)>,
    headers: HeaderMap,
    Body(mut change): Body<Change>,
) -> Result<Json<Value>, Fault> {
    change.author = named_author(change.author, &headers);
    blocking(&shared, move |shared| shared.work.act(&id, &act, change)).await.map(Json)
}

async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Json<Value>, Fault> {
    blocking(&shared, move |shared| shared.work.show(&id)).await.map(Json)
}

async fn draft_change(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(mut change): Body<Change>,
) -> Result<Json<Value>, Fault> {
    change.author = named_author(change.author, &headers);
    blocking(&shared, move |shared| shared.work.draft_change(&id, change)).await.map(Json)
}

async fn drafts(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Fault> {
    blocking(&shared, |shared| shared.work.drafts()).await.map(Json)
}

async fn drop_draft(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<StatusCode, Fault> {
    blocking(&shared, move |shared| shared.work.drop_draft(&id)).await.map(|()| StatusCode::NO_CONTENT)
}

async fn lookup(State(shared): State<Arc<Shared>>, UrlQuery(query): UrlQuery<Query>) -> Result<Json<Value>, Fault> {
    let words = query.q.unwrap_or_default();
    blocking(&shared, move |shared| shared.work.lookup(&words)).await.map(Json)
}

async fn dismiss_salvage(State(shared): State<Arc<Shared>>) -> Result<StatusCode, Fault> {
    blocking(&shared, |shared| shared.work.dismiss_salvage()).await.map(|()| StatusCode::NO_CONTENT)
}

async fn aside(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Fault> {
    blocking(&shared, |shared| shared.work.set_aside()).await.map(Json)
}

async fn forms(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Fault> {
    blocking(&shared, |shared| shared.work.definitions()).await.map(Json)
}

/// A button of the page, which is then shown again. Programs remark on the document.
async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Redirect, Fault> {
    let author = named_author(None, &headers);
    blocking(&shared, move |shared| shared.work.acknowledge(&id, author)).await?;
    Ok(Redirect::to("/"))
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json")
}

async fn import(State(shared): State<Arc<Shared>>, Body(body): Body<Rows>) -> Result<Json<Imported>, Fault> {
    let outcomes = blocking(&shared, move |shared| shared.work.import(body.rows)).await?;
    Ok(Json(Imported { outcomes: outcomes.into_iter().map(Outcome::from).collect() }))
}

async fn rehearse(State(shared): State<Arc<Shared>>, Body(body): Body<Rows>) -> Result<Json<Imported>, Fault> {
    let outcomes = blocking(&shared, move |shared| shared.work.rehearse(body.rows)).await?;
    Ok(Json(Imported { outcomes: outcomes.into_iter().map(Outcome::from).collect() }))
}

/// Takes JSON from programs, and a form from the page, which is then shown again.
async fn network(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Fault> {
    let Some(switch) = shared.switch.clone() else {
        return Err(Fault::not_found("this agent has no network switch"));
    };
    let is_json = is_json(&request);
    let plug = if is_json {
        let Body(plug) = Body::<Plug>::from_request(request, &()).await?;
        plug
    } else {
        let form = axum::Form::<Plug>::from_request(request, &()).await;
        form.map_err(|rejection| Fault::bad_request(rejection.body_text()))?.0
    };
    switch.set(plug.plugged);
    Ok(if is_json {
        Json(json!({ "plugged": plug.plugged })).into_response()
    } else {
        Redirect::to("/").into_response()
    })
}

/// The author a request names: in its body, else in its header.
fn named_author(stated: Option<String>, headers: &HeaderMap) -> Option<String> {
    let header = || headers.get("x-author").and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
    stated.or_else(|| header().map(str::to_owned))
}

/// A JSON body; what is wrong with it is told as problem+json.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Fault> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Fault::too_large()),
            Err(rejection) => Err(Fault::bad_request(rejection.body_text())),
        }
    }
}

impl From<ImportOutcome> for Outcome {
    fn from(outcome: ImportOutcome) -> Outcome {
        match outcome {
            ImportOutcome::Captured(id) => Outcome::Captured(id.to_string()),
            ImportOutcome::Duplicate => Outcome::Duplicate,
            ImportOutcome::Refused(problems) => Outcome::Refused(Fault::problems(problems).problems),
        }
    }
}
