//! `/restore`: what came back since the hub came back older, journal by journal.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::tz::TimeZone;
use waystation_protocol::chain::SeqRange;
use waystation_protocol::site::Sites;

use super::text::grouped;
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::store::{AwaitedStream, Cause, RestoreReport};
use crate::view;

#[derive(Template)]
#[template(path = "restore.html")]
struct RestorePage {
    t: Lang,
    shell: Shell,
    /// What there is to say; none if the hub never came back older.
    told: Option<Told>,
}

struct Told {
    words: Vec<Word>,
    awaited: Vec<String>,
    rows: Vec<Row>,
}

struct Word {
    label: &'static str,
    value: String,
}

struct Row {
    site: String,
    agent: String,
    stream: String,
    from: String,
    had: String,
    came_back: String,
    missing: Option<String>,
    lost: Option<String>,
}

/// The page.
pub async fn restore(State(app): State<App>, visitor: Visitor) -> Result<Response, Trouble> {
    let report = app.ask(|store| store.restore_report()).await.map_err(|problem| visitor.trouble(problem))?;
    let t = visitor.lang;
    let page = RestorePage { t, shell: visitor.shell("board"), told: report.map(|report| told(t, &report)) };
    Ok(visitor.render(&page))
}

/// The state in a word, for the board; none where there is nothing to know.
pub(super) fn state(t: Lang, report: Option<&RestoreReport>) -> Option<&'static str> {
    let report = report.filter(|report| !report.is_whole())?;
    Some(if report.is_open() { t.restore_open() } else { t.restore_lost() })
}

fn told(t: Lang, report: &RestoreReport) -> Told {
    let minute = |at| view::minute(at, &TimeZone::UTC) + " UTC";
    let cause = match report.cause {
        Cause::Restored => t.cause_restored(),
        Cause::Copied => t.cause_copied(),
        Cause::Agent => t.cause_agent(),
    };
    let word = state(t, Some(report)).unwrap_or(t.restore_whole());
    let mut words = vec![
        Word { label: t.state(), value: word.to_owned() },
        Word { label: t.cause(), value: cause.to_owned() },
        Word { label: t.since(), value: minute(report.at) },
    ];
    if let Some((folder, at)) = &report.backup {
        words.push(Word { label: t.backup(), value: format!("{folder} ({})", minute(*at)) });
    }
    if let Some(ending) = report.ending.as_ref().filter(|ending| ending.is_release) {
        let (by, why) = (ending.by.as_deref().unwrap_or("–"), ending.why.as_deref().unwrap_or("–"));
        words.push(Word { label: t.released_by(), value: format!("{by}: {why} ({})", minute(ending.at)) });
    }
    let awaited = report.agents.iter().filter(|agent| agent.greeted_at.is_none());
    Told {
        words,
        awaited: awaited.map(|agent| format!("{} ({})", names(t, &agent.sites), agent.agent)).collect(),
        rows: report.streams.iter().map(|stream| row(t, stream, report.is_released())).collect(),
    }
}

fn row(t: Lang, stream: &AwaitedStream, is_released: bool) -> Row {
    let range = |range: SeqRange| format!("{}–{}", range.first, range.last);
    Row {
        site: names(t, &stream.sites),
        agent: stream.agent.to_string(),
        stream: stream.stream.to_string(),
        from: grouped(stream.from.0.into()),
        had: grouped(stream.had.0.into()),
        came_back: grouped(stream.came_back().into()),
        missing: stream.missing(is_released).map(range),
        lost: stream.lost(is_released).map(range),
    }
}

fn names(t: Lang, sites: &Sites) -> String {
    match sites {
        Sites::All => t.any().to_owned(),
        Sites::Only(sites) => sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
