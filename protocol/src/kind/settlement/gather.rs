//! What a settlement gathers when it is generated: everything of its party that no settlement before it has.

use std::collections::BTreeSet;

use super::*;
use crate::kind::{self, header, old_part};
use crate::plant::{Plant, is_planted};
use crate::time::{self, Day, Timestamp};

/// Most lines of one settlement, so that its entry fits; the next takes the rest.
const MOST_LINES: usize = 500;

/// Sets party, currency, opening balance and lines.
pub(super) fn gather(filling: &Filling<'_>, set: &mut Set) {
    let site: Option<SiteId> = set.get(header::SITE.name()).and_then(Value::as_text).and_then(|text| text.parse().ok());
    let Some(site) = site else { return };
    if site != SiteId::hub() {
        filling.state(set, PARTY.name(), Some(Value::from(site.as_str())));
    }
    let stated = filling.text(set, CURRENCY.name()).unwrap_or("CNY").to_owned();
    filling.state(set, CURRENCY.name(), Some(Value::from(stated.as_str())));
    let party = filling.text(set, PARTY.name()).unwrap_or_default().to_owned();
    let earlier: Vec<Document> = filling
        .books
        .documents(SETTLEMENT.name, &site)
        .into_iter()
        .filter(|found| found.state != VOID.name)
        .filter(|found| found.get(PARTY) == Some(party.as_str()) && found.get(CURRENCY) == Some(stated.as_str()))
        .collect();
    open_balance(filling, set, &earlier, &stated);
    let until = set.get(UNTIL.name()).and_then(Value::as_int).and_then(|day| i32::try_from(day).ok()).map(Day);
    let Some(until) = until else { return };
    let found = if site == SiteId::hub() { recoveries(filling, &party, until) } else { claims(filling, &site, until) };
    let settled = linked(&earlier);
    let fits = |found: &Found| found.amount.1 == stated && !settled.contains(found.document.id.to_string().as_str());
    for (number, found) in (1..).zip(found.iter().filter(|found| fits(found)).take(MOST_LINES)) {
        found.put(filling, set, number);
    }
    if site != SiteId::hub() {
        discounts(filling, set, &site, &settled, &stated, until);
    }
}

/// Where the settlement before it is not closed, its closing balance may still change: nothing is stated then.
fn open_balance(filling: &Filling<'_>, set: &mut Set, earlier: &[Document], currency: &str) {
    let last = earlier.last();
    filling.state(set, PREVIOUS.name(), last.map(|last| Value::Text(last.id.to_string())));
    let closing = match last {
        None => Some(0),
        Some(last) if last.state == CLOSED.name => last.get(CLOSING),
        Some(_) => None,
    };
    filling.state(set, OPENING.name(), closing.map(|minor| Value::measured(minor, currency)));
}

/// A document to be settled, and its amount.
struct Found {
    group: &'static str,
    document: Document,
    amount: (i64, String),
}

impl Found {
    fn of(group: &'static str, document: Document, column: Col<column::Money>) -> Option<Found> {
        let (minor, currency) = document.fields.get(column.name())?.as_measured()?;
        let amount = (minor, currency.to_owned());
        Some(Found { group, document, amount })
    }

    fn put(&self, filling: &Filling<'_>, set: &mut Set, number: u32) {
        let group = self.group;
        let mut put = |field: &str, value: Value| filling.state(set, format!("{group}#{number}.{field}"), Some(value));
        put(group, Value::Text(self.document.id.to_string()));
        put(AMOUNT.name(), Value::measured(self.amount.0, &self.amount.1));
        if let (CLAIMS, Some(name)) = (group, self.document.number()) {
            put(claim::NUMBER.name(), Value::from(name));
        }
    }
}

/// Claims approved by the end of the last day, in the outlets' own zone.
fn claims(filling: &Filling<'_>, site: &SiteId, until: Day) -> Vec<Found> {
    let all = filling.books.documents(kind::claim::CLAIM.name, site).into_iter();
    let approved = all.filter(|claim| claim.state == kind::claim::APPROVED.name && is_by(claim, until));
    let amount = if is_planted(Plant::SettlesClaimed) { kind::claim::CLAIMED } else { kind::claim::GRANTED };
    approved.filter_map(|claim| Found::of(CLAIMS, claim, amount)).collect()
}

/// Recoveries that a supplier agreed to by the end of the last day, without what it has paid on them already.
fn recoveries(filling: &Filling<'_>, supplier: &str, until: Day) -> Vec<Found> {
    let all = filling.books.documents(kind::recovery::RECOVERY.name, &SiteId::hub()).into_iter();
    let of_supplier =
        all.filter(|found| found.state != VOID.name && found.get(kind::recovery::SUPPLIER) == Some(supplier));
    let unpaid = of_supplier.filter_map(|found| {
        let agreed_at = found.get(kind::recovery::AGREED_AT).unwrap_or(found.changed_at);
        let paid = found.get(kind::recovery::PAID_SUM).unwrap_or(0);
        let mut found = Found::of(RECOVERIES, found, kind::recovery::AGREED_SUM)?;
        found.amount.0 -= paid;
        is_at_most(agreed_at, until).then_some(found)
    });
    unpaid.filter(|found| found.amount.0 > 0).collect()
}

/// Old parts that the station kept at a price are deducted.
fn discounts(
    filling: &Filling<'_>,
    set: &mut Set,
    site: &SiteId,
    settled: &BTreeSet<&str>,
    currency: &str,
    until: Day,
) {
    let all = filling.books.documents(old_part::OLD_PART.name, site).into_iter();
    let kept = all.filter(|part| part.state != VOID.name && is_by(part, until));
    let found = kept.filter_map(|part| Found::of(DEDUCTED_LINES, part, old_part::DISCOUNT));
    let stated = lines(set, DEDUCTED_LINES).last().map_or(0, |line| line.number);
    let fits = |found: &Found| {
        found.amount.0 > 0 && found.amount.1 == currency && !settled.contains(found.document.id.to_string().as_str())
    };
    for (number, found) in (stated + 1..).zip(found.filter(fits).take(MOST_LINES)) {
        let mut put = |field: &str, value: Value| {
            filling.state(set, format!("{DEDUCTED_LINES}#{number}.{field}"), Some(value));
        };
        put(deduction::OLD_PART.name(), Value::Text(found.document.id.to_string()));
        put(deduction::REASON.name(), Value::from("old_part"));
        put(deduction::AMOUNT.name(), Value::measured(found.amount.0, &found.amount.1));
    }
}

fn is_by(document: &Document, until: Day) -> bool {
    is_at_most(document.changed_at, until)
}

fn is_at_most(at: Timestamp, until: Day) -> bool {
    time::zone("").is_ok_and(|zone| at.day(&zone) <= until)
}

/// What earlier settlements name.
pub(super) fn linked(earlier: &[Document]) -> BTreeSet<&str> {
    let is_link = |key: &str| {
        [".claim", ".recovery", ".old_part"].iter().any(|end| key.ends_with(end))
            && matches!(Key::parse(key), Some(Key::Line { .. }))
    };
    let fields = earlier.iter().flat_map(|settlement| &settlement.fields);
    fields.filter(|(key, _)| is_link(key)).filter_map(|(_, value)| value.as_text()).collect()
}
