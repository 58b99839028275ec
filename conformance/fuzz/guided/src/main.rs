//! Drives one target of `fuzz`, named by the variable `STOKER_FUZZ_TARGET`, with libFuzzer.
//!
//! Built by `cargo xtask fuzz`, which passes the flags that count coverage.
#![no_main]

use std::sync::OnceLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

/// Which target runs.
const VARIABLE: &str = "STOKER_FUZZ_TARGET";

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var(VARIABLE).unwrap_or_default();
        fuzz::named(&name).unwrap_or_else(|| panic!("{VARIABLE} is one of {}", fuzz::NAMES.join(", ")))
    })
}

fuzz_target!(|data: &[u8]| target()(data));
