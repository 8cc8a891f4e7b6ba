//! `GET /reports/{name}`: a report as JSON, or as CSV or a workbook where the name ends in `.csv` or `.xlsx`; and
//! `GET /reports/{name}/documents`: what one of its figures was computed from.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;
use waystation_protocol::document::Document;

use super::documents::{DocumentJson, document_json, zones};
use super::problem::Problem;
use super::{App, Params};
use crate::clock;
use crate::pages::{Lang, Visitor};
use crate::reports::{self, Answer, Basis, Cell, Decimal, Pick, Question, Report};
use crate::store::Store;

/// What a workbook is on the wire.
const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// What a CSV is on the wire.
const CSV: &str = "text/csv; charset=utf-8";

/// The form of an answer.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Csv,
    /// What a CSV's rows are and how complete, which its rows do not say.
    About,
    Workbook,
}

/// A report's answer. Each row is an object of the keys in `by` and the report's figures.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReportJson {
    /// The report.
    report: String,
    /// The first day; null if unbounded, and for balances.
    from: Option<String>,
    /// The last day, inclusive; null if unbounded.
    to: Option<String>,
    /// The keys of the rows.
    by: Vec<String>,
    /// Sites the hub knows.
    sites_expected: usize,
    /// Those of them whose data has arrived to the period's end.
    sites_complete: usize,
    /// Whether the figures can still change because something is missing or the period goes on.
    provisional: bool,
    /// The rows.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Map<String, Json_>>,
}

/// The documents behind a figure. The `contribution`s of all pages add up to `sums`, and `sums` make up `value`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BasisJson {
    /// The report.
    report: &'static str,
    /// The figure's column.
    figure: &'static str,
    /// The first day that counts; null if unbounded, and for balances.
    from: Option<String>,
    /// The last day, inclusive; null if unbounded.
    to: Option<String>,
    /// The keys it was asked for by.
    #[schema(value_type = Object)]
    keys: Map<String, Json_>,
    /// The figure, as the report has it; null where there is nothing to divide by.
    #[schema(value_type = Option<f64>)]
    value: Cell,
    /// Sites the hub knows.
    sites_expected: usize,
    /// Those of them whose data has arrived to the period's end.
    sites_complete: usize,
    /// Whether the figure can still change because something is missing or the period goes on.
    provisional: bool,
    /// The sums the figure is made of, in whole units: quantities and amounts as decimals.
    #[schema(value_type = Object)]
    sums: Sums,
    /// The documents, the latest arrivals first.
    items: Vec<ContributorJson>,
    /// The next page's `cursor`; null on the last.
    next: Option<String>,
}

/// A document and what it adds.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ContributorJson {
    #[serde(flatten)]
    document: DocumentJson,
    /// Its own part of each of the `sums`.
    #[schema(value_type = Object)]
    contribution: Sums,
}

/// Sums by name.
#[derive(Debug, Clone)]
struct Sums(Vec<(&'static str, Decimal)>);

impl Serialize for Sums {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, sum)| (name, sum)))
    }
}

fn find(name: &str) -> Result<&'static Report, Problem> {
    reports::find(name).ok_or_else(|| {
        Problem::bad_request(format!("there is no report '{name}'; there are {}", reports::names().join(", ")))
    })
}

/// The names of all sites.
///
/// # Errors
///
/// The store fails.
pub fn site_names(store: &Store) -> Result<HashMap<String, String>, Problem> {
    Ok(store.sites()?.into_iter().map(|site| (site.site.to_string(), site.name)).collect())
}

