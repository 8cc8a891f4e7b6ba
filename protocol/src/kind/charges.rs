//! Lines that cost money (工时, 配件, 其他费用): what each comes to, who pays it, what of it is claimed and granted.
//!
//! amount = half-even(quantity × price), or hours × rate, or as stated; a sum adds up amounts that are rounded already.

use crate::document::Line;
use crate::document::capture::{Change, Problem};
use crate::document::column::{self, Col};
use crate::document::filling::{Filling, Set};
use crate::document::lines;
use crate::value::{self, Choice, Value, choice};

/// The groups such lines stand in.
pub const GROUPS: &[&str] = &["labour", "part", "other"];

/// Who pays a line.
pub const COVERAGES: &[Choice] = &[
    choice("warranty", "保修", "Warranty"),
    choice("customer", "自费", "Customer"),
    choice("goodwill", "善意", "Goodwill"),
];

/// Where a part comes from.
pub const SOURCES: &[Choice] = &[
    choice("stock", "库存", "Stock"),
    choice("transfer", "调件", "Transfer"),
    choice("purchased", "外购", "Purchased"),
];

/// What a line comes to.
pub const AMOUNT: Col<column::Money> = Col::new("amount");
/// What the hub grants of it.
pub const GRANTED: Col<column::Money> = Col::new("granted");
const COVERAGE: Col<column::Choice> = Col::new("coverage");
const QUANTITY: Col<column::Quantity> = Col::new("quantity");
const PRICE: Col<column::Money> = Col::new("price");
const HOURS: Col<column::Labour> = Col::new("hours");
const RATE: Col<column::Money> = Col::new("rate");

/// Sets the amount of every line of labour and parts.
pub fn fill_amounts(filling: &Filling<'_>, set: &mut Set) {
    let fields = filling.fields(set);
    for (group, line) in all(&fields) {
        let amount = match group {
            "part" => {
                line.measured(PRICE).zip(line.get(QUANTITY)).map(|((price, unit), milli)| (milli, 1000, price, unit))
            }
            "labour" => line.measured(RATE).zip(line.get(HOURS)).map(|((rate, unit), hours)| (hours, 100, rate, unit)),
            _ => continue,
        };
        let amount = amount.and_then(|(count, scale, price, currency)| {
            let minor = value::half_even(i128::from(count) * i128::from(price), scale);
            Some(Value::measured(i64::try_from(minor).ok()?, currency))
        });
        filling.state(set, format!("{group}#{}.{}", line.number, AMOUNT.name()), amount);
    }
}

/// The sum of what all lines say, by a reading of them; none without a line.
pub fn sum(fields: &Set, of: impl Fn(&Line<'_>) -> Option<i64>) -> Option<Value> {
    let lines = all(fields);
    let currency = lines.iter().find_map(|(_, line)| line.measured(AMOUNT).map(|(_, currency)| currency))?;
    let total = lines.iter().filter_map(|(_, line)| of(line)).fold(0, i64::saturating_add);
    Some(Value::measured(total, currency))
}

/// What is claimed of a line: nothing of what the customer pays.
pub fn claimed(line: &Line<'_>) -> Option<i64> {
    if line.get(COVERAGE) == Some("customer") { Some(0) } else { line.get(AMOUNT) }
}

/// What was granted of a line.
pub fn granted(line: &Line<'_>) -> Option<i64> {
    line.get(GRANTED)
}

/// Nobody is granted more than he claimed, line by line.
pub fn granted_within_claimed(change: &Change<'_>) -> Vec<Problem> {
    let too_much = |(_, line): &(&str, Line<'_>)| {
        granted(line).is_some_and(|granted| granted < 0 || granted > claimed(line).unwrap_or(0))
    };
    let lines = all(&change.after.fields).into_iter().filter(too_much);
    let key = |group: &str, line: &Line<'_>| format!("{group}#{}.{}", line.number, GRANTED.name());
    lines
        .map(|(group, line)| {
            Problem::at(key(group, &line), "核定金额须在零与申报金额之间", "granted lies between 0 and the claim")
        })
        .collect()
}

/// Prices, rates, hours, quantities and amounts of lines are not negative.
pub fn nothing_negative(change: &Change<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (group, line) in all(&change.after.fields) {
        let stated = [
            (QUANTITY.name(), line.get(QUANTITY)),
            (PRICE.name(), line.get(PRICE)),
            (HOURS.name(), line.get(HOURS)),
            (RATE.name(), line.get(RATE)),
            (AMOUNT.name(), line.get(AMOUNT).filter(|_| group == "other")),
        ];
        for (name, _) in stated.into_iter().filter(|(_, number)| *number < Some(0) && number.is_some()) {
            let key = format!("{group}#{}.{name}", line.number);
            problems.push(Problem::at(key, "不能为负数", "this is not negative"));
        }
    }
    problems
}

fn all(fields: &Set) -> Vec<(&'static str, Line<'_>)> {
    GROUPS.iter().flat_map(|group| lines(fields, group).into_iter().map(move |line| (*group, line))).collect()
}
