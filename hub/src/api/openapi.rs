//! `GET /openapi.json`: the API's description, gathered from the handlers.

use axum::Json;
use utoipa::OpenApi;

use super::{documents, health, kinds, reports, restore, sites};
use crate::events;

#[derive(OpenApi)]
#[openapi(
    info(title = "Waystation hub", description = "What outlets captured, as the hub has it."),
    paths(
        sites::sites,
        sites::agents,
        kinds::kinds,
        documents::documents,
        documents::document,
        reports::report,
        reports::basis,
        restore::restore,
        events::events,
        health::healthz,
        health::readyz,
        health::metrics
    )
)]
struct Description;

/// The description.
pub async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

/// The paths described.
#[cfg(test)]
pub(crate) fn paths() -> Vec<String> {
    Description::openapi().paths.paths.keys().cloned().collect()
}
