//! `GET` and `POST /forms`: the fields that the hub defines for a kind's forms.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use waystation_protocol::definition::{Choice, Defined, Definition, FieldType};
use waystation_protocol::limits;

use super::problem::{Problem, Wrong};
use super::quarantine::Body;
use super::{App, Params};
use crate::down::DefineError;

/// A label in each language.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// In Chinese.
    #[serde(rename = "zh-CN", alias = "zh")]
    zh: String,
    /// In English.
    en: String,
}

/// One of the values of a choice.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceJson {
    /// The wire value.
    value: String,
    /// What people read.
    labels: Labels,
}

/// Least and greatest: whole numbers, thousandths, minor units, days since 1970.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeJson {
    /// The least.
    min: i64,
    /// The greatest.
    max: i64,
}

/// A definition, or its next revision.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionBody {
    /// Who defines it.
    by: String,
    /// The field's name: a lower-case letter, then letters, digits and `_`. It is set as `custom.` and this.
    id: String,
    /// The kind it is a field of.
    kind: String,
    /// What people read.
    labels: Labels,
    /// text, number, quantity, money, flag, day or choice. It never changes.
    #[serde(rename = "type")]
    ty: String,
    /// The values of a choice. They only become more.
    #[serde(default)]
    choices: Vec<ChoiceJson>,
    /// Bounds of a number, quantity, amount or day.
    #[serde(default)]
    range: Option<RangeJson>,
    /// What a text must match as a whole: a regular expression as browsers read it.
    #[serde(default)]
    pattern: Option<String>,
    /// The states in which it must be filled.
    #[serde(default)]
    required_in_state: Vec<String>,
    /// Forms ask for it no longer. It stays known, and retired.
    #[serde(default)]
    retired: bool,
}

/// A definition as it stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DefinitionJson {
    /// The field's name.
    id: String,
    /// The kind it is a field of.
    kind: String,
    /// What people read.
    labels: Labels,
    /// text, number, quantity, money, flag, day or choice.
    #[serde(rename = "type")]
    ty: &'static str,
    /// Every value of a choice that there ever was.
    choices: Vec<ChoiceJson>,
    /// Bounds.
    range: Option<RangeJson>,
    /// What a text must match as a whole.
    pattern: Option<String>,
    /// The states in which it must be filled.
    required_in_state: Vec<String>,
    /// The version of the kind's definitions that brought it.
    since: u32,
    /// The version that retired it; null while forms ask for it.
    retired: Option<u32>,
    /// The version of its last revision.
    version: u32,
}

/// Definitions by kind and name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DefinitionList {
    /// As they stand.
    items: Vec<DefinitionJson>,
}

/// Which definitions to list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct FormQuery {
    /// Of this kind.
    #[serde(default)]
    kind: Option<String>,
}

impl From<DefineError> for Problem {
    fn from(error: DefineError) -> Problem {
        let detail = error.to_string();
        match error {
            DefineError::Problems(problems) => {
                let wrong = |wrong: waystation_protocol::document::capture::Problem| Wrong {
                    field: wrong.field,
                    zh: wrong.zh,
                    en: wrong.en,
                };
                Problem::problems(problems.into_iter().map(wrong).collect())
            }
            DefineError::Frozen => Problem::locked(detail),
            DefineError::Store(error) => error.into(),
        }
    }
}

impl DefinitionBody {
    fn parsed(self) -> Result<(Definition, String), Problem> {
        let known = || FieldType::ALL.map(FieldType::name).join(", ");
        let ty = FieldType::find(&self.ty);
        let ty = ty.ok_or_else(|| Problem::bad_request(format!("type: '{}' is none; known: {}", self.ty, known())))?;
        if self.by.trim().is_empty() || self.by.len() > limits::AUTHOR_BYTES {
            return Err(Problem::bad_request(format!("by: expected 1 to {} bytes", limits::AUTHOR_BYTES)));
        }
        let choice = |choice: ChoiceJson| Choice { value: choice.value, zh: choice.labels.zh, en: choice.labels.en };
        let definition = Definition {
            id: self.id,
            kind: self.kind,
            zh: self.labels.zh,
            en: self.labels.en,
            ty,
            choices: self.choices.into_iter().map(choice).collect(),
            range: self.range.map(|range| (range.min, range.max)),
            pattern: self.pattern,
            required_in_state: self.required_in_state,
            is_retired: self.retired,
            version: 0,
        };
        Ok((definition, self.by))
    }
}

impl From<Defined> for DefinitionJson {
    fn from(defined: Defined) -> DefinitionJson {
        let Defined { definition, since, retired } = defined;
        let choice =
            |choice: Choice| ChoiceJson { value: choice.value, labels: Labels { zh: choice.zh, en: choice.en } };
        DefinitionJson {
            id: definition.id,
            kind: definition.kind,
            labels: Labels { zh: definition.zh, en: definition.en },
            ty: definition.ty.name(),
            choices: definition.choices.into_iter().map(choice).collect(),
            range: definition.range.map(|(min, max)| RangeJson { min, max }),
            pattern: definition.pattern,
            required_in_state: definition.required_in_state,
            since,
            retired,
            version: definition.version,
        }
    }
}

/// Defines a field, or revises it; every agent is told.
#[utoipa::path(post, path = "/api/v1/forms", tag = "forms", request_body = DefinitionBody,
    responses((status = 201, body = DefinitionJson), (status = 400, body = Problem),
        (status = 422, body = Problem, description = "everything that is wrong with it"),
        (status = 423, body = Problem, description = "the hub came back older; nothing is defined until all is back"),
        (status = 503, body = Problem)))]
pub async fn define(
    State(app): State<App>,
    Body(body): Body<DefinitionBody>,
) -> Result<(StatusCode, Json<DefinitionJson>), Problem> {
    let (definition, by) = body.parsed()?;
    let defined = app.ask(move |store| store.define(definition, &by)).await?;
    Ok((StatusCode::CREATED, Json(defined.into())))
}

/// The definitions as they stand.
#[utoipa::path(get, path = "/api/v1/forms", tag = "forms", params(FormQuery),
    responses((status = 200, body = DefinitionList), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub async fn forms(State(app): State<App>, Params(query): Params<FormQuery>) -> Result<Json<DefinitionList>, Problem> {
    let all = app.ask(|store| store.definitions()).await?;
    let is_asked = |defined: &Defined| query.kind.as_ref().is_none_or(|kind| defined.definition.kind == *kind);
    Ok(Json(DefinitionList { items: all.into_iter().filter(is_asked).map(DefinitionJson::from).collect() }))
}
