//! `/`: the sync board, and its rows as they change.

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio_stream::Stream;
use waystation_protocol::form::local_minute;
use waystation_protocol::time::Timestamp;

use super::journals::ranges_text;
use super::text::{age, ago, grouped};
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::api::problem::Problem;
use crate::board::{self, Site};
use crate::{clock, events};

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    t: Lang,
    shell: Shell,
    tallies: Vec<Tally>,
    documents: String,
    /// What to know of the hub's coming back older.
    restore: Option<&'static str>,
    /// What is left of a disk that is short of room.
    room_left: Option<String>,
    rows: Vec<Row>,
}

struct Tally {
    state: &'static str,
    word: &'static str,
    count: usize,
}

#[derive(Template)]
#[template(path = "board_row.html")]
struct RowFragment {
    t: Lang,
    row: Row,
}

/// A row's words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    site: String,
    name: String,
    state: &'static str,
    word: &'static str,
    is_cut: bool,
    backlog: String,
    has_backlog: bool,
    oldest: String,
    contact: String,
    contact_exact: String,
    head: String,
    stored: String,
    processed: String,
    quarantined: u64,
    parked: u64,
    documents: u64,
    address: String,
    /// What of it is set aside.
    aside: String,
    /// Its journals.
    journals: String,
    /// Lost ranges, as people read them; empty where nothing is lost.
    lost: String,
    /// What was announced and is not here.
    absent: String,
    is_doubled: bool,
}

/// A row for the script: where it goes, and what it looks like.
#[derive(Serialize)]
struct Change {
    site: String,
    html: String,
}

const fn word(t: Lang, state: board::State) -> &'static str {
    match state {
        board::State::Online => t.online(),
        board::State::Late => t.late(),
        board::State::Silent => t.silent(),
        board::State::Never => t.never(),
    }
}

/// The word for a state's wire name.
pub(super) fn word_of(t: Lang, name: &str) -> &str {
    board::State::ALL.iter().find(|state| state.name() == name).map_or(name, |state| word(t, *state))
}

fn row(t: Lang, site: &Site, now: Timestamp) -> Row {
    let since = |at: Timestamp| u64::try_from(now.0 - at.0).unwrap_or(0);
    let nothing = "–".to_owned();
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("site", site.site.as_str()).finish();
    let is_alive = matches!(site.state, board::State::Online | board::State::Late);
    Row {
        site: site.site.to_string(),
        name: site.name.clone(),
        state: site.state.name(),
        word: word(t, site.state),
        is_cut: is_alive && !site.session_open,
        backlog: grouped(site.backlog.into()),
        has_backlog: site.backlog > 0,
        oldest: if site.backlog > 0 { age(t, site.oldest_unsent_ms) } else { nothing.clone() },
        contact: site.last_seen.map_or(nothing, |at| ago(t, since(at))),
        contact_exact: site.last_seen.map_or_else(String::new, |at| local_minute(at, &site.zone)),
        head: grouped(site.head_seq.into()),
        stored: grouped(site.stored_seq.into()),
        processed: grouped(site.processed_seq.into()),
        quarantined: site.quarantined,
        parked: site.parked,
        documents: site.documents,
        address: format!("/documents?{query}"),
        aside: format!("/quarantine?{query}"),
        journals: format!("/journals?{query}"),
        lost: ranges_text(&site.lost),
        absent: ranges_text(&site.absent),
        is_doubled: site.is_doubled,
    }
}

/// The board.
pub async fn board(State(app): State<App>, visitor: Visitor) -> Result<Response, Trouble> {
    let (t, now) = (visitor.lang, clock::now());
    let sites = app.ask(move |store| Ok::<_, Problem>(board::sites(&store.sites()?, &store.agents()?, now))).await;
    let sites = sites.map_err(|problem| visitor.trouble(problem))?;
    let report = app.ask(|store| store.restore_report()).await.map_err(|problem| visitor.trouble(problem))?;
    let room = app.ask(|store| store.room()).await.map_err(|problem| visitor.trouble(problem))?;
    let tallies = board::State::ALL.iter().map(|state| Tally {
        state: state.name(),
        word: word(t, *state),
        count: sites.iter().filter(|site| site.state == *state).count(),
    });
    let page = BoardPage {
        t,
        shell: visitor.shell("board"),
        tallies: tallies.collect(),
        documents: sites.iter().map(|site| site.documents).sum::<u64>().to_string(),
        restore: super::restore::state(t, report.as_ref()),
        room_left: room.is_short().then(|| format!("{} MiB", grouped((room.free >> 20).into()))),
        rows: sites.iter().map(|site| row(t, site, now)).collect(),
    };
    Ok(visitor.render(&page))
}

/// The board's rows as they change: events named `sites`, each an array of rows as HTML.
pub async fn board_events(State(app): State<App>, visitor: Visitor) -> Response {
    sse(&app, visitor.lang).into_response()
}

fn sse(app: &App, t: Lang) -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>> + use<>> {
    let words = move |site: &Site| row(t, site, clock::now());
    events::changes(app, words, move |event, rows| {
        let changes: Vec<Change> = rows.into_iter().filter_map(|row| change(t, row)).collect();
        event.json_data(changes).expect("rows of plain text always encode")
    })
}

fn change(t: Lang, row: Row) -> Option<Change> {
    let site = row.site.clone();
    match (RowFragment { t, row }).render() {
        Ok(html) => Some(Change { site, html }),
        Err(error) => {
            tracing::error!(%error, "a row could not be rendered");
            None
        }
    }
}