/// Figures with their completeness.
#[utoipa::path(get, path = "/api/v1/reports/{name}", tag = "reports",
    params(
        ("name" = String, Path, description = "repairs, faults, delivery, stock, counts, satisfaction or sync; with .csv for CSV, with .about.csv for its period and completeness, with .xlsx for an Excel workbook"),
        ("from" = Option<String>, Query, description = "the first day, YYYY-MM-DD"),
        ("to" = Option<String>, Query, description = "the last day, inclusive"),
        ("by" = Option<String>, Query, description = "keys to add, separated by commas: site, day, month and those of the report"),
        ("lang" = Option<String>, Query, description = "zh-CN or en: the words of a workbook, else as the browser prefers; the header of a CSV, else wire names. JSON has wire names")),
    responses((status = 200, description = "a CSV comes with Waystation-From, -To, -Sites-Expected, -Sites-Complete and -Provisional", content((ReportJson = "application/json"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        (status = 400, body = Problem), (status = 503, body = Problem)))]
pub async fn report(
    State(app): State<App>,
    Path(name): Path<String>,
    visitor: Visitor,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (plain, form) = match name.rsplit_once('.') {
        Some((plain, "csv")) => match plain.strip_suffix(".about") {
            Some(plain) => (plain, Form::About),
            None => (plain, Form::Csv),
        },
        Some((plain, "xlsx")) => (plain, Form::Workbook),
        _ => (name.as_str(), Form::Json),
    };
    let report = find(plain)?;
    let question = Question::parse(report, &pairs)?;
    let asked = pairs.iter().rfind(|(name, _)| name == "lang").and_then(|(_, tag)| Lang::of_tag(tag));
    let (lang, now) = (visitor.lang, clock::now());
    let answered = app.ask(move |store| {
        let answer = reports::answer(store, report, &question, now)?;
        Ok::<_, Problem>(match form {
            Form::Json => Json(answer).into_response(),
            Form::Csv => told(&answer, download(report, "csv", CSV, reports::to_csv(&answer, asked))),
            Form::About => told(&answer, download(report, "about.csv", CSV, reports::about_csv(&answer))),
            Form::Workbook => {
                let bytes = reports::to_xlsx(report, &answer, lang, &site_names(store)?, now)?;
                download(report, "xlsx", WORKBOOK, bytes)
            }
        })
    });
    answered.await
}

/// The response with what its rows do not say: period and completeness.
fn told(answer: &Answer, mut response: Response) -> Response {
    for (name, value) in answer.about().into_iter().filter(|(_, value)| !value.is_empty()) {
        let name = format!("waystation-{}", name.replace('_', "-"));
        let name = HeaderName::from_bytes(name.as_bytes()).expect("our own names are letters and hyphens");
        let value = HeaderValue::from_str(&value).expect("days, numbers and flags are ASCII");
        response.headers_mut().insert(name, value);
    }
    response
}

fn download(report: &Report, ending: &str, content_type: &str, bytes: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{}.{ending}\"", report.name);
    ([(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, disposition.as_str())], bytes).into_response()
}

/// The documents a figure was computed from.
///
/// Besides these parameters, the row's keys: `site`, `day`, `month` and those of the report, each with its value; an
/// empty value stands for "not stated". A ratio rests on what it divides and on what it divides by; a share on all
/// it is a share of (`total`). A balance (`stock`) counts from the beginning whatever `from` says, up to the end of
/// `to` and of the given day or month.
#[utoipa::path(get, path = "/api/v1/reports/{name}/documents", tag = "reports",
    params(
        ("name" = String, Path, description = "the report's name: repairs, claims, settlement and so on; not sync"),
        ("figure" = Option<String>, Query, description = "the report's column; its first unless told otherwise"),
        ("from" = Option<String>, Query, description = "the first day, YYYY-MM-DD"),
        ("to" = Option<String>, Query, description = "the last day, inclusive"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "at most so many: 1 to 500, 50 unless told otherwise")),
    responses((status = 200, body = BasisJson), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub async fn basis(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Json<BasisJson>, Problem> {
    let pick = Pick::parse(find(&name)?, &pairs)?;
    let (asked, now) = (pick.clone(), clock::now());
    let asking = app.ask(move |store| Ok::<_, Problem>((reports::basis(store, &asked, now)?, zones(store)?)));
    let (Basis { value, completeness, parts, items, next }, zones) = asking.await?;
    let contributor = |(document, own): (Document, Vec<Decimal>)| {
        let contribution = Sums(parts.iter().map(|part| part.name).zip(own).collect());
        let document = document_json(&document, zones.get(&document.site).unwrap_or(&TimeZone::UTC));
        ContributorJson { document, contribution }
    };
    Ok(Json(BasisJson {
        report: pick.report.name,
        figure: pick.column.name,
        from: pick.counts_from().map(|day| day.to_string()),
        to: pick.to.map(|day| day.to_string()),
        keys: pick.keys.iter().map(|(key, text)| (key.name().to_owned(), Json_::from(text.as_str()))).collect(),
        value,
        sites_expected: completeness.sites_expected,
        sites_complete: completeness.sites_complete,
        provisional: completeness.provisional,
        items: items.into_iter().map(contributor).collect(),
        sums: Sums(parts.iter().map(|part| (part.name, part.sum)).collect()),
        next,
    }))
}
