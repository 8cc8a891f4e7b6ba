//! The table of a kind, as its declaration makes it: the columns that an export writes, a template offers, and an import
//! without a map reads.
//!
//! A column's header is its wire name, a label, or both labels; `spelling` finds the column again whichever it is.
//! What an export writes, an import reads back.

mod guard;
mod own;
pub mod sheet;
mod spelling;

use std::collections::BTreeMap;

use waystation_protocol::document::field::{Field, Key};
use waystation_protocol::kind::{Kind, header};
use waystation_protocol::value::Type;

pub use guard::{escaped, guarded, unguarded};
pub use own::{LayoutError, map_of};
pub use spelling::Spellings;

use crate::lang::Lang;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The document's id: an import of the same document again adds nothing.
    Id,
    /// The site.
    Site,
    /// The state.
    State,
    /// A field of the document, of a line, or one every kind has.
    Field,
    /// The identity that an earlier import gave the document.
    SourceKey,
    /// Which occurrence of that identity.
    SourceOccurrence,
    /// For readers only; an import passes over it.
    Told,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// The wire name: a field, `group#number.field`, or one of the fixed columns.
    pub name: String,
    /// The label in Chinese.
    pub zh: String,
    /// The label in English.
    pub en: String,
    /// What it is for.
    pub part: Part,
    /// Its field's declaration, where it has one.
    pub field: Option<&'static Field>,
}

/// How headers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// Wire names.
    Names,
    /// Labels of one language.
    Lang(Lang),
    /// Both labels.
    Both,
}

/// What tells documents apart and where they stand. Fields come between these and [`LAST`].
const FIRST: [(&str, &str, &str, Part); 3] = [
    ("id", "单据标识", "Document id", Part::Id),
    ("site", "网点", "Site", Part::Site),
    ("state", "状态", "State", Part::State),
];
const LAST: [(&str, &str, &str, Part); 5] = [
    ("source_key", "来源标识", "Source key", Part::SourceKey),
    ("source_occurrence", "来源序次", "Source occurrence", Part::SourceOccurrence),
    ("opened_at", "开单记录时间", "Opened at", Part::Told),
    ("changed_at", "最后变更时间", "Changed at", Part::Told),
    ("whereabouts", "所在", "Whereabouts", Part::Told),
];
/// Fields of every kind that a table of documents holds. Notes have no column: a document may have any number.
const COMMON: [&str; 3] = [header::NUMBER.name(), header::OCCURRED_AT.name(), header::REASON.name()];

/// Every column of a kind. `lines` says how many lines of each group have columns; `custom` names the fields the hub
/// defined.
pub fn columns(kind: &'static Kind, lines: &BTreeMap<&str, u32>, custom: &[String]) -> Vec<Column> {
    let mut columns: Vec<Column> = FIRST.iter().map(fixed).collect();
    let common = COMMON.iter().filter_map(|name| kind.field(name));
    columns.extend(common.chain(kind.fields).map(plain));
    for group in kind.lines {
        let count = lines.get(group.name).copied().unwrap_or(0);
        let numbered = (1..=count).flat_map(|number| group.fields.iter().map(move |field| (number, field)));
        columns.extend(numbered.map(|(number, field)| Column {
            name: format!("{}#{number}.{}", group.name, field.name),
            zh: format!("{}#{number} {}", group.zh, field.zh),
            en: format!("{}#{number} {}", group.en, field.en),
            part: Part::Field,
            field: Some(field),
        }));
    }
    columns.extend(custom.iter().map(|name| self::custom(name)));
    columns.extend(LAST.iter().map(fixed));
    columns
}

fn fixed((name, zh, en, part): &(&str, &str, &str, Part)) -> Column {
    Column { name: (*name).to_owned(), zh: (*zh).to_owned(), en: (*en).to_owned(), part: *part, field: None }
}

fn plain(field: &'static Field) -> Column {
    let (zh, en) = (field.zh.to_owned(), field.en.to_owned());
    Column { name: field.name.to_owned(), zh, en, part: Part::Field, field: Some(field) }
}

/// A field the hub defined: it has no label here.
fn custom(name: &str) -> Column {
    let name = name.to_owned();
    Column { zh: name.clone(), en: name.clone(), name, part: Part::Field, field: None }
}

impl Column {
    /// The header's text.
    pub fn header(&self, headers: Headers) -> String {
        match headers {
            Headers::Names => self.name.clone(),
            Headers::Lang(lang) => lang.pick(&self.zh, &self.en).to_owned(),
            Headers::Both if self.zh == self.en => self.zh.clone(),
            Headers::Both => format!("{} {}", self.zh, self.en),
        }
    }

    /// What its cells hold, in the words of a language.
    pub fn expectation(&self, kind: &Kind, lang: Lang) -> String {
        match (self.part, self.field) {
            (Part::State, _) => {
                let states: Vec<&str> = kind.states.iter().map(|state| lang.pick(state.zh, state.en)).collect();
                format!("{}{}", lang.pick("以下之一：", "one of "), states.join(lang.pick("、", ", ")))
            }
            (Part::Site, _) => {
                lang.pick("网点名称；空白即本网点", "a site's name; the agent's own where blank").to_owned()
            }
            (_, field) => {
                let ty = field.map_or(Type::Text, |field| field.ty);
                lang.pick(&ty.expectation_zh(), &ty.expectation()).to_owned()
            }
        }
    }

    /// The texts its cells may hold, where they are declared.
    pub fn choices(&self, kind: &Kind, headers: Headers) -> Vec<&'static str> {
        let pick = |name, zh, en| match headers {
            Headers::Names => name,
            Headers::Lang(Lang::En) => en,
            Headers::Lang(Lang::Zh) | Headers::Both => zh,
        };
        match (self.part, self.field.map(|field| field.ty)) {
            (Part::State, _) => kind.states.iter().map(|state| pick(state.name, state.zh, state.en)).collect(),
            (_, Some(Type::Choice(choices))) => {
                choices.iter().map(|choice| pick(choice.name, choice.zh, choice.en)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is a field the hub defined.
    pub fn is_custom(&self) -> bool {
        matches!(Key::parse(&self.name), Some(Key::Custom(_)))
    }
}
