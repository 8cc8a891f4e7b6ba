//! Stories of several parties: sites A and B and the hub act in turn on documents that bring about each other.
//!
//! A story is one act per line, `WHO[/AUTHOR] NAME[:KIND] ACT key=value …`: a name with a kind opens a document. Values:
//! whole numbers, `yes`, `q:1500` (thousandths of a piece), `m:1999` (fen), `@name` (a document), `now`, else text.
//! `{word}` stands for what [`WORDS`] says. `+3h` and `+2d` let time pass, `rule name=3` states a rule of the network's. What acts bring about is done at once, as
//! agent and hub do it; the documents opened so are called `kind1`, `kind2`, ….

mod claim;
mod edges;
mod notice;
mod old_part;
mod part_transfer;
mod property;
mod recovery;
mod settlement;

use std::collections::{BTreeMap, BTreeSet};

use super::{KINDS, header};
use crate::document::capture::{Books, Effect, Moment, Wish, capture};
use crate::document::fold::Writer;
use crate::document::{Document, Party};
use crate::fact;
use crate::id::{EntryId, IdSource};
use crate::site::{SiteId, Sites};
use crate::time::{Timestamp, zone};
use crate::value::Value;

/// A story, and what it ends in: the last document's `state pen`, or what was refused, by field.
type Story = (&'static str, &'static str);

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

    fn rule(&self, name: &str) -> Option<i64> {
        self.rules.get(name).copied()
    }

    fn received_at(&self, entry: EntryId) -> Option<Timestamp> {
        self.arrivals.get(&entry).copied()
    }

    fn documents(&self, kind: &str, site: &SiteId) -> Vec<Document> {
        let all = self.order.iter().map(|name| &self.documents[name]);
        all.filter(|document| document.kind == kind && document.site == *site).cloned().collect()
    }
}

/// What many stories say.
const WORDS: &[(&str, &str)] = &[
    ("order", "A r:repair_order check_in checked_in_at=1759980000000 pre_inspection=好 symptom=异响 category=车"),
    ("tagged", "A o:old_part tag claim=@c part=P1 tag_no=T1 removed_at=1759990000000"),
    ("vehicle", "vin=1M8GDM9AXKP042788 model=M1 sale_date=20300 odometer=9000 customer=张伟 repair_order=@r"),
    ("fault", "failed_at=1759990000000 symptom=异响 causal_part=P1 fault=F01 severity=major supplier=S1"),
    ("part", "part#1.part=P1 part#1.quantity=q:1500 part#1.price=m:1001 part#1.source=stock part#1.coverage=warranty"),
    (
        "lines",
        "{part} labour#1.operation=换件 labour#1.hours=150 labour#1.rate=m:8001 labour#1.coverage=warranty \
         other#1.charge=拖车 other#1.amount=m:500 other#1.coverage=customer",
    ),
    ("granted", "part#1.granted=m:1502 labour#1.granted=m:12000 other#1.granted=m:0"),
    ("ordinary", "{order}\nA c:claim draft variant=ordinary {vehicle} {fault} {lines}"),
    ("submitted", "{ordinary}\nA c submit"),
    ("reviewing", "{submitted}\nhub c review"),
    ("remark", "remark#1.field=odometer remark#1.code=wrong remark#1.comment=里程不符"),
    ("assembly", "assembly=发动机 serial_old=E1 teardown_photos=x.jpg"),
    (
        "rescue",
        "call_at=1759990000000 place=高速 distance=40 depart_at=1759991000000 arrive_at=1759992000000 finish_at=1759993000000",
    ),
    ("purchase", "vendor=配件城 purchase_reason=缺货"),
    ("run_in", "card_no=Z1 checklist=机油"),
    // a claim whose approval directs the part o
    ("directed", "{ordinary}\n{tagged}\nA c edit part#1.old_part=@o\nA c submit\nhub c review"),
    ("to_maker", "{directed}\nhub c approve {granted} part#1.disposition=maker"),
    ("to_supplier", "{directed}\nhub c approve {granted} part#1.disposition=supplier"),
    ("to_discount", "{directed}\nhub c approve {granted} part#1.disposition=discount"),
    ("asked", "A t:part_transfer request part=P1 quantity=q:2000 need_by=1760100000000"),
    ("owed", "{asked}\nhub t approve mode=maker approved=q:2000\nhub t ship shipped=q:2000 waybill=W1"),
    ("assigned", "{asked}\nhub t assign source=B approved=q:2000"),
    ("lent", "{assigned}\nB t accept\nB t ship shipped=q:2000 waybill=W1"),
    ("approved", "{reviewing}\nhub c approve {granted}"),
    ("generated", "{approved}\nhub s:settlement generate site=A period=2025-10 until=20400"),
    ("issued", "{generated}\nhub s issue"),
    ("disputed", "{issued}\nA s dispute claim#1.dispute=少工时"),
    (
        "charged",
        "{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:10005\n\
                 hub s:settlement generate site=hub party=S1 period=2025-10 until=20400\nhub s charge",
    ),
    ("published", "hub b:notice publish site=hub title=召回 body=内容 audience=*"),
    ("boxed", "{to_maker}\nA o box box_no=B1"),
    ("shipped", "{boxed}\nA o ship waybill=W1"),
    ("direct", "{to_supplier}\nA o box box_no=B1\nA o ship waybill=W1"),
    (
        "appraised",
        "{judged}\nhub v notify\nhub v dispute objection=不是材质\nhub v appraise third_party=检测中心 factor=5000",
    ),
    (
        "judged",
        "{ordinary}\nhub v:recovery judge site=hub responsible=supplier supplier=S1 basis=鉴定 \
                claim#1.claim=@c claim#1.amount=m:10001 claim#2.claim=@c claim#2.amount=m:4",
    ),
];

