//! The status page: whether the outlet is connected, what waits, what is stored, and the last documents.
//!
//! It works without JavaScript; with it, the page renews itself in place. Nothing is inline, so the content security
//! policy can forbid that. The terminal's forms come with a later version.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use waystation_protocol::document::Document;
use waystation_protocol::kind::{self, notice};
use waystation_protocol::site::{SiteId, Sites};

use crate::api::routes::blocking;
use crate::api::work::Query as ListQuery;
use crate::api::{Fault, Shared};
use crate::lang::Lang;
use crate::link::{BUILD, LinkState};
use waystation_protocol::form;

const RECENT: usize = 12;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    lang: Lang,
    title: String,
    is_online: bool,
    connection: &'static str,
    explanation: String,
    problem: Option<String>,
    unsent: u64,
    oldest: String,
    stored: u64,
    captured: u64,
    disk_free: String,
    switch: Option<bool>,
    rows: Vec<Row>,
    aside: Vec<Aside>,
    notices: Vec<News>,
    agent: String,
    build: &'static str,
    now: String,
}

struct Row {
    number: String,
    kind: &'static str,
    state: String,
    site: String,
    changed_at: String,
    /// The name of its badge, and what that says.
    place: &'static str,
    whereabouts: &'static str,
}

/// An entry set aside.
struct Aside {
    number: String,
    act: String,
    author: String,
    at: String,
    reason: String,
}

/// A notice of the hub's.
struct News {
    id: String,
    title: String,
    text: String,
    at: String,
    is_read: bool,
}

/// Which language a visitor asks for.
#[derive(Debug, Deserialize)]
pub struct Asked {
    lang: Option<String>,
}

/// `GET /`
pub async fn show(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let chosen = asked.lang.as_deref().and_then(language);
    let lang = chosen.unwrap_or_else(|| preferred(&headers));
    let html = blocking(&shared, move |shared| render(shared, lang)).await?;
    let mut response = Html(html).into_response();
    if chosen.is_some() {
        let cookie = format!("lang={}; Path=/; Max-Age=31536000; SameSite=Lax", lang.pick("zh-CN", "en"));
        if let Ok(cookie) = cookie.parse() {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    Ok(response)
}

/// `GET /assets/style.css`
pub async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../templates/style.css")).into_response()
}

/// `GET /assets/status.js`
pub async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../templates/status.js")).into_response()
}

