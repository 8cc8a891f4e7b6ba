//! The flows of documents as DOMAIN states them, written down here once more, so that nothing rests on the product's own:
//! which act leads from which state to which, who takes it, and who holds the pen then.

/// Repair orders, by their wire name.
pub(crate) const ORDER: &str = "repair_order";
/// Count sheets.
pub(crate) const SHEET: &str = "count_sheet";
/// Part transfers.
pub(crate) const TRANSFER: &str = "part_transfer";
/// Claims.
pub(crate) const CLAIM: &str = "claim";
/// Old parts.
pub(crate) const OLD_PART: &str = "old_part";
/// Settlements.
pub(crate) const SETTLEMENT: &str = "settlement";
/// Movements of stock.
pub(crate) const MOVEMENT: &str = "stock_movement";
/// The hub, where the name of a site stands.
pub(crate) const HUB: &str = "hub";
/// The state in which every document ends that was voided; its pen stays where it was.
pub(crate) const VOID: &str = "void";

/// A party to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The site it belongs to.
    Site,
    /// The hub.
    Hub,
    /// The other station, which it names as its source.
    Source,
}

use Who::{Hub, Site, Source};

/// A step: from which state (none opens a document), the act, who takes it, the state it leads to, who holds the pen then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Who,
    pub(crate) &'static str,
    pub(crate) Who,
);

/// The flow of every kind that people act on here.
const FLOWS: &[(&str, &[Step])] = &[
    ("survey", &[Step("", "answer", Site, "answered", Site)]),
    (MOVEMENT, &[Step("", "post", Site, "posted", Site)]),
    ("notice", &[Step("", "publish", Hub, "published", Hub)]),
    (
        ORDER,
        &[
            Step("", "check_in", Site, "checked_in", Site),
            Step("checked_in", "estimate", Site, "estimated", Site),
            Step("estimated", "confirm", Site, "confirmed", Site),
            Step("confirmed", "assign", Site, "assigned", Site),
            Step("assigned", "issue_parts", Site, "parts_issued", Site),
            Step("parts_issued", "work", Site, "working", Site),
            Step("working", "finish", Site, "qc", Site),
            Step("qc", "release", Site, "released", Site),
            Step("released", "close", Site, "closed", Site),
            // a clerk whose list is behind may take these once more
            Step("estimated", "estimate", Site, "estimated", Site),
            Step("working", "issue_parts", Site, "parts_issued", Site),
        ],
    ),
    (
        SHEET,
        &[
            Step("", "open", Site, "open", Site),
            Step("open", "count", Site, "open", Site),
            Step("open", "lock", Site, "locked", Hub),
            Step("recount", "count", Site, "recount", Site),
            Step("recount", "lock", Site, "locked", Hub),
            Step("locked", "approve", Hub, "approved", Site),
            Step("locked", "recount", Hub, "recount", Site),
            Step("locked", "reject", Hub, "rejected", Hub),
            Step("approved", "adjust", Site, "adjusted", Site),
        ],
    ),
    (
        TRANSFER,
        &[
            Step("", "request", Site, "requested", Hub),
            Step("requested", "approve", Hub, "approved", Hub),
            Step("requested", "assign", Hub, "assigned", Source),
            Step("requested", "reject", Hub, "rejected", Hub),
            Step("refused", "approve", Hub, "approved", Hub),
            Step("refused", "assign", Hub, "assigned", Source),
            Step("refused", "reject", Hub, "rejected", Hub),
            Step("assigned", "accept", Source, "accepted", Source),
            Step("assigned", "refuse", Source, "refused", Hub),
            Step("accepted", "refuse", Source, "refused", Hub),
            Step("approved", "ship", Hub, "shipped", Site),
            Step("accepted", "ship", Source, "shipped", Site),
            Step("shipped", "receive", Site, "received", Hub),
            Step("shipped", "receive_short", Site, "short", Hub),
            Step("shipped", "receive_damaged", Site, "damaged", Hub),
            Step("received", "close", Hub, "closed", Hub),
            Step("short", "conclude", Hub, "closed", Hub),
            Step("damaged", "conclude", Hub, "closed", Hub),
        ],
    ),
    (
        CLAIM,
        &[
            Step("", "draft", Site, "draft", Site),
            Step("draft", "edit", Site, "draft", Site),
            Step("draft", "submit", Site, "submitted", Hub),
            Step("returned", "edit", Site, "returned", Site),
            Step("returned", "resubmit", Site, "submitted", Hub),
            Step("submitted", "review", Hub, "reviewing", Hub),
            Step("reviewing", "return", Hub, "returned", Site),
            Step("reviewing", "approve", Hub, "approved", Hub),
            Step("reviewing", "reject", Hub, "rejected", Hub),
        ],
    ),
    (
        SETTLEMENT,
        &[
            Step("", "generate", Hub, "generated", Hub),
            Step("generated", "adjust", Hub, "generated", Hub),
            Step("generated", "issue", Hub, "issued", Site),
            Step("issued", "confirm", Site, "confirmed", Hub),
            Step("issued", "dispute", Site, "disputed", Hub),
            Step("disputed", "adjust", Hub, "disputed", Hub),
            Step("disputed", "issue", Hub, "issued", Site),
            Step("confirmed", "pay", Hub, "paid", Hub),
            Step("paid", "close", Hub, "closed", Hub),
        ],
    ),
    (
        OLD_PART,
        &[
            Step("", "tag", Site, "tagged", Site),
            Step("tagged", "correct", Site, "tagged", Site),
            Step("tagged", "discount", Site, "discounted", Hub),
            Step("tagged", "box", Site, "boxed", Site),
            Step("boxed", "correct", Site, "boxed", Site),
            Step("boxed", "ship", Site, "shipped", Hub),
            Step("shipped", "receive", Hub, "received", Hub),
            Step("shipped", "record", Hub, "forwarded", Hub),
            Step("shipped", "mismatch", Hub, "mismatch", Hub),
            Step("shipped", "short", Hub, "short", Hub),
            Step("mismatch", "receive", Hub, "received", Hub),
            Step("mismatch", "record", Hub, "forwarded", Hub),
            Step("mismatch", "write_off", Hub, "written_off", Hub),
            Step("short", "receive", Hub, "received", Hub),
            Step("short", "record", Hub, "forwarded", Hub),
            Step("short", "write_off", Hub, "written_off", Hub),
            Step("received", "forward", Hub, "forwarded", Hub),
            Step("received", "write_off", Hub, "written_off", Hub),
            Step("forwarded", "write_off", Hub, "written_off", Hub),
            Step("discounted", "write_off", Hub, "written_off", Hub),
        ],
    ),
];

