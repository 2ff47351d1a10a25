//! Whether Go's `regexp` (RE2 syntax) accepts an expression, and with which error it refuses it.

/// `regexp.Compile`: nothing, or its error.
pub fn check(expression: &str) -> Result<(), String> {
    Parser { whole: expression, rest: expression, open: vec![], may_repeat: false, names: vec![] }
        .run()
        .map_err(|(code, part)| format!("error parsing regexp: {code}: `{part}`"))
}

/// A code and the part of the expression that it is about.
type Refusal = (&'static str, String);

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    /// Open groups.
    open: Vec<()>,
    /// Whether something stands before that a `*` could repeat.
    may_repeat: bool,
    names: Vec<String>,
}

const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const BAD_RANGE: &str = "invalid character class range";

impl<'a> Parser<'a> {
    fn run(mut self) -> Result<(), Refusal> {
        // The repetition that stands directly before, with all that follows it.
        let mut last_repeat = "";
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeat = "";
            match c {
                '(' => {
                    self.group()?;
                    self.may_repeat = self.may_repeat && before.starts_with("(?") && !before.starts_with("(?P<");
                }
                '|' => {
                    self.rest = &self.rest[1..];
                    self.may_repeat = false;
                }
                ')' => {
                    if self.open.pop().is_none() {
                        return Err(("unexpected )", self.whole.to_string()));
                    }
                    self.rest = &self.rest[1..];
                    self.may_repeat = true;
                }
                '[' => {
                    self.rest = class(self.rest)?;
                    self.may_repeat = true;
                }
                '*' | '+' | '?' => {
                    repeat = before;
                    self.repeat(&before[1..], before, last_repeat)?;
                }
                '{' => match bounds(before) {
                    None => {
                        self.rest = &before[1..];
                        self.may_repeat = true;
                    }
                    Some((low, high, after)) => {
                        repeat = before;
                        if low > 1000 || high.is_some_and(|high| high > 1000 || low > high) {
                            return Err(("invalid repeat count", part(before, after)));
                        }
                        self.repeat(after, before, last_repeat)?;
                    }
                },
                '\\' => {
                    self.rest = self.escape()?;
                    self.may_repeat = true;
                }
                other => {
                    self.rest = &self.rest[other.len_utf8()..];
                    self.may_repeat = true;
                }
            }
            last_repeat = repeat;
        }
        if self.open.is_empty() { Ok(()) } else { Err(("missing closing )", self.whole.to_string())) }
    }

    fn repeat(&mut self, after: &'a str, before: &'a str, last: &'a str) -> Result<(), Refusal> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if !last.is_empty() {
            return Err(("invalid nested repetition operator", part(last, after)));
        }
        if !self.may_repeat {
            return Err((MISSING_ARGUMENT, part(before, after)));
        }
        self.rest = after;
        Ok(())
    }

    fn group(&mut self) -> Result<(), Refusal> {
        let text = self.rest;
        let Some(inner) = text.strip_prefix("(?") else {
            self.open.push(());
            self.rest = &text[1..];
            self.may_repeat = false;
            return Ok(());
        };
        let name = inner.strip_prefix("P<").or_else(|| inner.strip_prefix('<'));
        if let Some(name) = name {
            let Some(end) = name.find('>') else {
                return Err(("invalid named capture", text.to_string()));
            };
            let after = &name[end + 1..];
            let name = &name[..end];
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(("invalid named capture", part(text, after)));
            }
            if self.names.iter().any(|known| known == name) {
                return Err(("duplicate capture group name", name.to_string()));
            }
            self.names.push(name.to_string());
            self.open.push(());
            self.rest = after;
            self.may_repeat = false;
            return Ok(());
        }
        let mut negative = false;
        let mut flags = 0;
        for (at, c) in inner.char_indices() {
            let after = &inner[at + c.len_utf8()..];
            match c {
                'i' | 'm' | 's' | 'U' => flags += 1,
                '-' if !negative => (negative, flags) = (true, 0),
                ':' | ')' if !(negative && flags == 0) => {
                    if c == ':' {
                        self.open.push(());
                        self.may_repeat = false;
                    }
                    self.rest = after;
                    return Ok(());
                }
                _ => return Err(("invalid or unsupported Perl syntax", part(text, after))),
            }
        }
        Err(("missing closing )", self.whole.to_string()))
    }

    /// What follows an escape outside a class.
    fn escape(&self) -> Result<&'a str, Refusal> {
        let text = self.rest;
        match text[1..].chars().next() {
            Some('A' | 'b' | 'B' | 'z') => Ok(&text[2..]),
            Some('C') => Err(("invalid escape sequence", text[..2].to_string())),
            Some('Q') => {
                let literal = &text[2..];
                Ok(literal.find("\\E").map_or("", |end| &literal[end + 2..]))
            }
            Some('p' | 'P') => unicode_class(text),
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => Ok(&text[2..]),
            _ => Ok(escaped_char(text)?.1),
        }
    }
}

/// The text from `start` up to where `after` begins.
fn part(start: &str, after: &str) -> String {
    start[..start.len() - after.len()].to_string()
}

