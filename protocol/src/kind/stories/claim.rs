//! Claims: every way of every variant, and everything that is refused.

use super::*;
use crate::kind::claim::CLAIM;
use crate::kind::{Clash, Kind};

#[test]
fn every_variant_goes_its_way() {
    check(told::of("claim"));
}

#[test]
fn what_a_submission_lacks_is_said_at_once() {
    let bare = "{order}\nA c:claim draft variant=";
    let rest = "{vehicle} {lines}\nA c submit";
    let stories: Vec<(String, &str)> = vec![
        (
            format!("{bare}ordinary\nA c submit"),
            "submit: repair_order vin model sale_date odometer customer claimed failed_at symptom causal_part fault severity",
        ),
        (format!("{bare}ordinary {rest}"), "submit: failed_at symptom causal_part fault severity"),
        (format!("{bare}major_assembly {{fault}} {rest}"), "submit: assembly serial_old teardown_photos"),
        (format!("{bare}roadside {{fault}} {rest}"), "submit: call_at place distance depart_at arrive_at finish_at"),
        (format!("{bare}roadside {{fault}} {{rescue}} {rest} arrive_at=1759990500000"), "submit: arrive_at"),
        (format!("{bare}outside_purchase {{fault}} {rest}"), "submit: vendor purchase_reason"),
        (format!("{bare}run_in {rest}"), "submit: card_no checklist"),
        (
            format!("{bare}ordinary {{fault}} {{vehicle}} part#1.part=P\nA c submit"),
            "submit: claimed part#1.quantity part#1.price part#1.source part#1.coverage part#1.amount",
        ),
        ("A c:claim draft".into(), "draft: variant"),
    ];
    for (story, expected) in &stories {
        let found = tell(story).err().unwrap_or_default();
        assert_eq!(found, *expected, "{story}");
    }
}

#[test]
fn every_check_of_an_outlets_claim_refuses() {
    check(&[
        ("{order}\nA c:claim draft variant=ordinary vin=1M8GDM9A1KP042788", "draft: vin"),
        ("{order}\nA c:claim draft variant=ordinary phone=12", "draft: phone"),
        ("{order}\nA c:claim draft variant=ordinary odometer=-1", "draft: odometer"),
        ("{order}\nA c:claim draft variant=ordinary meter_replaced=yes", "draft: meter_photo"),
        ("{submitted}\nA r2:repair_order check_in vin=1M8GDM9AXKP042788 odometer=8999 {walk_in}", "check_in: odometer"),
        ("{submitted}\nA d:claim draft variant=ordinary vin=1M8GDM9AXKP042788 odometer=1", "draft: odometer"),
        ("{order}\nA c:claim draft variant=ordinary failed_at=1769990000000", "draft: failed_at"),
        ("{order}\nA c:claim draft variant=ordinary {part} part#1.price=m:-1", "draft: part#1.price"),
        ("{ordinary}\nA c edit other#2.charge=x other#2.amount=usd:1", "edit: one document has one currency"),
        ("{ordinary}\nA c edit variant=roadside", "edit: variant"),
        ("{ordinary}\nA c edit claimed=m:1", "edit: claimed"),
        ("{ordinary}\nA c edit part#1.granted=m:1", "edit: part#1.granted"),
        ("{ordinary}\nA c edit price_cap=m:1", "edit: price_cap"),
        ("{ordinary}\nA c edit {remark}", "edit: remark#1.code remark#1.comment remark#1.field"),
        ("{ordinary}\nA c edit reject_reason=x", "edit: reject_reason"),
        (
            "{reviewing}\nhub c hand_over\nA c approve {granted}",
            "approve: 'approve' is for the hub's people alone, wherever the pen is",
        ),
        ("{ordinary}\nA c edit part#1.old_part=@r", "edit: part#1.old_part"),
        (
            "{order}\nA c:claim draft variant=compensation {vehicle} {fault} {lines}\nA c edit supplier=null\nA c submit\n\
             hub c review\nhub c approve {granted} responsible=supplier basis=x supplier=S9",
            "approved hub",
        ),
        ("{ordinary}\n{tagged}\nA d:claim draft variant=ordinary {part} part#1.old_part=@o", "draft: part#1.old_part"),
        (
            "{order}\nA c:claim draft variant=major_assembly {vehicle} {fault} {lines} {assembly}\nA c submit\nhub c review\n\
             hub c preauthorise\nA c edit assembly=变速箱",
            "edit: assembly",
        ),
        ("{ordinary}\nhub c review", "review: the writer does not hold the pen, site A does"),
        ("{ordinary}\nB c submit", "submit: the writer does not hold the pen, site A does"),
        ("{submitted}\nA c edit odometer=1", "edit: the writer does not hold the pen, the hub does"),
        ("hub c:claim draft variant=ordinary", "draft: the writer does not hold the pen, a site does"),
    ]);
}