/// The story with every word put in its place.
fn spelled(story: &str) -> String {
    let mut story = story.to_owned();
    while let Some((word, text)) = WORDS.iter().find(|(word, _)| story.contains(&format!("{{{word}}}"))) {
        story = story.replace(&format!("{{{word}}}"), text);
    }
    assert!(!story.contains('{'), "an unknown word: {story}");
    story
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
        for line in spelled(story).lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [time] if time.starts_with('+') => self.pass(time),
                ["rule", rule] => {
                    let (name, value) = rule.split_once('=').unwrap();
                    self.rules.insert(name.into(), value.parse().unwrap());
                }
                [who, name, act, set @ ..] => self.line(who, name, act, set).map_err(|why| format!("{act}: {why}"))?,
                _ => panic!("not a line of a story: {line}"),
            }
        }
        Ok(())
    }

    fn pass(&mut self, time: &str) {
        let unit = if time.ends_with('d') { 86_400_000 } else { 3_600_000 };
        self.now.0 += time[1..time.len() - 1].parse::<i64>().unwrap() * unit;
    }

    fn last(&self) -> &Document {
        &self.documents[&self.last]
    }

    fn line(&mut self, who: &str, name: &str, act: &str, set: &[&str]) -> Result<(), String> {
        let (who, author) = who.split_once('/').unwrap_or((
            who,
            match who {
                "A" => "李娜",
                "B" => "赵磊",
                _ => "审核员",
            },
        ));
        let (name, kind) = name.split_once(':').map_or((name, None), |(name, kind)| (name, Some(kind)));
        let mut fields = BTreeMap::new();
        for word in set {
            let (key, text) = word.split_once('=').unwrap();
            fields.insert(key.to_owned(), self.value(text));
        }
        if kind.is_some() {
            let site = if who == "hub" { "A" } else { who };
            fields.entry("site".to_owned()).or_insert_with(|| site.into());
        }
        let kind = kind.map_or_else(|| self.documents[name].kind.clone(), str::to_owned);
        self.last = name.to_owned();
        let wish = Wish { document: None, kind, act: act.into(), set: fields, author: author.into(), cause: None };
        self.act(who, name, wish)
    }

    fn value(&self, text: &str) -> Value {
        match text.split_once(':') {
            Some(("q", milli)) => Value::measured(milli.parse().unwrap(), "件"),
            Some(("m", minor)) => Value::measured(minor.parse().unwrap(), "CNY"),
            Some(("usd", minor)) => Value::measured(minor.parse().unwrap(), "USD"),
            _ if text == "yes" => Value::Flag(true),
            _ if text == "now" => Value::Int(self.now.0),
            _ if text == "null" => Value::Null,
            _ => match text.strip_prefix('@') {
                Some(name) => Value::Text(self.documents[name].id.to_string()),
                None => text.parse().map_or_else(|_| Value::from(text), Value::Int),
            },
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