/// `{n}`, `{n,}` or `{n,m}` at the start of the text, with what follows.
fn bounds(text: &str) -> Option<(u32, Option<u32>, &str)> {
    fn number(text: &str) -> Option<(u32, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let digits = &text[..end];
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        Some((digits.parse().unwrap_or(u32::MAX), &text[end..]))
    }
    let (low, rest) = number(text.strip_prefix('{')?)?;
    let (high, rest) = match rest.strip_prefix(',') {
        None => (Some(low), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => number(rest).map(|(high, rest)| (Some(high), rest))?,
    };
    Some((low, high, rest.strip_prefix('}')?))
}

/// One escaped character and what follows it.
fn escaped_char(text: &str) -> Result<(char, &str), Refusal> {
    let mut rest = text[1..].chars();
    let Some(c) = rest.next() else {
        return Err(("trailing backslash at end of expression", String::new()));
    };
    let after = rest.as_str();
    let invalid = |after: &str| Err(("invalid escape sequence", part(text, after)));
    match c {
        '1'..='7' if !after.starts_with(|c: char| c.is_digit(8)) => invalid(after),
        '0'..='7' => {
            let extra = after.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
            let value = u32::from_str_radix(&text[1..2 + extra], 8).ok().and_then(char::from_u32);
            Ok((value.unwrap_or('\0'), &after[extra..]))
        }
        'x' => hexadecimal(text, after),
        'a' => Ok(('\x07', after)),
        'f' => Ok(('\x0c', after)),
        'n' => Ok(('\n', after)),
        'r' => Ok(('\r', after)),
        't' => Ok(('\t', after)),
        'v' => Ok(('\x0b', after)),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok((c, after)),
        _ => invalid(after),
    }
}

fn hexadecimal<'a>(text: &'a str, after: &'a str) -> Result<(char, &'a str), Refusal> {
    let invalid = |after: &str| Err(("invalid escape sequence", part(text, after)));
    if let Some(inner) = after.strip_prefix('{') {
        let end = inner.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(inner.len());
        let value = u32::from_str_radix(&inner[..end], 16).ok().and_then(char::from_u32);
        return match (value, inner[end..].strip_prefix('}')) {
            (Some(value), Some(after)) => Ok((value, after)),
            _ => invalid(inner.get(end + 1..).unwrap_or("")),
        };
    }
    let mut digits = after.chars();
    match (digits.next(), digits.next()) {
        (Some(a), Some(b)) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            let value = u32::from_str_radix(&after[..2], 16).ok().and_then(char::from_u32);
            Ok((value.unwrap_or('\0'), &after[2..]))
        }
        (Some(a), Some(b)) if a.is_ascii_hexdigit() => invalid(&after[1 + b.len_utf8()..]),
        (Some(a), _) => invalid(&after[a.len_utf8()..]),
        _ => invalid(after),
    }
}

/// `\pL` or `\p{Name}`; the names are taken on trust except for empty ones.
fn unicode_class(text: &str) -> Result<&str, Refusal> {
    let inner = &text[2..];
    if let Some(named) = inner.strip_prefix('{') {
        return match named.find('}') {
            Some(end) if end > 0 => Ok(&named[end + 1..]),
            _ => Err((BAD_RANGE, text.to_string())),
        };
    }
    match inner.chars().next() {
        Some(c) if "CLMNPSZ".contains(c) => Ok(&inner[1..]),
        Some(c) => Err((BAD_RANGE, part(text, &inner[c.len_utf8()..]))),
        None => Err((BAD_RANGE, text.to_string())),
    }
}

const POSIX_CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What follows the class at the start of the text.
fn class(whole: &str) -> Result<&str, Refusal> {
    let mut rest = whole[1..].strip_prefix('^').unwrap_or(&whole[1..]);
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some(end) = rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) {
            let name = &rest[2..2 + end];
            if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err((BAD_RANGE, rest[..end + 4].to_string()));
            }
            rest = &rest[end + 4..];
            continue;
        }
        if rest.starts_with("\\p") || rest.starts_with("\\P") {
            rest = unicode_class(rest)?;
            continue;
        }
        if rest.starts_with('\\') && rest[1..].starts_with(['d', 'D', 's', 'S', 'w', 'W']) {
            rest = &rest[2..];
            continue;
        }
        let start = rest;
        let (low, after) = class_char(rest, whole)?;
        rest = after;
        if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
            let (high, after) = class_char(&rest[1..], whole)?;
            if high < low {
                return Err((BAD_RANGE, part(start, after)));
            }
            rest = after;
        }
    }
    Ok(&rest[1..])
}

fn class_char<'a>(text: &'a str, whole: &str) -> Result<(char, &'a str), Refusal> {
    match text.chars().next() {
        None => Err(("missing closing ]", whole.to_string())),
        Some('\\') => escaped_char(text),
        Some(c) => Ok((c, &text[c.len_utf8()..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_refused_in_gos_words() {
        for (expression, why) in [
            ("[", "missing closing ]: `[`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a(b", "missing closing ): `a(b`"),
            ("a)b", "unexpected ): `a)b`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
            ("(?<!a)", "invalid named capture: `(?<!a)`"),
            ("\\y", "invalid escape sequence: `\\y`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("(*)", "missing argument to repetition operator: `*`"),
            ("a|*", "missing argument to repetition operator: `*`"),
            ("\\1", "invalid escape sequence: `\\1`"),
        ] {
            assert_eq!(check(expression), Err(format!("error parsing regexp: {why}")));
        }
    }

    #[test]
    fn common_expressions_pass() {
        for expression in
            ["", ".*", "^/api/v[0-9]+(/|$)", "(?i)foo", "(?:a|b)*?", "[]a]", "\\d+\\.\\w{1,3}", "a{,2}", "é+"]
        {
            assert_eq!(check(expression), Ok(()), "{expression}");
        }
    }
}