#[test]
fn every_check_of_a_review_refuses() {
    let major = "{order}\nA c:claim draft variant=major_assembly {vehicle} {fault} {lines} {assembly}\nA c submit\nhub c review";
    let bought = "{order}\nA c:claim draft variant=outside_purchase {vehicle} {fault} {lines} {purchase}\nA c submit\nhub c review";
    let in_time = "rule claim.run_in_km=8000\nrule claim.run_in_days=60\nrule claim.run_in_fee=100\n{order}\n\
                   A c:claim draft variant=run_in {vehicle} {lines} {run_in}\nA c submit\nhub c review\nhub c approve {granted}";
    let paid = "{order}\nA c:claim draft variant=compensation {vehicle} {fault} {lines}\nA c submit\nhub c review\nhub c approve {granted}";
    let table: Vec<(String, &str)> = vec![
        ("{submitted}\nhub/李娜 c review".into(), "review: author"),
        ("{reviewing}\nhub/李娜 c approve {granted}".into(), "approve: author"),
        ("{reviewing}\nhub c approve".into(), "approve: labour#1.granted part#1.granted other#1.granted"),
        ("{reviewing}\nhub c approve {granted} part#1.granted=m:1503".into(), "approve: part#1.granted"),
        ("{reviewing}\nhub c approve {granted} other#1.granted=m:1".into(), "approve: other#1.granted"),
        ("{reviewing}\nhub c approve {granted} part#1.granted=m:-1".into(), "approve: part#1.granted"),
        ("{reviewing}\nhub c approve {granted} vin=LJCPCBLCX11000237".into(), "approve: vin"),
        ("{reviewing}\nhub c approve {granted} price_cap=m:1".into(), "approve: price_cap"),
        ("{directed}\nhub c approve {granted}".into(), "approve: part#1.disposition"),
        ("{reviewing}\nhub c reject".into(), "reject: reject_reason"),
        ("{reviewing}\nhub c preauthorise".into(), "preauthorise: claims of this variant are not pre-authorised"),
        (format!("{major}\nhub c approve {{granted}}"), "approve: claims of this variant are pre-authorised first"),
        (format!("{major}\nhub c preauthorise\nA c submit_actuals"), "submit_actuals: serial_new"),
        (format!("{bought}\nhub c preauthorise"), "preauthorise: price_cap"),
        (format!("{bought}\nhub c preauthorise price_cap=m:0"), "preauthorise: price_cap"),
        (
            "{approved}\nhub c void void_reason=x".into(),
            "void: what has ended stands: others have counted or paid by it",
        ),
        (
            format!("{bought}\nhub c preauthorise price_cap=m:9\nA c submit_actuals"),
            "submit_actuals: invoice_no claimed",
        ),
        (in_time.into(), "approve: odometer sale_date granted"),
        (paid.into(), "approve: responsible basis"),
    ];
    for (story, expected) in &table {
        assert_eq!(tell(story).err().unwrap_or_default(), *expected, "{story}");
    }
}

