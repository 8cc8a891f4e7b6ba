//! The pages for people: rendered on the server, in Chinese and English, usable without JavaScript.
//!
//! Whatever is shown is escaped by the templates. Nothing inline: one stylesheet, one script, both our own.

mod assets;
mod basis;
mod board;
mod chart;
mod documents;
mod journals;
mod lang;
mod quarantine;
mod reports;
mod restore;
mod shape;
mod text;

use std::convert::Infallible;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::api::problem::Problem;

pub use assets::asset;
pub use basis::basis;
pub use board::{board, board_events};
pub use documents::{document, documents};
pub use journals::journals;
pub use lang::Lang;
pub use quarantine::{ResolveForm, quarantine, quarantine_case, resolve};
pub use reports::{report, reports};
pub use restore::restore;

/// Who asks for a page: their language, and the address they asked for.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Their language.
    pub lang: Lang,
    /// The query without `lang`.
    pub pairs: Vec<(String, String)>,
    path: String,
    is_switching: bool,
}

/// What stands around every page.
pub(crate) struct Shell {
    here: &'static str,
    switch: String,
    other: &'static str,
}

/// A page could not be made; the visitor is told why in their language.
pub struct Trouble {
    visitor: Visitor,
    problem: Problem,
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    t: Lang,
    shell: Shell,
    title: &'static str,
    about: String,
}

impl Visitor {
    fn new(path: &str, query: &str, headers: &HeaderMap) -> Visitor {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let all = form_urlencoded::parse(query.as_bytes()).into_owned();
        let (switches, pairs): (Vec<_>, Vec<_>) = all.partition(|(name, _)| name == "lang");
        let asked = switches.last().map(|(_, value)| value.as_str());
        let lang = Lang::choose(asked, header(header::COOKIE), header(header::ACCEPT_LANGUAGE));
        let is_switching = asked.and_then(Lang::of_tag).is_some();
        Visitor { lang, pairs, path: path.to_owned(), is_switching }
    }

    /// The value of a parameter, if it is given and not empty.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.trim().is_empty())
    }

    /// This address with other parameters.
    #[must_use]
    pub fn address<'a>(&self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }

    pub(crate) fn shell(&self, here: &'static str) -> Shell {
        let other = self.lang.other().code();
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Shell { here, switch: self.address(pairs.chain([("lang", other)])), other }
    }

    /// The page, in the visitor's language; a language just chosen is remembered.
    pub(crate) fn render(&self, page: &impl Template) -> Response {
        self.render_as(StatusCode::OK, page)
    }

    fn render_as(&self, status: StatusCode, page: &impl Template) -> Response {
        let html = match page.render() {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(%error, "a page could not be rendered");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        };
        let mut response = (status, Html(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(self.lang.code()));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Language, Cookie"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.is_switching {
            let cookie =
                format!("{}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", lang::COOKIE, self.lang.code());
            let cookie = HeaderValue::from_str(&cookie).expect("a cookie of our own words is a header");
            headers.insert(header::SET_COOKIE, cookie);
        }
        response
    }

    pub(crate) fn trouble(&self, problem: impl Into<Problem>) -> Trouble {
        Trouble { visitor: self.clone(), problem: problem.into() }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Infallible> {
        Ok(Visitor::new(parts.uri.path(), parts.uri.query().unwrap_or_default(), &parts.headers))
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (t, status) = (self.visitor.lang, self.problem.status());
        let (title, about) = match status {
            StatusCode::NOT_FOUND => (t.not_found(), t.not_found_about().to_owned()),
            StatusCode::BAD_REQUEST => (t.bad_request(), self.problem.detail),
            StatusCode::INSUFFICIENT_STORAGE => (t.disk_full(), t.disk_full_about().to_owned()),
            _ => (t.failed(), self.problem.detail),
        };
        self.visitor.render_as(status, &TroublePage { t, shell: self.visitor.shell(""), title, about })
    }
}

/// What stands at an address nobody serves: a page for people, a problem for programs.
pub async fn nowhere(visitor: Visitor) -> Response {
    let problem = Problem::not_found(format!("nothing is served at {}", visitor.path));
    if visitor.path.starts_with("/api/") { problem.into_response() } else { visitor.trouble(problem).into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_switch_keeps_the_question() {
        let visitor = Visitor::new("/documents", "q=%E5%9F%8E%26&lang=en&kind=survey", &HeaderMap::new());
        assert_eq!(visitor.lang, Lang::En);
        assert_eq!(visitor.parameter("q"), Some("城&"));
        assert_eq!(visitor.shell("").switch, "/documents?q=%E5%9F%8E%26&kind=survey&lang=zh-CN");
    }
}
