//! libFuzzer on the target `frame`.

#![no_main]

waystation_fuzz::target!("frame");
