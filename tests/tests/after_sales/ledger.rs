//! The stock as it should be, from the acts that were made and stand; it shares no code with the product's sums.

use std::collections::{BTreeMap, BTreeSet};

use waystation_protocol::document::Document;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::value::Value;

use crate::people::Made;

/// Thousandths on hand by site, item and location; what is 0 is left out.
pub(crate) type Stock = BTreeMap<(String, String, String), i64>;

/// A document as its acts so far made it.
#[derive(Default)]
struct Paper {
    fields: BTreeMap<String, Value>,
    is_accepted: bool,
    posted: Option<((String, String, String), i64)>,
    on_hand: BTreeMap<String, i64>,
}

/// What the acts that stand come to.
pub(crate) fn stock(made: &[Made], stands: &BTreeSet<EntryId>) -> Stock {
    let mut stock = Stock::new();
    let mut papers: BTreeMap<DocId, Paper> = BTreeMap::new();
    for made in made.iter().filter(|made| stands.contains(&made.entry) && made.act != "note") {
        let paper = papers.entry(made.document.id).or_default();
        for (place, milli) in paper.take(made) {
            *stock.entry(place).or_default() += milli;
        }
    }
    stock.retain(|_, milli| *milli != 0);
    stock
}

impl Paper {
    /// What an act moves.
    fn take(&mut self, made: &Made) -> Vec<((String, String, String), i64)> {
        let issued = lines(&self.fields, ".source");
        self.fields.extend(made.set.clone());
        self.on_hand.extend(made.on_hand.clone());
        let site = made.document.site.as_str();
        match (made.document.kind.as_str(), made.act.as_str()) {
            ("stock_movement", "post") => {
                let moved = (self.place(site, "item", "location"), self.milli("quantity"));
                self.posted = Some(moved.clone());
                vec![moved]
            }
            ("stock_movement", "void") => {
                self.posted.take().map(|(place, milli)| (place, -milli)).into_iter().collect()
            }
            ("repair_order", "issue_parts") => {
                let fresh = lines(&self.fields, ".source").into_iter().filter(|line| !issued.contains(line));
                let from_stock = fresh.filter(|line| self.text(&format!("{line}.source")) == Some("stock"));
                let moved = from_stock.map(|line| {
                    let place = self.place(site, &format!("{line}.part"), &format!("{line}.location"));
                    (place, -self.milli(&format!("{line}.quantity")))
                });
                moved.collect()
            }
            ("part_transfer", act) => self.transfer(&made.document, act),
            ("count_sheet", "approve") => {
                let counted = self.on_hand.iter().map(|(line, on_hand)| {
                    let place = self.place(site, &format!("{line}.item"), &format!("{line}.location"));
                    (place, self.milli(&format!("{line}.counted")) - on_hand)
                });
                counted.collect()
            }
            _ => Vec::new(),
        }
    }

    /// The station that accepted to ship loses what it ships; the one that asked gains what arrived whole.
    fn transfer(&mut self, document: &Document, act: &str) -> Vec<((String, String, String), i64)> {
        let was_accepted = self.is_accepted;
        self.is_accepted = act == "accept" || was_accepted && ["reclaim", "hand_over"].contains(&act);
        match act {
            "ship" if was_accepted => {
                let source = self.text("source").unwrap_or_default().to_owned();
                vec![(self.place(&source, "part", "source_location"), -self.milli("shipped"))]
            }
            "receive" | "receive_short" | "receive_damaged" => {
                vec![(self.place(document.site.as_str(), "part", "location"), self.milli("received"))]
            }
            _ => Vec::new(),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_text)
    }

    fn milli(&self, key: &str) -> i64 {
        self.fields.get(key).and_then(Value::as_measured).map_or(0, |(milli, _)| milli)
    }

    fn place(&self, site: &str, item: &str, location: &str) -> (String, String, String) {
        let item = self.text(item).unwrap_or_default();
        (site.to_owned(), item.to_owned(), self.text(location).unwrap_or("main").to_owned())
    }
}

/// The lines that have a field.
fn lines(fields: &BTreeMap<String, Value>, end: &str) -> BTreeSet<String> {
    let of_line = fields.keys().filter(|key| key.contains('#'));
    of_line.filter_map(|key| key.strip_suffix(end)).map(str::to_owned).collect()
}
