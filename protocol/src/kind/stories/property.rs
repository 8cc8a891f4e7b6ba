//! Whatever is tried in whatever order: nobody is granted more than he claimed, and settlements balance and follow on.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::kind::{charges, claim, settlement};

/// An attempt: which, on which document, with which number.
type Attempt = (u8, usize, i64);

/// What is tried; the world refuses what is not legal.
fn line((what, which, number): Attempt, claims: usize, settlements: usize) -> String {
    let (c, s) = (which % claims.max(1), which % settlements.max(1));
    match what {
        0 => format!(
            "A c{claims}:claim draft variant=ordinary {{vehicle}} {{fault}} {{lines}} part#1.price=m:{number} \
             part#2.part=P2 part#2.quantity=q:333 part#2.price=m:{number} part#2.source=stock part#2.coverage=goodwill\n\
             A c{claims} submit\nhub c{claims} review"
        ),
        1 => format!("hub c{c} return {{remark}}\nA c{c} resubmit\nhub c{c} review"),
        2 | 3 => format!(
            "hub c{c} approve part#1.granted=m:{number} part#2.granted=m:{} labour#1.granted=m:{} other#1.granted=m:0",
            number / 4,
            number * 3
        ),
        4 => format!("hub c{c} reject reject_reason=x"),
        5 | 6 => format!("hub s{settlements}:settlement generate site=A period=p{settlements} until=20400"),
        7 => format!(
            "hub s{s} adjust adjustment#{}.amount=m:{} adjustment#{}.comment=x",
            which + 1,
            number - 900,
            which + 1
        ),
        8 => {
            format!("hub s{s} adjust deduction#{}.amount=m:{number} deduction#{}.reason=penalty", which + 1, which + 1)
        }
        9 | 10 => format!("hub s{s} issue"),
        11 => format!("A s{s} dispute claim#1.dispute=x"),
        12 | 13 => format!("A s{s} confirm invoice_no=F{number}"),
        14 => format!("hub s{s} pay paid=m:{}", number * 10),
        15 => format!("hub s{s} pay paid=m:{number}\nhub s{s} close"),
        16 => format!("hub s{s} close"),
        17 => format!("hub s{s} void void_reason=x"),
        _ => format!("hub c{c} void void_reason=x"),
    }
}

fn of<'a>(world: &'a World, kind: &'a str) -> impl Iterator<Item = &'a Document> {
    world.order.iter().map(|name| &world.documents[name]).filter(move |document| document.kind == kind)
}

fn nobody_is_granted_too_much(world: &World) {
    for found in of(world, "claim") {
        let mut sum = 0;
        for line in charges::GROUPS.iter().flat_map(|group| found.lines(group)) {
            let granted = charges::granted(&line).unwrap_or(0);
            assert!(granted >= 0 && granted <= charges::claimed(&line).unwrap_or(0), "{found:?}");
            sum += granted;
        }
        assert!(found.state != "approved" || found.get(claim::GRANTED) == Some(sum), "{found:?}");
    }
}

fn settlements_balance_and_follow_on(world: &World) {
    let mut balance = 0;
    let mut settled = BTreeSet::new();
    let valid: Vec<&Document> = of(world, "settlement").filter(|found| found.state != "void").collect();
    for (index, found) in valid.iter().enumerate() {
        assert_eq!(found.get(settlement::OPENING), Some(balance), "it begins where the last one ended: {found:?}");
        for line in found.lines("claim") {
            assert!(settled.insert(line.get(settlement::claim::CLAIM)), "a claim is settled twice: {found:?}");
            balance += line.get(settlement::claim::AMOUNT).unwrap();
        }
        balance -=
            found.lines("deduction").iter().filter_map(|line| line.get(settlement::deduction::AMOUNT)).sum::<i64>();
        balance +=
            found.lines("adjustment").iter().filter_map(|line| line.get(settlement::adjustment::AMOUNT)).sum::<i64>();
        balance -= found.get(settlement::PAID_SUM).unwrap_or(0);
        assert_eq!(found.get(settlement::CLOSING), Some(balance), "it balances: {found:?}");
        assert!(index + 1 == valid.len() || found.state == "closed", "only the last is open: {found:?}");
    }
}

fn play(attempts: &[Attempt]) -> World {
    let mut world = tell("{order}").unwrap();
    for attempt in attempts {
        let count = |kind: &str| of(&world, kind).count();
        let (claims, settlements) = (count("claim"), count("settlement"));
        let needs_claim = [1, 2, 3, 4].contains(&attempt.0) || attempt.0 > 17;
        let needs_settlement = (7..=17).contains(&attempt.0);
        if needs_claim && claims == 0 || needs_settlement && settlements == 0 {
            continue;
        }
        let story = line(*attempt, claims, settlements);
        // what is not legal is refused, and changes nothing that the checks below do not see
        let _ = world.tell(&story);
        nobody_is_granted_too_much(&world);
        settlements_balance_and_follow_on(&world);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn grants_stay_within_claims_and_settlements_balance(attempts in vec((0u8..19, 0usize..6, 0i64..2_000), 1..80)) {
        play(&attempts);
    }
}

/// The attempts do get somewhere: a settlement closes, the next takes what came after it, and one is voided.
#[test]
fn the_property_is_tried_on_settlements_that_close() {
    let approved = [(0, 0, 1_000), (2, 0, 100)];
    let way = [(5, 0, 0), (7, 0, 1_000), (9, 0, 0), (12, 0, 1), (15, 0, 90), (5, 0, 0), (17, 1, 0), (5, 0, 0)];
    let world = play(&[&approved[..], &way].concat());
    let states: Vec<&str> = of(&world, "settlement").map(|found| found.state.as_str()).collect();
    assert_eq!(states, ["closed", "void", "generated"]);
}
