//! Lines that do not parse: what is wrong, what stands there, what was probably meant.

use super::ast::{Broken, Name, Span};
use super::cut::{Line, Unclosed, first_word};
use super::grammar::{Egress, Rule};
use super::habit;
use super::token::{TokenKind, tokens_of_line};
use super::vocabulary::*;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place};
use pest::Parser;
use pest::error::{Error, InputLocation};
use unicode_normalization::UnicodeNormalization;

type At<'a> = &'a dyn Fn(Span) -> Place;

/// The words of a statement as written (quotes included), with spans into the statement.
fn words(text: &str) -> Vec<(&str, Span)> {
    tokens_of_line(text, false)
        .into_iter()
        .filter(|t| !matches!(t.kind, TokenKind::Blank | TokenKind::Newline | TokenKind::Continuation))
        .map(|t| (&text[t.span.clone()], t.span))
        .collect()
}

/// What a line that cannot be read would have done.
pub(super) fn remains(text: &str, offset: usize) -> Broken {
    let words = words(text);
    let first = words.first().map_or("", |(w, _)| *w);
    let first = match first.to_lowercase().as_str() {
        "foreach" | "while" | "until" | "repeat" | "loop" | "반복" => "for",
        "실행" => "exec",
        _ => first,
    };
    let verb = match find_verb(first) {
        Some(entry) => entry.word,
        None => nearest(first, VERBS.iter().map(|v| v.word)).unwrap_or(first),
    };
    let count = match verb {
        "set" | "let" | "capture" | "for" => 1,
        "steps" => usize::MAX,
        _ => 0,
    };
    let is_name = |w: &str| w.starts_with(char::is_alphabetic);
    let names = words.iter().skip(1).take(count).filter(|(w, _)| is_name(w)).map(|(w, s)| Name {
        span: offset + s.start..offset + s.end,
        text: w.split('=').next().unwrap_or("").nfc().collect(),
    });
    Broken {
        opens: find_verb(verb).is_some_and(|v| v.opens),
        exec: matches!(verb, "exec" | "curl" | "kubectl" | "run" | "do"),
        names: names.collect(),
    }
}

/// Mistakes that are seen from the first words alone: unknown, guessed and later verbs and
/// expectations.
pub(super) fn known(text: &str, offset: usize, place: At<'_>) -> Option<Diagnostic> {
    let verb = first_word(text);
    let end = verb.len();
    let at = |span: &Span| place(offset + span.start..offset + span.end);
    let first = 0..end;
    if text.starts_with("\"\"\"") || text.starts_with('|') {
        return None;
    }
    if VERBS.iter().any(|v| v.word == verb) {
        return match verb {
            "expect" => expectation(text, offset, place),
            _ => None,
        };
    }
    if let Some(d) = odd_blank(verb, offset, place) {
        return Some(d);
    }
    if let Some(d) = habit::wide_verb(verb, at(&first)) {
        return Some(d);
    }
    let mut d = Diagnostic::error("E0104", format!("unknown verb `{}`", shorten(verb)));
    let lower = verb.to_lowercase();
    if habit::is_assignment(&words(text)) && find_verb(&lower).is_none() {
        return Some(
            d.at(at(&first), "a name, and no verb before it").help(format!("write let {} = WORD", shorten(verb))),
        );
    }
    if let Some((_, meant)) = GUESSED_VERBS.iter().find(|(w, _)| *w == lower.trim_end_matches(':')) {
        d = d.at(at(&first), "not a verb of this language").help(format!("write {meant}"));
    } else if let Some((word, usage)) = EXPECTATIONS.iter().find(|(w, _)| *w == verb) {
        d = d.at(at(&first), format!("`{word}` stands behind `expect`")).help(format!("write {usage}"));
    } else if let Some(near) = nearest(verb, VERBS.iter().map(|v| v.word)) {
        d = d.at(at(&first), format!("did you mean `{near}`?"));
        if let Some(entry) = find_verb(near) {
            d = d.help(format!("write {}", entry.usage));
        }
    } else if verb.starts_with("---") || verb.ends_with(':') {
        d = d
            .at(at(&first), "this looks like YAML")
            .help("manifests stand in files of their own (`apply FILE`), or between `apply <<YAML` and `YAML`");
    } else if verb == "$" || verb == ">" {
        d = d.at(at(&first), "a prompt is not part of a step").help("write exec WORKLOAD COMMAND…");
    } else if verb.starts_with("//")
        || verb.starts_with("--")
        || verb.starts_with("/*")
        || matches!(verb, ";" | "<!--" | "%")
    {
        d = d.at(at(&first), "not a comment").help("a comment starts with `#`");
    } else {
        let verbs: Vec<&str> = VERBS.iter().map(|v| v.word).collect();
        d = d.at(at(&first), "a line starts with a verb").help(format!("verbs are: {}", verbs.join(" ")));
    }
    Some(d)
}

