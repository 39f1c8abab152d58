//! Prints what the checker finds: the protocol as it stands, then without each of its mechanisms.

use carillon_model::{all, check};

fn main() {
    for bounds in all() {
        println!("{}", check(bounds));
    }
}
