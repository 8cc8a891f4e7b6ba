//! What the hub's people decide on: count sheets that are locked, and whatever else is passed to them. They go by the hub's
//! own database; the oracle's flow says what is at the hub.

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value as Raw;
use rusqlite::Connection;
use waystation_hub::down::ActError;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::claims;
use crate::device::describe;
use crate::flows::{self, CLAIM, HUB, OLD_PART, SETTLEMENT, SHEET, TRANSFER};
use crate::old_parts;
use crate::oracle::journal::{decode, field, id};
use crate::oracle::papers::measured;
use crate::oracle::sql;
use crate::people::is_restoring;
use crate::settlements;
use crate::transfers;
use crate::violation::{Violation, broken};
use crate::world::World;

/// Who decides.
const REVIEWER: &str = "赵审";
/// Of so many acts in a hundred the author is never told: the hub is killed when the act is stored.
const UNTOLD: u64 = 8;
/// So many of a hundred decisions on what is passed on are none that the hub may take.
const WRONG: u64 = 12;

/// A document as the hub has it.
#[derive(Debug, Clone)]
pub(crate) struct Filed {
    pub(crate) document: DocId,
    head: EntryId,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) site: String,
    body: Raw,
}

/// An act of the hub's, to be done.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    act: &'static str,
    set: BTreeMap<String, Value>,
}

impl Order {
    /// An act and what it sets.
    pub(crate) fn new(act: &'static str, set: impl IntoIterator<Item = (String, Value)>) -> Order {
        Order { act, set: set.into_iter().collect() }
    }
}

impl Filed {
    fn read(document: [u8; 16], body: &[u8]) -> Option<Filed> {
        let body = decode(body)?;
        let text = |name: &str| field(&body, name).and_then(Raw::as_text).map(str::to_owned);
        let (head, document) = (EntryId::from_bytes(id(&body, "head")?), DocId::from_bytes(document));
        Some(Filed { document, head, kind: text("kind")?, state: text("state")?, site: text("site")?, body })
    }

    fn value(&self, name: &str) -> Option<&Raw> {
        field(&self.body, "fields").and_then(|fields| field(fields, name))
    }

    /// A field's number where it is one with a unit.
    pub(crate) fn milli(&self, name: &str) -> i64 {
        self.value(name).map_or(0, measured)
    }

    /// What stands in the fields whose names end so, by what comes before.
    pub(crate) fn fields_ending(&self, end: &str) -> Vec<(String, String)> {
        let pairs = field(&self.body, "fields").and_then(Raw::as_map).into_iter().flatten();
        let named = pairs.filter_map(|(name, value)| Some((name.as_text()?.strip_suffix(end)?, value)));
        named.map(|(line, value)| (line.to_owned(), value.as_text().unwrap_or_default().to_owned())).collect()
    }

    /// How often it came, from 1.
    pub(crate) fn round(&self) -> i64 {
        let round = field(&self.body, "round").and_then(Raw::as_integer);
        round.and_then(|round| i64::try_from(round).ok()).unwrap_or_default()
    }

    /// What a remark says is to become of it.
    pub(crate) fn directive(&self) -> Option<String> {
        let mut notes = field(&self.body, "notes").and_then(Raw::as_map).into_iter().flatten();
        let said = notes.find_map(|(_, note)| field(field(note, "set")?, "directive")?.as_text());
        said.map(str::to_owned)
    }

    /// Whether the hub holds its pen, by the oracle's own flow.
    pub(crate) fn is_at_hub(&self) -> bool {
        let source = self.value("source").and_then(Raw::as_text).unwrap_or_default();
        flows::holder(&self.kind, &self.state).is_some_and(|who| flows::name(who, &self.site, source) == HUB)
    }
}

/// Decides on one of the locked sheets.
pub(crate) fn decide(world: &mut World, chance: &mut Chance) -> Result<(), Violation> {
    let locked: Vec<Filed> = filed(world, SHEET)?.into_iter().filter(|sheet| sheet.state == "locked").collect();
    if locked.is_empty() {
        return Ok(());
    }
    let sheet = chance.pick(&locked);
    let (act, reason) =
        chance.weighted(&[(4, ("approve", None)), (3, ("recount", Some("差异过大"))), (2, ("reject", Some("重做")))]);
    let set = reason.map(|reason| ("decision_reason".to_owned(), Value::from(reason)));
    act_on(world, sheet, Order::new(act, set), chance)
}

