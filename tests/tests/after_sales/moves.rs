//! What may be done with which document in which state, written down here once more: whatever else is accepted is wrong.
//!
//! A move is `act field=value …` in the language of the stories; words in braces are drawn when it is tried.

use std::collections::BTreeSet;

use waystation_protocol::document::{Document, Party};
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::world::SITES;

/// Everything that may be tried, by kind and state.
const MOVES: &[(&str, &str, &[&str])] = &[
    (
        "repair_order",
        "checked_in",
        &[ESTIMATE, ESTIMATE, "estimate promised_at={later}", "decline", "correct brand=甲"],
    ),
    ("repair_order", "estimated", &["confirm consent_by=张伟", "confirm consent_by=张伟", ESTIMATE, "decline"]),
    ("repair_order", "confirmed", &["assign technician=王师傅"]),
    (
        "repair_order",
        "assigned",
        &["issue_parts part#1.source=stock part#1.location={location}", "work", "correct brand=丙"],
    ),
    ("repair_order", "parts_issued", &["work"]),
    (
        "repair_order",
        "working",
        &[
            "finish outcome=fixed",
            "issue_parts part#1.source={source}",
            "issue_parts part#2.part={item} part#2.quantity=q:{q} part#2.price=m:500 part#2.coverage=customer part#2.source=stock",
            "correct brand=乙",
        ],
    ),
    ("repair_order", "qc", &["release qc_result=pass released_at=now", "fail_qc"]),
    ("repair_order", "released", &["close"]),
    (
        "claim",
        "draft",
        &[
            "submit",
            "submit part#1.old_part={old_part}",
            "submit part#1.old_part={old_part}",
            "edit odometer=9001",
            "edit part#1.old_part={old_part}",
            "edit part#1.price=m:{money}",
        ],
    ),
    ("claim", "returned", &["resubmit", "resubmit", "edit odometer=9002"]),
    ("claim", "submitted", &["review"]),
    (
        "claim",
        "reviewing",
        &[
            "approve part#1.granted=m:{granted} responsible={blamed} supplier=S1 basis=材质",
            "approve part#1.granted=m:{granted} responsible={blamed} basis=材质",
            "approve part#1.granted=m:{granted} part#1.disposition={disposition}",
            "approve part#1.granted=m:{granted} part#1.disposition={disposition}",
            "approve part#1.granted=m:{granted} part#1.disposition={disposition}",
            "return remark#{round}.field=odometer remark#{round}.code=wrong remark#{round}.comment=不符",
            "preauthorise",
            "preauthorise price_cap=m:{money}",
            "reject reject_reason=过保",
        ],
    ),
    ("claim", "preauthorised", &["submit_actuals serial_new=E2 invoice_no=F1", "edit part#1.price=m:{money}"]),
    ("claim", "actuals", &["review"]),
    (
        "claim",
        "final_review",
        &[
            "return remark#{round}.field=serial_new remark#{round}.code=unclear remark#{round}.comment=看不清",
            "approve part#1.granted=m:{granted}",
            "approve part#1.granted=m:{granted} part#1.disposition={disposition}",
            "return remark#{round}.field=serial_new remark#{round}.code=unclear remark#{round}.comment=看不清",
            "reject reject_reason=无发票",
        ],
    ),
    ("old_part", "tagged", &["box box_no=B1", "box box_no=B1", "discount discount=m:{money}", "correct serial=X"]),
    ("old_part", "boxed", &["ship waybill=W1", "correct weight=900"]),
    (
        "old_part",
        "shipped",
        &["receive", "record forwarded_to=S1", "mismatch discrepancy=型号不符", "short discrepancy=箱内无件"],
    ),
    ("old_part", "received", &["forward forwarded_to=S1", "write_off write_off_no=H1"]),
    ("old_part", "mismatch", &["receive", "record forwarded_to=S1", "write_off write_off_no=H1"]),
    ("old_part", "short", &["receive", "record forwarded_to=S1", "write_off write_off_no=H1"]),
    ("old_part", "forwarded", &["write_off write_off_no=H1"]),
    ("old_part", "discounted", &["write_off write_off_no=H1"]),
    ("recovery", "judged", &["notify", "correct basis=复核"]),
    ("recovery", "notified", &["confirm", "confirm", "dispute objection=不是材质"]),
    ("recovery", "disputed", &["appraise third_party=检测中心 factor=5000"]),
    ("recovery", "appraised", &["agree agreed=m:{money}"]),
    ("recovery", "confirmed", &["agree agreed=m:{money}"]),
    ("recovery", "agreed", &["invoice invoice_no=F1"]),
    ("recovery", "invoiced", &["pay paid=m:{money}"]),
    ("recovery", "paid", &["close"]),
    ("part_transfer", "requested", GRANT),
    ("part_transfer", "refused", GRANT),
    ("part_transfer", "assigned", &["accept", "accept", "accept", "refuse refusal=无货"]),
    (
        "part_transfer",
        "accepted",
        &[
            "ship shipped=q:1000 waybill=W1 source_location={location}",
            "ship shipped=q:1000 waybill=W1",
            "refuse refusal=盘亏",
        ],
    ),
    ("part_transfer", "approved", &["ship shipped=q:1000 waybill=W1"]),
    (
        "part_transfer",
        "shipped",
        &["receive received=q:1000", "receive_short received=q:500", "receive_damaged received=q:500 damaged=q:500"],
    ),
    ("part_transfer", "received", &["close"]),
    ("part_transfer", "short", &["conclude conclusion=扣款"]),
    ("part_transfer", "damaged", &["conclude conclusion=补发"]),
    ("settlement", "generated", &["issue", "charge", "issue", "charge", ADJUST, DEDUCT]),
    ("settlement", "issued", &[CONFIRM, "dispute claim#1.dispute=少工时", "dispute recovery#1.dispute=不符"]),
    ("settlement", "disputed", &["issue", "charge", ADJUST]),
    ("settlement", "confirmed", &["pay paid=m:{due}"]),
    ("settlement", "paid", &["close"]),
    ("notice", "published", &["withdraw withdrawal=已更正", "note acknowledged=yes", "note acknowledged=yes"]),
    ("count_sheet", "open", &[COUNT, COUNT, "lock recounter=王芳"]),
    ("count_sheet", "recount", &[COUNT, "lock recounter=王芳"]),
    ("count_sheet", "locked", &["approve", "approve", "recount decision_reason=差异", "reject decision_reason=重做"]),
    ("count_sheet", "approved", &["adjust"]),
];

