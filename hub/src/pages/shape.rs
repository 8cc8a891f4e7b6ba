//! What a chart is made of: rectangles, lines, dots and words at whole pixels. The template turns them into SVG.

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawing {
    /// In pixels of its own scale.
    pub(super) width: i32,
    /// In the same.
    pub(super) height: i32,
    /// What it shows.
    pub(super) title: String,
    /// Its parts, drawn in this order.
    pub(super) marks: Vec<Mark>,
    /// What its colours mean.
    pub(super) legend: Vec<Legend>,
}

/// What a colour means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Legend {
    pub(super) class: &'static str,
    pub(super) label: String,
}

/// A part of a picture. Its class gives it its colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    Bar { x: i32, y: i32, width: i32, height: i32, class: &'static str, tip: String },
    Line { x1: i32, y1: i32, x2: i32, y2: i32, class: &'static str },
    Path { points: String, class: &'static str },
    Dot { x: i32, y: i32, class: &'static str, tip: String },
    Word { x: i32, y: i32, anchor: &'static str, class: &'static str, text: String },
    Turned { x: i32, y: i32, text: String },
}

impl Mark {
    pub(super) fn word(x: i32, y: i32, anchor: &'static str, text: impl Into<String>) -> Mark {
        Mark::Word { x, y, anchor, class: "label", text: text.into() }
    }

    pub(super) fn path(points: &[(i32, i32)], class: &'static str) -> Mark {
        let points = points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
        Mark::Path { points, class }
    }
}

/// Text cut to a width in halves of a Chinese character.
pub(super) fn cut(text: &str, halves: usize) -> String {
    let width = |c: char| if c.is_ascii() { 1 } else { 2 };
    if text.chars().map(width).sum::<usize>() <= halves {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = text.chars().take_while(|c| {
        used += width(*c);
        used <= halves
    });
    fits.chain(['…']).collect()
}

/// Where a scale's lines go: from 0 in steps of 1, 2 or 5 times a power of ten, four to nine of them.
pub(super) fn ticks(max: f64) -> Vec<f64> {
    if max <= 0.0 || !max.is_finite() {
        return vec![0.0, 1.0];
    }
    let power = 10f64.powf((max / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|by| by * power).rfind(|step| max / step >= 4.0).unwrap_or(power);
    let count = (max / step).ceil() as i32;
    (0..=count).map(|index| f64::from(index) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_cut_by_their_width() {
        for (text, expected) in
            [("城东维修站", "城东维修站"), ("城东汽车维修服务站", "城东汽车…"), ("Restart HQ London", "Restart H…")]
        {
            assert_eq!(cut(text, 10), expected);
        }
    }

    #[test]
    fn scales_end_at_or_above_the_largest() {
        for (max, last, count) in
            [(1.0, 1.0, 6), (7.0, 7.0, 8), (630.0, 700.0, 8), (0.0, 1.0, 2), (12_409.0, 14_000.0, 8)]
        {
            let ticks = ticks(max);
            assert!((ticks.last().unwrap() - last).abs() < 1e-9 && ticks.len() == count, "{max}: {ticks:?}");
        }
    }
}
