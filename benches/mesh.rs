//! What the mesh compiler costs: thousands of outside hosts led through the egress gateway (`egress/`), the sidecar's
//! and the gateway's configuration each, beside a peer on the same input in the same run: parsing the objects from JSON
//! text. Processor time of the one thread, so that other work on the machine does not count; ratios are what counts.
//!
//! `cargo bench --bench mesh`; figures in `docs/performance.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[cfg(target_os = "linux")]
mod egress;
#[cfg(target_os = "linux")]
#[path = "language/spent.rs"]
mod spent;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use super::{egress, spent};
    use egress_scn::mesh::{Compiler, Generated, Proxy, World};
    use serde_json::Value;
    use std::hint::black_box;

    /// The size that the aim is about.
    const HOSTS: usize = 2000;

    pub fn main() {
        let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
        println!("milliseconds of processor time, median of {rounds} rounds; `/ parse`: over parsing the same objects");
        println!("\n   hosts  parse   read  sidecar  gateway  read+sidecar / parse  read+gateway / parse");
        for hosts in [500, 1000, HOSTS, 2 * HOSTS] {
            by_objects(&egress::world(hosts), hosts, rounds);
        }
        println!("\n without subsets");
        by_objects(&egress::without_subsets(&egress::world(HOSTS)), HOSTS, rounds);
        println!("\n proxies  compile  each");
        for proxies in [1, 2, 4, 8] {
            by_proxies(proxies, rounds);
        }
        println!("\n one changed of {HOSTS} hosts   proxy     anew  led on  led on / anew");
        let world = egress::world(HOSTS);
        for (kind, change) in egress::CHANGES {
            let changed = egress::with_change(&world, kind, change);
            for (name, proxy) in [("sidecar", egress::sidecar(&world)), ("gateway", egress::gateway(&world))] {
                after_change(&world, &changed, kind, name, &proxy, rounds);
            }
        }
    }

    /// One object is not what it was: everything read and compiled anew, and a compiler led on from the world before.
    fn after_change(before: &World, after: &World, kind: &str, name: &str, proxy: &Proxy, rounds: usize) {
        let (mut anew, mut led_on) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            anew.push(time(|| Compiler::new(after).compile(proxy)));
            let mut compiler = Compiler::new(before);
            compiler.compile(proxy);
            led_on.push(time(|| {
                compiler.update(after);
                compiler.compile(proxy)
            }));
            assert_eq!(compiler.compile(proxy), Compiler::new(after).compile(proxy), "{kind} {name}");
        }
        let (anew, led_on) = (median(anew), median(led_on));
        println!("{kind:>27}  {name:>7} {anew:>8.1} {led_on:>7.1} {:>13.3}", led_on / anew);
    }

    fn by_objects(world: &World, hosts: usize, rounds: usize) {
        let (sidecar, gateway) = (egress::sidecar(world), egress::gateway(world));
        let text = serde_json::to_string(&world.objects.iter().map(|object| &**object).collect::<Vec<_>>()).unwrap();
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..rounds {
            times[0].push(time(|| serde_json::from_str::<Vec<Value>>(&text).unwrap()));
            times[1].push(time(|| Compiler::new(world)));
            let compiler = Compiler::new(world);
            times[2].push(time(|| compiler.compile(&sidecar)));
            times[3].push(time(|| compiler.compile(&gateway)));
        }
        let [parse, read, sidecar, gateway] = times.map(median);
        let ratio = |of: f64| (read + of) / parse;
        println!(
            "{hosts:>8} {parse:>6.1} {read:>6.1} {sidecar:>8.1} {gateway:>8.1} {:>21.2} {:>21.2}",
            ratio(sidecar),
            ratio(gateway)
        );
    }

    fn by_proxies(count: usize, rounds: usize) {
        let world = egress::world(HOSTS / 4);
        let proxies = egress::sidecars(&world, count);
        // A compiler keeps what it made: each round has one of its own.
        let round = || {
            let compiler = Compiler::new(&world);
            time(|| proxies.iter().map(|proxy| compiler.compile(proxy)).collect::<Vec<Generated>>())
        };
        let all = median((0..rounds).map(|_| round()).collect());
        println!("{count:>8} {all:>8.1} {:>5.1}", all / count as f64);
    }

    /// Milliseconds of this thread's processor time. What the work gives is dropped after the clock is read.
    fn time<T>(work: impl FnOnce() -> T) -> f64 {
        let mut result = None;
        let took = spent::processor_time(|| result = Some(black_box(work())));
        drop(result);
        took.as_secs_f64() * 1e3
    }

    fn median(mut times: Vec<f64>) -> f64 {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}
