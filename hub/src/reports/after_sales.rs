//! The reports about claims and what follows from them, one declaration each.

use waystation_protocol::fact::Measure;
use waystation_protocol::kind::{claim, old_part, part_transfer, recovery, repair_order, settlement};

use super::declared::{ratio, sum};
use super::{Chart, Column, Figure, Key, Order, Percentile, Report, Show, Source};

const fn money(name: &'static str, zh: &'static str, en: &'static str) -> Column {
    Column { name, zh, en, figure: Figure::Scaled(name, 2), show: Show::Number }
}

const fn quantity(name: &'static str, zh: &'static str, en: &'static str) -> Column {
    Column { name, zh, en, figure: Figure::Scaled(name, 3), show: Show::Number }
}

const fn percentile(name: &'static str, zh: &'static str, en: &'static str, of: Percentile) -> Column {
    Column { name, zh, en, figure: Figure::Percentile(of), show: Show::Number }
}

/// Minutes of a measure, in hours.
const fn hours(
    of: &'static Measure,
    only: Option<(&'static str, &'static str)>,
    bucket: &'static str,
    rank: u8,
) -> Percentile {
    Percentile { of, only, bucket, count: "count", rank, per: 60 }
}

const REVIEW: Option<(&str, &str)> = Some(("span", "review"));
const SYNC_LAG: Option<(&str, &str)> = Some(("span", "sync_lag"));

pub(super) static CLAIMS: Report = Report {
    name: "claims",
    zh: "鉴定单",
    en: "Claims",
    about_zh: "按首次申报日统计。一次通过率 = 首次即批准 ÷ 已审结；审核时长 = 中心收到至审结，同步延迟 = 申报至中心收到，均按该次申报之日，取中位数（p50）与 90 分位（p90），千分以上按三位有效数字计。审核时长与同步延迟只按网点、时间和单据类别分组。",
    about_en: "By the day of the first submission. First-pass rate = approved at once ÷ decided. Review = from the hub's receipt to its decision, sync lag = from the submission to that receipt, both by the day of that submission: median (p50) and ninetieth percentile (p90), cut to three digits from a thousand units on. They are grouped by site, time and variant alone.",
    source: Source::Measure(&claim::CLAIMS),
    keys: &[],
    columns: &[
        sum("submitted", "申报", "Submitted"),
        sum("approved", "批准", "Approved"),
        sum("returned", "退单", "Returned"),
        sum("rejected", "驳回", "Rejected"),
        ratio("first_pass_rate", "一次通过率", "First-pass rate", &["first_pass"], &["decided"]),
        money("claimed", "申报金额", "Claimed"),
        money("granted", "核定金额", "Granted"),
        percentile(
            "review_p50_h",
            "审核时长 p50（时）",
            "Review p50 (h)",
            hours(&claim::CLAIM_TIMES, REVIEW, "units", 50),
        ),
        percentile(
            "review_p90_h",
            "审核时长 p90（时）",
            "Review p90 (h)",
            hours(&claim::CLAIM_TIMES, REVIEW, "units", 90),
        ),
        percentile(
            "sync_lag_p50_s",
            "同步延迟 p50（秒）",
            "Sync lag p50 (s)",
            Percentile { per: 1, ..hours(&claim::CLAIM_TIMES, SYNC_LAG, "units", 50) },
        ),
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["submitted", "approved", "returned"], target_milli: None },
};

pub(super) static FAULT_COSTS: Report = Report {
    name: "fault_costs",
    zh: "故障费用",
    en: "Cost of faults",
    about_zh: "鉴定单按首次申报日统计的故障费用排列（帕累托）：占比 = 核定金额 ÷ 合计，累计为由高到低依次相加。",
    about_en: "What faults cost, by the day their claim was first submitted, as a Pareto: share = granted ÷ all; cumulative adds them up, the dearest first.",
    source: Source::Measure(&claim::CLAIMS),
    keys: &[Key::Of("fault")],
    columns: &[
        Column { name: "count", zh: "次数", en: "Count", figure: Figure::Sum("submitted"), show: Show::Number },
        money("claimed", "申报金额", "Claimed"),
        money("granted", "核定金额", "Granted"),
        Column { name: "share", zh: "占比", en: "Share", figure: Figure::Share("granted"), show: Show::Percent },
        Column {
            name: "cumulative",
            zh: "累计",
            en: "Cumulative",
            figure: Figure::Cumulative("granted"),
            show: Show::Percent,
        },
    ],
    order: Order::Largest("granted"),
    chart: Chart::Pareto { by: Key::Of("fault"), value: "granted", line: "cumulative" },
};

pub(super) static RECOVERIES: Report = Report {
    name: "recovery",
    zh: "追偿",
    en: "Recovery",
    about_zh: "按责任判定日统计。协定率 = 协定金额 ÷ 已协定者的追偿额；回款率 = 已付 ÷ 开票金额。",
    about_en: "By the day of judgement. Agreed rate = agreed ÷ claimed of those agreed; paid rate = paid ÷ charged.",
    source: Source::Measure(&recovery::RECOVERIES),
    keys: &[],
    columns: &[
        sum("recoveries", "追偿", "Recoveries"),
        sum("disputed", "有异议", "Disputed"),
        sum("closed", "已关闭", "Closed"),
        money("claimed", "追偿金额", "Claimed"),
        money("agreed", "协定金额", "Agreed"),
        money("charged", "开票金额", "Charged"),
        money("paid", "已付", "Paid"),
        ratio("agreed_rate", "协定率", "Agreed rate", &["agreed"], &["agreed_of"]),
        ratio("paid_rate", "回款率", "Paid rate", &["paid"], &["charged"]),
    ],
    order: Order::Keys,
    chart: Chart::Bars { by: Key::Of("supplier"), value: "charged" },
};

