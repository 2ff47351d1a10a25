//! What a container printed: lines with their times, bounded, readable from any point and followed
//! by event.

use crate::api::kubelet::LogRequest;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::watch;

/// Older lines go when a container has printed more than this.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// A longer line is cut into pieces, as container runtimes do.
const MAX_LINE: u64 = 16 * 1024;

#[derive(Clone)]
struct Line {
    time: Timestamp,
    /// With its newline.
    text: Bytes,
}

#[derive(Default)]
struct Lines {
    /// Number of the first line kept.
    first: u64,
    kept: VecDeque<Line>,
    bytes: usize,
    closed: bool,
}

/// The log of one container.
pub struct LogStore {
    lines: Mutex<Lines>,
    /// Counts up with every line and at the close.
    changed: watch::Sender<u64>,
}

impl Default for LogStore {
    fn default() -> Self {
        LogStore { lines: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl LogStore {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one line; a missing newline is added.
    pub fn push(&self, text: impl Into<Vec<u8>>) {
        let mut text = text.into();
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        let mut lines = self.lines();
        lines.bytes += text.len();
        lines.kept.push_back(Line { time: Timestamp::now(), text: text.into() });
        while lines.bytes > MAX_BYTES {
            let Some(gone) = lines.kept.pop_front() else { break };
            lines.bytes -= gone.text.len();
            lines.first += 1;
        }
        drop(lines);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The container has ended: followers see the end.
    pub fn close(&self) {
        self.lines().closed = true;
        self.changed.send_modify(|n| *n += 1);
    }

    /// Copies a process's output in until its end: the lines that `keep` wants kept.
    pub async fn pump(
        self: Arc<Self>,
        output: impl AsyncRead + Unpin + Send,
        mut keep: impl FnMut(&[u8]) -> bool + Send,
    ) -> std::io::Result<()> {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut output).take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            if keep(&line) {
                self.push(line.as_slice());
            }
        }
    }

    /// The log as `kubectl logs` asks for it.
    pub fn read(self: &Arc<Self>, request: &LogRequest) -> BoxStream<'static, Bytes> {
        let since = since(request);
        let (start, wanted) = {
            let lines = self.lines();
            let skip = lines.kept.iter().take_while(|line| since.is_some_and(|since| line.time < since)).count();
            let after_since = lines.kept.len() - skip;
            let tail =
                request.tail_lines.map_or(after_since, |n| after_since.min(usize::try_from(n).unwrap_or(usize::MAX)));
            let start = lines.first + (lines.kept.len() - tail) as u64;
            (start, lines.first + lines.kept.len() as u64)
        };
        let end = if request.follow { None } else { Some(wanted) };
        let cursor = Cursor {
            store: self.clone(),
            changed: self.changed.subscribe(),
            next: start,
            end,
            timestamps: request.timestamps,
        };
        let chunks = futures::stream::unfold(cursor, |mut cursor| async move {
            let chunk = cursor.chunk().await?;
            Some((chunk, cursor))
        });
        match request.limit_bytes {
            None => chunks.boxed(),
            Some(limit) => {
                let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
                chunks
                    .map(move |chunk| {
                        let take = chunk.slice(..chunk.len().min(left));
                        left -= take.len();
                        take
                    })
                    .take_while(|chunk| futures::future::ready(!chunk.is_empty()))
                    .boxed()
            }
        }
    }
}

fn since(request: &LogRequest) -> Option<Timestamp> {
    if let Some(time) = &request.since_time {
        return time.parse().ok();
    }
    let seconds = i64::try_from(request.since_seconds?).ok()?;
    Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).ok()
}

struct Cursor {
    store: Arc<LogStore>,
    changed: watch::Receiver<u64>,
    next: u64,
    /// Stops before this line; `None` follows.
    end: Option<u64>,
    timestamps: bool,
}

impl Cursor {
    /// The next lines, waiting for them when following; `None` at the end.
    async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            self.changed.mark_unchanged();
            let (out, closed) = self.ready_lines();
            if !out.is_empty() {
                return Some(out.into());
            }
            if closed || self.end.is_some() || self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    fn ready_lines(&mut self) -> (Vec<u8>, bool) {
        let lines = self.store.lines();
        self.next = self.next.max(lines.first);
        let last = lines.first + lines.kept.len() as u64;
        let end = self.end.map_or(last, |end| end.min(last));
        let mut out = Vec::new();
        while self.next < end {
            let line = &lines.kept[(self.next - lines.first) as usize];
            if self.timestamps {
                out.extend_from_slice(format!("{} ", line.time).as_bytes());
            }
            out.extend_from_slice(&line.text);
            self.next += 1;
        }
        (out, lines.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(store: &Arc<LogStore>, request: LogRequest) -> String {
        let chunks: Vec<Bytes> = store.read(&request).collect().await;
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn tail_limit_and_missing_newline() {
        let store = Arc::new(LogStore::default());
        store.push("one\n");
        store.push("two");
        store.push("셋\n");
        assert_eq!(all(&store, LogRequest::default()).await, "one\ntwo\n셋\n");
        assert_eq!(all(&store, LogRequest { tail_lines: Some(1), ..Default::default() }).await, "셋\n");
        assert_eq!(all(&store, LogRequest { tail_lines: Some(0), ..Default::default() }).await, "");
        assert_eq!(all(&store, LogRequest { limit_bytes: Some(5), ..Default::default() }).await, "one\nt");
    }

    #[tokio::test]
    async fn followers_see_later_lines_and_the_end() {
        let store = Arc::new(LogStore::default());
        store.push("before\n");
        let mut stream = store.read(&LogRequest { follow: true, tail_lines: Some(0), ..Default::default() });
        store.push("after\n");
        assert_eq!(stream.next().await.unwrap(), "after\n");
        store.close();
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_old_ones_go() {
        let store = Arc::new(LogStore::default());
        let long = vec![b'x'; MAX_LINE as usize + 3];
        store.clone().pump(long.as_slice(), |_| true).await.unwrap();
        assert_eq!(store.lines().kept.len(), 2);
        for _ in 0..MAX_BYTES / MAX_LINE as usize + 2 {
            store.push(vec![b'y'; MAX_LINE as usize - 1]);
        }
        assert!(store.lines().bytes <= MAX_BYTES);
        assert!(store.lines().first > 0);
    }
}
