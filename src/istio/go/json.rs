//! Go's JSON: how it names what it cannot decode, and how its scanner refuses text.

use super::quote_char;
use serde_json::{Number, Value};

/// What Go calls the JSON type of a value that it cannot decode.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The error for a value that is not of the Go type `wanted`.
pub fn cannot(value: &Value, wanted: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {wanted}", kind(value))
}

/// A number as it stands in JSON that Go wrote: whole numbers without a point.
pub fn number(number: &Number) -> String {
    match number.as_f64() {
        _ if number.is_i64() || number.is_u64() => number.to_string(),
        Some(float) => super::float(float),
        None => number.to_string(),
    }
}

/// A number's text as an integer between `low` and `high`; `go_type` names the type in the error.
pub fn integer(text: &str, low: i128, high: i128, go_type: &str) -> Result<i128, String> {
    text.parse::<i128>()
        .ok()
        .filter(|value| (low..=high).contains(value))
        .ok_or_else(|| format!("json: cannot unmarshal number {text} into Go value of type {go_type}"))
}

/// What a text that stood in quotes holds when Go reads it as JSON of its own.
#[derive(Debug, PartialEq, Eq)]
pub enum Bare<'a> {
    Null,
    Number(&'a str),
    /// Anything else, by Go's name for it.
    Other(&'static str),
}

/// Reads the text of a quoted number. Errors are those of Go's scanner.
pub fn bare(text: &str) -> Result<Bare<'_>, String> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let trimmed = text.trim_start_matches(blank);
    let Some(first) = trimmed.chars().next() else {
        return Err("unexpected end of JSON input".into());
    };
    let (found, rest) = match first {
        't' => (Bare::Other("bool"), literal(trimmed, "true")?),
        'f' => (Bare::Other("bool"), literal(trimmed, "false")?),
        'n' => (Bare::Null, literal(trimmed, "null")?),
        '-' | '0'..='9' => {
            let rest = scan_number(trimmed)?;
            (Bare::Number(&trimmed[..trimmed.len() - rest.len()]), rest)
        }
        '{' | '[' | '"' => {
            let name = match first {
                '{' => "object",
                '[' => "array",
                _ => "string",
            };
            return match serde_json::from_str::<Value>(trimmed) {
                Ok(_) => Ok(Bare::Other(name)),
                Err(_) => Err("unexpected end of JSON input".into()),
            };
        }
        c => return Err(format!("invalid character {} looking for beginning of value", quote_byte(c))),
    };
    match rest.trim_start_matches(blank).chars().next() {
        None => Ok(found),
        Some(c) => Err(format!("invalid character {} after top-level value", quote_byte(c))),
    }
}

/// Go scans bytes: of a character beyond ASCII it names the first byte, read as Latin-1.
fn quote_byte(c: char) -> String {
    let mut buffer = [0; 4];
    let byte = c.encode_utf8(&mut buffer).as_bytes().first().copied().unwrap_or_default();
    quote_char(char::from(byte))
}

fn literal<'a>(text: &'a str, word: &str) -> Result<&'a str, String> {
    let mut rest = text.chars();
    for wanted in word.chars() {
        match rest.next() {
            Some(c) if c == wanted => {}
            None => return Err("unexpected end of JSON input".into()),
            Some(c) => {
                return Err(format!(
                    "invalid character {} in literal {word} (expecting {})",
                    quote_byte(c),
                    quote_char(wanted)
                ));
            }
        }
    }
    Ok(rest.as_str())
}

fn scan_number(text: &str) -> Result<&str, String> {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let mut rest = match rest.chars().next() {
        Some('0') => &rest[1..],
        Some('1'..='9') => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        other => return Err(not_a_digit(other, "in numeric literal")),
    };
    if let Some(decimals) = rest.strip_prefix('.') {
        rest = some_digits(decimals, "after decimal point in numeric literal")?;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        rest = some_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), "in exponent of numeric literal")?;
    }
    Ok(rest)
}

fn some_digits<'a>(text: &'a str, place: &str) -> Result<&'a str, String> {
    match text.chars().next() {
        Some(c) if c.is_ascii_digit() => Ok(text.trim_start_matches(|c: char| c.is_ascii_digit())),
        other => Err(not_a_digit(other, place)),
    }
}

fn not_a_digit(found: Option<char>, place: &str) -> String {
    match found {
        None => "unexpected end of JSON input".into(),
        Some(c) => format!("invalid character {} {place}", quote_byte(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_numbers_are_refused_in_the_scanners_words() {
        let error = |text| bare(text).unwrap_err();
        assert_eq!(bare("443"), Ok(Bare::Number("443")));
        assert_eq!(bare("null"), Ok(Bare::Null));
        assert_eq!(error("high"), "invalid character 'h' looking for beginning of value");
        assert_eq!(error("12abc"), "invalid character 'a' after top-level value");
        assert_eq!(error("nope"), "invalid character 'o' in literal null (expecting 'u')");
        assert_eq!(error(""), "unexpected end of JSON input");
        assert_eq!(error("-x"), "invalid character 'x' in numeric literal");
        assert_eq!(error("0123"), "invalid character '1' after top-level value");
    }
}
