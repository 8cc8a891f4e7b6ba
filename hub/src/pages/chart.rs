//! Charts: bars, a Pareto, and trends over months, laid out in whole pixels.
//!
//! Numbers become floating point here, to be drawn and for nothing else; the table beside each chart has the figures.

use std::collections::HashMap;

use super::Lang;
use super::reports::shown;
use super::shape::{Drawing, Legend, Mark, cut, ticks};
use crate::reports::{self, Cell, Chart, Column, Decimal, Key, Report, Show, Source};

const WIDTH: i32 = 720;
const MOST_BARS: usize = 15;
/// Colours of a trend's lines, in order.
const LINES: [&str; 3] = ["line-a", "line-b", "line-c"];
const DOTS: [&str; 3] = ["dot-a", "dot-b", "dot-c"];

/// One labelled place of a chart.
struct Point<'a> {
    label: String,
    cells: Vec<&'a Cell>,
}

/// The report's picture of its series; none where there is nothing to draw.
pub(super) fn draw(t: Lang, report: &Report, series: &[Vec<Cell>], names: &HashMap<String, String>) -> Option<Drawing> {
    let title = t.pick(report.zh, report.en).to_owned();
    let (key, values) = match report.chart {
        Chart::Bars { by, value } => (by, vec![value]),
        Chart::Pareto { by, value, line } => (by, vec![value, line]),
        Chart::Trend { values, .. } => (Key::Month, values.to_vec()),
    };
    let columns: Vec<&Column> = values.iter().filter_map(|name| report.column(name)).collect();
    let points: Vec<Point<'_>> = series.iter().filter_map(|row| point(t, report, key, &columns, row, names)).collect();
    if points.is_empty() {
        return None;
    }
    let heading = columns.iter().map(|column| t.pick(column.zh, column.en)).collect::<Vec<_>>().join(" · ");
    let title = format!("{title}: {heading}");
    Some(match report.chart {
        Chart::Bars { .. } => bars(t, title, columns[0], points),
        Chart::Pareto { .. } => pareto(t, title, &columns, &points),
        Chart::Trend { target_milli, .. } => trend(t, title, &columns, &points, target_milli),
    })
}

fn point<'a>(
    t: Lang,
    report: &Report,
    key: Key,
    columns: &[&Column],
    row: &'a [Cell],
    names: &HashMap<String, String>,
) -> Option<Point<'a>> {
    let offset = row.len() - report.columns.len();
    let place = |name: &str| report.columns.iter().position(|column| column.name == name);
    let cells = columns.iter().filter_map(|column| row.get(offset + place(column.name)?)).collect();
    // an agent is better known by its sites
    let label = if matches!(report.source, Source::Agents) { row.get(offset)? } else { row.first()? };
    let Cell::Text(label) = label else { return None };
    let label = match label.as_str() {
        "" => t.unset(),
        label => reports::label(report, Some(key), label, names, t),
    };
    Some(Point { label: label.to_owned(), cells })
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Whole(number) => Some(*number as f64),
        Cell::Decimal(decimal) => Some(decimal.approximate()),
        Cell::Empty | Cell::Text(_) => None,
    }
}

fn pixel(at: f64) -> i32 {
    at.round().clamp(-10_000.0, 10_000.0) as i32
}

/// Horizontal bars from a common zero, the farthest from it first.
fn bars(t: Lang, title: String, column: &Column, mut points: Vec<Point<'_>>) -> Drawing {
    const LEFT: i32 = 190;
    const RIGHT: i32 = 100;
    const ROW: i32 = 28;
    let length = |point: &Point<'_>| number(point.cells[0]).unwrap_or(0.0);
    points.sort_by(|a, b| length(b).abs().total_cmp(&length(a).abs()));
    points.truncate(MOST_BARS);
    let low = points.iter().map(length).fold(0.0, f64::min);
    let high = points.iter().map(length).fold(0.0, f64::max);
    let span = if high - low > 0.0 { high - low } else { 1.0 };
    let place = |value: f64| LEFT + pixel((value - low) / span * f64::from(WIDTH - LEFT - RIGHT));
    let zero = place(0.0);
    let height = ROW * points.len() as i32 + 8;
    let mut marks = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let (y, end) = (index as i32 * ROW + 6, place(length(point)));
        let value = shown(t, column.show, point.cells[0]);
        let tip = format!("{}: {value}", point.label);
        let (x, width) = (zero.min(end), (end - zero).abs().max(1));
        marks.push(Mark::word(LEFT - 10, y + 15, "end", cut(&point.label, 26)));
        marks.push(Mark::Bar { x, y, width, height: ROW - 8, class: "bar", tip });
        marks.push(Mark::Word { x: zero.max(end) + 8, y: y + 15, anchor: "start", class: "value", text: value });
    }
    marks.push(Mark::Line { x1: zero, y1: 2, x2: zero, y2: height - 2, class: "axis" });
    Drawing { width: WIDTH, height, title, marks, legend: Vec::new() }
}