/// A blank that is none makes two words one: then neither is known.
fn odd_blank(word: &str, offset: usize, place: At<'_>) -> Option<Diagnostic> {
    let (at, c) = word.char_indices().find(|(_, c)| c.is_whitespace())?;
    Some(
        Diagnostic::error("E0108", format!("the character U+{:04X} looks like a blank but is none", c as u32))
            .at(place(offset + at..offset + at + c.len_utf8()), "here")
            .help("type an ordinary blank here, or put the word in quotes"),
    )
}

fn expectation(text: &str, offset: usize, place: At<'_>) -> Option<Diagnostic> {
    let words = words(text);
    let at = |span: &Span| place(offset + span.start..offset + span.end);
    let mut index = 1;
    if words.get(1).is_some_and(|(w, _)| *w == "no") {
        index = 2;
    }
    let (word, span) = words.get(index)?;
    if EXPECTATIONS.iter().any(|(w, _)| w == word) {
        return None;
    }
    if let Some(d) = odd_blank(word, offset + span.start, place) {
        return Some(d);
    }
    let d = Diagnostic::error("E0118", format!("unknown expectation `{}`", shorten(word)));
    let lower = word.to_lowercase();
    let is_status = word.len() == 3
        && word.starts_with(|c: char| c.is_ascii_digit())
        && word[1..].chars().all(|c| c.is_ascii_digit() || c == 'x');
    if let Some((key, rest)) = word.split_once(['=', ':'])
        && let Some((key, usage)) = EXPECTATIONS.iter().find(|(w, _)| *w == key)
    {
        let write = if rest.is_empty() { usage.to_string() } else { format!("expect {key} {rest}") };
        return Some(d.at(at(span), "blanks stand between words").help(format!("write {write}")));
    }
    if let Some(meant) = word.strip_prefix('!').filter(|m| EXPECTATIONS.iter().any(|(w, _)| w == m)) {
        return Some(d.at(at(span), "`no` says that it does not hold").help(format!("write expect no {meant} …")));
    }
    if let Some((_, meant)) = GUESSED_EXPECTATIONS.iter().find(|(w, _)| *w == *word || *w == lower) {
        return Some(d.at(at(span), "not a word of this language").help(format!("write {meant}")));
    }
    if is_status {
        return Some(d.at(at(span), "a status?").help(format!("write expect status {word}")));
    }
    if let Some(near) = nearest(word, EXPECTATIONS.iter().map(|(w, _)| *w)) {
        let usage = EXPECTATIONS.iter().find(|(w, _)| *w == near).map_or("", |(_, u)| u);
        return Some(d.at(at(span), format!("did you mean `{near}`?")).help(format!("write {usage}")));
    }
    let all: Vec<&str> = EXPECTATIONS.iter().map(|(w, _)| *w).collect();
    Some(d.at(at(span), "nothing can be expected by this name").help(format!("expectations are: {}", all.join(" "))))
}