/// What opens a document, and whether the hub does.
const OPENINGS: &[(&str, bool, &str)] = &[
    ("stock_movement", false, "post item={item} location={location} quantity=q:{q} reason=receipt"),
    ("stock_movement", false, "post item={item} location={location} quantity=q:-{q} reason=issue"),
    (
        "repair_order",
        false,
        "check_in checked_in_at={past} pre_inspection=好 symptom=异响 category=车 vin=1M8GDM9AXKP042788 odometer=9000",
    ),
    ("claim", false, CLAIM),
    ("claim", false, CLAIM),
    ("old_part", false, TAG),
    ("old_part", false, TAG),
    ("old_part", false, TAG),
    ("part_transfer", false, "request part={item} quantity=q:2000 need_by={later} location={location}"),
    ("count_sheet", false, "open zone=A counter=李娜"),
    (
        "recovery",
        true,
        "judge site=hub responsible=supplier supplier=S1 basis=鉴定 claim#1.claim={claim} claim#1.amount=m:{money}",
    ),
    ("settlement", true, "generate site={site} period=P until=day:1"),
    ("settlement", true, "generate site={site} period=P until=day:1"),
    ("settlement", true, "generate site=hub party=S1 period=P until=day:1"),
    ("notice", true, "publish site=hub title=召回 body=内容 audience=*"),
    ("notice", true, "publish site=hub title=召回 body=内容 audience={site}"),
];

const ESTIMATE: &str = "estimate promised_at={later} part#1.part={item} part#1.quantity=q:{q} part#1.price=m:1001 part#1.coverage=warranty";
const CLAIM: &str = "draft variant={variant} repair_order={order} vin=1M8GDM9AXKP042788 model=M1 sale_date=day:-70 odometer=9000 \
     customer=张伟 failed_at={past} symptom=异响 causal_part=P1 fault=F01 severity=major supplier=S1 assembly=发动机 \
     serial_old=E1 teardown_photos=x.jpg call_at={past} place=高速 distance=40 depart_at={past} arrive_at={past} finish_at={past} \
     vendor=配件城 purchase_reason=缺货 card_no=Z1 checklist=机油 part#1.part={item} part#1.quantity=q:1000 \
     part#1.price=m:{money} part#1.source=stock part#1.coverage=warranty";
