//! `GET /reports/{name}`: a report as JSON, or as CSV where the name ends in `.csv`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{App, Params};
use crate::clock;
use crate::reports::{self, Question};

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

/// Figures with their completeness.
#[utoipa::path(get, path = "/api/v1/reports/{name}", tag = "reports",
    params(
        ("name" = String, Path, description = "repairs, faults, delivery, stock, counts, satisfaction or sync; with .csv for CSV"),
        ("from" = Option<String>, Query, description = "the first day, YYYY-MM-DD"),
        ("to" = Option<String>, Query, description = "the last day, inclusive"),
        ("by" = Option<String>, Query, description = "keys to add, separated by commas: site, day, month and those of the report")),
    responses((status = 200, content((ReportJson = "application/json"), (String = "text/csv"))),
        (status = 400, body = Problem), (status = 503, body = Problem)))]
pub async fn report(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (plain, is_csv) = name.strip_suffix(".csv").map_or((name.as_str(), false), |plain| (plain, true));
    let report = reports::find(plain).ok_or_else(|| {
        Problem::bad_request(format!("there is no report '{name}'; there are {}", reports::names().join(", ")))
    })?;
    let question = Question::parse(report, &pairs)?;
    let now = clock::now();
    let answer = app.ask(move |store| reports::answer(store, report, &question, now)).await?;
    if !is_csv {
        return Ok(Json(answer).into_response());
    }
    let disposition = format!("attachment; filename=\"{plain}.csv\"");
    let headers =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, disposition.as_str())];
    Ok((headers, reports::to_csv(&answer)).into_response())
}
