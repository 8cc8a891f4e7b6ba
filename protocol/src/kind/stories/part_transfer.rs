//! Part transfers in their three ways; A asks, the hub decides, the maker, a supplier or B ships.

use super::*;

#[test]
fn every_transfer_goes_its_way() {
    check(told::of("part_transfer"));
}

#[test]
fn the_pen_goes_where_the_part_is() {
    let site = |name: &str| Party::Site(name.parse().unwrap());
    for (story, expected) in [
        ("{asked}", Party::Hub),
        ("{assigned}", site("B")),
        ("{assigned}\nB t accept", site("B")),
        ("{assigned}\nB t refuse refusal=x", Party::Hub),
        ("{lent}", site("A")),
        ("{lent}\nA t receive_short received=q:1", Party::Hub),
    ] {
        assert_eq!(tell(story).unwrap().pen("t"), &expected, "{story}");
    }
}

/// Movements as `site item quantity reason`.
fn movements(story: &str) -> Vec<String> {
    let world = tell(story).unwrap();
    let posted =
        world.order.iter().filter(|name| name.starts_with("stock_movement")).map(|name| &world.documents[name]);
    posted
        .map(|movement| {
            let quantity = movement.get(crate::kind::stock_movement::QUANTITY).unwrap();
            format!("{} {quantity}", movement.site)
        })
        .collect()
}

#[test]
fn what_a_station_ships_leaves_its_stock_and_what_arrives_whole_enters_the_other() {
    assert_eq!(movements("{lent}"), ["B -2000"]);
    assert_eq!(movements("{lent}\nA t receive_short received=q:1500"), ["B -2000", "A 1500"]);
    assert_eq!(movements("{lent}\nA t receive_short received=q:0"), ["B -2000"]);
    assert_eq!(movements("{owed}\nA t receive_damaged received=q:500 damaged=q:1500"), ["A 500"]);
}

#[test]
fn every_check_of_a_transfer_refuses() {
    check(&[
        ("A t:part_transfer request", "request: part quantity need_by"),
        ("A t:part_transfer request part=P1 quantity=q:0 need_by=1760100000000", "request: quantity"),
        ("{asked}\nhub t approve", "approve: mode approved"),
        ("{lent}\nA t void void_reason=x", "void: what was shipped is not voided: receive it, be it short"),
        ("{asked}\nhub t approve mode=maker approved=q:2001", "approve: approved"),
        ("{asked}\nhub t approve mode=maker approved=m:1", "approve: approved"),
        ("{asked}\nhub t approve mode=supplier approved=q:1", "approve: supplier"),
        ("{asked}\nhub t approve mode=station approved=q:1", "approve: mode"),
        ("{asked}\nhub t approve mode=maker approved=q:1 quantity=q:9000", "approve: quantity"),
        ("{asked}\nhub t approve mode=maker approved=q:1 approved_at=1", "approve: approved_at"),
        (
            "{asked}\nhub t assign approved=q:1",
            "assign: does not belong to its document: the pen goes to a site it does not name",
        ),
        ("{asked}\nhub t assign approved=q:1 source=A", "assign: source"),
        ("{asked}\nhub t reject", "reject: reject_reason"),
        ("{asked}\nA t reject reject_reason=x", "reject: the writer does not hold the pen, the hub does"),
        ("{assigned}\nA t accept", "accept: the writer does not hold the pen, site B does"),
        ("{assigned}\nB t refuse", "refuse: refusal"),
        ("{assigned}\nB t accept\nB t ship", "ship: shipped waybill"),
        ("{assigned}\nB t accept\nB t ship shipped=q:2500 waybill=W", "ship: shipped"),
        ("{lent}\nB t receive received=q:2000", "receive: the writer does not hold the pen, site A does"),
        ("{lent}\nA t receive", "receive: received"),
        ("{lent}\nA t receive received=q:1999", "receive: received"),
        ("{lent}\nA t receive received=q:2001", "receive: received"),
        ("{lent}\nA t receive_short received=q:2000", "receive_short: received"),
        ("{lent}\nA t receive_damaged received=q:2000 damaged=q:1", "receive_damaged: received"),
        ("{lent}\nA t receive_damaged received=q:2000 damaged=q:0", "receive_damaged: damaged"),
        ("{lent}\nA t receive_short received=q:1\nhub t conclude", "conclude: conclusion"),
    ]);
}

#[test]
fn transfers_are_counted_with_what_arrived_and_when() {
    let told = |story: &str, measure: &str| tell(story).unwrap().facts(measure);
    assert_eq!(told("{asked}", "transfer"), ["P1  : 1 0 0 0 0 0 2000 0 0 0"]);
    let story = "{lent}\n+5h\nA t receive_short received=q:1000\nhub t conclude conclusion=x";
    assert_eq!(told(story, "transfer"), ["P1 station B: 1 0 1 0 0 1 2000 2000 2000 1000"]);
    assert_eq!(told(story, "transfer_time"), [format!("station {}: 1", fact::bucket(300))]);
    assert_eq!(
        told("{lent}\n+9d\nA t receive received=q:2000", "transfer"),
        ["P1 station B: 1 0 0 0 1 0 2000 2000 2000 2000"]
    );
}