/// Goes on with something that is passed on from party to party and is at the hub; or tries what the hub may not do.
pub(crate) fn handle(world: &mut World, chance: &mut Chance) -> Result<(), Violation> {
    let mut all = Vec::new();
    for kind in [TRANSFER, CLAIM, OLD_PART, SETTLEMENT] {
        all.extend(filed(world, kind)?);
    }
    if all.is_empty() {
        return Ok(());
    }
    if chance.percent(WRONG) {
        let found = chance.pick(&all);
        let about = |order| (true, order);
        let order = match found.kind.as_str() {
            TRANSFER => transfers::wrong_decision(found, chance).map(about),
            CLAIM => claims::wrong_decision(found, chance).map(about),
            SETTLEMENT => settlements::wrong_decision(found, world.wall(), chance),
            _ => old_parts::wrong_decision(found, chance).map(about),
        };
        return order.map_or(Ok(()), |(is_about, order)| must_refuse(world, (found, is_about), order));
    }
    if let Some(order) = settlements::generate(&all, world.wall(), chance).filter(|_| chance.percent(40)) {
        let Order { act, set } = order;
        let (kind, author) = (SETTLEMENT.to_owned(), REVIEWER.to_owned());
        let wish = Wish { document: None, kind, act: act.into(), set, author, cause: None };
        return carry_out(world, wish, None, chance);
    }
    let sites = known_sites(world)?;
    let parts: BTreeSet<String> =
        all.iter().filter(|found| found.kind == OLD_PART).map(|found| found.document.to_string()).collect();
    let here = all.iter().filter(|found| found.is_at_hub());
    let due = here.filter_map(|found| {
        let order = match found.kind.as_str() {
            TRANSFER => transfers::decision(found, &sites, chance),
            CLAIM => claims::decision(found, &parts, chance),
            SETTLEMENT => settlements::decision(found, chance),
            _ => old_parts::decision(found, chance),
        };
        Some((found, order?))
    });
    let due: Vec<(&Filed, Order)> = due.collect();
    if due.is_empty() {
        return Ok(());
    }
    // what is further on first, so that some things come to their end
    let furthest = due.iter().max_by_key(|(found, _)| (&found.kind, flows::progress(&found.kind, &found.state)));
    let (found, order) = furthest.filter(|_| chance.percent(50)).unwrap_or(chance.pick(&due));
    act_on(world, found, order.clone(), chance)
}

/// The documents of a kind, as the hub has them now; none while it does not run.
fn filed(world: &mut World, kind: &str) -> Result<Vec<Filed>, Violation> {
    if world.hub.workers.is_empty() {
        return Ok(Vec::new());
    }
    let folder = world.hub.folder().to_owned();
    let books: &Connection = world.oracle.books(&folder)?;
    let query = "SELECT id, body FROM document WHERE kind = ?1 ORDER BY n";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([kind], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let rows: Vec<([u8; 16], Vec<u8>)> = rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)?;
    let read = |(document, body): ([u8; 16], Vec<u8>)| {
        Filed::read(document, &body).ok_or_else(|| broken("I7", "a document of the hub does not decode"))
    };
    rows.into_iter().map(read).collect()
}

/// The outlets that the hub knows.
fn known_sites(world: &mut World) -> Result<Vec<String>, Violation> {
    let folder = world.hub.folder().to_owned();
    let books = world.oracle.books(&folder)?;
    let query = "SELECT DISTINCT site.site FROM agent_site JOIN site ON site.id = agent_site.site ORDER BY 1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let sites = query.query_map([], |row| row.get(0)).map_err(sql)?;
    let sites: Vec<String> = sites.collect::<Result<_, _>>().map_err(sql)?;
    // of outlets that strangers speak for nobody answers
    let is_here = |site: &String| world.stations.iter().any(|station| station.device.site == *site);
    Ok(sites.into_iter().filter(is_here).collect())
}

fn wish_of(filed: &Filed, order: Order) -> Wish {
    let Order { act, set } = order;
    let (kind, author) = (filed.kind.clone(), REVIEWER.to_owned());
    Wish { document: Some(filed.document), kind, act: act.into(), set, author, cause: None }
}

/// The hub acts on a document, as it may.
fn act_on(world: &mut World, filed: &Filed, order: Order, chance: &mut Chance) -> Result<(), Violation> {
    carry_out(world, wish_of(filed, order), Some(filed.head), chance)
}

fn carry_out(world: &mut World, wish: Wish, seen: Option<EntryId>, chance: &mut Chance) -> Result<(), Violation> {
    let (act, wall) = (wish.act.clone(), world.wall());
    let Some(worker) = world.hub.workers.first_mut() else { return Ok(()) };
    match worker.act(wish, seen, Timestamp(wall)) {
        Ok(Some(deed)) => {
            world.count("act of the hub");
            world.note(|| format!("the hub will {act} {}: {}", deed.document(), deed.entry()));
            world.hub.is_due = true;
            world.people.under_way.push(deed);
            if chance.percent(UNTOLD) {
                world.kill_hub(500);
            }
            Ok(())
        }
        // earlier acts are being processed
        Ok(None) => Ok(()),
        Err(ActError::Frozen(_)) if is_restoring(world)? => Ok(()),
        Err(error) => Err(broken("I9", format!("a legal act of the hub's is refused: {act}: {}", describe(&error)))),
    }
}

/// The hub tries what it may not do: with the document, or beside it.
fn must_refuse(world: &mut World, (filed, is_about): (&Filed, bool), order: Order) -> Result<(), Violation> {
    let (act, state, wall) = (order.act, filed.state.clone(), world.wall());
    let wish = wish_of(filed, order);
    let document = wish.document.filter(|_| is_about);
    let Some(worker) = world.hub.workers.first_mut() else { return Ok(()) };
    match worker.act(Wish { document, ..wish }, document.map(|_| filed.head), Timestamp(wall)) {
        Ok(Some(_)) => Err(broken("I8", format!("the hub may not {act} what is {state}, and does"))),
        Ok(None) | Err(ActError::Problems(_)) => {
            world.count("wrong act");
            Ok(())
        }
        Err(ActError::Frozen(_)) if is_restoring(world)? => Ok(()),
        Err(error) => Err(broken("I9", format!("a wrong act of the hub's fails: {act}: {}", describe(&error)))),
    }
}
