//! `GET /kinds`: the declarations of every kind, for programs that build forms or read documents.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use waystation_protocol::document::field::Field;
use waystation_protocol::document::flow::{Holder, State, Step, VOID};
use waystation_protocol::kind::{KINDS, Kind, header};
use waystation_protocol::value::{Choice, Type};

/// A name in both languages.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Labels {
    /// In Chinese.
    #[serde(rename = "zh-CN")]
    zh: &'static str,
    /// In English.
    en: &'static str,
}

/// A wire name with its labels.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Named {
    name: &'static str,
    labels: Labels,
}

/// A field.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldJson {
    name: &'static str,
    /// text, integer, km, quantity, money, labour, date, time, due, flag, choice or link.
    #[serde(rename = "type")]
    ty: &'static str,
    labels: Labels,
    /// What a choice may be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<Named>,
    /// The kind a link leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    links_to: Option<&'static str>,
    /// The state from which it must be filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    required_from: Option<&'static str>,
    /// The state before which it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_until: Option<&'static str>,
    /// Whether documents are found by it.
    searched: bool,
}

/// A group of lines: keys are `name#number.field`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LinesJson {
    name: &'static str,
    labels: Labels,
    fields: Vec<FieldJson>,
}

/// A step of the flow.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepJson {
    act: &'static str,
    labels: Labels,
    /// The states it may be taken from; empty if it opens a document.
    from: Vec<&'static str>,
    /// The state it leads to; absent if the state stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'static str>,
    /// Who may take it; anyone at the pen's holder if empty.
    roles: Vec<&'static str>,
    /// Who holds the pen next: hub or site; absent if unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pen: Option<&'static str>,
    /// Fields that it must set.
    takes: Vec<&'static str>,
}

/// A kind of document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KindJson {
    name: &'static str,
    /// Its letters in printed numbers.
    code: &'static str,
    labels: Labels,
    /// The version of its form.
    form: u16,
    /// Its own fields.
    fields: Vec<FieldJson>,
    /// Fields every document has.
    header: Vec<FieldJson>,
    lines: Vec<LinesJson>,
    states: Vec<Named>,
    flow: Vec<StepJson>,
}

/// Every kind this hub knows.
#[utoipa::path(get, path = "/api/v1/kinds", tag = "documents", responses((status = 200, body = Vec<KindJson>)))]
pub async fn kinds() -> Json<Vec<KindJson>> {
    Json(KINDS.iter().map(|kind| kind_json(kind)).collect())
}

fn kind_json(kind: &Kind) -> KindJson {
    let lines = kind.lines.iter().map(|lines| LinesJson {
        name: lines.name,
        labels: labels(lines.zh, lines.en),
        fields: lines.fields.iter().map(field_json).collect(),
    });
    KindJson {
        name: kind.name,
        code: kind.code,
        labels: labels(kind.zh, kind.en),
        form: kind.form,
        fields: kind.fields.iter().map(field_json).collect(),
        header: header::FIELDS.iter().map(field_json).collect(),
        lines: lines.collect(),
        states: kind.states.iter().chain([&VOID]).map(state_json).collect(),
        flow: kind.flow.iter().map(step_json).collect(),
    }
}

fn field_json(field: &Field) -> FieldJson {
    let (choices, links_to): (&[Choice], _) = match field.ty {
        Type::Choice(choices) => (choices, None),
        Type::Link(kind) => (&[], Some(kind)),
        _ => (&[], None),
    };
    let choice = |choice: &Choice| Named { name: choice.name, labels: labels(choice.zh, choice.en) };
    FieldJson {
        name: field.name,
        ty: field.ty.name(),
        labels: labels(field.zh, field.en),
        choices: choices.iter().map(choice).collect(),
        links_to,
        required_from: field.required_from.map(|state| state.name),
        hidden_until: field.hidden_until.map(|state| state.name),
        searched: field.is_searched,
    }
}

fn step_json(step: &Step) -> StepJson {
    StepJson {
        act: step.act,
        labels: labels(step.zh, step.en),
        from: step.from.iter().map(|state| state.name).collect(),
        to: step.to.map(|state| state.name),
        roles: step.roles.iter().map(|role| role.name()).collect(),
        pen: step.pen.map(|holder| match holder {
            Holder::Hub => "hub",
            Holder::Origin => "site",
            Holder::Named(field) => field,
        }),
        takes: step.takes.to_vec(),
    }
}

fn state_json(state: &State) -> Named {
    Named { name: state.name, labels: labels(state.zh, state.en) }
}

pub(super) const fn labels(zh: &'static str, en: &'static str) -> Labels {
    Labels { zh, en }
}
