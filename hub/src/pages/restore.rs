//! `/restore`: what came back since the hub came back older, journal by journal.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::tz::TimeZone;
use waystation_protocol::chain::SeqRange;
use waystation_protocol::form::local_minute;
use waystation_protocol::site::Sites;

use super::text::grouped;
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::store::{AwaitedAgent, AwaitedStream, Cause, Owed, RestoreReport};

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
    awaited: Vec<Word>,
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
    let minute = |at| local_minute(at, &TimeZone::UTC) + " UTC";
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
    if report.own_forgotten > 0 {
        let value = format!("{} ({})", grouped(report.own_forgotten.into()), t.own_forgotten_about());
        words.push(Word { label: t.own_forgotten(), value });
    }
    Told {
        words,
        awaited: report.agents.iter().flat_map(|agent| awaited(t, agent)).collect(),
        rows: report.streams.iter().map(|stream| row(t, stream, report.is_released())).collect(),
    }
}

/// What an agent still owes, and what it cannot bring back.
fn awaited(t: Lang, agent: &AwaitedAgent) -> Vec<Word> {
    let who = format!("{} ({})", names(t, &agent.sites), agent.agent);
    let owed = agent.owed().map(|owed| match owed {
        Owed::Hello => t.awaited_agent(),
        Owed::Downward => t.awaited_return(),
        Owed::Release => t.awaited_release(),
    });
    let lost =
        agent.lost.iter().map(|lost| Word { label: t.lost_downward(), value: format!("{who}: {}", range(*lost)) });
    owed.map(|label| Word { label, value: who.clone() }).into_iter().chain(lost).collect()
}

fn range(range: SeqRange) -> String {
    format!("{}–{}", range.first, range.last)
}

fn row(t: Lang, stream: &AwaitedStream, is_released: bool) -> Row {
    let lost: Vec<String> = stream.lost(is_released).into_iter().map(range).collect();
    Row {
        site: names(t, &stream.sites),
        agent: stream.agent.to_string(),
        stream: stream.stream.to_string(),
        from: grouped(stream.from.0.into()),
        had: grouped(stream.had.0.into()),
        came_back: grouped(stream.came_back().into()),
        missing: stream.missing(is_released).map(range),
        lost: (!lost.is_empty()).then(|| lost.join(", ")),
    }
}

fn names(t: Lang, sites: &Sites) -> String {
    match sites {
        Sites::All => t.any().to_owned(),
        Sites::Only(sites) => sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
