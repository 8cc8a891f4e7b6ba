//! Errors as problem+json (RFC 9457): a status, what happened, and every field that is wrong.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use waystation_protocol::document::capture::Problem;

use crate::store::{CaptureError, StoreError};

/// An error as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// A stable name: `problems`, `not_found`, `superseded`, `disk_full`, `store_failed`, `bad_request`,
    /// `too_large`, `forbidden`.
    #[serde(rename = "type")]
    pub code: String,
    /// What kind of error, in English.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and the cure.
    pub detail: String,
    /// What is wrong with which field.
    #[serde(default)]
    pub problems: Vec<Wrong>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// The field's key; none if it concerns the whole.
    pub field: Option<String>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Fault {
    fn new(code: &str, title: &str, status: StatusCode, detail: impl Into<String>) -> Fault {
        Fault {
            code: code.to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    /// Everything that is wrong with an act.
    pub fn problems(problems: Vec<Problem>) -> Fault {
        let detail = problems.iter().map(|problem| match &problem.field {
            Some(field) => format!("{field}: {} / {}", problem.zh, problem.en),
            None => format!("{} / {}", problem.zh, problem.en),
        });
        let detail = detail.collect::<Vec<_>>().join("; ");
        let wrong = |problem: Problem| Wrong { field: problem.field, zh: problem.zh, en: problem.en };
        Fault {
            problems: problems.into_iter().map(wrong).collect(),
            ..Fault::new("problems", "The act has problems", StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Fault {
        Fault::new("not_found", "Not found", StatusCode::NOT_FOUND, what)
    }

    /// The request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Fault {
        Fault::new("bad_request", "Bad request", StatusCode::BAD_REQUEST, detail)
    }

    /// The request is larger than the API takes.
    pub fn too_large() -> Fault {
        Fault::new("too_large", "Too large", StatusCode::PAYLOAD_TOO_LARGE, "内容过大 / the request is too large")
    }

    /// The request comes from elsewhere than this page.
    pub fn forbidden(detail: impl Into<String>) -> Fault {
        Fault::new("forbidden", "Forbidden", StatusCode::FORBIDDEN, detail)
    }

    /// A task of ours ended early.
    pub fn interrupted() -> Fault {
        Fault::new("store_failed", "The store failed", StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping")
    }

    fn disk_full() -> Fault {
        Fault::new(
            "disk_full",
            "The disk is full",
            StatusCode::INSUFFICIENT_STORAGE,
            "磁盘已满，不能再录入；请清理磁盘 / the disk is full: nothing more can be captured until room is made",
        )
    }

    fn failed(error: &StoreError) -> Fault {
        tracing::error!(%error, "the store failed");
        let detail = format!("未确认保存，请重试 / not confirmed as saved: {error}");
        Fault::new("store_failed", "The store failed", StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<CaptureError> for Fault {
    fn from(error: CaptureError) -> Fault {
        match error {
            CaptureError::Problems(problems) => Fault::problems(problems),
            CaptureError::NotFound => Fault::not_found("there is no such document"),
            CaptureError::Superseded => Fault::new(
                "superseded",
                "Superseded",
                StatusCode::CONFLICT,
                "单据已被更改，请重新打开 / the document has changed since it was seen: open it again",
            ),
            CaptureError::DiskFull => Fault::disk_full(),
            CaptureError::Failed(error) => Fault::failed(&error),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match error {
            StoreError::DiskFull => Fault::disk_full(),
            StoreError::BadCursor(_) => Fault::bad_request(error.to_string()),
            error => Fault::failed(&error),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
