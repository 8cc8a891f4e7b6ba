//! People at three outlets and at the hub, who try what is legal and what is not. What was accepted is written down, and that
//! nobody else held the pen.

use std::collections::{BTreeMap, BTreeSet};

use waystation_agent::store::CaptureError;
use waystation_hub::down::ActError;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::document::{Document, Party};
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::time::zone;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::moves::{self, Drawn};
use crate::network::Weather;
use crate::told::{self, Said};
use crate::world::{SITES, World, wall};

/// With so many documents in hand a party opens another only now and then.
const IN_HAND: usize = 6;

/// An act that was confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Its entry.
    pub(crate) entry: EntryId,
    /// Its document as it then was, where it was made.
    pub(crate) document: Document,
    /// The state it was made from; empty where it opened.
    pub(crate) from: String,
    /// The act.
    pub(crate) act: String,
    /// What it set.
    pub(crate) set: BTreeMap<String, Value>,
    /// The outlet; none for the hub.
    pub(crate) outlet: Option<usize>,
    /// What was on hand here of each line it counts.
    pub(crate) on_hand: BTreeMap<String, i64>,
}

/// Everybody, and what they did.
pub(crate) struct People {
    /// Where they work.
    pub(crate) world: World,
    /// What was confirmed, in order.
    pub(crate) made: Vec<Made>,
    /// How much was refused.
    pub(crate) refused: usize,
    /// Documents of which two may believe to hold the pen: it was taken from an outlet, or a disk was put back.
    pub(crate) doubtful: BTreeSet<DocId>,
    pens: BTreeMap<DocId, Party>,
    taken: BTreeMap<DocId, EntryId>,
    chance: Chance,
}

