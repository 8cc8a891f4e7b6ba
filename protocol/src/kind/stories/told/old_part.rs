//! Old parts: back to the maker, straight to the supplier, or discounted.

use super::Story;

pub(super) const STORIES: &[Story] = &[
    ("{to_maker}\nA o correct serial=X\nA o box box_no=B1", "boxed A"),
    ("{boxed}\nA o correct weight=900\nA o ship waybill=W1", "shipped hub"),
    ("{shipped}\nhub o receive\nhub o write_off write_off_no=H1", "written_off hub"),
    ("{shipped}\nhub o receive\nhub o forward forwarded_to=S1\nhub o write_off write_off_no=H1", "written_off hub"),
    ("{shipped}\nhub o mismatch discrepancy=型号不符\nhub o receive", "received hub"),
    ("{shipped}\nhub o mismatch discrepancy=型号不符\nhub o write_off write_off_no=H1", "written_off hub"),
    ("{shipped}\nhub o short discrepancy=箱内无件\nhub o receive", "received hub"),
    ("{shipped}\nhub o short discrepancy=箱内无件\nhub o write_off write_off_no=H1", "written_off hub"),
    ("{direct}\nhub o record forwarded_to=S1\nhub o write_off write_off_no=H1", "written_off hub"),
    ("{direct}\nhub o mismatch discrepancy=型号不符\nhub o record forwarded_to=S1", "forwarded hub"),
    ("{direct}\nhub o short discrepancy=未到\nhub o record forwarded_to=S1", "forwarded hub"),
    ("{to_discount}\nA o discount discount=m:500", "discounted hub"),
    ("{to_discount}\nA o discount discount=m:500\nhub o write_off write_off_no=H1", "written_off hub"),
];