const TAG: &str = "tag claim={draft} part=P1 tag_no=T1 removed_at={past}";
const GRANT: &[&str] = &[
    "assign source={site} approved=q:1000",
    "assign source={site} approved=q:1000",
    "approve mode=maker approved=q:1000",
    "approve mode=supplier supplier=S1 approved=q:1000",
    "reject reject_reason=停产",
];
const ADJUST: &str = "adjust adjustment#{line}.amount=m:-{money} adjustment#{line}.comment=尾差";
const DEDUCT: &str = "adjust deduction#{line}.amount=m:{money} deduction#{line}.reason=penalty";
const CONFIRM: &str = "confirm invoice_no=F1";
const COUNT: &str = "count item#{few}.item={item} item#{few}.location={location} item#{few}.counted=q:{q}";
const VARIANTS: &[&str] = &[
    "ordinary",
    "ordinary",
    "major_assembly",
    "roadside",
    "outside_purchase",
    "run_in",
    "compensation",
    "compensation",
];

/// What a holder of the pen may try with a document; none where nothing is left.
pub(crate) fn of(document: &Document, chance: &mut Chance) -> Option<&'static str> {
    let found = MOVES.iter().find(|(kind, state, _)| *kind == document.kind && *state == document.state);
    found.map(|(_, _, moves)| *chance.pick(moves))
}

/// Any move of a kind, whatever its state.
pub(crate) fn any(kind: &str, chance: &mut Chance) -> Option<&'static str> {
    let all: Vec<&str> =
        MOVES.iter().filter(|(name, _, _)| *name == kind).flat_map(|(_, _, moves)| moves.iter().copied()).collect();
    (!all.is_empty()).then(|| *chance.pick(&all))
}

/// Kind and move of an opening by an outlet or the hub; one in ten is the other's.
pub(crate) fn opening(is_hub: bool, chance: &mut Chance) -> (&'static str, &'static str) {
    let is_hub = is_hub != chance.percent(10);
    let fit: Vec<_> = OPENINGS.iter().filter(|(_, by_hub, _)| *by_hub == is_hub).collect();
    let (kind, _, opening) = chance.pick(&fit);
    (kind, opening)
}

/// Whether an act may be taken in a state; none of these changes who holds the pen but `reclaim` and `hand_over`.
pub(crate) fn is_legal(kind: &str, state: Option<&str>, act: &str, by_hub: bool) -> bool {
    let named = |text: &str| text.split(' ').next() == Some(act);
    match state {
        None => OPENINGS.iter().any(|(name, hub, opening)| *name == kind && *hub == by_hub && named(opening)),
        Some(_) if act == "note" => true,
        Some("void") => false,
        Some(_) if ["reclaim", "hand_over"].contains(&act) => by_hub,
        Some(_) if act == "void" => true,
        Some(state) => {
            let mut found = MOVES.iter().filter(|(name, from, _)| *name == kind && *from == state);
            found.any(|(_, _, moves)| moves.iter().any(|text| named(text)))
        }
    }
}

/// How many states something may begin in.
pub(crate) fn states() -> usize {
    MOVES.len()
}

/// The states that nothing of what was taken, by kind, state and act, began in.
pub(crate) fn never(taken: &BTreeSet<(String, String, String)>) -> Vec<String> {
    let is_taken = |kind: &str, state: &str| {
        let mut of_flow =
            taken.iter().filter(|(_, _, act)| !["note", "void", "reclaim", "hand_over"].contains(&act.as_str()));
        of_flow.any(|(of, from, _)| of == kind && from == state)
    };
    let states =
        MOVES.iter().map(|(kind, state, _)| (*kind, *state)).chain(OPENINGS.iter().map(|(kind, _, _)| (*kind, "")));
    states
        .filter(|(kind, state)| !is_taken(kind, state))
        .map(|(kind, state)| format!("{kind} in state '{state}'"))
        .collect()
}

