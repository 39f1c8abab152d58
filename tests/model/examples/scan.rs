use carillon_model::{all, check};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut b = all().into_iter().find(|b| b.name.contains(&args[1])).expect("name");
    for a in &args[2..] {
        let (k, v) = a.split_once('=').expect("k=v");
        let n: u8 = v.parse().expect("n");
        match k {
            "s0" => b.sizes[0] = n as usize,
            "s1" => b.sizes[1] = n as usize,
            "permits" => b.permits = n as usize,
            "lag" => b.lag = n as usize,
            "deadline" => b.deadline = n > 0,
            "cr" => b.credited = n as i8,
            "money" => b.money = n > 0,
            "idem" => b.idempotent = n > 0,
            "kills" => b.faults.kills = n,
            "zombies" => b.faults.zombies = n,
            "wipes" => b.faults.wipes = n,
            "repeats" => b.faults.repeats = n,
            "lapses" => b.faults.lapses = n,
            "lost" => b.faults.lost_answers = n,
            "trans" => b.faults.transients = n,
            "perm" => b.faults.permanents = n,
            "doubts" => b.faults.doubts = n,
            "credits" => b.faults.credits = n,
            "receipts" => b.faults.receipts = n,
            _ => panic!("{k}"),
        }
    }
    println!("{:?} {}", &args[1..], check(b));
}
