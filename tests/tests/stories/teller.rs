//! Tells one story, turn by turn: what one party does in a row is one turn.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use waystation_protocol::kind::{self, Kind};
use waystation_protocol::value::Type;

use crate::edges::Edge;
use crate::network::{Network, site};
use crate::told::{Act, Line, Said, said};

/// Where stories take place.
const ZONE: &str = "Asia/Shanghai";

/// A document of a story.
struct Paper {
    id: String,
    kind: String,
    state: String,
}

/// A story that is being told.
pub(crate) struct Telling<'a> {
    number: usize,
    acts: Vec<Act<'a>>,
    next: usize,
    papers: BTreeMap<&'a str, Paper>,
}

impl<'a> Telling<'a> {
    /// A story from its beginning. Rules are the hub's from its start, and time does not pass faster here.
    pub(crate) fn new(number: usize, lines: impl Iterator<Item = Line<'a>>) -> Telling<'a> {
        let acts = lines.filter_map(|line| match line {
            Line::Act(act) => Some(act),
            Line::Pass(_) | Line::Rule(..) => None,
        });
        Telling { number, acts: acts.collect(), next: 0, papers: BTreeMap::new() }
    }

    /// Whether all of it is told.
    pub(crate) fn is_over(&self) -> bool {
        self.next == self.acts.len()
    }

    /// One turn; gives the edges it took.
    pub(crate) fn turn(&mut self, network: &Network) -> Vec<Edge> {
        let mut edges = Vec::new();
        let Some(who) = self.acts.get(self.next).map(|act| act.who) else { return edges };
        while let Some(act) = self.acts.get(self.next).filter(|act| act.who == who).cloned() {
            edges.push(self.act(network, &act));
            self.next += 1;
        }
        edges
    }

    /// The last document's `state pen` at the hub.
    pub(crate) fn end(&self, network: &Network) -> String {
        let last = self.acts.last().expect("a story has acts").name;
        let shown = network.http("hub").get(&format!("/api/v1/documents/{}", self.papers[last].id));
        let pen = shown["pen"].as_str().unwrap_or_default().trim_start_matches("site:");
        let pen = pen.strip_suffix(&self.number.to_string()).unwrap_or(pen);
        format!("{} {pen}", shown["state"].as_str().unwrap_or_default())
    }

    fn act(&mut self, network: &Network, act: &Act<'a>) -> Edge {
        let kind = act.kind.map_or_else(|| self.papers[act.name].kind.clone(), str::to_owned);
        let declared = kind::find(&kind).expect("a kind");
        let mut set: Map<String, Value> =
            act.set.iter().map(|(key, text)| ((*key).to_owned(), self.value(declared, key, text))).collect();
        let (path, body) = match self.papers.get(act.name) {
            Some(paper) => {
                let path = format!("/api/v1/documents/{}/acts/{}", paper.id, act.act);
                (path, json!({"author": act.author, "set": set}))
            }
            None => {
                let of_whom = if act.who == "hub" { "A" } else { act.who };
                let site = set.remove("site").unwrap_or_else(|| site(of_whom, self.number).into());
                let body = json!({"kind": kind, "act": act.act, "site": site, "author": act.author, "set": set});
                ("/api/v1/documents".to_owned(), body)
            }
        };
        let answer = network.http(act.who).try_post(&path, &body).expect("it answers");
        assert!([200, 201].contains(&answer.status), "story {}: {act:?}: {body}: {}", self.number, answer.body);
        let text = |key: &str| answer.body[key].as_str().unwrap_or_default().to_owned();
        let paper = Paper { id: text("id"), kind: kind.clone(), state: text("state") };
        let to = paper.state.clone();
        let from = self.papers.insert(act.name, paper).map_or_else(String::new, |before| before.state);
        (kind, act.act.to_owned(), from, to)
    }

    /// A value as people write it.
    fn value(&self, kind: &Kind, key: &str, text: &str) -> Value {
        let ty = kind.field_at(key).map(|field| field.ty);
        let today = jiff::Timestamp::now().to_zoned(TimeZone::get(ZONE).expect("the zone is known")).date();
        match said(text) {
            // each story has outlets and suppliers of its own, so that none settles with another's
            Said::Text(name) if ["site", "source", "pen_site"].contains(&key) => site(name, self.number).into(),
            Said::Text(name) if ["supplier", "party"].contains(&key) => format!("{name}.{}", self.number).into(),
            // nor one reads another's odometer
            Said::Text(_) if key == "vin" => format!("WDB9066331S{:06}", self.number).into(),
            Said::Text(text) => text.into(),
            Said::Yes => true.into(),
            Said::Nothing => Value::Null,
            Said::Measured(amount, unit) => json!([amount, unit]),
            Said::Document(name) => self.papers[name].id.clone().into(),
            Said::Day(days) => today.saturating_add(days.days()).to_string().into(),
            Said::Now => jiff::Timestamp::now().to_string().into(),
            Said::Whole(number) => match ty {
                Some(Type::Time | Type::Due) => {
                    jiff::Timestamp::from_millisecond(number).expect("a time").to_string().into()
                }
                Some(Type::Labour) => format!("{}.{:02}", number / 100, number % 100).into(),
                _ => number.into(),
            },
        }
    }
}
