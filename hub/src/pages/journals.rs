//! `/journals`: the journals of a site's agents, branch by branch, with what is lost of them.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::tz::TimeZone;
use waystation_protocol::chain::{Seq, SeqRange};
use waystation_protocol::form::local_minute;

use super::text::grouped;
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::api::problem::Problem;
use crate::board;
use crate::store::{AgentRow, ClockStepRow, JournalRow, Store};

#[derive(Template)]
#[template(path = "journals.html")]
struct JournalsPage {
    t: Lang,
    shell: Shell,
    site: Option<String>,
    rows: Vec<Row>,
}

struct Row {
    agent: String,
    is_doubled: bool,
    clock: String,
    stream: String,
    is_current: bool,
    parent: String,
    head: String,
    stored: String,
    processed: String,
    lost: String,
    absent: String,
}

/// The page; of one site where the query names it.
pub async fn journals(State(app): State<App>, visitor: Visitor) -> Result<Response, Trouble> {
    let site = visitor.parameter("site").map(str::to_owned);
    let named = site.clone();
    let rows = app.ask(move |store| rows(store, named.as_deref())).await;
    let rows = rows.map_err(|problem| visitor.trouble(problem))?;
    let page = JournalsPage { t: visitor.lang, shell: visitor.shell("board"), site, rows };
    Ok(visitor.render(&page))
}

fn rows(store: &Store, site: Option<&str>) -> Result<Vec<Row>, Problem> {
    let (agents, sites) = (store.agents()?, store.sites()?);
    let mut shown: Vec<&AgentRow> = match site {
        Some(name) => {
            let of_site = sites.iter().filter(|site| site.site.as_str() == name);
            of_site.flat_map(|site| board::agents_of(site, &agents)).collect()
        }
        None => agents.iter().collect(),
    };
    shown.dedup_by_key(|agent| agent.agent);
    let journals = store.journals()?;
    let of = |agent: &AgentRow| {
        let own = journals.iter().filter(|journal| journal.agent == agent.agent);
        own.map(|journal| row(agent, journal)).collect::<Vec<_>>()
    };
    Ok(shown.into_iter().flat_map(of).collect())
}

fn row(agent: &AgentRow, journal: &JournalRow) -> Row {
    let open: Vec<SeqRange> = journal.lost.iter().filter_map(|range| range.open).collect();
    let absent = journal.absent.map(|absent| match absent.first {
        Some(first) => range_text(SeqRange { first, last: absent.last }),
        None => format!("… {}", absent.last),
    });
    Row {
        agent: agent.agent.to_string(),
        is_doubled: agent.is_doubled,
        clock: agent.last_clock_step.map_or_else(String::new, |step| clock_text(agent.clock_steps, step)),
        stream: journal.stream.to_string(),
        is_current: journal.is_current,
        parent: journal.parent.map_or_else(nothing, |(parent, seq)| format!("{parent} @ {seq}")),
        head: number(journal.head),
        stored: number(journal.stored),
        processed: number(journal.processed),
        lost: if open.is_empty() { nothing() } else { ranges_text(&open) },
        absent: absent.unwrap_or_else(nothing),
    }
}

/// `3 · 2026-11-28 09:30 UTC +3600.0 s`: how many steps, and the last.
fn clock_text(count: u64, step: ClockStepRow) -> String {
    format!("{count} · {} UTC {:+.1} s", local_minute(step.received_at, &TimeZone::UTC), step.by_ms as f64 / 1000.0)
}

fn number(seq: Seq) -> String {
    grouped(seq.0.into())
}

fn nothing() -> String {
    "–".to_owned()
}

fn range_text(range: SeqRange) -> String {
    format!("{}–{}", range.first, range.last)
}

/// Ranges as people read them: `3–7, 12–12`.
pub(super) fn ranges_text(ranges: &[SeqRange]) -> String {
    ranges.iter().copied().map(range_text).collect::<Vec<_>>().join(", ")
}
