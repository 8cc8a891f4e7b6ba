//! `/healthz` (the process answers), `/readyz` (it can do its work) and `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::problem::Problem;
use crate::{clock, metrics};

/// Whether the hub can do its work, and what keeps it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Readiness {
    /// All below.
    ready: bool,
    /// Whether the store answers and no journal in it is damaged.
    store: bool,
    /// Whether the connection to the broker stands.
    broker: bool,
    /// Whether the disk has room for what agents send.
    disk: bool,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The hub can do its work.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn readyz(State(app): State<App>) -> Response {
    let store = app.ask(|store| store.damage()).await.is_ok_and(|damage| damage.is_none());
    let broker = app.is_connected();
    let disk = app.ask(|store| store.room()).await.is_ok_and(|room| !room.is_short());
    let ready = store && broker && disk;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, store, broker, disk })).into_response()
}

/// Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = Problem)))]
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let now = clock::now();
    let (is_connected, drops) = (app.is_connected(), app.drops.as_ref().map(|drops| drops()));
    let text = app.ask(move |store| metrics::text(store, is_connected, drops, now)).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
