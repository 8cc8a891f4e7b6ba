//! What must hold once everything has been said.

use std::collections::{BTreeMap, BTreeSet};

use waystation_hub::store::{Group, Options, Rollup, Scope, Store};
use waystation_protocol::document::{Document, Party};
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::stock_movement;
use waystation_protocol::value::Value;

use crate::ledger::{self, Stock};
use crate::people::People;
use crate::world::SITES;

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Kind, state and act of all that was accepted.
    pub(crate) taken: BTreeSet<(String, String, String)>,
    /// Acts that were confirmed, refused, and set aside in the end.
    pub(crate) counts: [usize; 3],
    /// Of every document its digest, in the order the hub came to know them.
    pub(crate) digests: Vec<[u8; 32]>,
}

/// Judges everything.
pub(crate) fn judge(people: &mut People) -> Found {
    let documents = people.world.hub_documents();
    every_copy_is_equal(people, &documents);
    settlements_balance(&documents);
    people.world.end_hub();
    let hub = Store::open(&people.world.hub_folder(), Options::new([8; 16])).expect("the hub opens");
    let stands = standing(&hub, &documents);
    let aside = set_aside(&hub);
    every_act_is_accounted_for(people, &stands, &aside);
    let stock = ledger::stock(&people.made, &stands);
    assert_eq!(reported(&hub), stock, "the hub's report of the stock, and the ledger");
    hub.close();
    outlets_know_their_stock(people, &stock);
    Found {
        taken: people
            .made
            .iter()
            .map(|made| (made.document.kind.clone(), made.from.clone(), made.act.clone()))
            .collect(),
        counts: [people.made.len(), people.refused, aside.len()],
        digests: documents.iter().map(Document::digest).collect(),
    }
}

/// Whoever may read a document has it as the hub has it, and nobody has another.
fn every_copy_is_equal(people: &People, documents: &[Document]) {
    let at_hub: BTreeMap<DocId, &Document> = documents.iter().map(|document| (document.id, document)).collect();
    for (outlet, site) in people.world.outlets.iter().zip(SITES) {
        let shown = outlet.documents();
        for (id, own) in &shown {
            let theirs = at_hub.get(id).unwrap_or_else(|| panic!("{site} shows a {} the hub lacks: {own:?}", own.kind));
            assert_eq!(own, *theirs, "a {} at {site}, and at the hub", own.kind);
            assert_eq!(own.digest(), theirs.digest());
        }
        for document in documents.iter().filter(|document| is_read_by(document, site)) {
            assert!(shown.contains_key(&document.id), "{site} lacks a {}: {document:?}", document.kind);
        }
        let hubs_own = documents.iter().filter(|document| document.site.is_hub() && document.kind != "notice");
        for document in hubs_own {
            assert!(!shown.contains_key(&document.id), "{site} was told of a {}", document.kind);
        }
    }
}

fn is_read_by(document: &Document, site: &str) -> bool {
    let audience = document.fields.get("audience").and_then(Value::as_text);
    document.site.as_str() == site
        || document.pen == Party::Site(site.parse().expect("a site's name"))
        || document.kind == "notice" && audience.is_some_and(|audience| audience == "*" || audience == site)
}

/// opening + approved − deductions ± adjustments − paid = closing; the next begins where the last one ended; nothing is
/// settled twice, and of a claim what was granted.
fn settlements_balance(documents: &[Document]) {
    let minor = |document: &Document, key: &str| {
        document.fields.get(key).and_then(Value::as_measured).map_or(0, |(minor, _)| minor)
    };
    let sum = |document: &Document, group: &str| -> i64 {
        let of_group = document.fields.iter().filter(|(key, _)| key.starts_with(group) && key.ends_with(".amount"));
        of_group.filter_map(|(_, value)| value.as_measured()).map(|(minor, _)| minor).sum()
    };
    let mut balances: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut settled = BTreeSet::new();
    let valid = documents.iter().filter(|document| document.kind == "settlement" && document.state != "void");
    for found in valid {
        let party = found.fields.get("party").and_then(Value::as_text).unwrap_or_default();
        let balance = balances.entry((found.site.to_string(), party.to_owned())).or_default();
        assert_eq!(minor(found, "opening"), *balance, "it begins where the last one ended: {found:?}");
        *balance +=
            sum(found, "claim#") + sum(found, "recovery#") - sum(found, "deduction#") + sum(found, "adjustment#");
        *balance -= minor(found, "paid");
        assert_eq!(minor(found, "closing"), *balance, "it balances: {found:?}");
        for (key, value) in &found.fields {
            let (Some((line, "claim" | "recovery")), Some(named)) = (key.split_once('.'), value.as_text()) else {
                continue;
            };
            assert!(settled.insert(named.to_owned()), "{named} is settled twice: {found:?}");
            let of =
                documents.iter().find(|document| document.id.to_string() == named).expect("what is settled exists");
            // what was paid on a recovery before is not charged again, and nothing is paid on it after
            let due = if of.kind == "claim" { minor(of, "granted") } else { minor(of, "agreed") - minor(of, "paid") };
            assert_eq!(minor(found, &format!("{line}.amount")), due, "{line} of {found:?}");
        }
    }
}

fn standing(hub: &Store, documents: &[Document]) -> BTreeSet<EntryId> {
    let histories = documents.iter().map(|document| hub.history(document.id).expect("a history is read"));
    histories.flatten().map(|entry| entry.entry.id).collect()
}

fn set_aside(hub: &Store) -> BTreeSet<EntryId> {
    let rows = hub.quarantine(500).expect("quarantine is read");
    rows.iter().filter_map(|row| row.entry.as_ref()).map(|entry| entry.id).collect()
}

/// What was confirmed stands at the hub, or is set aside there for a reason, or went with a disk that was put back.
fn every_act_is_accounted_for(people: &People, stands: &BTreeSet<EntryId>, aside: &BTreeSet<EntryId>) {
    for made in people.made.iter().filter(|made| !stands.contains(&made.entry)) {
        let may_be_lost = made.outlet.is_some_and(|index| people.world.outlets[index].was_put_back);
        assert!(aside.contains(&made.entry) || may_be_lost, "lost: {made:?}");
        let is_explained = people.doubtful.contains(&made.document.id) || may_be_lost;
        assert!(is_explained, "set aside, although no pen was taken and no disk put back: {made:?}");
    }
}

fn reported(hub: &Store) -> Stock {
    let scope = Scope { measure: &stock_movement::STOCK, from: None, to: None, only: Vec::new() };
    let by = vec![Group::Site, Group::Key(0), Group::Key(1)];
    let rows = hub.rollup(&Rollup { scope, by }).expect("the report is read");
    let stock = rows.into_iter().map(|row| {
        let [site, item, location] = <[String; 3]>::try_from(row.keys).expect("three groups");
        ((site, item, location), row.values[0])
    });
    stock.filter(|(_, milli)| *milli != 0).collect()
}

/// A count states what is on hand by the outlet's own books.
fn outlets_know_their_stock(people: &mut People, stock: &Stock) {
    for (index, site) in SITES.iter().enumerate() {
        for (item, location) in [("P1", "main"), ("P1", "back"), ("P2", "main"), ("P2", "back")] {
            let expected = stock.get(&((*site).into(), item.into(), location.into())).copied().unwrap_or(0);
            assert_eq!(people.expected_at(index, item, location), expected, "{item} at {location} of {site}");
        }
    }
}
