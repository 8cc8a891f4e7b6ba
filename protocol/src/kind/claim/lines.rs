//! The lines of a claim: what is claimed, what reviewers remark, and each way to the hub and back.

/// The fields of a labour line.
pub mod labour {
    use super::super::{APPROVED, SUBMITTED};
    use crate::kind::charges::COVERAGES;

    crate::fields! {
        pub OPERATION: Text = "operation" "工时项目" / "Operation", from SUBMITTED;
        pub HOURS: Labour = "hours" "工时" / "Hours", from SUBMITTED;
        pub RATE: Money = "rate" "工时单价" / "Rate", from SUBMITTED;
        pub COVERAGE: Choice(COVERAGES) = "coverage" "费用承担" / "Coverage", from SUBMITTED;
        pub AMOUNT: Money = "amount" "金额" / "Amount", from SUBMITTED, filled;
        pub GRANTED: Money = "granted" "核定金额" / "Granted", from APPROVED;
    }
}

/// The fields of a part line.
pub mod part {
    use super::super::{APPROVED, SUBMITTED};
    use crate::kind::charges::{COVERAGES, SOURCES};
    use crate::kind::old_part::DISPOSITIONS;

    crate::fields! {
        pub PART: Text = "part" "配件" / "Part", from SUBMITTED;
        pub QUANTITY: Quantity = "quantity" "数量" / "Quantity", from SUBMITTED;
        pub PRICE: Money = "price" "单价" / "Price", from SUBMITTED;
        pub SOURCE: Choice(SOURCES) = "source" "来源" / "Source", from SUBMITTED;
        pub SERIAL: Text = "serial" "序列号" / "Serial number";
        pub OLD_PART: Link("old_part") = "old_part" "旧件" / "Old part";
        pub COVERAGE: Choice(COVERAGES) = "coverage" "费用承担" / "Coverage", from SUBMITTED;
        pub AMOUNT: Money = "amount" "金额" / "Amount", from SUBMITTED, filled;
        pub GRANTED: Money = "granted" "核定金额" / "Granted", from APPROVED;
        pub DISPOSITION: Choice(DISPOSITIONS) = "disposition" "旧件处理" / "Disposition of the old part";
    }
}

/// The fields of any other charge, such as travel and tow of a rescue.
pub mod other {
    use super::super::{APPROVED, SUBMITTED};
    use crate::kind::charges::COVERAGES;

    crate::fields! {
        pub CHARGE: Text = "charge" "项目" / "Charge", from SUBMITTED;
        pub AMOUNT: Money = "amount" "金额" / "Amount", from SUBMITTED;
        pub COVERAGE: Choice(COVERAGES) = "coverage" "费用承担" / "Coverage", from SUBMITTED;
        pub GRANTED: Money = "granted" "核定金额" / "Granted", from APPROVED;
    }
}

/// The fields of a remark: what a reviewer wants changed, by the key of the field.
pub mod remark {
    use super::super::{DRAFT, REMARK_REASONS};

    crate::fields! {
        pub FIELD: Text = "field" "字段" / "Field", from DRAFT;
        pub CODE: Choice(REMARK_REASONS) = "code" "原因" / "Reason code", from DRAFT;
        pub COMMENT: Text = "comment" "意见" / "Comment", from DRAFT;
        pub ROUND: Integer = "round" "次数" / "Round", filled;
    }
}

/// The fields of a passage: one submission, its arrival, and its decision.
pub mod passage {
    crate::fields! {
        pub SUBMITTED_AT: Time = "submitted_at" "申报时间" / "Submitted at", filled;
        pub SUBMITTED_BY: Text = "submitted_by" "申报人" / "Submitted by", filled;
        pub RECEIVED_AT: Time = "received_at" "到达时间" / "Received at", filled;
        pub DECIDED_AT: Time = "decided_at" "审定时间" / "Decided at", filled;
        pub DECIDED_BY: Text = "decided_by" "审定人" / "Decided by", filled;
    }
}