impl People {
    /// Nobody has done anything yet.
    pub(crate) fn new(seed: u64, world: World) -> People {
        let chance = Chance::new(seed).fork(3);
        let (made, doubtful, pens, taken) = (Vec::new(), BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        People { world, made, refused: 0, doubtful, pens, taken, chance }
    }

    /// Something happens.
    pub(crate) fn step(&mut self) {
        let index = usize::try_from(self.chance.below(3)).expect("an index is small");
        match self.chance.below(100) {
            0..=49 => self.outlet_acts(index),
            50..=74 => self.hub_acts(),
            75..=87 => {
                let ms = self.chance.weighted(&[(6, 2_000), (3, 30_000), (1, 900_000)]);
                self.world.pass(ms);
            }
            88..=92 => {
                let is_cut = self.world.outlets[index].is_cut;
                self.world.set_cut(index, !is_cut);
            }
            93..=94 => self.change_weather(),
            95 => self.world.kill_hub(),
            96 => self.world.restart(index, None),
            97 => self.world.outlets[index].put_copy_aside(),
            98 if self.chance.percent(40) => self.put_back(index),
            _ => self.take_pen(),
        }
        let ms = self.chance.below(2_000);
        self.world.pass(ms);
    }

    fn change_weather(&mut self) {
        let (bad, delay_ms) = (self.chance.percent(70), self.chance.within(20, 20_000));
        let some = |percent| if bad { percent } else { 0 };
        self.world.network.weather = Weather { loss: some(15), copies: some(25), damage: some(2), delay_ms };
    }

    /// A copy of an outlet's disk is put back: what was done on it since is done twice, or never reaches the hub.
    fn put_back(&mut self, index: usize) {
        let Some(image) = self.world.outlets[index].copy.take() else { return };
        self.doubtful.extend(self.world.outlets[index].documents().into_keys());
        self.world.restart(index, Some(&image));
        self.doubtful.extend(self.world.outlets[index].documents().into_keys());
    }

    /// Ops takes the pen of an outlet, or gives back one it took and did nothing with.
    fn take_pen(&mut self) {
        let documents = self.world.hub_documents();
        let is_taken = |document: &&Document| self.taken.get(&document.id) == Some(&document.head);
        let taken: Vec<&Document> = documents.iter().filter(is_taken).collect();
        if !taken.is_empty() && self.chance.percent(60) {
            let document = (*self.chance.pick(&taken)).clone();
            return self.attempt(None, Some(&document), &document.kind, "hand_over");
        }
        let away: Vec<&Document> =
            documents.iter().filter(|document| document.pen != Party::Hub && document.state != "void").collect();
        if !away.is_empty() {
            let document = (*self.chance.pick(&away)).clone();
            self.doubtful.insert(document.id);
            self.attempt(None, Some(&document), &document.kind, "reclaim reclaim_reason=停业");
        }
    }

    fn outlet_acts(&mut self, index: usize) {
        let shown: Vec<Document> = self.world.outlets[index].documents().into_values().collect();
        let own = Party::Site(SITES[index].parse().expect("a site's name"));
        self.acts(Some(index), &own, &shown);
    }

    fn hub_acts(&mut self) {
        let shown = self.world.hub_documents();
        self.acts(None, &Party::Hub, &shown);
    }

    fn acts(&mut self, outlet: Option<usize>, own: &Party, shown: &[Document]) {
        let all: Vec<&Document> = shown.iter().collect();
        let mut chance = self.chance.fork(self.world.now);
        let has_next =
            |document: &&&Document| document.pen == *own && moves::of(document, &mut chance.clone()).is_some();
        let open: Vec<&Document> = all.iter().filter(has_next).copied().collect();
        let drawn = |document| Drawn { document, shown: &all, now: wall(self.world.now).0 };
        let must_open =
            open.is_empty() || open.len() < IN_HAND && chance.percent(if outlet.is_some() { 25 } else { 8 });
        let what = if must_open { 0 } else { chance.below(100) };
        let (document, kind, text) = match what {
            0..=3 => {
                let (kind, text) = moves::opening(outlet.is_none(), &mut chance);
                (None, kind.to_owned(), text)
            }
            4..=13 => {
                let document = *chance.pick(&all);
                let Some(text) = moves::any(&document.kind, &mut chance) else { return };
                (Some(document), document.kind.clone(), text)
            }
            14..=17 => {
                let document = *chance.pick(&all);
                (Some(document), document.kind.clone(), "note note_text=已知")
            }
            18..=18 => {
                let document = *chance.pick(&open);
                (Some(document), document.kind.clone(), "void void_reason=错录")
            }
            _ => {
                let kinds: BTreeSet<&str> = open.iter().map(|document| document.kind.as_str()).collect();
                let kind = *chance.pick(&kinds.into_iter().collect::<Vec<_>>());
                let of_kind: Vec<&Document> = open.iter().filter(|document| document.kind == kind).copied().collect();
                let document = *chance.pick(&of_kind);
                let Some(text) = moves::of(document, &mut chance) else { return };
                (Some(document), document.kind.clone(), text)
            }
        };
        let Some(text) = moves::spell(text, &drawn(document), &mut chance) else { return };
        self.chance.next();
        self.attempt(outlet, document, &kind, &text);
    }

    /// Somebody tries something. What is accepted must be legal, and nobody else may hold the pen.
    fn attempt(&mut self, outlet: Option<usize>, before: Option<&Document>, kind: &str, text: &str) {
        let now = wall(self.world.now);
        let mut words = text.split_whitespace();
        let act = words.next().expect("a move has an act");
        let mut set: BTreeMap<String, Value> = words
            .map(|word| word.split_once('=').expect("key=value"))
            .map(|(key, text)| (key.to_owned(), value(text, now)))
            .collect();
        if let (None, Some(index)) = (before, outlet) {
            set.entry("site".into()).or_insert_with(|| SITES[index].into());
        }
        let on_hand = self.on_hand(outlet, before, &set);
        let author = outlet.map_or("审核员", |index| ["李娜", "赵磊", "王芳"][index]);
        let wish = Wish {
            document: before.map(|document| document.id),
            kind: kind.into(),
            act: act.into(),
            set: set.clone(),
            author: author.into(),
            cause: None,
        };
        let done = match outlet {
            Some(index) => self.capture(index, wish),
            None => self.act_as_hub(wish),
        };
        let Some((entry, document)) = done else {
            self.refused += 1;
            return;
        };
        let state = before.map(|before| before.state.as_str());
        assert!(
            moves::is_legal(kind, state, act, outlet.is_none()),
            "{act} of a {kind} in state {state:?} is accepted"
        );
        for (line, milli) in &on_hand {
            let stated = document.fields.get(&format!("{line}.expected")).and_then(Value::as_measured);
            assert_eq!(
                stated.map(|(milli, _)| milli),
                Some(*milli),
                "what {line} expects, by the movements shown here"
            );
        }
        self.judge_pen(outlet, before, act, &document);
        if act == "reclaim" {
            self.taken.insert(document.id, entry);
        }
        let from = state.unwrap_or_default().to_owned();
        self.made.push(Made { entry, document, from, act: act.into(), set, outlet, on_hand });
    }

    fn capture(&mut self, index: usize, wish: Wish) -> Option<(EntryId, Document)> {
        let outlet = &self.world.outlets[index];
        match outlet.store.capture(wish, outlet.at(self.world.now)) {
            Ok(receipt) => Some((receipt.entry, receipt.document)),
            Err(CaptureError::Problems(_) | CaptureError::Superseded) => None,
            Err(error) => panic!("outlet {index} cannot act: {error}"),
        }
    }

    fn act_as_hub(&mut self, wish: Wish) -> Option<(EntryId, Document)> {
        let now = wall(self.world.now);
        let hub = self.world.hub();
        let deed = match hub.act(wish, None, now) {
            Ok(deed) => deed.expect("the hub has processed what it stored"),
            Err(ActError::Problems(_)) => return None,
            Err(error) => panic!("the hub cannot act: {error}"),
        };
        loop {
            while hub.build().expect("the hub processes") {
                hub.apply();
            }
            if let Some(document) = hub.outcome(&deed).expect("what the hub accepted stands") {
                return Some((deed.entry(), document));
            }
        }
    }

    /// What the movements shown where somebody counts come to, by line that is counted.
    fn on_hand(
        &mut self,
        outlet: Option<usize>,
        before: Option<&Document>,
        set: &BTreeMap<String, Value>,
    ) -> BTreeMap<String, i64> {
        let lines: Vec<&str> = set.keys().filter_map(|key| key.strip_suffix(".counted")).collect();
        let Some(sheet) = before.filter(|_| !lines.is_empty()) else { return BTreeMap::new() };
        let shown: Vec<Document> = match outlet {
            Some(index) => self.world.outlets[index].documents().into_values().collect(),
            None => self.world.hub_documents(),
        };
        let is_moved = |document: &&Document, line: &str| {
            let is_same = |name: &str| document.fields.get(name) == set.get(&format!("{line}.{name}"));
            document.kind == "stock_movement"
                && document.state == "posted"
                && document.site == sheet.site
                && is_same("item")
                && is_same("location")
        };
        let quantity =
            |document: &Document| document.fields.get("quantity").and_then(Value::as_measured).map(|(milli, _)| milli);
        let sum = |line: &str| shown.iter().filter(|document| is_moved(document, line)).filter_map(quantity).sum();
        lines.into_iter().map(|line| (line.to_owned(), sum(line))).collect()
    }

    /// Whoever acts holds the one pen there is, and passes it on as DOMAIN says.
    fn judge_pen(&mut self, outlet: Option<usize>, before: Option<&Document>, act: &str, document: &Document) {
        if act == "note" {
            return;
        }
        let who = outlet.map_or(Party::Hub, |index| Party::Site(SITES[index].parse().expect("a site's name")));
        if let Some(before) = before {
            let held = self.pens.entry(document.id).or_insert_with(|| Party::of(before.site.clone()));
            let is_sure = act != "reclaim" && !self.doubtful.contains(&document.id);
            assert!(!is_sure || *held == who, "{who:?} takes {act} of a {} that {held:?} holds", document.kind);
        }
        let state = before.map_or("", |before| before.state.as_str());
        if let Some(next) = moves::pen_after(&document.kind, state, act, document) {
            self.pens.insert(document.id, next);
        }
    }

    /// What an outlet expects to count of an item.
    pub(crate) fn expected_at(&mut self, index: usize, item: &str, location: &str) -> i64 {
        self.attempt(Some(index), None, "count_sheet", "open zone=A counter=李娜");
        let sheet = self.made.last().expect("a sheet can always be opened").document.clone();
        let line = format!("count item#1.item={item} item#1.location={location} item#1.counted=q:0");
        self.attempt(Some(index), Some(&sheet), "count_sheet", &line);
        let counted = self.made.last().expect("a line can always be counted");
        counted.document.fields.get("item#1.expected").and_then(Value::as_measured).map_or(0, |(milli, _)| milli)
    }

    /// No two believe at once that they hold the pen of a document, unless it was taken or a disk was put back.
    pub(crate) fn judge_believers(&mut self) {
        let mut holders: BTreeMap<DocId, Party> = BTreeMap::new();
        for document in self.world.hub_documents().into_iter().filter(|document| document.pen == Party::Hub) {
            holders.insert(document.id, Party::Hub);
        }
        for (index, site) in SITES.iter().enumerate() {
            let own = Party::Site(site.parse().expect("a site's name"));
            let shown = self.world.outlets[index].documents().into_values();
            for document in shown.filter(|document| document.pen == own && !self.doubtful.contains(&document.id)) {
                let other = holders.insert(document.id, own.clone());
                assert_eq!(other, None, "{own:?} believes to hold the pen of a {} too", document.kind);
            }
        }
    }
}

fn value(text: &str, now: waystation_protocol::time::Timestamp) -> Value {
    match told::said(text) {
        Said::Whole(number) => Value::Int(number),
        Said::Text(text) => Value::from(text),
        Said::Yes => Value::Flag(true),
        Said::Nothing => Value::Null,
        Said::Measured(amount, unit) => Value::measured(amount, unit),
        Said::Document(name) => panic!("moves name documents by their ids, not as {name}"),
        Said::Now => Value::Int(now.0),
        Said::Day(days) => Value::Int(i64::from(now.day(&zone("").expect("the default zone is bundled")).0) + days),
    }
}
