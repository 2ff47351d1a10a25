//! Lines that do not parse: what is wrong, what stands there, what was probably meant.

use super::ast::{Broken, Name, Span};
use super::cut::{Line, Unclosed};
use super::grammar::{Egress, Rule};
use super::habit;
use super::keyboard;
use super::repair::repair;
use super::token::{TokenKind, tokens_of_line};
use super::vocabulary::*;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place};
use pest::Parser;
use pest::error::{Error, InputLocation};
use unicode_normalization::UnicodeNormalization;

pub(super) type At<'a> = &'a dyn Fn(Span) -> Place;

/// The words of a statement as written (quotes included), with spans into the statement.
pub(super) fn words(text: &str) -> Vec<(&str, Span)> {
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
    let ordinary = habit::ordinary(first).or_else(|| keyboard::in_english(first));
    let first = ordinary.as_deref().filter(|w| find_verb(w).is_some()).unwrap_or(first);
    let lower = first.to_lowercase();
    let first = match lower.trim_end_matches(':') {
        "foreach" | "while" | "until" | "repeat" | "loop" | "반복" => "for",
        "실행" => "exec",
        _ => first,
    };
    let closes = matches!(lower.trim_end_matches([';', ':']), "end" | "done" | "}" | "endfor" | "끝");
    let verb = match find_verb(first) {
        Some(entry) => entry.word,
        None => nearest(first, VERBS.iter().map(|v| v.word)).unwrap_or(first),
    };
    let count = match verb {
        "set" | "let" | "capture" | "for" => 1,
        "steps" => usize::MAX,
        _ => 0,
    };
    let bare = |w: &str| w.trim_start_matches(['$', '{', '(', ',']).to_string();
    let is_name = |w: &str| bare(w).starts_with(char::is_alphabetic);
    let names = words.iter().skip(1).take(count).filter(|(w, _)| is_name(w)).map(|(w, s)| Name {
        span: offset + s.start..offset + s.end,
        text: bare(w).split(['=', ':', '}', '(', ')', ',']).next().unwrap_or("").nfc().collect(),
    });
    let mut names: Vec<Name> = names.collect();
    // `reach(host,` names a parameter behind the parenthesis.
    if let Some((_, inside)) = words.get(1).and_then(|(w, _)| w.split_once('(')).filter(|_| verb == "steps") {
        let span = names.first().map_or(offset..offset, |n| n.span.clone());
        let inside = inside.split([',', ')']).filter(|w| is_name(w));
        names.extend(inside.map(|w| Name { span: span.clone(), text: w.nfc().collect() }));
    }
    let steps = (verb == "steps").then(|| names.first().cloned()).flatten();
    // `steps:` is YAML of some other tool.
    let opens = find_verb(verb).is_some_and(|v| v.opens) && !(first.ends_with(':') && verb == "steps");
    Broken {
        opens,
        aside: opens && matches!(verb, "steps" | "setup" | "cleanup"),
        closes,
        steps,
        exec: matches!(verb, "exec" | "curl" | "kubectl" | "run" | "do"),
        names,
    }
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
    if let Some(d) = repair(&what, text, &words, offset, place) {
        return d;
    }
    if what == "expect path"
        && let Some((word, span)) = words.iter().find(|(w, _)| w.contains("->") && w.len() > 2)
    {
        return Diagnostic::error("E0205", format!("`{}`: blanks stand around `->`", shorten(word)))
            .at(at(span.clone()), "one word")
            .help(format!("write {}", shorten(&word.replace("->", " -> "))));
    }
    if head == "wait" && words.len() > 1 && words[1..].iter().all(|(w, _)| is_time(w) || matches!(*w, "for" | "until"))
    {
        return Diagnostic::error("E0107", "`wait` waits for an object, not for a time")
            .at(at(words[1].1.start..text.len()), "nothing waits for a time here")
            .help("an expectation waits by itself until it holds: expect … within 10s")
            .help(format!("write {usage}"));
    }
    if head == "do" && words.len() == 1 {
        return Diagnostic::error("E0107", "`do` is not finished")
            .at(at(text.len()..text.len()), "the name of steps is missing here")
            .help(format!("write {usage}; a `for` needs no `do`: its steps follow at once, and `end` closes it"));
    }
    if let ("set" | "let" | "for" | "capture" | "steps" | "do", Some((name, span))) = (head, words.get(1))
        && !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && *name != "="
    {
        return Diagnostic::error("E0107", format!("`{}` is no name", shorten(name)))
            .at(at(span.clone()), "a name is letters, digits, `_` and `-`, and starts with a letter")
            .help(format!("write {usage}"));
    }
    if head == "capture" && words.len() == 4 && words[2].0 == "=" && !matches!(words[3].0, "header" | "json") {
        return Diagnostic::error("E0107", format!("`{}` cannot be captured", shorten(words[3].0)))
            .at(at(words[3].1.clone()), "no source of a capture")
            .help(format!("write {usage}"));
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
    // Of a block that stands where none may the first line is enough.
    let span = &(span.start..span.start + word.lines().next().map_or(0, str::len).max(1).min(word.len()));
    if head == "apply" && word.starts_with("<<") {
        return Diagnostic::error("E0107", format!("`apply {}` takes files or a block, not both", shorten(words[1].0)))
            .at(at(words[1].1.start..span.start), "nothing stands between `apply` and the block")
            .help(format!("write apply {}", shorten(word)));
    }
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
    if what == "expect json" && words.get(2).is_some_and(|(w, _)| w.matches('[').count() > w.matches(']').count()) {
        return d
            .at(at(words[2].1.start..span.end), "a path with blanks or quotes stands in single quotes")
            .help("write expect json '$.list[?(@.a == \"b\")].c' == TEXT");
    }
    let several = before.last().is_some_and(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    if let (Some(sign @ (">=" | "<=" | ">" | "<")), "expect status" | "expect exit") =
        (before.last().copied(), what.as_str())
    {
        return d
            .at(at(words[before.len() - 1].1.clone()), format!("`{sign}` compares nothing here"))
            .help("write the value itself; 2xx is any status from 200 to 299");
    }
    if matches!(what.as_str(), "expect status" | "expect exit")
        && several
        && word.starts_with(|c: char| c.is_ascii_digit())
    {
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

fn is_time(word: &str) -> bool {
    let number = word.trim_end_matches(char::is_alphabetic);
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// What the statement is called, and its form.
pub(super) fn usage(words: &[(&str, Span)]) -> (String, String) {
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
