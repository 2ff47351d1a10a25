//! Processor time of this thread.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

pub fn processor_time(work: impl FnOnce()) -> Duration {
    let before = on_processor();
    work();
    on_processor() - before
}

fn on_processor() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of the thread").into()
}
