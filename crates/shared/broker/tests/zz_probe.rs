use std::{process::Command, sync::Arc, time::{Duration, Instant}};
use carillon_broker::*;
use carillon_testkit::{Rabbit, eventually};
fn job(n: usize) -> Publication { Publication { to: Destination::Queue("jobs.sms.bulk".into()), headers: vec![], body: vec![7u8; n].into() } }
fn threads() -> usize { std::fs::read_dir("/proc/self/task").unwrap().count() }
fn rss() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned() }
fn ctl(args: &[&str]) { let o = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl").args(args).output().unwrap(); println!("ctl {args:?} {:?}", o.status); }
#[tokio::test(flavor = "multi_thread")]
async fn probe() {
    let rabbit = Rabbit::create().await;
    let broker = Arc::new(rabbit.client().await);
    for size in [2_000] {
        let total = if size > 50_000 { 1000 } else { 10_000 };
        let begun = Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..64 { let b = Arc::clone(&broker); set.spawn(async move { for _ in 0..total / 64 { b.publish(job(size)).await.unwrap(); } }); }
        while let Some(r) = set.join_next().await { r.unwrap(); }
        let n = total / 64 * 64;
        println!("published {n} of {size} B: {:.0}/s", n as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let mut c = broker.consume("jobs.sms.bulk", 200).await.unwrap();
        for _ in 0..n { c.next().await.unwrap().ack(); }
        println!("consumed {n}: {:.0}/s; {} {}", n as f64 / begun.elapsed().as_secs_f64(), threads(), rss());
    }
    for _ in 0..10 { broker.publish(job(10)).await.unwrap(); }
    ctl(&["set_vm_memory_high_watermark", "0.0001"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut refused = 0;
    let begun = Instant::now();
    for _ in 0..20 { if broker.publish(job(1_000_000)).await.is_err() { refused += 1; } }
    println!("alarm: {refused}/20 refused in {:?} {}", begun.elapsed(), rss());
    let mut c = broker.consume("jobs.sms.bulk", 5).await.unwrap();
    for _ in 0..10 { c.next().await.unwrap().ack(); }
    println!("alarm: consumed 10 in spite of it, depth {:?}", broker.depth("jobs.sms.bulk").await);
    drop(c);
    ctl(&["set_vm_memory_high_watermark", "0.6"]);
    eventually("publishes again", || async { broker.publish(job(10)).await.is_ok() }).await;
    println!("alarm over: publishes after {:?}", begun.elapsed());
    let folder = std::env::var("RABBITMQ_NODENAME").unwrap();
    let own = folder.trim_start_matches("carillon-").split('@').next().unwrap().to_owned();
    let dir = std::fs::read_dir("/work/main/target/servers").unwrap().flatten().find(|d| d.file_name().to_string_lossy().starts_with(&format!("{own}-"))).unwrap();
    let pid = std::fs::read_to_string(dir.path().join("rabbitmq.pid")).unwrap().trim().to_owned();
    Command::new("kill").args(["-STOP", &pid]).status().unwrap();
    let begun = Instant::now();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        println!("stopped {:?}: connected {} publish {:?} threads {} {}", begun.elapsed(), broker.is_connected(), broker.publish(job(10)).await, threads(), rss());
    }
    Command::new("kill").args(["-CONT", &pid]).status().unwrap();
    let begun = Instant::now();
    eventually("publishes again", || async { broker.publish(job(10)).await.is_ok() }).await;
    println!("goes on after {:?}, threads {}", begun.elapsed(), threads());
    let begun = Instant::now();
    broker.close().await;
    println!("closed in {:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("threads {} connections {:?}", threads(), rabbit.connections().await);
}
