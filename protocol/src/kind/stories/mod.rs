//! Stories of several parties: sites A and B and the hub act in turn on documents that bring about each other.
//!
//! A story is one act per line, `WHO[/AUTHOR] NAME[:KIND] ACT key=value …`: a name with a kind opens a document. Values:
//! whole numbers, `yes`, `q:1500` (thousandths of a piece), `m:1999` (fen), `@name` (a document), `now`, else text.
//! `day:-70` (the day 70 days ago). `{word}` stands for what `told` says of it. `+3h` and `+2d` let time pass, `rule name=3` states a rule of the network's. What acts bring about is done at once, as
//! agent and hub do it; the documents opened so are called `kind1`, `kind2`, ….

mod claim;
mod edges;
mod notice;
mod old_part;
mod part_transfer;
mod property;
mod recovery;
mod settlement;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use told::{Act, Line, Said, Story};

use super::{KINDS, header, vehicle};
use crate::document::capture::{Books, Effect, Moment, Wish, capture};
use crate::document::fold::Writer;
use crate::document::{Document, Party};
use crate::fact;
use crate::id::{DocId, EntryId, IdSource};
use crate::site::{SiteId, Sites};
use crate::time::{Timestamp, zone};
use crate::value::Value;

/// An edge taken: kind, act, the state it was taken from (none: it opened), the state it led to.
type Edge = (&'static str, String, Option<String>, String);

struct World {
    documents: BTreeMap<String, Document>,
    order: Vec<String>,
    rules: BTreeMap<String, i64>,
    arrivals: BTreeMap<EntryId, Timestamp>,
    edges: BTreeSet<Edge>,
    ids: IdSource,
    now: Timestamp,
    last: String,
}

impl Books for World {
    fn on_hand_milli(&self, _item: &str, _location: &str) -> i64 {
        0
    }

    fn positions(&self) -> (u64, u64) {
        (0, 0)
    }

    fn odometer(&self, vin: &str, until: Timestamp, but: DocId) -> Option<i64> {
        let others = self.documents.values().filter(|document| document.id != but);
        let readings = others.filter_map(vehicle::reading).filter(|reading| reading.vin == vin && reading.at <= until);
        readings.max_by_key(|reading| reading.at).map(|reading| reading.km)
    }

    fn rule(&self, name: &str) -> Option<i64> {
        self.rules.get(name).copied()
    }

    fn received_at(&self, entry: EntryId) -> Option<Timestamp> {
        self.arrivals.get(&entry).copied()
    }

    fn find(&self, document: DocId) -> Option<Document> {
        self.documents.values().find(|found| found.id == document).cloned()
    }

    fn documents(&self, kind: &str, site: &SiteId) -> Vec<Document> {
        let all = self.order.iter().map(|name| &self.documents[name]);
        all.filter(|document| document.kind == kind && document.site == *site).cloned().collect()
    }
}

/// Tells a story. Refused acts end it with the fields refused.
fn tell(story: &str) -> Result<World, String> {
    let mut world = World::new();
    world.tell(story)?;
    Ok(world)
}

/// Tells each story and compares its end.
fn check(stories: &[Story]) {
    for (story, expected) in stories {
        let found = tell(story).map_or_else(
            |refused| refused,
            |world| {
                let document = world.last();
                let pen = match &document.pen {
                    Party::Hub => "hub",
                    Party::Site(site) => site.as_str(),
                };
                format!("{} {pen}", document.state)
            },
        );
        assert_eq!(found, *expected, "{story}");
    }
}

impl World {
    fn new() -> World {
        World {
            documents: BTreeMap::new(),
            order: Vec::new(),
            rules: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            edges: BTreeSet::new(),
            ids: IdSource::new([7; 10]),
            now: Timestamp(1_760_000_000_000),
            last: String::new(),
        }
    }

    /// Goes on with a story.
    fn tell(&mut self, story: &str) -> Result<(), String> {
        for line in told::lines(&told::spelled(story)) {
            match line {
                Line::Pass(ms) => self.now.0 += ms,
                Line::Rule(name, value) => drop(self.rules.insert(name.into(), value)),
                Line::Act(act) => self.line(&act).map_err(|why| format!("{}: {why}", act.act))?,
            }
        }
        Ok(())
    }

    fn last(&self) -> &Document {
        &self.documents[&self.last]
    }

    fn line(&mut self, line: &Act<'_>) -> Result<(), String> {
        let stated = line.set.iter().map(|(key, text)| ((*key).to_owned(), self.value(text)));
        let mut set: BTreeMap<String, Value> = stated.collect();
        if line.kind.is_some() {
            let site = if line.who == "hub" { "A" } else { line.who };
            set.entry("site".to_owned()).or_insert_with(|| site.into());
        }
        let kind = line.kind.map_or_else(|| self.documents[line.name].kind.clone(), str::to_owned);
        self.last = line.name.to_owned();
        let wish = Wish { document: None, kind, act: line.act.into(), set, author: line.author.into(), cause: None };
        self.act(line.who, line.name, wish)
    }

    fn value(&self, text: &str) -> Value {
        match told::said(text) {
            Said::Whole(number) => Value::Int(number),
            Said::Text(text) => Value::from(text),
            Said::Yes => Value::Flag(true),
            Said::Nothing => Value::Null,
            Said::Measured(amount, unit) => Value::measured(amount, unit),
            Said::Document(name) => Value::Text(self.documents[name].id.to_string()),
            Said::Now => Value::Int(self.now.0),
            Said::Day(days) => Value::Int(i64::from(self.now.day(&zone("").unwrap()).0) + days),
        }
    }

    fn act(&mut self, who: &str, name: &str, wish: Wish) -> Result<(), String> {
        let before = self.documents.get(name).cloned();
        let author = wish.author.clone();
        let sites = Sites::Only(who.parse().into_iter().collect());
        let writer = if who == "hub" { Writer::Hub } else { Writer::Agent(&sites) };
        let moment = Moment { id: self.ids.entry(), now: self.now, mono_ms: 0, boot: 0, clock: 0 };
        let wish = Wish { document: before.as_ref().map(|document| document.id), ..wish };
        let captured = capture(before.as_ref(), wish, moment, writer, self).map_err(|problems| {
            let names = problems.into_iter().map(|problem| problem.field.unwrap_or(problem.en));
            names.collect::<Vec<_>>().join(" ")
        })?;
        self.arrivals.insert(captured.entry.id, Timestamp(self.now.0 + 90_000));
        let kind = KINDS.iter().find(|kind| kind.name == captured.document.kind).unwrap();
        let from = before.as_ref().map(|document| document.state.clone());
        self.edges.insert((kind.name, captured.entry.act.clone(), from, captured.document.state.clone()));
        if before.is_none() {
            self.order.push(name.to_owned());
        }
        let site = captured.document.site.clone();
        self.documents.insert(name.to_owned(), captured.document);
        for effect in captured.effects {
            self.bring_about(who, &site, &author, captured.entry.id, effect)?;
        }
        Ok(())
    }

    fn bring_about(
        &mut self,
        who: &str,
        site: &SiteId,
        author: &str,
        cause: EntryId,
        effect: Effect,
    ) -> Result<(), String> {
        let (author, cause) = (author.to_owned(), Some(cause));
        match effect {
            Effect::Open { kind, act, mut set } => {
                set.entry("site".into()).or_insert_with(|| Value::from(site.as_str()));
                let number = self.order.iter().filter(|name| name.starts_with(kind)).count() + 1;
                let wish = Wish { document: None, kind: kind.into(), act: act.into(), set, author, cause };
                self.act(who, &format!("{kind}{number}"), wish)
            }
            Effect::Note { document, set } => {
                let (name, kind) = self
                    .documents
                    .iter()
                    .find(|(_, found)| found.id == document)
                    .map(|(name, found)| (name.clone(), found.kind.clone()))
                    .ok_or("a note on a document that is not there")?;
                let act = header::NOTE.to_owned();
                self.act(who, &name, Wish { document: Some(document), kind, act, set, author, cause })
            }
        }
    }

    /// The facts of one measure over all documents, added up by key: `key key: value value`.
    fn facts(&self, measure: &str) -> Vec<String> {
        let zone = zone("").unwrap();
        let mut sums: BTreeMap<Vec<String>, Vec<i64>> = BTreeMap::new();
        for fact in self.documents.values().flat_map(|document| fact::of(document, &zone)) {
            if fact.measure.name == measure {
                let sum = sums.entry(fact.keys).or_insert_with(|| vec![0; fact.values.len()]);
                sum.iter_mut().zip(fact.values).for_each(|(sum, value)| *sum += value);
            }
        }
        let words = |values: Vec<i64>| values.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
        sums.into_iter().map(|(keys, values)| format!("{}: {}", keys.join(" "), words(values))).collect()
    }

    fn pen(&self, name: &str) -> &Party {
        &self.documents[name].pen
    }
}
