//! What a report's rows can be grouped by: the site, the time, or a key of its measure.

use waystation_protocol::fact::Measure;
use waystation_protocol::kind::KINDS;
use waystation_protocol::value::{Choice, Type};

use crate::store::Group;

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The site's id.
    Site,
    /// The civil day.
    Day,
    /// The month.
    Month,
    /// The measure's key of this name.
    Of(&'static str),
}

/// Names of keys for people.
pub(super) const LABELS: &[(&str, &str, &str)] = &[
    ("site", "网点", "Site"),
    ("day", "日", "Day"),
    ("month", "月", "Month"),
    ("category", "类别", "Category"),
    ("reason", "原因", "Reason"),
    ("fault", "故障", "Fault"),
    ("part", "祸首件", "Causal part"),
    ("supplier", "供应商", "Supplier"),
    ("route", "段道", "Route"),
    ("class", "邮件种类", "Class"),
    ("item", "物料", "Item"),
    ("location", "库位", "Location"),
    ("zone", "区域", "Zone"),
    ("form", "问卷", "Form"),
    ("variant", "单据类别", "Variant"),
    ("responsible", "责任方", "Responsible"),
    ("mode", "发货方式", "Mode"),
    ("source", "发货方", "Shipped by"),
    ("party", "结算对象", "Party"),
    ("period", "结算期", "Period"),
    ("agent", "采集端", "Agent"),
];

impl Key {
    /// The wire name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Key::Site => "site",
            Key::Day => "day",
            Key::Month => "month",
            Key::Of(name) => name,
        }
    }

    /// The labels in Chinese and English; the wire name where there is none.
    #[must_use]
    pub fn labels(self) -> (&'static str, &'static str) {
        let label = LABELS.iter().find(|(name, ..)| *name == self.name());
        label.map_or((self.name(), self.name()), |(_, zh, en)| (zh, en))
    }

    /// Whether it is a stretch of time.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(self, Key::Day | Key::Month)
    }

    /// How the store groups by it.
    #[must_use]
    pub fn group(self, measure: &Measure) -> Group {
        match self {
            Key::Site => Group::Site,
            Key::Day => Group::Day,
            Key::Month => Group::Month,
            Key::Of(name) => {
                let index = measure.keys.iter().position(|key| *key == name);
                Group::Key(index.expect("reports offer only keys of their measure"))
            }
        }
    }

    /// The declared choices its values stand for, where they do.
    #[must_use]
    pub fn choices(self, measure: &Measure) -> &'static [Choice] {
        let Key::Of(name) = self else { return &[] };
        let kind = KINDS.iter().find(|kind| kind.measures.iter().any(|own| own.name == measure.name));
        let Some(kind) = kind else { return &[] };
        let mut of_lines = kind.lines.iter().flat_map(|lines| lines.fields);
        match kind.field(name).or_else(|| of_lines.find(|field| field.name == name)).map(|field| field.ty) {
            Some(Type::Choice(choices)) => choices,
            _ => &[],
        }
    }
}
