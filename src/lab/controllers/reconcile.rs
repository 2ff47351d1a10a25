//! The loop of every controller: take in all news that is there, then make each touched object as it should be.

use super::mirror::Name;
use futures::{Stream, StreamExt};
use std::collections::BTreeSet;
use std::time::Duration;

/// More news at once than this is taken in parts.
const BURST: usize = 1024;

/// After a refusal; doubles while refusals last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub trait Reconciler {
    type News;

    /// Takes one piece of news in, and names what it touches.
    fn see(&mut self, news: Self::News, todo: &mut BTreeSet<Name>);

    /// Whether enough is known to act on.
    fn is_ready(&self) -> bool {
        true
    }

    /// False: it could not be done, and nobody will tell when it can; it is tried again.
    async fn reconcile(&mut self, name: &Name) -> bool;
}

/// Runs as long as there is news.
pub async fn run<R: Reconciler>(mut this: R, news: impl Stream<Item = R::News> + Unpin) {
    let mut bursts = news.ready_chunks(BURST);
    let mut todo = BTreeSet::new();
    let mut failed = BTreeSet::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let burst = match failed.is_empty() {
            true => bursts.next().await,
            false => match tokio::time::timeout(pause, bursts.next()).await {
                Ok(burst) => burst,
                Err(_) => {
                    todo.append(&mut failed);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Some(Vec::new())
                }
            },
        };
        let Some(burst) = burst else { return };
        for news in burst {
            this.see(news, &mut todo);
        }
        while this.is_ready()
            && let Some(name) = todo.pop_first()
        {
            if this.reconcile(&name).await {
                failed.remove(&name);
            } else {
                failed.insert(name);
            }
        }
        if failed.is_empty() {
            pause = FIRST_PAUSE;
        }
    }
}
