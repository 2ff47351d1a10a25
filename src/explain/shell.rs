//! Words as a shell reads them.

use crate::diag::render::visible;
use crate::plan::{Part, Text};

/// A word that bash takes as it is; quotes where it has anything that bash would read otherwise. Control characters
/// are written as escapes, so that the line can be shown and pasted.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let unseen = |c: char| c != '\n' && visible(c.encode_utf8(&mut [0; 4])) != c.to_string();
    if !word.chars().any(unseen) {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    let mut out = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            c if unseen(c) => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// A text with captures: what is known in single quotes, what a shell variable holds in double ones.
pub fn text(text: &Text) -> String {
    let parts: Vec<String> = text
        .0
        .iter()
        .filter(|part| !matches!(part, Part::Literal(text) if text.is_empty()))
        .map(|part| match part {
            Part::Literal(text) => quote(text),
            Part::Capture(name) => format!("\"${{{}}}\"", variable(name)),
        })
        .collect();
    if parts.is_empty() { "''".into() } else { parts.concat() }
}

/// A capture's name as a shell variable: bash takes ASCII letters, digits and `_`.
pub fn variable(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            '-' => out.push('_'),
            c => out.push_str(&format!("u{:x}", u32::from(c))),
        }
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) { format!("_{out}") } else { out }
}

/// The text as a pattern of `grep -E` that means just this text.
pub fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| ("\\.|*+?()[]{}^$".contains(c)).then_some('\\').into_iter().chain([c])).collect()
}

/// A JSONPath as jq writes it, quoted; none for what jq says otherwise (filters, `..`).
pub fn jq(path: &str) -> Option<String> {
    let path = path.strip_prefix('$')?;
    if path.contains(['?', '(', ')', '@']) || path.contains("..") {
        return None;
    }
    let path = path.replace("[*]", "[]").replace(".*", "[]").replace("['", "[\"").replace("']", "\"]");
    let path = if path.starts_with('.') { path } else { format!(".{path}") };
    // `.a-b` is a subtraction.
    let plain = |c: char| c.is_alphanumeric() || "._[]\"".contains(c) || path.contains("[\"");
    path.chars().all(plain).then(|| quote(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them() {
        assert_eq!(quote("https://httpbin.org/get"), "https://httpbin.org/get");
        assert_eq!(quote("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a\nb;rm"), "'a\nb;rm'");
        assert_eq!(quote("\u{1b}[2J'\u{202e}"), "$'\\U0000001b[2J\\'\\U0000202e'");
        assert_eq!(quote("A=1"), "'A=1'");
        let mixed = Text(vec![Part::Literal("x: ".into()), Part::Capture("내-이름".into())]);
        assert_eq!(text(&mixed), "'x: '\"${ub0b4_uc774ub984}\"");
        assert_eq!(escaped("a.b|c"), "a\\.b\\|c");
        assert_eq!(jq("$.url").as_deref(), Some(".url"));
        assert_eq!(jq("$.items[*].name").as_deref(), Some("'.items[].name'"));
        assert_eq!(jq("$['a-b'][0]").as_deref(), Some("'.[\"a-b\"][0]'"));
        assert_eq!(jq("$.a[?(@.b == 1)]"), None);
    }
}
