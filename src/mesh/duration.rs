//! Durations: Go's notation in (`1m`, `1.5s`), protobuf JSON out (`60s`, `1.500s`).

use serde_json::Value;

/// Nanoseconds of a Go or protobuf JSON duration; `None` for anything else.
pub fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += amount * unit;
        rest = &rest[unit_end..];
    }
    let nanos = total.round() as i64;
    Some(if negative { -nanos } else { nanos })
}

/// Protobuf JSON: seconds with no, three, six or nine decimals.
pub fn format(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let (seconds, fraction) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    if fraction == 0 {
        format!("{sign}{seconds}s")
    } else if fraction.is_multiple_of(1_000_000) {
        format!("{sign}{seconds}.{:03}s", fraction / 1_000_000)
    } else if fraction.is_multiple_of(1_000) {
        format!("{sign}{seconds}.{:06}s", fraction / 1_000)
    } else {
        format!("{sign}{seconds}.{fraction:09}s")
    }
}

/// A duration field in canonical form, or null when it is absent or malformed.
pub fn canonical(value: &Value) -> Value {
    match value.as_str().and_then(nanoseconds) {
        Some(nanos) => Value::from(format(nanos)),
        None => Value::Null,
    }
}

/// Whole seconds of a duration field, for Envoy fields that are integers.
pub fn whole_seconds(value: &Value) -> Option<i64> {
    value.as_str().and_then(nanoseconds).map(|n| n / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_notation_becomes_protobuf_json() {
        for (go, proto) in [("1m", "60s"), ("1.5s", "1.500s"), ("100ms", "0.100s"), ("1h2m3s", "3723s"), ("0s", "0s")] {
            assert_eq!(nanoseconds(go).map(format).as_deref(), Some(proto));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "5", "s", "1x", "1.2.3s", "é"] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }
}
