//! `GET /openapi.json`: the API's description, gathered from the handlers.

use axum::Json;
use utoipa::OpenApi;

use super::{acts, documents, forms, health, journals, kinds, quarantine, reports, restore, sites};
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
        acts::open,
        acts::act,
        acts::commands,
        acts::give_command,
        forms::forms,
        forms::define,
        quarantine::list,
        quarantine::case,
        quarantine::fix,
        quarantine::replay,
        quarantine::waive,
        reports::report,
        reports::basis,
        restore::restore,
        journals::journals,
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

/// The paths described that can be read.
#[cfg(test)]
pub(crate) fn paths() -> Vec<String> {
    let paths = Description::openapi().paths.paths;
    paths.iter().filter(|(_, item)| item.get.is_some()).map(|(path, _)| path.clone()).collect()
}
