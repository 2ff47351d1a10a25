//! How Go reads and prints: durations, numbers, quoted strings, URLs, addresses, regular expressions. Istio and
//! Kubernetes are written in Go, so their messages carry the words of Go's library.

pub mod address;
pub mod duration;
pub mod json;
pub mod regexp;
pub mod url;

/// A string as `%q` prints it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_quoted(&mut quoted, c, '"');
    }
    quoted.push('"');
    quoted
}

/// A character as `%q` prints it, in single quotes.
pub fn quote_char(c: char) -> String {
    let mut quoted = String::from("'");
    push_quoted(&mut quoted, c, '\'');
    quoted.push('\'');
    quoted
}

fn push_quoted(out: &mut String, c: char, delimiter: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if c == delimiter => {
            out.push('\\');
            out.push(c);
        }
        c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
        // Go escapes what is not printable; of the wider planes only the spaces and separators matter here.
        c if c.is_control() || (c.is_whitespace() && c != ' ') || matches!(c, '\u{ad}' | '\u{feff}') => {
            out.push_str(&format!("\\u{:04x}", c as u32));
        }
        c => out.push(c),
    }
}

/// A float as `%v` prints it: the shortest form, with an exponent from 1e21 upwards and below 1e-4.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        assert_eq!(float(101.0), "101");
        assert_eq!(float(0.00005), "5e-05");
        assert_eq!(float(1e30), "1e+30");
        assert_eq!(float(-1.5), "-1.5");
    }

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        assert_eq!(quote("a\"b\n\u{1}é"), "\"a\\\"b\\n\\x01é\"");
        assert_eq!(quote_char('\''), "'\\''");
    }
}
