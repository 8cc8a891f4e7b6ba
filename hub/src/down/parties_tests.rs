//! Documents that more than their own site works on or reads, and what the hub begins itself.

use waystation_protocol::document::Party;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::number;
use waystation_protocol::value::Value;

use super::ActError;
use super::tests::{Told, learn, sheet};
use crate::store::Filter;
use crate::store::fixture::{Agent, Hub};

impl Hub {
    /// The hub opens a document; gives its id and number.
    fn begin(&self, kind: &str, act: &str, set: &[(&str, Value)]) -> Result<(DocId, String), ActError> {
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let wish =
            Wish { document: None, kind: kind.into(), act: act.into(), set, author: "审核".into(), cause: None };
        let document = self.store.act(wish, None, 20_000)?;
        let number = document.number().expect("the hub numbers what it opens").to_owned();
        Ok((document.id, number))
    }

    fn pen(&self, document: DocId) -> Party {
        self.store.document(document).unwrap().unwrap().pen
    }
}

fn to(site: &str) -> [(&'static str, Value); 1] {
    [("pen_site", site.into())]
}

fn because() -> [(&'static str, Value); 1] {
    [("reclaim_reason", "设备已毁".into())]
}

/// Proves R-PEN-1.
#[test]
fn a_site_that_gets_the_pen_hears_the_whole_chain_first_and_is_told_on() {
    let mut hub = Hub::open();
    let (mut east, mut west, late) = (Agent::new(1, &["3701"]), Agent::new(2, &["3702"]), Agent::new(3, &["3702"]));
    let (mut at_east, mut at_west, mut at_late) = (Told::default(), Told::default(), Told::default());
    hub.tell(&west, &mut at_west);
    let sheet = sheet(&mut east);
    hub.take_all(&east);
    hub.decide(sheet, "hand_over", &to("3702")).unwrap();
    hub.tell(&west, &mut at_west);
    let chain = "count_sheet open, count_sheet count, count_sheet lock, count_sheet hand_over";
    assert_eq!(at_west.words(), chain);
    learn(&mut west, &at_west);
    west.act(Some(sheet), "count_sheet", "note", &[("note_text", "已到".into())]);
    hub.take_all(&west);
    hub.decide(sheet, "reclaim", &because()).unwrap();
    assert_eq!(hub.pen(sheet), Party::Hub);
    hub.tell(&west, &mut at_west);
    assert_eq!(at_west.words(), format!("{chain}, count_sheet reclaim"), "who held the pen once is told on");
    hub.tell(&east, &mut at_east);
    assert_eq!(at_east.words(), "count_sheet hand_over, count_sheet note, count_sheet reclaim");
    hub.tell(&late, &mut at_late);
    assert_eq!(at_late.entries.len(), 6, "who comes to stand for the site later as well: {}", at_late.words());
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    hub.tell(&west, &mut at_west);
    hub.tell(&late, &mut at_late);
    assert_eq!((at_west.entries.len(), at_late.entries.len()), (5, 6), "a rebuild tells nothing twice");
    learn(&mut west, &at_west);
    assert_eq!(hub.store.document(sheet).unwrap().unwrap().digest(), west.documents[&sheet].digest());
}

#[test]
fn a_count_that_the_hub_goes_on_with_expects_what_the_site_has() {
    let mut hub = Hub::open();
    let mut east = Agent::new(1, &["3701"]);
    let moved = |quantity: i64| {
        let quantity = Value::measured(quantity * 1_000, "件");
        [("item", "F-100".into()), ("location", "main".into()), ("quantity", quantity), ("reason", "receipt".into())]
    };
    east.act(None, "stock_movement", "post", &moved(9));
    east.act(None, "stock_movement", "post", &moved(-2));
    let sheet = east.act(None, "count_sheet", "open", &[("zone", "A".into()), ("counter", "李娜".into())]);
    hub.take_all(&east);
    hub.decide(sheet, "reclaim", &because()).unwrap();
    let counted = ("item#1.counted", Value::measured(6_000, "件"));
    hub.decide(sheet, "count", &[("item#1.item", "F-100".into()), ("item#1.location", "main".into()), counted])
        .unwrap();
    let stated = hub.store.document(sheet).unwrap().unwrap().fields["item#1.expected"].clone();
    assert_eq!(stated, Value::measured(7_000, "件"));
    hub.decide(sheet, "lock", &[]).unwrap();
    hub.decide(sheet, "approve", &[]).unwrap();
    let on_hand = hub.number("SELECT sum(v1) FROM rollup WHERE measure = 'stock'");
    assert_eq!(on_hand, 6_000, "only the difference is posted");
}

#[test]
fn a_notice_reaches_everyone_and_what_stays_at_the_hub_nobody() {
    let mut hub = Hub::open();
    let (mut east, late) = (Agent::new(1, &["3701"]), Agent::new(2, &["3702"]));
    let (mut at_east, mut at_late) = (Told::default(), Told::default());
    let claim = east.act(None, "claim", "draft", &[("variant", "ordinary".into())]);
    hub.take_all(&east);
    hub.tell(&east, &mut at_east);
    let notice = |audience: &str| [("title", "召回".into()), ("body", "内容".into()), ("audience", audience.into())];
    let nowhere = hub.begin("notice", "publish", &notice("9999")).unwrap_err();
    assert!(matches!(&nowhere, ActError::Problems(problems) if problems[0].field.as_deref() == Some("audience")));
    hub.begin("notice", "publish", &notice("*")).unwrap();
    hub.begin("notice", "publish", &notice("3701")).unwrap();
    let charge = [
        ("responsible", "maker".into()),
        ("basis", "材质缺陷".into()),
        ("claim#1.claim", claim.to_string().into()),
        ("claim#1.amount", Value::measured(100, "CNY")),
    ];
    hub.begin("recovery", "judge", &charge).unwrap();
    hub.tell(&east, &mut at_east);
    assert_eq!(at_east.words(), "notice publish, notice publish");
    hub.tell(&late, &mut at_late);
    assert_eq!(at_late.words(), "notice publish", "what is for everyone is for those who come later");
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    let newest = Agent::new(3, &["3701"]);
    let mut at_newest = Told::default();
    hub.tell(&newest, &mut at_newest);
    assert_eq!(at_newest.words(), "claim draft, notice publish, notice publish", "so after a rebuild");
    assert!(matches!(hub.begin("survey", "answer", &[]), Err(ActError::Problems(_))), "outlets answer surveys");
}

#[test]
fn the_hub_prints_no_number_twice_though_it_came_back_older() {
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    let notice = [("title", "召回".into()), ("body", "内容".into()), ("audience", "*".into())];
    let mut printed = Vec::new();
    let mut hub = Hub::open();
    printed.push(hub.begin("notice", "publish", &notice).unwrap().1);
    hub = hub.copy(&copy);
    for _ in 0..20 {
        printed.push(hub.begin("notice", "publish", &notice).unwrap().1);
    }
    for _ in 0..2 {
        hub = hub.put_back(&copy);
        printed.push(hub.begin("notice", "publish", &notice).unwrap().1);
    }
    assert!(printed.iter().all(|printed| number::is_valid(printed)), "{printed:?}");
    let count = printed.len();
    printed.sort_unstable();
    printed.dedup();
    assert_eq!(printed.len(), count);
}

/// Proves R-OLDER-2.
#[test]
fn a_document_that_went_to_another_site_waits_for_that_site_too() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (mut east, west) = (Agent::new(1, &["3701"]), Agent::new(2, &["3702"]));
    let (mut at_east, mut at_west) = (Told::default(), Told::default());
    let sheet = sheet(&mut east);
    hub.take_all(&east);
    hub.tell(&east, &mut at_east);
    hub.tell(&west, &mut at_west);
    let mut hub = hub.copy(&copy);
    hub.decide(sheet, "hand_over", &to("3702")).unwrap();
    // the document's own site hears nothing of it before the hub comes back older
    hub.tell(&west, &mut at_west);
    let mut hub = hub.put_back(&copy);
    assert!(hub.meet_knowing(&east, &at_east, east.head().seq.0).meeting.is_some());
    let approved = hub.decide(sheet, "approve", &[]);
    assert!(matches!(approved, Err(ActError::Frozen(_))), "the other site may have seen a decision: {approved:?}");
    assert_eq!(hub.meet(&west, &at_west).meeting, None);
    let returned = west.seal(&at_west.batch(1));
    hub.send(&west, &returned);
    hub.wait("the pen where it went", |hub| hub.pen(sheet) == Party::Site("3702".parse().unwrap()));
    assert!(matches!(hub.decide(sheet, "approve", &[]), Err(ActError::Problems(_))), "it is not the hub's to decide");
    assert!(hub.store.quarantine(9).unwrap().is_empty());
}

#[test]
fn what_clashes_across_sites_is_flagged_and_nothing_is_refused() {
    let mut hub = Hub::open();
    let (mut east, mut west) = (Agent::new(1, &["3701"]), Agent::new(2, &["3702"]));
    let order = |agent: &mut Agent, state: &str, odometer: i64, at: i64| {
        let set = [
            ("site", agent.sites.default_site().unwrap().as_str().into()),
            ("state", state.into()),
            ("source_key", odometer.to_string().as_str().into()),
            ("vin", "1M8GDM9AXKP042788".into()),
            ("odometer", Value::Int(odometer)),
            ("checked_in_at", Value::Int(at)),
            ("occurred_at", Value::Int(at)),
        ];
        agent.act(None, "repair_order", "imported", &set)
    };
    let at = crate::store::fixture::START.0;
    // the later reading arrives first
    let fell = order(&mut west, "checked_in", 8_000, at);
    hub.take_all(&west);
    let flags = |hub: &Hub, id: DocId| hub.store.flags(&hub.store.document(id).unwrap().unwrap()).unwrap();
    assert!(flags(&hub, fell).is_empty());
    let before = order(&mut east, "checked_in", 9_000, at - 86_400_000);
    hub.take_all(&east);
    for _ in 0..2 {
        for (id, other) in [(fell, before), (before, fell)] {
            let found = flags(&hub, id);
            assert_eq!(found.iter().map(|flag| flag.others[0].0).collect::<Vec<_>>(), [other]);
        }
        let flagged = Filter { is_flagged: true, ..Filter::default() };
        assert_eq!(hub.store.documents(&flagged).unwrap().items.len(), 2);
        hub.store.rebuild(&mut |_, _| {}).unwrap();
    }
    east.act(Some(before), "repair_order", "void", &[("void_reason", "录错".into())]);
    hub.take_all(&east);
    assert!(flags(&hub, fell).is_empty(), "what is void clashes with nothing");
    assert!(hub.store.quarantine(9).unwrap().is_empty());
}
