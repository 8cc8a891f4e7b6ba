//! State diagrams of kinds as Markdown with Mermaid, from their declarations: `docs/kinds.md` is this text.

use std::fmt::Write as _;

use super::flow::{Holder, Step};
use crate::kind::Kind;

const OPENING: &str = "# Kinds of documents

The states of every kind, who takes each step, and who holds the pen after it. Written by `UPDATE=1 cargo test --release -p waystation-protocol --test
diagrams` from the declarations in `protocol/src/kind/`; without `UPDATE` that test compares.

Whoever holds the pen may also `void` 作废 a document, which ends it; a claim, an old part, a recovery, a transfer or a settlement that has ended
stands, and what was wrong with it is adjusted in a settlement. The hub may `reclaim` 收回 the pen of an outlet that cannot act any more, and
`hand_over` 移交 a pen it holds. Anybody may `note` 备注, which changes no state. A step without a role is anybody's at the pen's holder.
";

/// All of it.
pub fn markdown(kinds: &[&Kind]) -> String {
    kinds.iter().fold(OPENING.to_owned(), |text, kind| text + &section(kind))
}

fn section(kind: &Kind) -> String {
    let mut text = format!("\n## {} {} (`{}`)\n\n```mermaid\nstateDiagram-v2\n", kind.zh, kind.en, kind.name);
    for state in kind.states {
        line(&mut text, format_args!("    state \"{} {}\" as {}", state.zh, state.en, state.name));
    }
    for (step, from, to) in edges(kind) {
        let pen = pen(step).map_or_else(String::new, |pen| format!(" · ✎ {pen}"));
        line(&mut text, format_args!("    {from} --> {to}: {} {}{pen}", step.zh, step.en));
    }
    for state in kind.states.iter().filter(|state| kind.steps_from(state.name).next().is_none()) {
        line(&mut text, format_args!("    {} --> [*]", state.name));
    }
    text.push_str("```\n\n| act | from | to | who | pen goes to | sets |\n|---|---|---|---|---|---|\n");
    for step in kind.flow {
        row(&mut text, step);
    }
    text
}

/// Each way of each step, by the names Mermaid knows the states under.
fn edges(kind: &Kind) -> impl Iterator<Item = (&'static Step, &'static str, &'static str)> {
    kind.flow.iter().flat_map(|step| {
        let opening = step.is_opening().then_some("[*]");
        let froms = opening.into_iter().chain(step.from.iter().map(|state| state.name));
        froms.map(move |from| (step, from, step.to.map_or(from, |state| state.name)))
    })
}

fn row(text: &mut String, step: &Step) {
    let labels = |states: &mut dyn Iterator<Item = &'static super::flow::State>| {
        states.map(|state| format!("{} {}", state.zh, state.en)).collect::<Vec<_>>().join(", ")
    };
    let from = labels(&mut step.from.iter());
    let to = step.to.map_or_else(|| "stays".to_owned(), |state| format!("{} {}", state.zh, state.en));
    let who = step.roles.iter().map(|role| role.name().replace('_', " ")).collect::<Vec<_>>().join(", ");
    let sets = step.takes.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    let round = if step.is_next_round { ", next round" } else { "" };
    let pen = pen(step).unwrap_or_default();
    let cells = format!("`{}` {} {} | {from} | {to}{round} | {who} | {pen} | {sets}", step.act, step.zh, step.en);
    line(text, format_args!("| {cells} |"));
}

/// Who holds the pen after a step that hands it over.
fn pen(step: &Step) -> Option<String> {
    step.pen.map(|holder| match holder {
        Holder::Hub => "中心 hub".to_owned(),
        Holder::Origin => "本站 its site".to_owned(),
        Holder::Named(field) => format!("{field} 所填网点 the site named"),
    })
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a string does not fail");
}
