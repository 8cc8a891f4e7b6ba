//! libFuzzer on the target `workbooks`.

#![no_main]

waystation_fuzz::target!("workbooks");
