//! `/reports/{name}/documents`: the documents behind a figure, the question in words, and the way back.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use waystation_protocol::time::Day;

use super::documents::{ListRow, list_row};
use super::reports::{Badge, badge, key_text, period_pairs, shown};
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::api::problem::Problem;
use crate::clock;
use crate::reports::{self, Basis, Cell, Decimal, Key, Part, Pick, Show};
use crate::store::SiteRow;

#[derive(Template)]
#[template(path = "basis.html")]
struct BasisPage {
    t: Lang,
    shell: Shell,
    report: &'static str,
    figure: &'static str,
    value: String,
    badge: Badge,
    back: String,
    is_balance: bool,
    asked: Vec<Named>,
    parts: Vec<Named>,
    rows: Vec<Row>,
    older: Option<String>,
    newest: Option<String>,
}

struct Named {
    label: &'static str,
    value: String,
}

struct Row {
    document: ListRow,
    parts: Vec<Addition>,
}

struct Addition {
    label: &'static str,
    value: String,
    is_nothing: bool,
}

/// The documents behind a figure.
pub async fn basis(State(app): State<App>, Path(name): Path<String>, visitor: Visitor) -> Result<Response, Trouble> {
    let t = visitor.lang;
    let missing = || visitor.trouble(Problem::not_found(format!("there is no report '{name}'")));
    let report = reports::find(&name).ok_or_else(missing)?;
    let pick = Pick::parse(report, &visitor.pairs).map_err(|error| visitor.trouble(error))?;
    let (asked, now) = (pick.clone(), clock::now());
    let found = app.ask(move |store| Ok::<_, Problem>((reports::basis(store, &asked, now)?, store.sites()?))).await;
    let (basis, sites) = found.map_err(|problem| visitor.trouble(problem))?;
    let by_id: HashMap<&str, &SiteRow> = sites.iter().map(|site| (site.site.as_str(), site)).collect();
    let names = sites.iter().map(|site| (site.site.to_string(), site.name.clone())).collect();
    let without_cursor = || {
        let pairs = visitor.pairs.iter().filter(|(name, _)| name != "cursor");
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    };
    let older = basis.next.as_deref().map(|next| visitor.address(without_cursor().chain([("cursor", next)])));
    let page = BasisPage {
        t,
        shell: visitor.shell("reports"),
        report: t.pick(report.zh, report.en),
        figure: t.pick(pick.column.zh, pick.column.en),
        value: shown(t, pick.column.show, &basis.value),
        badge: badge(basis.completeness),
        back: back(&pick),
        is_balance: report.is_balance(),
        asked: in_words(t, &pick, &names),
        parts: basis.parts.iter().map(|part| named(t, part, part.sum)).collect(),
        rows: rows(t, &basis, &by_id),
        older,
        newest: pick.cursor.is_some().then(|| visitor.address(without_cursor())),
    };
    Ok(visitor.render(&page))
}

fn rows(t: Lang, basis: &Basis, sites: &HashMap<&str, &SiteRow>) -> Vec<Row> {
    let row = |(document, own): &(_, Vec<Decimal>)| Row {
        document: list_row(t, document, sites),
        parts: basis.parts.iter().zip(own).map(|(part, own)| addition(t, part, *own)).collect(),
    };
    basis.items.iter().map(row).collect()
}

fn named(t: Lang, part: &Part, sum: Decimal) -> Named {
    Named { label: t.pick(part.zh, part.en), value: shown(t, Show::Number, &Cell::Decimal(sum)) }
}

fn addition(t: Lang, part: &Part, own: Decimal) -> Addition {
    let Named { label, value } = named(t, part, own);
    Addition { label, value, is_nothing: own.scaled == 0 }
}

/// The question in words: the period, then each key.
fn in_words(t: Lang, pick: &Pick, names: &HashMap<String, String>) -> Vec<Named> {
    let period = Named { label: t.period(), value: period(t, pick.counts_from(), pick.to) };
    let key = |(key, text): &(Key, String)| {
        let (zh, en) = key.labels();
        Named { label: t.pick(zh, en), value: key_text(t, pick.report, Some(*key), text, names) }
    };
    std::iter::once(period).chain(pick.keys.iter().map(key)).collect()
}

fn period(t: Lang, from: Option<Day>, to: Option<Day>) -> String {
    match (from, to) {
        (None, None) => t.all_time().to_owned(),
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{from} – {to}"),
        (Some(from), None) => format!("{from} {}", t.onwards()),
        (None, Some(to)) => format!("{} {to}", t.up_to()),
    }
}

/// The report as it stood: the same period, grouped by the same keys.
fn back(pick: &Pick) -> String {
    let own = |key: &Key| pick.report.keys.contains(key);
    let by = pick.keys.iter().map(|(key, _)| *key).filter(|key| !own(key)).map(|key| ("by", key.name()));
    let mut query = form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(period_pairs(pick.from, pick.to)).extend_pairs(by).finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/reports/{}{mark}{query}", pick.report.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(report: &str, query: &str, way_back: &str, words: &str) {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let pick = Pick::parse(reports::find(report).unwrap(), &pairs).unwrap();
        let names = HashMap::from([("east".to_owned(), "城东站".to_owned())]);
        let told: Vec<String> =
            in_words(Lang::En, &pick, &names).iter().map(|word| format!("{} {}", word.label, word.value)).collect();
        assert_eq!((back(&pick).as_str(), told.join(", ").as_str()), (way_back, words), "{query}");
    }

    #[test]
    fn the_question_is_told_and_leads_back() {
        check("repairs", "figure=fixed", "/reports/repairs", "Period all time");
        check(
            "delivery",
            "figure=items&from=2026-01-01&to=2026-01-31&site=east&class=parcel&route=",
            "/reports/delivery?from=2026-01-01&to=2026-01-31&by=site&by=class&by=route",
            "Period 2026-01-01 – 2026-01-31, Site 城东站, Class Parcel, Route (not stated)",
        );
        check(
            "stock",
            "from=2026-01-01&month=2026-02&site=east&item=A",
            "/reports/stock?from=2026-01-01&by=month",
            "Period all time, Month 2026-02, Site 城东站, Item A",
        );
    }
}
