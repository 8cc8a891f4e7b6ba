//! What every request and response passes: no page of another site may speak to this API through the user's browser.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::fault::Fault;

/// Nothing inline, nothing from elsewhere, no framing.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Refuses foreign origins and names, and adds the security headers.
pub async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A browser states where a page came from; a rebound DNS name shows in Host.
fn check(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !host.is_empty() && !is_address(host) {
        return Err(Fault::forbidden(format!("'{host}' is not this agent's address: use its IP address or localhost")));
    }
    if let Some(origin) = text(header::ORIGIN)
        && origin.split_once("://").is_none_or(|(_, origin_host)| origin_host != host)
    {
        return Err(Fault::forbidden(format!("requests from pages of '{origin}' are refused")));
    }
    Ok(())
}

/// Whether `host` (with or without a port) is an IP address or localhost: names could be bound to us by others.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_and_addresses_pass() {
        for (host, origin, passes) in [
            ("127.0.0.1:7381", "", true),
            ("localhost", "", true),
            ("[::1]:80", "", true),
            ("192.168.1.5:80", "http://192.168.1.5:80", true),
            ("evil.example:7381", "", false),
            ("127.0.0.1:7381", "http://evil.example", false),
            ("127.0.0.1:7381", "null", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(check(&headers).is_ok(), passes, "{host} {origin}");
        }
    }
}
