//! `/reports` and `/reports/{name}`: figures with their picture, their table, and how complete they are.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use waystation_protocol::time::Day;

use super::board::word_of;
use super::chart;
use super::shape::{Drawing, Mark};
use super::text::{age, grouped};
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::api::problem::Problem;
use crate::api::reports::site_names;
use crate::clock;
use crate::reports::{self, Answer, Cell, Completeness, Decimal, Figure, Head, Key, Question, Report, Show, Source};

/// Rows of a table on a page; more are in the CSV.
const ROWS: usize = 500;

#[derive(Template)]
#[template(path = "reports.html")]
struct IndexPage {
    t: Lang,
    shell: Shell,
    cards: Vec<Card>,
}

struct Card {
    name: &'static str,
    title: &'static str,
    about: &'static str,
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    t: Lang,
    shell: Shell,
    name: &'static str,
    title: &'static str,
    about: &'static str,
    from: String,
    to: String,
    has_period: bool,
    keys: Vec<KeyChoice>,
    badge: Badge,
    drawing: Option<Drawing>,
    heads: Vec<TableHead>,
    rows: Vec<Vec<TableCell>>,
    is_cut: bool,
    excel: String,
    csv: String,
    json: String,
}

struct KeyChoice {
    name: &'static str,
    label: &'static str,
    is_chosen: bool,
}

pub(super) struct Badge {
    pub(super) is_provisional: bool,
    pub(super) complete: usize,
    pub(super) expected: usize,
}

struct TableHead {
    label: &'static str,
    is_number: bool,
}

struct TableCell {
    text: String,
    is_number: bool,
    link: Option<String>,
}

/// The list of reports.
pub async fn reports(visitor: Visitor) -> Response {
    let t = visitor.lang;
    let card = |report: &&Report| Card {
        name: report.name,
        title: t.pick(report.zh, report.en),
        about: t.pick(report.about_zh, report.about_en),
    };
    let cards = reports::REPORTS.iter().map(card).collect();
    visitor.render(&IndexPage { t, shell: visitor.shell("reports"), cards })
}

/// One report.
pub async fn report(State(app): State<App>, Path(name): Path<String>, visitor: Visitor) -> Result<Response, Trouble> {
    let t = visitor.lang;
    let missing = || visitor.trouble(Problem::not_found(format!("there is no report '{name}'")));
    let report = reports::find(&name).ok_or_else(missing)?;
    let question = Question::parse(report, &visitor.pairs).map_err(|error| visitor.trouble(error))?;
    let (asked, now) = (question.clone(), clock::now());
    let answered = app.ask(move |store| {
        let names = site_names(store)?;
        let answer = reports::answer(store, report, &asked, now)?;
        let series = reports::series(store, report, &asked, &answer)?;
        Ok::<_, Problem>((answer, series, names))
    });
    let (answer, series, names) = answered.await.map_err(|problem| visitor.trouble(problem))?;
    let page = ReportPage {
        t,
        shell: visitor.shell("reports"),
        name: report.name,
        title: t.pick(report.zh, report.en),
        about: t.pick(report.about_zh, report.about_en),
        from: question.from.map(|day| day.to_string()).unwrap_or_default(),
        to: question.to.map(|day| day.to_string()).unwrap_or_default(),
        has_period: !report.allowed().is_empty(),
        keys: key_choices(t, report, &question),
        badge: badge(answer.completeness),
        drawing: chart::draw(t, report, &series, &names),
        heads: answer.heads.iter().map(|head| table_head(t, head)).collect(),
        rows: answer.rows.iter().take(ROWS).map(|row| table_row(t, report, &answer, &question, row, &names)).collect(),
        is_cut: answer.rows.len() > ROWS,
        excel: api_address(&visitor, report, ".xlsx"),
        csv: api_address(&visitor, report, ".csv"),
        json: api_address(&visitor, report, ""),
    };
    Ok(visitor.render(&page))
}

fn key_choices(t: Lang, report: &Report, question: &Question) -> Vec<KeyChoice> {
    let offered = report.allowed().into_iter().filter(|key| !report.keys.contains(key));
    let choice = |key: Key| {
        let (zh, en) = key.labels();
        KeyChoice { name: key.name(), label: t.pick(zh, en), is_chosen: question.by.contains(&key) }
    };
    offered.map(choice).collect()
}

pub(super) fn badge(completeness: Completeness) -> Badge {
    Badge {
        is_provisional: completeness.provisional,
        complete: completeness.sites_complete,
        expected: completeness.sites_expected,
    }
}