/// The steps of a kind.
pub(crate) fn of(kind: &str) -> &'static [Step] {
    FLOWS.iter().find(|(name, _)| *name == kind).map_or(&[], |(_, steps)| steps)
}

/// The step that an act is from a state.
pub(crate) fn step(kind: &str, state: &str, act: &str) -> Option<&'static Step> {
    of(kind).iter().find(|Step(from, name, ..)| *from == state && *name == act)
}

/// The state in which documents of a kind are opened here.
pub(crate) fn opened_state(kind: &str) -> &'static str {
    of(kind).iter().find(|Step(from, ..)| from.is_empty()).map_or("", |Step(_, _, _, to, _)| to)
}

/// The state an act leads to; acts that are not steps leave it.
pub(crate) fn state_after<'a>(kind: &str, state: &'a str, act: &str) -> &'a str {
    match step(kind, state, act) {
        Some(Step(_, _, _, to, _)) => to,
        None if act == "void" => VOID,
        None => state,
    }
}

/// Whether steps lead from one state of a kind to another, or to that state again.
pub(crate) fn reaches(kind: &str, from: &str, to: &str) -> bool {
    let (mut reached, mut at) = (vec![from], 0);
    while let Some(state) = reached.get(at).copied() {
        for Step(_, _, _, next, _) in of(kind).iter().filter(|Step(from, ..)| *from == state) {
            if *next == to {
                return true;
            }
            if !reached.contains(next) {
                reached.push(next);
            }
        }
        at += 1;
    }
    false
}

/// How far on a document is, in the order of its kind's flow.
pub(crate) fn progress(kind: &str, state: &str) -> usize {
    of(kind).iter().position(|Step(from, ..)| *from == state).unwrap_or_default()
}

/// Whether one party passes documents of this kind on to another that writes on them too, and sites see what others did.
pub(crate) fn is_passed_on(kind: &str) -> bool {
    [TRANSFER, CLAIM, OLD_PART, SETTLEMENT].contains(&kind)
}

/// Whether a new round begins with an act.
pub(crate) fn is_next_round(kind: &str, act: &str) -> bool {
    matches!((kind, act), (SHEET, "recount") | (CLAIM, "return") | (SETTLEMENT, "dispute"))
}

/// A party by name, where a document belongs to `site` and names this other one.
pub(crate) fn name(who: Who, site: &str, source: &str) -> String {
    match who {
        Who::Site => site.to_owned(),
        Who::Hub => HUB.to_owned(),
        Who::Source => source.to_owned(),
    }
}

/// Who holds the pen of a document in a state; none where that is void.
pub(crate) fn holder(kind: &str, state: &str) -> Option<Who> {
    let mut steps = of(kind).iter();
    steps.find(|Step(_, _, _, to, _)| *to == state).map(|Step(_, _, _, _, pen)| *pen)
}
