//! The reports, one declaration each.

use waystation_protocol::kind::{count_sheet, delivery_item, repair_order, stock_movement, survey};

use super::after_sales::{CLAIMS, FAULT_COSTS, OLD_PARTS, RECOVERIES, SETTLEMENTS, TRANSFERS, TURNAROUND};
use super::{Chart, Column, Figure, Key, Order, Ratio, Report, Show, Source};

/// Every report.
pub static REPORTS: &[&Report] = &[
    &REPAIRS,
    &TURNAROUND,
    &FAULTS,
    &CLAIMS,
    &FAULT_COSTS,
    &RECOVERIES,
    &OLD_PARTS,
    &TRANSFERS,
    &SETTLEMENTS,
    &DELIVERY,
    &STOCK,
    &COUNTS,
    &SATISFACTION,
    &SYNC,
];

pub(super) const fn sum(name: &'static str, zh: &'static str, en: &'static str) -> Column {
    Column { name, zh, en, figure: Figure::Sum(name), show: Show::Number }
}

pub(super) const fn ratio(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    over: &'static [&'static str],
    under: &'static [&'static str],
) -> Column {
    Column { name, zh, en, figure: Figure::Ratio(Ratio { over, under }), show: Show::Percent }
}

const fn stated(name: &'static str, zh: &'static str, en: &'static str, show: Show) -> Column {
    Column { name, zh, en, figure: Figure::Stated, show }
}

/// Variances count by cost where every line states one, else by quantity.
const fn variance(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    by_cost: &'static [&'static str],
    by_quantity: &'static [&'static str],
) -> Column {
    let figure = Figure::Either {
        equal: ("costed", "lines"),
        then: Ratio { over: by_cost, under: &["expected_cost"] },
        otherwise: Ratio { over: by_quantity, under: &["expected"] },
    };
    Column { name, zh, en, figure, show: Show::Percent }
}

static REPAIRS: Report = Report {
    name: "repairs",
    zh: "维修",
    en: "Repairs",
    about_zh: "按开单日统计。修复率 = 已修复 ÷（已修复 + 可修复 + 报废），结果不明者不计。",
    about_en: "By the day an order was opened. Fix rate = fixed ÷ (fixed + repairable + end of life); unknown outcomes do not count.",
    source: Source::Measure(&repair_order::REPAIR),
    keys: &[],
    columns: &[
        sum("orders", "工单", "Orders"),
        sum("fixed", "已修复", "Fixed"),
        sum("repairable", "可修复", "Repairable"),
        sum("end_of_life", "报废", "End of life"),
        sum("unknown", "不明", "Unknown"),
        ratio("fix_rate", "修复率", "Fix rate", &["fixed"], &["fixed", "repairable", "end_of_life"]),
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["fix_rate"], target_milli: None },
};

static FAULTS: Report = Report {
    name: "faults",
    zh: "故障分析",
    en: "Faults",
    about_zh: "按开单日统计的故障排列（帕累托）：占比 = 次数 ÷ 合计，累计为由多到少依次相加。",
    about_en: "Faults by the day their order was opened, as a Pareto: share = count ÷ all; cumulative adds them up, the most frequent first.",
    source: Source::Measure(&repair_order::FAULTS),
    keys: &[Key::Of("fault")],
    columns: &[
        sum("count", "次数", "Count"),
        Column { name: "share", zh: "占比", en: "Share", figure: Figure::Share("count"), show: Show::Percent },
        Column {
            name: "cumulative",
            zh: "累计",
            en: "Cumulative",
            figure: Figure::Cumulative("count"),
            show: Show::Percent,
        },
    ],
    order: Order::Largest("count"),
    chart: Chart::Pareto { by: Key::Of("fault"), value: "count", line: "cumulative" },
};

static DELIVERY: Report = Report {
    name: "delivery",
    zh: "投递",
    en: "Delivery",
    about_zh: "按应投日统计，寄件人撤回者不计。妥投率 = 妥投 ÷ 件数；及时率 = 按时妥投 ÷ 妥投；首投率 = 首次妥投 ÷ 已试投；回收率 = 按时寄回的回执 ÷ 须回执件。",
    about_en: "By the day items are due, without those their sender cancelled. Delivery rate = delivered ÷ items; on-time rate = on time ÷ delivered; first-attempt rate = delivered at the first attempt ÷ attempted; receipt return rate = receipts sent back in time ÷ items that require one.",
    source: Source::Measure(&delivery_item::DELIVERY),
    keys: &[],
    columns: &[
        sum("items", "件数", "Items"),
        sum("delivered", "妥投", "Delivered"),
        sum("on_time", "及时", "On time"),
        sum("late_days", "延误天数", "Late days"),
        ratio("delivery_rate", "妥投率", "Delivery rate", &["delivered"], &["items"]),
        ratio("on_time_rate", "及时率", "On-time rate", &["on_time"], &["delivered"]),
        ratio("first_attempt_rate", "首投率", "First-attempt rate", &["first_attempt"], &["attempted"]),
        ratio("receipt_return_rate", "回收率", "Receipt return rate", &["receipts_back"], &["receipts_due"]),
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["delivery_rate", "on_time_rate"], target_milli: Some(900) },
};

