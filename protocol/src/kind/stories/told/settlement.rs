//! Settlements of a station and of a supplier.

use super::Story;

pub(super) const STORIES: &[Story] = &[
    ("{issued}\nA s confirm invoice_no=F1\nhub s pay paid=m:13502\nhub s close", "closed hub"),
    ("{generated}\nhub s adjust adjustment#1.amount=m:-2 adjustment#1.comment=尾差\nhub s issue", "issued A"),
    (
        "{disputed}\nhub s adjust adjustment#1.amount=m:98 adjustment#1.comment=补工时\nhub s issue\nA s confirm invoice_no=F1",
        "confirmed hub",
    ),
    ("{charged}\nhub s confirm invoice_no=F1\nhub s pay paid=m:9000", "paid hub"),
    ("{charged}\nhub s dispute recovery#1.dispute=金额不符\nhub s charge", "issued hub"),
];
