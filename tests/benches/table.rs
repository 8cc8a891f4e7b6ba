//! The table of figures: value, baseline, ratio, goal.

use serde_json::{Value, json};

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The baseline's figure, of the same run.
    pub(crate) baseline: Option<f64>,
    /// The goal, in words.
    pub(crate) goal: &'static str,
    /// Whether the goal is met; none where it has none.
    pub(crate) met: Option<bool>,
}

/// Figures in the order they were taken.
#[derive(Debug, Default)]
pub(crate) struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// A figure without goal or baseline.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        self.push(Figure { name: name.into(), value, unit, baseline: None, goal: "", met: None });
    }

    /// A figure with its goal.
    pub(crate) fn with_goal(&mut self, name: &str, value: f64, unit: &'static str, goal: &'static str, met: bool) {
        self.push(Figure { name: name.into(), value, unit, baseline: None, goal, met: Some(met) });
    }

    /// A figure beside its baseline.
    pub(crate) fn beside(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        baseline: f64,
        goal: &'static str,
        met: bool,
    ) {
        self.push(Figure {
            name: name.into(),
            value,
            unit,
            baseline: Some(baseline),
            goal,
            met: (!goal.is_empty()).then_some(met),
        });
    }

    /// A figure's value, by name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    fn push(&mut self, figure: Figure) {
        eprintln!("{}: {} {}", figure.name, short(figure.value), figure.unit);
        self.figures.push(figure);
    }

    /// For people.
    pub(crate) fn print(&self) {
        println!("{:<44} {:>12} {:<10} {:>12} {:>7}  goal", "figure", "value", "unit", "baseline", "ratio");
        for figure in &self.figures {
            let baseline = figure.baseline.map_or(String::new(), short);
            let ratio = figure.baseline.map_or(String::new(), |baseline| format!("{:.2}", figure.value / baseline));
            let met = figure.met.map_or("", |met| if met { "met" } else { "missed" });
            let value = short(figure.value);
            println!(
                "{:<44} {value:>12} {:<10} {baseline:>12} {ratio:>7}  {} {met}",
                figure.name, figure.unit, figure.goal
            );
        }
    }

    /// For scripts: one object on one line.
    pub(crate) fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let ratio = figure.baseline.map(|baseline| figure.value / baseline);
                json!({"name": figure.name, "value": figure.value, "unit": figure.unit, "baseline": figure.baseline,
                   "ratio": ratio, "goal": figure.goal, "met": figure.met})
            })
            .collect();
        json!({ "figures": figures })
    }
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// The value below which `share` of the sorted samples lie.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
