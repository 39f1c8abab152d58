use carillon_model::{crashes, find, keys, properties::SETTLES, zombies};
fn main() {
    println!("{}", find(crashes(), SETTLES));
    println!("{}", find(zombies(), SETTLES));
    println!("{}", find(keys(), SETTLES));
}