static STOCK: Report = Report {
    name: "stock",
    zh: "库存",
    en: "Stock",
    about_zh: "截至期末的结存：自最早一笔起全部出入库之和；起始日期不影响结存。按日或按月时为该日、该月末结存。单位不换算：同一物料应始终用同一单位。",
    about_en: "On hand at the period's end: the sum of all movements from the first on, whatever the period's start. By day or month: at its end. Units are not converted: an item should keep one.",
    source: Source::Measure(&stock_movement::STOCK),
    keys: &[Key::Site, Key::Of("item")],
    columns: &[Column {
        name: "on_hand",
        zh: "结存",
        en: "On hand",
        figure: Figure::Balance("quantity"),
        show: Show::Number,
    }],
    order: Order::Keys,
    chart: Chart::Bars { by: Key::Of("item"), value: "on_hand" },
};

static COUNTS: Report = Report {
    name: "counts",
    zh: "盘点",
    en: "Counts",
    about_zh: "已锁定的盘点单。准确率 = 差异在允差内的行 ÷ 行数；净差异率 = Σ差异 ÷ Σ账面，总差异率 = Σ∣差异∣ ÷ Σ账面；各行都有单位成本时按成本计，否则按数量计。",
    about_en: "Locked count sheets. Accuracy = lines within tolerance ÷ lines; net variance = Σ variance ÷ Σ expected, gross variance = Σ |variance| ÷ Σ expected; by cost where every line states one, else by quantity.",
    source: Source::Measure(&count_sheet::COUNT),
    keys: &[Key::Site],
    columns: &[
        sum("lines", "行数", "Lines"),
        ratio("accuracy", "准确率", "Accuracy", &["within"], &["lines"]),
        variance("net_variance", "净差异率", "Net variance", &["net_cost"], &["net"]),
        variance("gross_variance", "总差异率", "Gross variance", &["gross_cost"], &["gross"]),
    ],
    order: Order::Keys,
    chart: Chart::Bars { by: Key::Of("zone"), value: "gross_variance" },
};

static SATISFACTION: Report = Report {
    name: "satisfaction",
    zh: "满意度",
    en: "Satisfaction",
    about_zh: "满意度 = Σ(权重 × 得分) ÷ Σ权重，0–100 分，目标 90；n 为答卷数。",
    about_en: "Score = Σ(weight × score) ÷ Σ weight, from 0 to 100, target 90; n is the number of answers.",
    source: Source::Measure(&survey::SATISFACTION),
    keys: &[],
    columns: &[
        sum("n", "答卷数", "n"),
        Column {
            name: "score",
            zh: "满意度",
            en: "Score",
            figure: Figure::Ratio(Ratio { over: &["weighted"], under: &["weight"] }),
            show: Show::Score,
        },
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["score"], target_milli: Some(90_000) },
};

static SYNC: Report = Report {
    name: "sync",
    zh: "同步",
    en: "Sync",
    about_zh: "每个采集端此刻的同步情况。",
    about_en: "How each agent's sync stands now.",
    source: Source::Agents,
    keys: &[Key::Of("agent")],
    columns: &[
        stated("sites", "网点", "Sites", Show::Text),
        stated("state", "状态", "State", Show::Text),
        stated("unsent", "未送达", "Unsent", Show::Number),
        stated("oldest_unsent_age_s", "最久未送达", "Oldest unsent", Show::Age),
        stated("last_contact", "最近联系", "Last contact", Show::Instant),
        stated("quarantined", "隔离", "Quarantined", Show::Number),
        stated("version", "版本", "Version", Show::Text),
        stated("clock_offset_ms", "时钟偏差（毫秒）", "Clock offset (ms)", Show::Number),
    ],
    order: Order::Keys,
    chart: Chart::Bars { by: Key::Of("agent"), value: "unsent" },
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::key::LABELS;
    use super::*;

    fn sums(figure: Figure) -> Vec<&'static str> {
        let of = |ratio: Ratio| [ratio.over, ratio.under].concat();
        match figure {
            Figure::Sum(name) | Figure::Balance(name) | Figure::Share(name) | Figure::Cumulative(name) => vec![name],
            Figure::Scaled(name, _) => vec![name],
            Figure::Ratio(ratio) => of(ratio),
            Figure::Either { equal, then, otherwise } => [vec![equal.0, equal.1], of(then), of(otherwise)].concat(),
            Figure::Percentile(of) => {
                let key = |name: &str| of.of.keys.contains(&name);
                assert!(key(of.bucket) && of.only.is_none_or(|(name, _)| key(name)) && of.per > 0);
                assert!(of.of.values.contains(&of.count) && (1..=100).contains(&of.rank));
                Vec::new()
            }
            Figure::Stated => Vec::new(),
        }
    }

    #[test]
    fn every_declaration_names_what_exists() {
        let names: BTreeSet<&str> = REPORTS.iter().map(|report| report.name).collect();
        assert_eq!(names.len(), REPORTS.len());
        for report in REPORTS {
            let labelled = [report.zh, report.en, report.about_zh, report.about_en];
            assert!(labelled.iter().all(|text| !text.is_empty()), "{}", report.name);
            if let Source::Measure(measure) = report.source {
                for name in report.columns.iter().flat_map(|column| sums(column.figure)) {
                    assert!(measure.values.contains(&name), "{}: {name}", report.name);
                }
                for key in report.keys {
                    assert!(report.allowed().contains(key), "{}: {key:?}", report.name);
                }
            }
            for key in report.allowed().iter().chain(report.keys) {
                assert!(LABELS.iter().any(|(name, ..)| *name == key.name()), "{}: {key:?} has no label", report.name);
            }
            let drawn: Vec<&str> = match report.chart {
                Chart::Bars { value, .. } => vec![value],
                Chart::Pareto { value, line, .. } => vec![value, line],
                Chart::Trend { values, .. } => values.to_vec(),
            };
            assert!(drawn.iter().all(|name| report.column(name).is_some()), "{}", report.name);
        }
    }
}
