//! Every scenario at a small size. `cargo test --test faults -- 4 5` runs two of them.

use std::process::ExitCode;

use carillon_faults::{Size, run_with};

fn main() -> ExitCode {
    let only: Vec<u8> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    run_with(env!("CARGO_BIN_EXE_carillon-under-fault").as_ref(), Size::small(), &only)
}
