//! Durations as people read them.

use std::time::Duration;

/// `37 ms`, `1.24 s`, `2 m 05 s`.
pub(super) fn words(took: Duration) -> String {
    let millis = took.as_millis();
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{:.2} s", took.as_secs_f64()),
        _ => format!("{} m {:02} s", took.as_secs() / 60, took.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_scales() {
        assert_eq!(words(Duration::from_millis(37)), "37 ms");
        assert_eq!(words(Duration::from_millis(1240)), "1.24 s");
        assert_eq!(words(Duration::from_secs(125)), "2 m 05 s");
    }
}
