//! Claims of every variant.

use super::Story;

pub(super) const STORIES: &[Story] = &[
    ("{reviewing}\nhub c approve {granted}", "approved hub"),
    ("{reviewing}\nhub c reject reject_reason=过保", "rejected hub"),
    ("{ordinary}\nA c edit odometer=9001\nA c submit", "submitted hub"),
    ("{reviewing}\nhub c return {remark}", "returned A"),
    (
        "{reviewing}\nhub c return {remark}\n+2d\nA c edit odometer=9100\nA c resubmit\nhub c review\nhub c approve {granted}",
        "approved hub",
    ),
    (
        "{order}\nA c:claim draft variant=major_assembly {vehicle} {fault} {lines} {assembly}\nA c submit\nhub c review\nhub c preauthorise",
        "preauthorised A",
    ),
    (MAJOR_APPROVED, "approved hub"),
    (
        "{order}\nA c:claim draft variant=major_assembly {vehicle} {fault} {lines} {assembly}\nA c submit\nhub c review\nhub c preauthorise\n\
         A c submit_actuals serial_new=E2\nhub c review\nhub c return remark#1.field=serial_new remark#1.code=unclear remark#1.comment=看不清",
        "preauthorised A",
    ),
    (
        "{order}\nA c:claim draft variant=outside_purchase {vehicle} {fault} {lines} {purchase}\nA c submit\nhub c review\n\
         hub c preauthorise price_cap=m:20000\nA c edit part#1.price=m:999\nA c submit_actuals invoice_no=FP1\nhub c review\nhub c reject reject_reason=无发票",
        "rejected hub",
    ),
    (
        "{order}\nA c:claim draft variant=roadside {vehicle} {fault} {lines} {rescue}\nA c submit\nhub c review\nhub c approve {granted}",
        "approved hub",
    ),
    (
        "rule claim.run_in_km=10000\nrule claim.run_in_days=100\nrule claim.run_in_fee=15000\n\
         {order}\nA c:claim draft variant=run_in {vehicle} {lines} {run_in}\nA c submit\nhub c review\nhub c approve {granted}",
        "approved hub",
    ),
    (COMPENSATED, "approved hub"),
];

const MAJOR_APPROVED: &str = "{order}\nA c:claim draft variant=major_assembly {vehicle} {fault} {lines} {assembly}\nA c submit\n\
    hub c review\nhub c preauthorise\nA c submit_actuals serial_new=E2\nhub c review\nhub c approve {granted}";
const COMPENSATED: &str = "{order}\nA c:claim draft variant=compensation {vehicle} {fault} {lines}\nA c submit\nhub c review\n\
    hub c approve {granted} responsible=supplier basis=材质缺陷 appraised_by=检测中心";