#[test]
fn a_return_names_fields_and_states_the_bounds_of_the_next_round() {
    let returned = tell("rule claim.resubmit_days=10\n{reviewing}\nhub c return {remark}").unwrap();
    let claim = returned.last();
    assert_eq!(
        (claim.round, &claim.fields["max_rounds"], &claim.fields["remark#1.round"]),
        (2, &Value::Int(3), &Value::Int(1))
    );
    assert_eq!(claim.fields["resubmit_due"], Value::Int(returned.now.0 + 10 * 86_400_000));
    check(&[
        ("{reviewing}\nhub c return", "return: a return remarks on at least one field"),
        (
            "{reviewing}\nhub c return remark#1.field=odo remark#1.code=wrong remark#1.comment=x",
            "return: remark#1.field",
        ),
        ("{reviewing}\nhub c return remark#1.field=odometer", "return: remark#1.code remark#1.comment"),
        (
            "{reviewing}\nhub c return {remark}\nA c resubmit\nhub c review\nhub c return {remark}",
            "return: remark#1.field",
        ),
        ("{reviewing}\nhub c return {remark}\n+31d\nA c resubmit", "resubmit: resubmit_due"),
        ("rule claim.max_rounds=1\n{reviewing}\nhub c return {remark}", "return: this claim has had all its rounds"),
        (
            "rule claim.returnable.ordinary=0\n{reviewing}\nhub c return {remark}",
            "return: claims of this variant are not returned",
        ),
    ]);
    let roadside = "{order}\nA c:claim draft variant=roadside {vehicle} {fault} {lines} {rescue}\nA c submit\nhub c review\nhub c return {remark}";
    assert_eq!(tell(roadside).err().unwrap(), "return: claims of this variant are not returned");
    assert!(tell(&format!("rule claim.returnable.roadside=1\n{roadside}")).is_ok());
}

#[test]
fn the_hub_goes_on_with_the_claim_of_a_dead_outlet_and_may_give_it_back() {
    check(&[
        ("{ordinary}\nhub c reclaim", "reclaim: reclaim_reason"),
        (
            "{ordinary}\nhub c reclaim reclaim_reason=停业\nA c edit odometer=1",
            "edit: the writer does not hold the pen, the hub does",
        ),
        (
            "{ordinary}\nhub c reclaim reclaim_reason=停业\nhub c submit\nhub/王审 c review\nhub/王审 c approve {granted}",
            "approved hub",
        ),
        ("{ordinary}\nhub c reclaim reclaim_reason=停业\nhub c submit\nhub c review", "review: author"),
        ("{ordinary}\nhub c reclaim reclaim_reason=停业\nhub c hand_over\nA c submit", "submitted hub"),
        ("{ordinary}\nhub c reclaim reclaim_reason=停业\nhub c hand_over pen_site=B\nB c submit", "submitted hub"),
    ]);
}

#[test]
fn amounts_are_rounded_half_to_even_by_line_and_what_the_customer_pays_is_not_claimed() {
    let world = tell("{ordinary}").unwrap();
    let claim = &world.documents["c"];
    // 1.5 × 10.01 = 15.015, 1.5 h × 80.01 = 120.015: both to the even fen
    assert_eq!(claim.fields["part#1.amount"], Value::measured(1_502, "CNY"));
    assert_eq!(claim.fields["labour#1.amount"], Value::measured(12_002, "CNY"));
    assert_eq!(claim.fields["claimed"], Value::measured(13_504, "CNY"));
    let stored = tell("{order}\nA c:claim draft variant=ordinary phone=0531-88881234").unwrap();
    assert_eq!(stored.last().fields["phone"], Value::from("+8653188881234"));
}