fn api_address(visitor: &Visitor, report: &Report, ending: &str) -> String {
    let pairs = visitor.pairs.iter().filter(|(_, value)| !value.is_empty());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    if ending == ".xlsx" {
        query.append_pair("lang", visitor.lang.code());
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/api/v1/reports/{}{ending}{mark}{query}", report.name)
}

const fn is_number(head: &Head) -> bool {
    !matches!(head.show, Show::Text | Show::Instant)
}

fn table_head(t: Lang, head: &Head) -> TableHead {
    TableHead { label: t.pick(head.zh, head.en), is_number: is_number(head) }
}

fn table_row(
    t: Lang,
    report: &Report,
    answer: &Answer,
    question: &Question,
    row: &[Cell],
    names: &HashMap<String, String>,
) -> Vec<TableCell> {
    let keys = key_pairs(answer, row);
    let cell = |(head, cell): (&Head, &Cell)| {
        let text = match cell {
            Cell::Text(text) if head.key.is_some() => key_text(t, report, head.key, text, names),
            Cell::Text(text) if head.name == "state" => word_of(t, text).to_owned(),
            cell => shown(t, head.show, cell),
        };
        let link = match report.source {
            Source::Measure(_) => basis_address(report, question, head, cell, &keys),
            Source::Agents => site_address(head, cell),
        };
        TableCell { text, is_number: is_number(head), link }
    };
    answer.heads.iter().zip(row).map(cell).collect()
}

/// A key's value for people.
pub(super) fn key_text(
    t: Lang,
    report: &Report,
    key: Option<Key>,
    text: &str,
    names: &HashMap<String, String>,
) -> String {
    if text.is_empty() { t.unset().to_owned() } else { reports::label(report, key, text, names, t).to_owned() }
}

/// A period as parameters.
pub(super) fn period_pairs(from: Option<Day>, to: Option<Day>) -> impl Iterator<Item = (&'static str, String)> {
    [("from", from), ("to", to)].into_iter().filter_map(|(name, day)| Some((name, day?.to_string())))
}

/// A row's keys as parameters.
fn key_pairs<'a>(answer: &Answer, row: &'a [Cell]) -> Vec<(&'static str, &'a str)> {
    let pair = |(key, cell): (&Key, &'a Cell)| match cell {
        Cell::Text(text) => Some((key.name(), text.as_str())),
        Cell::Empty | Cell::Whole(_) | Cell::Decimal(_) => None,
    };
    answer.by.iter().zip(row).filter_map(pair).collect()
}

/// Where a figure's documents are listed; none where there are none.
fn basis_address(
    report: &Report,
    question: &Question,
    head: &Head,
    cell: &Cell,
    keys: &[(&'static str, &str)],
) -> Option<String> {
    let is_nothing = match (report.column(head.name)?.figure, cell) {
        (_, Cell::Empty) | (Figure::Sum(_), Cell::Whole(0)) => true,
        (Figure::Scaled(..), Cell::Decimal(sum)) => sum.scaled == 0,
        (_, Cell::Text(_) | Cell::Whole(_) | Cell::Decimal(_)) => false,
    };
    if head.key.is_some() || is_nothing {
        return None;
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("figure", head.name).extend_pairs(period_pairs(question.from, question.to)).extend_pairs(keys);
    Some(format!("/reports/{}/documents?{}", report.name, query.finish()))
}

/// An agent's row leads to its site's documents, where it stands for one.
fn site_address(head: &Head, cell: &Cell) -> Option<String> {
    let Cell::Text(sites) = cell else { return None };
    let is_one = head.name == "sites" && !sites.is_empty() && sites != "*" && !sites.contains(' ');
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("site", sites).finish();
    is_one.then(|| format!("/documents?{query}"))
}

/// A figure as people read it.
pub(super) fn shown(t: Lang, show: Show, cell: &Cell) -> String {
    match (show, cell) {
        (_, Cell::Empty) => "–".to_owned(),
        (Show::Age, Cell::Whole(0)) => "–".to_owned(),
        (Show::Age, Cell::Whole(seconds)) => age(t, u64::try_from(*seconds).unwrap_or(0).saturating_mul(1000)),
        (_, Cell::Whole(number)) => grouped(i128::from(*number)),
        (Show::Instant, Cell::Text(text)) => text.replacen('T', " ", 1).chars().take(16).collect(),
        (_, Cell::Text(text)) => text.clone(),
        (Show::Percent, Cell::Decimal(ratio)) => percent(*ratio),
        (Show::Score, Cell::Decimal(score)) => score.rounded(2).fixed(),
        (_, Cell::Decimal(number)) => plain(*number),
    }
}

fn percent(ratio: Decimal) -> String {
    let hundredfold = Decimal { scaled: ratio.scaled * 100, places: ratio.places };
    format!("{} %", hundredfold.rounded(2).fixed())
}

fn plain(number: Decimal) -> String {
    let short = number.short();
    let (whole, fraction) = short.split_once('.').map_or((short.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let whole = grouped(whole.trim_start_matches('-').parse().unwrap_or(0));
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_for_people() {
        let decimal = |scaled, places| Cell::Decimal(Decimal { scaled, places });
        for (show, cell, text) in [
            (Show::Percent, decimal(523_410, 6), "52.34 %"),
            (Show::Percent, decimal(-50_000, 6), "-5.00 %"),
            (Show::Score, decimal(61_666_667, 6), "61.67"),
            (Show::Number, decimal(-1_234_567, 3), "-1,234.567"),
            (Show::Number, decimal(-500, 3), "-0.5"),
            (Show::Number, Cell::Whole(12_345), "12,345"),
            (Show::Age, Cell::Whole(120), "2 minutes"),
            (Show::Age, Cell::Whole(0), "–"),
            (Show::Percent, Cell::Empty, "–"),
            (Show::Instant, Cell::Text("2026-11-23T08:30:00+08:00".into()), "2026-11-23 08:30"),
        ] {
            assert_eq!(shown(Lang::En, show, &cell), text);
        }
    }
}