/// A frame with a vertical scale.
struct Plot {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    max: f64,
}

impl Plot {
    fn y(&self, value: f64) -> i32 {
        self.bottom - pixel(value / self.max * f64::from(self.bottom - self.top))
    }

    /// Where the middle of the `index`-th of `count` places lies.
    fn x(&self, index: usize, count: usize) -> i32 {
        self.left + pixel(f64::from(self.right - self.left) * (index as f64 + 0.5) / count as f64)
    }

    fn grid(&self, t: Lang, show: Show, scale: &[f64]) -> Vec<Mark> {
        let line = |value: &f64| {
            let y = self.y(*value);
            let rule = Mark::Line { x1: self.left, y1: y, x2: self.right, y2: y, class: "grid" };
            [rule, Mark::word(self.left - 8, y + 4, "end", tick(t, show, *value))]
        };
        scale.iter().flat_map(line).collect()
    }
}

fn tick(t: Lang, show: Show, value: f64) -> String {
    match show {
        Show::Percent => format!("{} %", pixel(value * 100.0)),
        _ => shown(t, show, &Cell::Decimal(Decimal { scaled: (value * 1000.0).round() as i128, places: 3 }))
            .trim_end_matches(".00")
            .to_owned(),
    }
}

/// Bars of a count, the most frequent first, under the line of their cumulative share.
fn pareto(t: Lang, title: String, columns: &[&Column], points: &[Point<'_>]) -> Drawing {
    let points = &points[..points.len().min(MOST_BARS)];
    let count = |point: &Point<'_>| number(point.cells[0]).unwrap_or(0.0);
    let scale = ticks(points.iter().map(count).fold(0.0, f64::max));
    let plot = Plot { left: 56, right: WIDTH - 52, top: 14, bottom: 250, max: scale.last().copied().unwrap_or(1.0) };
    let mut marks = plot.grid(t, columns[0].show, &scale);
    for fifth in 0..=5 {
        let y = plot.bottom - (plot.bottom - plot.top) * fifth / 5;
        marks.push(Mark::word(plot.right + 8, y + 4, "start", format!("{} %", fifth * 20)));
    }
    let wide = ((plot.right - plot.left) / points.len() as i32 * 7 / 10).clamp(4, 48);
    let mut line = Vec::new();
    let mut dots = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let (x, y) = (plot.x(index, points.len()), plot.y(count(point)));
        let tip = format!("{}: {}", point.label, shown(t, columns[0].show, point.cells[0]));
        let height = (plot.bottom - y).max(1);
        marks.push(Mark::Bar { x: x - wide / 2, y, width: wide, height, class: "bar", tip });
        marks.push(Mark::Turned { x: x + 4, y: plot.bottom + 14, text: cut(&point.label, 20) });
        if let Some(share) = point.cells.get(1).and_then(|cell| number(cell)) {
            let y = plot.bottom - pixel(share * f64::from(plot.bottom - plot.top));
            let tip = format!("{}: {}", point.label, shown(t, columns[1].show, point.cells[1]));
            line.push((x, y));
            dots.push(Mark::Dot { x, y, class: "dot-b", tip });
        }
    }
    marks.push(Mark::path(&line, "line-b"));
    marks.extend(dots);
    let legend = ["bar", "line-b"].into_iter().zip(columns);
    let legend = legend.map(|(class, column)| Legend { class, label: t.pick(column.zh, column.en).to_owned() });
    Drawing { width: WIDTH, height: 360, title, marks, legend: legend.collect() }
}

