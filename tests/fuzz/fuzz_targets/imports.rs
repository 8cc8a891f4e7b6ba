//! libFuzzer on the target `imports`.

#![no_main]

waystation_fuzz::target!("imports");
