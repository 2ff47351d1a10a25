//! Processor time of this process, from `/proc/self/schedstat` (nanoseconds on a processor; one thread).

use std::time::Duration;

pub fn processor_time(work: impl FnOnce()) -> Duration {
    let before = on_processor();
    work();
    on_processor() - before
}

fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux, with schedstat");
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of nanoseconds");
    Duration::from_nanos(nanoseconds)
}
