//! The one list of what the hub serves, and what holds for every answer.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::api::problem::Problem;
use crate::api::{App, acts, documents, forms, health, journals, kinds, openapi, quarantine, reports, restore, sites};
use crate::{events, pages};

/// Nothing inline, nothing from elsewhere, in nobody's frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Everything the hub serves.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(pages::board))
        .route("/board/events", get(pages::board_events))
        .route("/restore", get(pages::restore))
        .route("/journals", get(pages::journals))
        .route("/documents", get(pages::documents))
        .route("/documents/{id}", get(pages::document))
        .route("/quarantine", get(pages::quarantine))
        .route("/quarantine/{id}", get(pages::quarantine_case).post(pages::resolve))
        .route("/reports", get(pages::reports))
        .route("/reports/{name}", get(pages::report))
        .route("/reports/{name}/documents", get(pages::basis))
        .route("/assets/{name}", get(pages::asset))
        .route("/api/v1/sites", get(sites::sites))
        .route("/api/v1/agents", get(sites::agents))
        .route("/api/v1/journals", get(journals::journals))
        .route("/api/v1/restore", get(restore::restore))
        .route("/api/v1/kinds", get(kinds::kinds))
        .route("/api/v1/documents", get(documents::documents).post(acts::open))
        .route("/api/v1/documents/{id}", get(documents::document))
        .route("/api/v1/documents/{id}/acts/{act}", post(acts::act))
        .route("/api/v1/agents/{agent}/commands", get(acts::commands).post(acts::give_command))
        .route("/api/v1/forms", get(forms::forms).post(forms::define))
        .route("/api/v1/quarantine", get(quarantine::list))
        .route("/api/v1/quarantine/{id}", get(quarantine::case))
        .route("/api/v1/quarantine/{id}/fix", post(quarantine::fix))
        .route("/api/v1/quarantine/{id}/replay", post(quarantine::replay))
        .route("/api/v1/quarantine/{id}/waive", post(quarantine::waive))
        .route("/api/v1/reports/{name}", get(reports::report))
        .route("/api/v1/reports/{name}/documents", get(reports::basis))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/openapi.json", get(openapi::openapi))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(pages::nowhere)
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// While nobody is asked who they are, a page elsewhere must not read the hub through a name that points here, nor send
/// it a form: browsers name the page's origin with whatever may change something.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let mut response = if !app.insecure && !is_local(host) {
        Problem::foreign_host(format!("'{host}' is not a name of this machine; use localhost or 127.0.0.1"))
            .into_response()
    } else if !request.method().is_safe() && origin.is_some_and(|origin| !is_own(origin, host)) {
        Problem::foreign_origin("only the hub's own pages may change anything").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether an `Origin` header names the host that was asked.
fn is_own(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host))
}

/// Whether a `Host` header names this machine's loopback.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8480", true),
            ("127.0.0.1:8480", true),
            ("[::1]:8480", true),
            ("[::1]", true),
            ("127.0.0.1.evil.example", false),
            ("evil.example:8480", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_local(host), expected, "{host}");
        }
    }
}
