//! I6: what acts bring about elsewhere is there, once, and the sums of the reports are what the documents add up to.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use waystation_protocol::id::DocId;

use super::books::{Books, Id};
use super::judgement::Folded;
use super::papers::{Act, Paper};
use super::sql;
use crate::flows::{CLAIM, MOVEMENT, OLD_PART, ORDER, SETTLEMENT, SHEET, TRANSFER, VOID};
use crate::violation::{Violation, broken};

/// What an act moves in somebody's stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    cause: Id,
    site: String,
    item: String,
    location: String,
    milli: i64,
}

/// What a step of a part transfer moves: what a station ships leaves its stock, what arrives in good order enters that of the
/// one that asked. `from`: the state before, `paper`: the document after.
pub(super) fn moved(from: &str, paper: &Paper, act: &Act) -> Option<Moved> {
    let (site, location, milli) = match (paper.kind.as_str(), act.act.as_str()) {
        (TRANSFER, "ship") if from == "accepted" => {
            (paper.text("source"), paper.text("source_location"), -paper.measured("shipped"))
        }
        (TRANSFER, "receive" | "receive_short" | "receive_damaged") => {
            (paper.site.clone(), paper.text("location"), paper.measured("received"))
        }
        _ => return None,
    };
    let location = if location.is_empty() { "main".to_owned() } else { location };
    (milli != 0).then(|| Moved { cause: act.id, site, item: paper.text("part"), location, milli })
}

/// Of nothing more is received than was shipped, shipped than was approved, approved than was asked for.
pub(super) fn quantities_fall(papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
    for paper in papers.values().filter(|paper| paper.kind == TRANSFER) {
        let arrived = paper.measured("received") + paper.measured("damaged");
        let stated = ["shipped", "approved", "quantity"].into_iter().filter(|name| paper.fields.contains_key(*name));
        let steps: Vec<i64> = std::iter::once(arrived).chain(stated.map(|name| paper.measured(name))).collect();
        if !steps.is_sorted() || arrived < 0 {
            return Err(broken("I6", format!("a transfer's quantities are {steps:?}")));
        }
    }
    Ok(())
}