/// A known verb whose words do not fit.
pub(super) fn explain(text: &str, offset: usize, error: &Error<Rule>, place: At<'_>) -> Diagnostic {
    let at = |span: Span| place(offset + span.start..offset + span.end);
    let words = words(text);
    let position = match error.location {
        InputLocation::Pos(p) => p,
        InputLocation::Span((p, _)) => p,
    };
    let head = words.first().map_or("", |(w, _)| *w);
    if head.starts_with('|') {
        return Diagnostic::error("E0121", "a table row starts and ends with `|`")
            .at(at(text.len()..text.len()), "the closing `|` is missing")
            .help("write | cell | cell |");
    }
    if head.starts_with("\"\"\"") {
        return Diagnostic::error("E0107", "a `\"\"\"` text stands alone")
            .at(at(position.min(text.len())..text.len()), "unexpected behind the text")
            .help("put what follows on a line of its own");
    }
    let (what, usage) = usage(&words);
    if what == "expect path"
        && let Some((word, span)) = words.iter().find(|(w, _)| w.contains("->") && w.len() > 2)
    {
        return Diagnostic::error("E0205", format!("`{}`: blanks stand around `->`", shorten(word)))
            .at(at(span.clone()), "one word")
            .help(format!("write {}", shorten(&word.replace("->", " -> "))));
    }
    let unfinished = || {
        Diagnostic::error("E0107", format!("`{what}` is not finished"))
            .at(at(text.len()..text.len()), "something is missing here")
            .help(format!("write {usage}"))
    };
    // With one word more it would be right, or wrong only behind that word.
    match Egress::parse(Rule::statement, &format!("{text} x")) {
        Ok(_) => return unfinished(),
        Err(e) if matches!(e.location, InputLocation::Pos(p) if p > text.len()) => return unfinished(),
        Err(_) if words.len() == 1 => return unfinished(),
        Err(_) => {}
    }
    // The word at which reading stopped, or the end of the statement.
    let stopped = words.iter().find(|(_, s)| s.end > position);
    let Some((word, span)) = stopped else { return unfinished() };
    let last = position >= span.start && words.last().is_some_and(|(_, s)| s == span);
    let d = Diagnostic::error("E0107", format!("unexpected `{}` in `{what}`", shorten(word)));
    let listener = matches!(what.as_str(), "expect listener" | "expect cluster" | "expect route" | "expect endpoint");
    let options: Vec<&str> = MODIFIERS
        .iter()
        .map(|(w, _)| *w)
        .chain(if listener { FACTS.iter().map(|(w, _)| *w).collect() } else { vec![] })
        .collect();
    if head == "expect" {
        if let Some((_, form)) = MODIFIERS.iter().chain(FACTS).find(|(w, _)| w == word && last && options.contains(w)) {
            return d.at(at(text.len()..text.len()), format!("`{word}` needs a value")).help(format!("write {form}"));
        }
        if let Some(near) = nearest(word, options.iter().copied()) {
            return Diagnostic::error("E0119", format!("unknown word `{}` in `{what}`", shorten(word)))
                .at(at(span.clone()), format!("did you mean `{near}`?"))
                .help(format!("write {usage}"));
        }
        if listener {
            let facts: Vec<&str> = FACTS.iter().map(|(w, _)| *w).collect();
            return Diagnostic::error("E0119", format!("unknown fact `{}`", shorten(word)))
                .at(at(span.clone()), "not a fact of a listener or cluster")
                .help(format!("facts are: {}", facts.join(" ")));
        }
        if word.starts_with("/") {
            return d
                .at(at(span.clone()), "a regex that is not closed?")
                .help("write matches /REGEX/, a `/` in it as `\\/`");
        }
        if let Some(before) = words.iter().take_while(|(_, s)| s.end <= span.start).last()
            && before.0 == "matches"
        {
            return d
                .at(at(span.clone()), "`matches` takes a regex between slashes")
                .help(format!("write matches /{}/", shorten(word.trim_matches(['"', '\'']))));
        }
    }
    if matches!(head, "title" | "note" | "pause" | "criteria" | "scenario" | "let") && words.len() > 2 {
        let rest = text[words[1].1.start..].trim();
        let from = if head == "let" { span.start } else { words[1].1.start };
        if !rest.contains('"') && head != "let" {
            if let Some((offset, c)) = habit::typographic(rest) {
                let start = words[1].1.start + offset;
                return Diagnostic::error("E0108", format!("the character U+{:04X} is a typographic quote", c as u32))
                    .at(at(start..start + c.len_utf8()), "opens no text")
                    .help("type \" instead");
            }
            return d
                .at(at(from..text.len()), "a text of several words stands in quotes")
                .help(format!("write {head} \"{}\"", shorten(rest)));
        }
    }
    if matches!(head, "title" | "note" | "pause" | "criteria") && words.get(1).is_some_and(|(w, _)| w.starts_with("<<"))
    {
        return d
            .at(at(span.clone()), "no heredoc here")
            .help("a text of several lines stands between \"\"\" and \"\"\"");
    }
    let before: Vec<&str> = words.iter().filter(|(_, s)| s.end <= span.start).map(|(w, _)| *w).collect();
    if let [.., key @ ("because" | "contains" | "=="), first] = before.as_slice() {
        return d
            .at(at(span.clone()), "a text of several words stands in quotes")
            .help(format!("write {key} \"{first} {}…\"", shorten(word)));
    }
    if matches!(what.as_str(), "expect status" | "expect exit")
        && let Some(sign @ ("==" | "=" | "!=" | ":" | "is" | "eq" | "not")) = before.last().copied()
    {
        let sign_span = words.iter().rev().find(|(w, s)| *w == sign && s.end <= span.start).map(|(_, s)| s.clone());
        let no = if matches!(sign, "!=" | "not") { "no " } else { "" };
        return Diagnostic::error("E0107", format!("unexpected `{sign}` in `{what}`"))
            .at(at(sign_span.unwrap_or(span.clone())), "no sign stands here")
            .help(format!("write expect {no}{} {word}", what.trim_start_matches("expect ")));
    }
    if matches!(what.as_str(), "expect status" | "expect exit") && word.starts_with(|c: char| c.is_ascii_digit()) {
        return d.at(at(span.clone()), "one of several?").help(format!("write {} or {word}", before.join(" ")));
    }
    if matches!(head, "let" | "set" | "capture")
        && position == 0
        && let [_, (name, after), ..] = words.as_slice()
    {
        let wanted = format!("{head} {} = {}", shorten(name), if head == "capture" { "…" } else { "WORD" });
        return Diagnostic::error("E0107", format!("`{head}` without `=`"))
            .at(at(after.end..after.end), "a `=` is missing here")
            .help(format!("write {wanted}"));
    }
    if head == "exec" && word.starts_with('-') {
        return Diagnostic::error("E0107", format!("`exec` has no option `{}`", shorten(word)))
            .at(at(span.clone()), "kubectl's, not needed here")
            .help(format!("write {usage}"));
    }
    // A word of the form itself, misspelt.
    let parts: Vec<&str> = usage.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).collect();
    let parts = parts.into_iter().filter(|p| p.len() > 2 && p.starts_with(|c: char| c.is_ascii_lowercase()));
    if let Some(near) = nearest(word, parts) {
        return d.at(at(span.clone()), format!("did you mean `{near}`?")).help(format!("write {usage}"));
    }
    d.at(at(span.clone()), "does not fit here").help(format!("write {usage}"))
}

