//! Errors as problem+json (RFC 9457): what is wrong, and where there is something to choose, what would be right.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use waystation_protocol::document::capture;

use crate::reports::{AnswerError, WorkbookError};
use crate::store::StoreError;

/// An error as its caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A name for this sort of problem: `urn:waystation:problem:` and a word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort of problem, for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// What is wrong with which field, where an act has problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Wrong>,
}

/// One thing that is wrong with an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Wrong {
    /// The field's key; none if it concerns the whole.
    pub field: Option<String>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl From<capture::Problem> for Wrong {
    fn from(problem: capture::Problem) -> Wrong {
        Wrong { field: problem.field, zh: problem.zh, en: problem.en }
    }
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Problem {
        let kind = format!("urn:waystation:problem:{kind}");
        Problem { kind, title, status: status.as_u16(), detail: detail.into(), problems: Vec::new() }
    }

    /// 400: a parameter makes no sense.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", "the request makes no sense", detail)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such thing", detail)
    }

    /// 403: the request did not come by a name of this machine.
    #[must_use]
    pub fn foreign_host(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "foreign-host", "the hub is not known by this name", detail)
    }

    /// 403: a browser sent it from a page of someone else.
    #[must_use]
    pub fn foreign_origin(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "foreign-origin", "the request came from another page", detail)
    }

    /// 409: things have moved on since.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", "things have moved on", detail)
    }

    /// 422: everything that is wrong with an act.
    #[must_use]
    pub fn problems(problems: Vec<Wrong>) -> Problem {
        let told = problems.iter().map(|wrong| match &wrong.field {
            Some(field) => format!("{field}: {}", wrong.en),
            None => wrong.en.clone(),
        });
        let detail = told.collect::<Vec<_>>().join("; ");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem { problems, ..Problem::new(status, "problems", "the act has problems", detail) }
    }

    /// 423: read-only for now.
    #[must_use]
    pub fn locked(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::LOCKED, "read-only", "it is read-only for now", detail)
    }

    /// 422: understood, and not accepted.
    #[must_use]
    pub fn refused(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", "the hub does not accept this", detail)
    }

    /// 507: no room is left.
    #[must_use]
    pub fn disk_full() -> Problem {
        let detail = "make room on the disk of the hub's data folder; it goes on by itself, and nothing stored is lost";
        Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "the hub's disk is full", detail)
    }

    /// 503: the store failed. The cause is logged here, not told.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-failed", "the hub's store failed", detail)
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::BadCursor(_) => Problem::bad_request(error.to_string()),
            error => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the store failed");
                if error.is_disk_full() { Problem::disk_full() } else { Problem::unavailable(error.to_string()) }
            }
        }
    }
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Problem {
        Problem::bad_request(error.to_string())
    }
}

impl From<WorkbookError> for Problem {
    fn from(error: WorkbookError) -> Problem {
        match error {
            WorkbookError::TooManyRows { .. } => Problem::bad_request(error.to_string()),
            WorkbookError::Write(ref cause) => {
                tracing::error!(%error, %cause, "a workbook could not be written");
                Problem::unavailable(error.to_string())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        response
    }
}
