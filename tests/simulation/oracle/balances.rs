//! I6: money. What is granted of a claim is the sum of its lines; what a settlement comes to is what it gathered, and every
//! settlement goes on from the one before it.

use std::collections::{BTreeMap, BTreeSet};

use waystation_protocol::id::DocId;

use super::books::Id;
use super::papers::Paper;
use crate::flows::{CLAIM, SETTLEMENT, VOID};
use crate::violation::{Violation, broken};

/// All of it. `is_lost`: whether something of a document is named lost.
pub(super) fn judge(papers: &BTreeMap<Id, Paper>, is_lost: &dyn Fn(&Id) -> bool) -> Result<(), Violation> {
    grants_add_up(papers)?;
    settlements_balance(papers, is_lost)
}

/// What is granted of a claim is the sum of its lines, and no line more than is asked for.
fn grants_add_up(papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
    for claim in papers.values().filter(|paper| paper.kind == CLAIM && paper.state == "approved") {
        let lines: Vec<&str> = claim.fields.keys().filter_map(|field| field.strip_suffix(".price")).collect();
        let granted = |line: &&str| claim.measured(&format!("{line}.granted"));
        // a line is about one piece
        let is_too_much = |line: &&&str| granted(line) > claim.measured(&format!("{line}.price"));
        let sum: i64 = lines.iter().map(granted).sum();
        if lines.iter().any(|line| is_too_much(&line)) || sum != claim.measured("granted") {
            let what = format!("a claim's lines come to {sum}, granted is {}", claim.measured("granted"));
            return Err(broken("I6", what));
        }
    }
    Ok(())
}

/// opening + approved − deductions ± adjustments − paid = closing, each begins with the closing of one before it that no other
/// goes on from, and nothing is settled twice.
fn settlements_balance(papers: &BTreeMap<Id, Paper>, is_lost: &dyn Fn(&Id) -> bool) -> Result<(), Violation> {
    let by_name: BTreeMap<String, &Paper> =
        papers.iter().map(|(id, paper)| (DocId::from_bytes(*id).to_string(), paper)).collect();
    let (mut followed, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for found in papers.values().filter(|paper| paper.kind == SETTLEMENT && paper.state != VOID) {
        let sum = |group: &str| -> i64 {
            let of_group = found.fields.keys().filter(|key| key.starts_with(group) && key.ends_with(".amount"));
            of_group.map(|key| found.measured(key)).sum()
        };
        let previous = found.text("previous");
        if !followed.insert((found.site.clone(), previous.clone())) {
            return Err(broken("I6", format!("two settlements of {} follow '{previous}'", found.site)));
        }
        let before = by_name.get(&previous).map_or(0, |before| before.measured("closing"));
        let opening = found.measured("opening");
        let closing = opening + sum("claim#") - sum("deduction#") + sum("adjustment#") - found.measured("paid");
        if opening != before || closing != found.measured("closing") {
            let told = (opening, found.measured("closing"));
            return Err(broken("I6", format!("a settlement goes from {told:?}, expected {:?}", (before, closing))));
        }
        for (line, named) in lines_of(found) {
            let (of, amount) = match line.starts_with("claim#") {
                true => (CLAIM, "granted"),
                false => ("old_part", "discount"),
            };
            let theirs = by_name.get(&named).filter(|theirs| theirs.kind == of && theirs.site == found.site);
            let is_as_granted =
                theirs.is_some_and(|theirs| theirs.measured(amount) == found.measured(&format!("{line}.amount")));
            // a settlement came back whose claim, or the decision on it, did not
            let is_sound = is_as_granted || named.parse().is_ok_and(|id: DocId| is_lost(id.as_bytes()));
            if !is_sound || !settled.insert(named.clone()) {
                return Err(broken("I6", format!("{line} of a settlement, {named}, is settled twice or wrongly")));
            }
        }
    }
    Ok(())
}

/// Its lines that stand for other documents, and those.
fn lines_of(settlement: &Paper) -> impl Iterator<Item = (&str, String)> {
    let ends = |field: &'_ str| [".claim", ".old_part"].iter().any(|end| field.ends_with(end));
    let fields = settlement.fields.keys().filter(move |field| field.contains('#') && ends(field));
    fields.filter_map(|field| Some((field.split_once('.')?.0, settlement.text(field))))
}
