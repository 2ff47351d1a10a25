//! Plain YAML words as kubectl's parser (go-yaml v2, YAML 1.1) resolves them.

use serde_json::{Number, Value};

/// The value of a scalar, or why it has none. `tag` as `!!str`, `!!int`, …
pub fn read(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        None | Some("!") if !plain => Ok(Value::String(text.to_string())),
        None => resolve(text),
        Some("!!str" | "!") => Ok(Value::String(text.to_string())),
        Some("!!int" | "!!float") => match resolve(text)? {
            Value::Number(n) => Ok(Value::Number(n)),
            _ => Err("not a number".into()),
        },
        Some("!!bool") => match resolve(text)? {
            Value::Bool(b) => Ok(Value::Bool(b)),
            _ => Err("not a boolean".into()),
        },
        Some("!!null") => Ok(Value::Null),
        Some(tag) => Err(format!("the tag {tag} has no place in a Kubernetes object")),
    }
}

/// A key as JSON writes it: always a word.
pub fn key(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn resolve(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => return Err("JSON has no infinity and no NaN".into()),
        _ => number(text).map_or_else(|| Value::String(text.to_string()), Value::Number),
    })
}

fn number(text: &str) -> Option<Number> {
    let first = text.as_bytes().first()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix(['-', '+']) {
        Some(rest) if plain.starts_with('-') => (-1i128, rest),
        Some(rest) => (1, rest),
        None => (1, plain.as_str()),
    };
    let radix = |prefix: [&str; 2], radix: u32| {
        let rest = digits.strip_prefix(prefix[0]).or_else(|| digits.strip_prefix(prefix[1]))?;
        rest.chars().all(|c| c.is_digit(radix)).then(|| i128::from_str_radix(rest, radix).ok()).flatten()
    };
    let integer = radix(["0x", "0X"], 16)
        .or_else(|| radix(["0b", "0B"], 2))
        .or_else(|| radix(["0o", "0O"], 8))
        .or_else(|| radix(["0", "0"], 8).filter(|_| digits.len() > 1))
        .or_else(|| {
            let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            decimal.then(|| digits.parse::<i128>().ok()).flatten().filter(|_| !digits.starts_with('0') || digits == "0")
        });
    if let Some(integer) = integer {
        let integer = integer * sign;
        if let Ok(n) = i64::try_from(integer) {
            return Some(n.into());
        }
        if let Ok(n) = u64::try_from(integer) {
            return Some(n.into());
        }
    }
    is_float(&plain).then(|| plain.parse::<f64>().ok()).flatten().and_then(Number::from_f64)
}

/// go-yaml's `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(i) => (&rest[..i], Some(&rest[i + 1..])),
        None => (rest, None),
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", after)) => digits(after),
        Some((before, after)) => digits(before) && (after.is_empty() || digits(after)),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}
