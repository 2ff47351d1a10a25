//! The pilot's log, line by line as istiod writes it: time, level, scope, text.

use super::LogSink;

#[derive(Clone)]
pub struct Log(LogSink);

impl Log {
    pub fn new(sink: LogSink) -> Log {
        Log(sink)
    }

    pub fn info(&self, scope: &str, text: &str) {
        self.line(&format!("info\t{scope}\t{text}"));
    }

    pub fn warn(&self, scope: &str, text: &str) {
        self.line(&format!("warn\t{scope}\t{text}"));
    }

    /// A line that brings its own level: `warn\tgateway …`.
    pub fn line(&self, text: &str) {
        // Microseconds, as istiod has them.
        let now = jiff::Timestamp::now();
        (self.0)(&format!("{now:.6}\t{text}"));
    }
}