fn render(shared: &Shared, lang: Lang) -> Result<String, Fault> {
    let (work, link) = (&shared.work, shared.link.snapshot());
    let identity = work.store.identity();
    let backlog = work.store.backlog();
    let now = work.clock.now();
    let documents = work.page(ListQuery { limit: Some(RECENT), ..ListQuery::default() })?;
    let rows: Result<Vec<Row>, Fault> = documents.items.iter().map(|document| row(shared, document, lang)).collect();
    let (connection, explanation) = connection(&link, lang);
    let page = StatusPage {
        lang,
        title: site_names(&identity.sites, lang),
        is_online: link.is_open,
        connection,
        explanation,
        problem: work.problem(&link).map(|problem| lang.pick(&problem.zh, &problem.en).to_owned()),
        unsent: backlog.entries,
        oldest: backlog.oldest_at.map_or_else(String::new, |at| age((now.0 - at.0).max(0) / 1000, lang)),
        stored: work.store.stored().seq.0,
        captured: work.store.head().seq.0,
        disk_free: size(work.store.disk_free()?),
        switch: shared.switch.as_ref().map(|switch| switch.is_plugged()),
        rows: rows?,
        aside: aside(shared, lang)?,
        notices: news(shared)?,
        agent: identity.agent.to_string(),
        build: BUILD,
        now: work.clock.now().civil(&work.zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    };
    page.render().map_err(|error| Fault::bad_request(error.to_string()))
}

fn row(shared: &Shared, document: &Document, lang: Lang) -> Result<Row, Fault> {
    let kind = kind::find(&document.kind);
    let state = kind.and_then(|kind| kind.state(&document.state));
    let whereabouts = shared.work.store.whereabouts(document.id)?;
    Ok(Row {
        number: document.number().map_or_else(|| document.id.to_string(), str::to_owned),
        kind: kind.map_or("?", |kind| lang.pick(kind.zh, kind.en)),
        state: state.map_or_else(|| document.state.clone(), |state| lang.pick(state.zh, state.en).to_owned()),
        site: document.site.to_string(),
        changed_at: form::local_minute(document.changed_at, &shared.work.zone),
        place: whereabouts.name(),
        whereabouts: lang.pick(whereabouts.zh(), whereabouts.en()),
    })
}

/// What people at the outlet should see: the hub did not take it as it was captured.
fn aside(shared: &Shared, lang: Lang) -> Result<Vec<Aside>, Fault> {
    let store = &shared.work.store;
    let mut rows = Vec::new();
    for id in store.documents_set_aside()?.into_iter().take(RECENT) {
        let document = store.document(id)?;
        let number =
            document.as_ref().and_then(|document| document.number()).map_or_else(|| id.to_string(), str::to_owned);
        let entries = store.set_aside(id)?;
        rows.extend(entries.into_iter().filter(|aside| aside.is_in_the_way()).map(|aside| Aside {
            number: number.clone(),
            act: aside.act,
            author: aside.author,
            at: form::local_minute(aside.at, &shared.work.zone),
            reason: lang.pick(&aside.zh, &aside.en).to_owned(),
        }));
    }
    Ok(rows)
}

fn news(shared: &Shared) -> Result<Vec<News>, Fault> {
    let notices = shared.work.current_notices()?.into_iter().take(RECENT);
    let news = notices.map(|(document, is_read)| News {
        id: document.id.to_string(),
        title: document.get(notice::TITLE).unwrap_or_default().to_owned(),
        text: document.get(notice::BODY).unwrap_or_default().to_owned(),
        at: form::local_minute(document.opened_at, &shared.work.zone),
        is_read,
    });
    Ok(news.collect())
}

fn connection(link: &LinkState, lang: Lang) -> (&'static str, String) {
    if !link.is_configured {
        let why = lang
            .pick("未设置中心地址；录入照常保存在本机。", "No hub is configured; captures are kept on this machine.");
        return (lang.pick("单机", "Stand-alone"), why.to_owned());
    }
    if !link.is_plugged {
        let why = lang.pick(
            "网线已拔下（演示开关）；录入照常保存在本机。",
            "The plug is pulled; captures are kept on this machine.",
        );
        return (lang.pick("网络已断开", "Network unplugged"), why.to_owned());
    }
    if link.is_open {
        let why = lang.pick("录入会立即送达中心。", "Captures reach the hub at once.");
        return (lang.pick("已连接中心", "Connected to the hub"), why.to_owned());
    }
    if link.is_connected {
        let why = lang.pick("已连上网络，正在等待中心应答。", "The network is up; the hub has not answered yet.");
        return (lang.pick("等待中心", "Waiting for the hub"), why.to_owned());
    }
    let kept = lang
        .pick("录入照常保存在本机，恢复后自动送出。", "Captures are kept on this machine and sent once it is back.");
    let why = link.last_error.as_ref().map_or_else(|| kept.to_owned(), |error| format!("{kept} ({error})"));
    (lang.pick("未连接", "Not connected"), why)
}

fn site_names(sites: &Sites, lang: Lang) -> String {
    match sites {
        Sites::All => lang.pick("所有网点", "All sites").to_owned(),
        Sites::Only(sites) => sites.iter().map(SiteId::as_str).collect::<Vec<_>>().join(lang.pick("、", ", ")),
    }
}

fn age(seconds: i64, lang: Lang) -> String {
    let (number, unit) = match seconds {
        0..120 => (seconds, lang.pick("秒", "s")),
        120..7200 => (seconds / 60, lang.pick("分钟", "min")),
        7200..172_800 => (seconds / 3600, lang.pick("小时", "h")),
        _ => (seconds / 86_400, lang.pick("天", "days")),
    };
    format!("{number} {unit}")
}

fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;
    if bytes >= 10 * GIB { format!("{} GiB", bytes / GIB) } else { format!("{} MiB", bytes / MIB) }
}

fn language(name: &str) -> Option<Lang> {
    let name = name.trim().to_ascii_lowercase();
    match name.split(['-', ';', ',']).next() {
        Some("zh") => Some(Lang::Zh),
        Some("en") => Some(Lang::En),
        Some(_) | None => None,
    }
}

/// The cookie's language, else the browser's first one we have, else Chinese.
fn preferred(headers: &HeaderMap) -> Lang {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cookie = text(header::COOKIE).split(';').find_map(|pair| language(pair.trim().strip_prefix("lang=")?));
    cookie.or_else(|| text(header::ACCEPT_LANGUAGE).split(',').find_map(language)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_counts_before_the_browser_and_chinese_is_the_default() {
        for (cookie, accepted, expected) in [
            ("", "", Lang::Zh),
            ("", "en-GB,en;q=0.9,zh;q=0.8", Lang::En),
            ("", "fr, de;q=0.7, zh-TW;q=0.2", Lang::Zh),
            ("a=b; lang=en", "zh-CN", Lang::En),
            ("lang=xx", "en", Lang::En),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.parse().unwrap());
            headers.insert(header::ACCEPT_LANGUAGE, accepted.parse().unwrap());
            assert_eq!(preferred(&headers), expected, "{cookie:?} {accepted:?}");
        }
    }

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in [(5, "5 s"), (119, "119 s"), (600, "10 min"), (10_000, "2 h"), (200_000, "2 days")] {
            assert_eq!(age(seconds, Lang::En), expected);
        }
    }
}