/// Who holds the pen of a document after an act: none where it stays. Told by name, as DOMAIN states the flows.
pub(crate) fn pen_after(kind: &str, state: &str, act: &str, document: &Document) -> Option<Party> {
    let origin = || Party::of(document.site.clone());
    let named = |field: &str| {
        let site = document.fields.get(field).and_then(Value::as_text).and_then(|text| text.parse().ok());
        Party::of(site.expect("the act names a site"))
    };
    match (kind, act) {
        (_, "reclaim") => Some(Party::Hub),
        (_, "hand_over") => Some(origin()),
        ("claim", "submit" | "resubmit" | "submit_actuals") => Some(Party::Hub),
        ("claim", "return" | "preauthorise") => Some(origin()),
        ("old_part", "discount") => Some(Party::Hub),
        ("old_part", "ship") => Some(Party::Hub),
        ("part_transfer", "request" | "refuse" | "receive" | "receive_short" | "receive_damaged") => Some(Party::Hub),
        ("part_transfer", "assign") => Some(named("source")),
        ("part_transfer", "ship") => Some(origin()),
        ("settlement", "generate" | "confirm" | "dispute") => Some(Party::Hub),
        ("settlement", "issue") => Some(origin()),
        ("count_sheet", "lock") => Some(Party::Hub),
        ("count_sheet", "approve" | "recount") => Some(origin()),
        ("notice", "publish") | ("recovery", "judge") => Some(Party::Hub),
        _ if state.is_empty() => Some(origin()),
        _ => None,
    }
}

/// What the words of a move are drawn from.
pub(crate) struct Drawn<'a> {
    /// The document acted on.
    pub(crate) document: Option<&'a Document>,
    /// What whoever acts sees.
    pub(crate) shown: &'a [&'a Document],
    /// Milliseconds of the wall clock.
    pub(crate) now: i64,
}

/// A move with its words drawn; none where there is nothing to name.
pub(crate) fn spell(text: &str, drawn: &Drawn<'_>, chance: &mut Chance) -> Option<String> {
    let mut spelled = text.to_owned();
    for word in ["few", "line", "q", "item", "location"] {
        let value = match word {
            "few" => chance.within(1, 3).to_string(),
            "line" => chance.within(700, 799).to_string(),
            "q" => (chance.within(1, 9) * 500).to_string(),
            "item" => (*chance.pick(&["P1", "P2"])).to_owned(),
            _ => (*chance.pick(&["main", "back"])).to_owned(),
        };
        spelled = spelled.replace(&format!("{{{word}}}"), &value);
    }
    let amount = |name: &str| {
        let value = drawn.document.and_then(|document| document.fields.get(name)).and_then(Value::as_measured);
        value.map_or(0, |(minor, _)| minor)
    };
    while let Some((before, rest)) = spelled.split_once('{') {
        let (word, after) = rest.split_once('}').expect("a word ends");
        let value = match word {
            "money" => chance.within(1, 3_000).to_string(),
            "granted" => share(amount("part#1.amount"), chance).to_string(),
            "due" => share(amount("opening") + amount("total"), chance).to_string(),
            "variant" => (*chance.pick(VARIANTS)).to_owned(),
            "blamed" => (*chance.pick(&["supplier", "station"])).to_owned(),
            "disposition" => (*chance.pick(&["maker", "supplier", "discount"])).to_owned(),
            "source" => (*chance.pick(&["stock", "purchased"])).to_owned(),
            "site" => (*chance.pick(&SITES)).to_owned(),
            "past" => (drawn.now - 3_600_000).to_string(),
            "later" => (drawn.now + 86_400_000).to_string(),
            "round" => drawn.document.map_or(1, |document| document.round).to_string(),
            "order" => name(drawn, chance, |found| found.kind == "repair_order")?,
            "claim" => name(drawn, chance, |found| found.kind == "claim")?,
            "draft" => name(drawn, chance, |found| found.kind == "claim" && found.state == "draft")?,
            "old_part" => name(drawn, chance, |found| is_of(found, drawn.document))?,
            _ => panic!("an unknown word: {word}"),
        };
        spelled = format!("{before}{value}{after}");
    }
    Some(spelled)
}

/// The id of one of the documents that fit.
fn name(drawn: &Drawn<'_>, chance: &mut Chance, fits: impl Fn(&Document) -> bool) -> Option<String> {
    let found: Vec<_> = drawn.shown.iter().filter(|document| fits(document)).collect();
    (!found.is_empty()).then(|| chance.pick(&found).id.to_string())
}

/// Whether this is an old part of the claim that is acted on.
fn is_of(found: &Document, claim: Option<&Document>) -> bool {
    let of = found.fields.get("claim").and_then(Value::as_text);
    found.kind == "old_part" && claim.is_some_and(|claim| of == Some(claim.id.to_string().as_str()))
}

/// All of an amount, or less.
fn share(amount: i64, chance: &mut Chance) -> i64 {
    let amount = amount.max(0);
    if chance.percent(50) { amount } else { chance.below(amount.unsigned_abs() + 1).cast_signed() }
}