#[test]
fn an_approval_directs_the_old_part_and_a_compensation_opens_a_recovery() {
    let world = tell("{to_maker}").unwrap();
    let part = &world.documents["o"];
    assert_eq!((part.state.as_str(), part.noted(crate::kind::old_part::DIRECTIVE)), ("tagged", Some("maker")));
    assert_eq!(world.pen("o"), &Party::Site("A".parse().unwrap()));
    let (compensated, _) = told::of("claim").last().unwrap();
    let world = tell(compensated).unwrap();
    let recovery = &world.documents["recovery1"];
    assert_eq!((recovery.state.as_str(), &recovery.pen, recovery.site.as_str()), ("judged", &Party::Hub, "hub"));
    assert_eq!(recovery.fields["claimed"], Value::measured(13_502, "CNY"));
    assert_eq!(recovery.fields["claim#1.site"], Value::from("A"));
}

#[test]
fn claims_are_counted_with_rounds_money_and_time() {
    let story = "{submitted}\n+2h\nhub c review\n+30h\nhub c return {remark}\nA c resubmit\nhub c review\nhub c approve {granted}";
    let world = tell(story).unwrap();
    assert_eq!(world.facts("claim"), ["ordinary F01 P1 S1: 1 1 1 0 1 0 13504 13502"]);
    let bucket = fact::bucket;
    // the stories' hub has every entry after 90 s; 32 h less these are 1,918.5 minutes, three digits of which count
    let expected = [
        format!("review ordinary {}: 1", bucket(0)),
        format!("review ordinary {}: 1", bucket(1_918)),
        format!("sync_lag ordinary {}: 2", bucket(90)),
    ];
    assert_eq!(world.facts("claim_time"), expected);
    assert_eq!(
        tell("{reviewing}\nhub c approve {granted}").unwrap().facts("claim"),
        ["ordinary F01 P1 S1: 1 1 0 0 1 1 13504 13502"]
    );
    assert_eq!(tell("{ordinary}").unwrap().facts("claim"), Vec::<String>::new());
    let void = "{reviewing}\nhub c void void_reason=重复";
    assert_eq!(tell(void).unwrap().facts("claim"), Vec::<String>::new());
}

/// What a rule across documents compares of a claim.
fn compared(kind: &Kind, document: &Document, rule: &str) -> Option<String> {
    let rule = kind.cross.iter().find(|cross| cross.name == rule).unwrap();
    (rule.of)(document).map(|found| format!("{} {}", found.key, found.value))
}

#[test]
fn what_only_the_hub_can_see_is_compared() {
    let world = tell("{submitted}").unwrap();
    let claim = &world.documents["c"];
    let order = world.documents["r"].id;
    for (rule, expected) in [
        ("run_in_once", None),
        ("claim_same_order", Some(format!("{order} P1 0"))),
        ("claim_same_day", Some("1M8GDM9AXKP042788 P1 2025-10-09 0".to_owned())),
        ("odometer", Some("1M8GDM9AXKP042788 9000".to_owned())),
    ] {
        assert_eq!(compared(&CLAIM, claim, rule), expected, "{rule}");
        assert_eq!(compared(&CLAIM, &tell("{ordinary}").unwrap().documents["c"], rule), None, "a draft: {rule}");
    }
    let run_in = tell("{order}\nA c:claim draft variant=run_in {vehicle} {lines} {run_in}\nA c submit").unwrap();
    assert_eq!(compared(&CLAIM, run_in.last(), "run_in_once").unwrap(), "1M8GDM9AXKP042788 0");
    let new_meter = tell("{ordinary}\nA c edit meter_replaced=yes meter_photo=m.jpg\nA c submit").unwrap();
    assert_eq!(compared(&CLAIM, new_meter.last(), "odometer"), None);
    let clash = |name: &str| CLAIM.cross.iter().find(|cross| cross.name == name).unwrap().clash;
    assert_eq!((clash("run_in_once"), clash("odometer")), (Clash::Same, Clash::Falls));
    let order = tell("A r:repair_order check_in checked_in_at=1759980000000 pre_inspection=好 symptom=x vin=1M8GDM9AXKP042788 odometer=8000").unwrap();
    let kind = &crate::kind::repair_order::REPAIR_ORDER;
    assert_eq!(compared(kind, order.last(), "odometer").unwrap(), "1M8GDM9AXKP042788 8000");
}