impl Books {
    /// What an act brings about is there, once.
    pub(super) fn effects(&self, Folded { papers, moved }: &Folded) -> Result<(), Violation> {
        self.moves_of_transfers(papers, moved)?;
        self.directives(papers)?;
        let acts: Vec<Act> = self.raw.values().filter_map(|bytes| Act::read(bytes)).collect();
        let is_applied = |act: &&Act| papers.contains_key(&act.document);
        for issued in acts.iter().filter(is_applied).filter(|act| act.act == "issue_parts") {
            let caused: BTreeSet<Id> =
                acts.iter().filter(|act| act.cause == Some(issued.id)).map(|act| act.id).collect();
            let is_lost = caused.is_empty() && self.named.has_lost_effect(&issued.id);
            if caused.len() != 1 && !is_lost {
                return Err(broken("I6", format!("parts were issued once and moved stock {} times", caused.len())));
            }
        }
        let applied = self.applied();
        for (id, (_, records)) in &self.documents {
            let decisions = records.iter().filter_map(|(_, stream, seq)| Act::read(self.raw.get(&(*stream, *seq))?));
            for approved in decisions.filter(|act| act.kind == SHEET && act.act == "approve") {
                let is_caused = |act: &&Act| act.cause == Some(approved.id) && applied.contains(&act.id);
                let mut posted: Vec<(String, i64)> = acts.iter().filter(is_caused).map(Act::moved).collect();
                // the same entry may stand in the hub's journal and among what an agent brought back
                posted.sort();
                posted.dedup();
                let mut expected = papers.get(id).map(Paper::differences).unwrap_or_default();
                expected.sort();
                expected.dedup();
                if posted != expected {
                    return Err(broken(
                        "I6",
                        format!("a count differs by {expected:?}, its approval posts {posted:?}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every step of a part transfer that moves stock did so once, and as it says; no other did.
    fn moves_of_transfers(&self, papers: &BTreeMap<Id, Paper>, moved: &[Moved]) -> Result<(), Violation> {
        let acts: BTreeMap<Id, Act> =
            self.raw.values().filter_map(|bytes| Act::read(bytes)).map(|act| (act.id, act)).collect();
        let mut found: BTreeMap<Id, Vec<Moved>> = BTreeMap::new();
        for act in acts.values().filter(|act| act.kind == MOVEMENT) {
            let Some(cause) = act.cause.and_then(|cause| acts.get(&cause)) else { continue };
            let is_transfer = papers.get(&cause.document).is_some_and(|paper| paper.kind == TRANSFER);
            if is_transfer && self.stands(cause) {
                found.entry(cause.id).or_default().push(Moved::by(act, cause.id));
            }
        }
        for due in moved {
            let posted = found.remove(&due.cause).unwrap_or_default();
            let is_lost = posted.is_empty() && self.named.has_lost_effect(&due.cause);
            if posted != [due.clone()] && !is_lost {
                return Err(broken("I6", format!("a transfer moves {due:?}, posted is {posted:?}")));
            }
        }
        match found.into_values().next() {
            Some(posted) => Err(broken("I6", format!("a transfer moves nothing, posted is {posted:?}"))),
            None => Ok(()),
        }
    }

    /// Every old part was directed once, as the approval of its claim says, and none otherwise. Each way then is its own.
    fn directives(&self, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
        let acts = self.raw.values().filter_map(|bytes| Act::read(bytes));
        let approvals = acts.filter(|act| act.kind == CLAIM && act.act == "approve" && self.stands(act));
        let approvals: BTreeSet<Id> = approvals.map(|act| act.document).collect();
        let mut due: BTreeMap<String, String> = BTreeMap::new();
        for claim in approvals.iter().filter_map(|claim| papers.get(claim)) {
            let lines = claim.fields.keys().filter_map(|field| field.strip_suffix(".old_part"));
            due.extend(
                lines.map(|line| (claim.text(&format!("{line}.old_part")), claim.text(&format!("{line}.disposition")))),
            );
        }
        for (id, part) in papers.iter().filter(|(_, paper)| paper.kind == OLD_PART) {
            let said = part.notes.values().filter_map(|note| note.get("directive")?.as_text());
            let (said, id): (Vec<&str>, String) = (said.collect(), DocId::from_bytes(*id).to_string());
            if said.is_empty() && self.has_restores && self.named.has_lost_told {
                continue;
            }
            if said != Vec::from_iter(due.get(&id).map(String::as_str)) {
                return Err(broken("I6", format!("old part {id} is directed {said:?}, expected {:?}", due.get(&id))));
            }
            let fits: &[&str] = match part.state.as_str() {
                "tagged" => continue,
                "discounted" => &["discount"],
                "received" => &["maker"],
                "boxed" | "shipped" | "mismatch" | "short" | "forwarded" => &["maker", "supplier"],
                _ => &["maker", "supplier", "discount"],
            };
            if !said.iter().any(|said| fits.contains(said)) {
                return Err(broken("I6", format!("an old part directed {said:?} is {}", part.state)));
            }
        }
        Ok(())
    }

    /// Whether an act made its document.
    fn stands(&self, act: &Act) -> bool {
        let made = self.documents.get(&act.document);
        made.is_some_and(|(_, records)| records.iter().any(|(entry, ..)| *entry == act.id))
    }
}

impl Moved {
    /// What a movement says that it moves.
    fn by(movement: &Act, cause: Id) -> Moved {
        let (item, milli) = movement.moved();
        Moved { cause, site: movement.text("site"), item, location: movement.text("location"), milli }
    }
}

/// Sums of facts and roll-ups are what the documents add up to.
pub(super) fn ledgers(books: &Connection, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
    let mut stock: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    let (mut orders, mut surveys, mut transfers, mut claims, mut parts, mut settlements) = (0, 0, 0, 0, 0, 0);
    for paper in papers.values().filter(|paper| paper.state != VOID) {
        match paper.kind.as_str() {
            MOVEMENT => {
                let place = (paper.site.clone(), paper.text("item"), paper.text("location"));
                *stock.entry(place).or_default() += paper.measured("quantity");
            }
            ORDER => orders += 1,
            "survey" => surveys += 1,
            TRANSFER => transfers += 1,
            CLAIM => claims += i64::from(paper.state != "draft"),
            OLD_PART => parts += 1,
            SETTLEMENT => settlements += 1,
            _ => {}
        }
    }
    for table in ["fact", "rollup"] {
        let query = format!(
            "SELECT site.site, k1, k2, sum(v1) FROM {table} JOIN site ON site.id = {table}.site
             WHERE measure = 'stock' GROUP BY 1, 2, 3"
        );
        let mut query = books.prepare(&query).map_err(sql)?;
        let rows = query.query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)));
        let mut found: BTreeMap<(String, String, String), i64> =
            rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)?;
        found.retain(|_, sum| *sum != 0);
        stock.retain(|_, sum| *sum != 0);
        if found != stock {
            return Err(broken("I6", format!("stock by {table} is {found:?}, expected {stock:?}")));
        }
        let counts = [
            ("repair", orders),
            ("satisfaction", surveys),
            ("transfer", transfers),
            ("claim", claims),
            ("old_part", parts),
            ("settlement", settlements),
        ];
        for (measure, expected) in counts {
            let query = format!("SELECT coalesce(sum(v1), 0) FROM {table} WHERE measure = ?1");
            let sum: i64 = books.query_row(&query, [measure], |row| row.get(0)).map_err(sql)?;
            if sum != expected {
                return Err(broken("I6", format!("{measure} by {table} is {sum}, expected {expected}")));
            }
        }
    }
    Ok(())
}