pub(super) static OLD_PARTS: Report = Report {
    name: "old_parts",
    zh: "旧件",
    en: "Old parts",
    about_zh: "按拆下日统计。返回率 = 按时返回 ÷ 应返。",
    about_en: "By the day of removal. Return rate = back in time ÷ ordered back.",
    source: Source::Measure(&old_part::OLD_PARTS),
    keys: &[],
    columns: &[
        sum("tagged", "挂签", "Tagged"),
        sum("ordered", "应返", "Ordered back"),
        sum("shipped", "发运", "Shipped"),
        sum("returned", "已返", "Came back"),
        sum("in_time", "按时返回", "Back in time"),
        sum("mismatch", "不符", "Mismatch"),
        sum("short", "缺件", "Short"),
        sum("discounted", "折价", "Discounted"),
        sum("written_off", "核销", "Written off"),
        money("discount", "折价金额", "Discount"),
        ratio("return_rate", "返回率", "Return rate", &["in_time"], &["ordered"]),
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["return_rate"], target_milli: None },
};

pub(super) static TRANSFERS: Report = Report {
    name: "transfers",
    zh: "调件",
    en: "Part transfers",
    about_zh: "按申请日统计。满足率 = 收货数量 ÷ 批准数量；时长为批准至收货，按批准日，只按网点、时间和发货方式分组。",
    about_en: "By the day of the request. Fill rate = received ÷ approved quantity; lead time is from approval to receipt, by the day of approval, grouped by site, time and mode alone.",
    source: Source::Measure(&part_transfer::TRANSFERS),
    keys: &[],
    columns: &[
        sum("transfers", "调件", "Transfers"),
        sum("rejected", "驳回", "Rejected"),
        sum("short", "短少", "Short"),
        sum("damaged", "破损", "Damaged"),
        sum("late", "迟到", "Late"),
        sum("closed", "已关闭", "Closed"),
        quantity("approved_q", "批准数量", "Approved"),
        quantity("received_q", "收货数量", "Received"),
        ratio("fill_rate", "满足率", "Fill rate", &["received_q"], &["approved_q"]),
        percentile(
            "lead_p50_h",
            "时长 p50（时）",
            "Lead p50 (h)",
            hours(&part_transfer::TRANSFER_TIMES, None, "minutes", 50),
        ),
        percentile(
            "lead_p90_h",
            "时长 p90（时）",
            "Lead p90 (h)",
            hours(&part_transfer::TRANSFER_TIMES, None, "minutes", 90),
        ),
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["fill_rate"], target_milli: None },
};

pub(super) static SETTLEMENTS: Report = Report {
    name: "settlement",
    zh: "结算",
    en: "Settlement",
    about_zh: "按结算截止日的对账单：期初 + 批准 − 扣款 ± 调整 − 已付 = 期末。",
    about_en: "The statement, by the day settlements run until: opening + approved − deducted ± adjusted − paid = closing.",
    source: Source::Measure(&settlement::SETTLEMENTS),
    keys: &[Key::Of("party"), Key::Of("period")],
    columns: &[
        sum("settlements", "结算单", "Settlements"),
        sum("lines", "行数", "Lines"),
        sum("disputed", "有异议", "Disputed"),
        sum("closed", "已关闭", "Closed"),
        money("opening", "期初", "Opening"),
        money("approved", "批准金额", "Approved"),
        money("deducted", "扣款", "Deducted"),
        money("adjusted", "调整", "Adjusted"),
        money("paid", "已付", "Paid"),
        money("closing", "期末", "Closing"),
    ],
    order: Order::Keys,
    chart: Chart::Bars { by: Key::Of("party"), value: "approved" },
};

const fn turnaround(rank: u8) -> Percentile {
    Percentile { of: &repair_order::TURNAROUND, only: None, bucket: "minutes", count: "released", rank, per: 60 }
}

pub(super) static TURNAROUND: Report = Report {
    name: "turnaround",
    zh: "维修时长",
    en: "Turnaround",
    about_zh: "按交车日统计：进站至交车的时长；守时率 = 按承诺时间交车 ÷ 有承诺的交车。",
    about_en: "By the day of release: how long orders took from check-in; promises kept = released as promised ÷ released with a promise.",
    source: Source::Measure(&repair_order::TURNAROUND),
    keys: &[],
    columns: &[
        sum("released", "交车", "Released"),
        ratio("kept_rate", "守时率", "Promises kept", &["kept"], &["promised"]),
        percentile("turnaround_p50_h", "时长 p50（时）", "p50 (h)", turnaround(50)),
        percentile("turnaround_p90_h", "时长 p90（时）", "p90 (h)", turnaround(90)),
    ],
    order: Order::Keys,
    chart: Chart::Trend { values: &["released"], target_milli: None },
};