/// Lines over months, with the target where there is one.
fn trend(t: Lang, title: String, columns: &[&Column], points: &[Point<'_>], target_milli: Option<i64>) -> Drawing {
    let show = columns[0].show;
    let scale = match show {
        Show::Percent => vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        Show::Score => vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0],
        _ => ticks(points.iter().flat_map(|point| &point.cells).filter_map(|cell| number(cell)).fold(0.0, f64::max)),
    };
    let plot = Plot { left: 60, right: WIDTH - 16, top: 14, bottom: 262, max: scale.last().copied().unwrap_or(1.0) };
    let mut marks = plot.grid(t, show, &scale);
    let every = points.len().div_ceil(10);
    for (index, point) in points.iter().enumerate().filter(|(index, _)| index % every == 0) {
        marks.push(Mark::word(plot.x(index, points.len()), plot.bottom + 22, "middle", point.label.clone()));
    }
    let mut legend = Vec::new();
    for (column, (line, dot)) in LINES.into_iter().zip(DOTS).enumerate().take(columns.len()) {
        marks.extend(trend_line(t, &plot, columns[column], points, column, (line, dot)));
        legend.push(Legend { class: line, label: t.pick(columns[column].zh, columns[column].en).to_owned() });
    }
    if let Some(milli) = target_milli {
        let y = plot.y(milli as f64 / 1000.0);
        marks.push(Mark::Line { x1: plot.left, y1: y, x2: plot.right, y2: y, class: "target" });
        let value = tick(t, show, milli as f64 / 1000.0);
        legend.push(Legend { class: "target", label: format!("{} {value}", t.target()) });
    }
    Drawing { width: WIDTH, height: 296, title, marks, legend }
}

fn trend_line(
    t: Lang,
    plot: &Plot,
    column: &Column,
    points: &[Point<'_>],
    index: usize,
    (line, dot): (&'static str, &'static str),
) -> Vec<Mark> {
    let mut path = Vec::new();
    let mut dots = Vec::new();
    for (place, point) in points.iter().enumerate() {
        let Some(value) = point.cells.get(index).and_then(|cell| number(cell)) else { continue };
        let (x, y) = (plot.x(place, points.len()), plot.y(value));
        let tip =
            format!("{} {}: {}", point.label, t.pick(column.zh, column.en), shown(t, column.show, point.cells[index]));
        path.push((x, y));
        dots.push(Mark::Dot { x, y, class: dot, tip });
    }
    std::iter::once(Mark::path(&path, line)).chain(dots).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    fn bars_of(drawing: &Drawing) -> Vec<(i32, i32)> {
        let bar = |mark: &Mark| match mark {
            Mark::Bar { x, width, .. } => Some((*x, *width)),
            _ => None,
        };
        drawing.marks.iter().filter_map(bar).collect()
    }

    #[test]
    fn bars_below_zero_grow_to_the_left() {
        let row = |item: &str, milli| vec![text(item), Cell::Decimal(Decimal::thousandths(milli))];
        let series = [row("A", 1000), row("B", -3000)];
        let drawing = draw(Lang::Zh, reports::find("stock").unwrap(), &series, &HashMap::new()).unwrap();
        let bars = bars_of(&drawing);
        assert_eq!(bars[0].0 + bars[0].1, bars[1].0, "both start at zero");
        assert!(bars[0].1 > bars[1].1 * 2, "the farthest comes first");
    }

    #[test]
    fn every_report_draws_something_inside_its_frame_or_nothing() {
        for report in reports::REPORTS {
            assert_eq!(draw(Lang::En, report, &[], &HashMap::new()), None);
            let key = match report.source {
                Source::Agents => "id",
                Source::Measure(_) => "2026-11",
            };
            let figures = report.columns.iter().map(|column| match column.show {
                Show::Text | Show::Instant => text("城东"),
                Show::Percent => Cell::Decimal(Decimal { scaled: 500_000, places: 6 }),
                Show::Number | Show::Age | Show::Score => Cell::Whole(90),
            });
            let row: Vec<Cell> = std::iter::once(text(key)).chain(figures).collect();
            let drawing = draw(Lang::En, report, &[row], &HashMap::new()).unwrap();
            for mark in &drawing.marks {
                let (x, y) = match mark {
                    Mark::Bar { x, y, width, height, .. } => (x + width, y + height),
                    Mark::Line { x2, y2, .. } => (*x2, *y2),
                    Mark::Dot { x, y, .. } | Mark::Word { x, y, .. } | Mark::Turned { x, y, .. } => (*x, *y),
                    Mark::Path { .. } => continue,
                };
                assert!((0..=drawing.width).contains(&x) && (0..=drawing.height).contains(&y), "{mark:?}");
            }
        }
    }
}
