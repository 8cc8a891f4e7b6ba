//! libFuzzer on the target `maps`.

#![no_main]

waystation_fuzz::target!("maps");
