//! libFuzzer on the target `forms`.

#![no_main]

waystation_fuzz::target!("forms");