/// What the statement is called, and its form.
fn usage(words: &[(&str, Span)]) -> (String, String) {
    let head = words.first().map_or("", |(w, _)| *w);
    if head == "expect" {
        let what = words.iter().skip(1).map(|(w, _)| *w).find(|w| *w != "no").unwrap_or("");
        if let Some((word, usage)) = EXPECTATIONS.iter().find(|(w, _)| *w == what) {
            return (format!("expect {word}"), usage.to_string());
        }
    }
    match find_verb(head) {
        Some(entry) => (head.to_string(), entry.usage.to_string()),
        None => (head.to_string(), String::new()),
    }
}

/// What a line leaves open.
pub(super) fn unclosed(what: Unclosed, text: &str, line: &Line, place: At<'_>) -> Diagnostic {
    match what {
        Unclosed::Quote(span) => {
            let quote = &text[span.start..span.start + 1];
            let help = if quote == "'" {
                "an apostrophe in a text: put the text in double quotes, \"don't\"".to_string()
            } else {
                "a quote closes on its own line; a text of several lines stands between \"\"\" and \"\"\"".to_string()
            };
            Diagnostic::error("E0101", format!("the quote {quote} is not closed"))
                .at(place(span.start..span.start + 1), "opens here")
                .help(help)
        }
        Unclosed::Heredoc(span, tag) => {
            let body = &text[span.end..line.whole.end];
            let near = body.lines().skip(1).find(|l| {
                let l = l.trim();
                l.eq_ignore_ascii_case(&tag)
                    || l.trim_end_matches([';', '.', ':']) == tag
                    || l.starts_with(&format!("{tag} "))
            });
            let mut d = Diagnostic::error("E0102", format!("the block `<<{tag}` is not closed"))
                .at(place(span), "opens here")
                .help(format!("close it with a line on which `{tag}` stands alone"));
            if let Some(near) = near {
                d = d.help(format!("the line `{}` does not close it", shorten(near.trim())));
            }
            d
        }
        Unclosed::Text(span) => Diagnostic::error("E0103", "the text `\"\"\"` is not closed")
            .at(place(span), "opens here")
            .help("close it with a second \"\"\""),
    }
}

/// A word fit for a message: at most 60 characters, on one line.
pub(super) fn shorten(word: &str) -> String {
    let line = word.lines().next().unwrap_or("");
    match line.char_indices().nth(60) {
        Some((i, _)) => format!("{}…", &line[..i]),
        None => line.to_string(),
    }
}
