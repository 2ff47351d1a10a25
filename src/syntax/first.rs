//! What is seen from a line's first words alone: verbs and expectations that are none, or that other tools have; characters
//! that an ordinary keyboard does not write; signs of other languages.

use super::ast::Span;
use super::cut::first_word;
use super::habit;
use super::keyboard;
use super::mistake::{At, shorten, usage, words};
use super::repair::repair;
use super::vocabulary::*;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place};

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
            "within" if text.contains(" expect ") => explain_words(text, offset, place),
            _ => None,
        };
    }
    if let Some(d) = odd_blank(verb, offset, place) {
        return Some(d);
    }
    if let Some(d) = habit::wide_verb(verb, at(&first)) {
        return Some(d);
    }
    if let Some(d) = typed_otherwise(verb, text, &at) {
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

/// What parses and is hardly meant: `for x in [a, b]:`, `set x = [a, b]`, `apply <<"YAML"`.
pub(super) fn signs(text: &str, offset: usize, place: At<'_>) -> Option<Diagnostic> {
    let at = |span: &Span| place(offset + span.start..offset + span.end);
    match text.as_bytes().first()? {
        b'f' if text.starts_with("for ") && !text.contains('\n') => for_signs(text, &at),
        b's' if text.starts_with("set ") && text.contains([',', '[', '(', ';']) => set_signs(text, &at),
        b'a' | b'p' if (text.starts_with("apply ") || text.starts_with("patch ")) && text.contains("<<") => {
            heredoc_form(text, &at)
        }
        _ => None,
    }
}

/// Signs of other languages around the words of a `for`.
fn for_signs(text: &str, at: &dyn Fn(&Span) -> Place) -> Option<Diagnostic> {
    let (sign, meant) = habit::for_signs(&words(text))?;
    let shown = shorten(&text[sign.clone()]);
    Some(
        Diagnostic::error("E0107", format!("unexpected `{shown}` in `for`"))
            .at(
                at(&sign),
                "words stand side by side, without brackets, commas and signs; a line `end` closes the block",
            )
            .help(format!("write {meant}")),
    )
}

fn set_signs(text: &str, at: &dyn Fn(&Span) -> Place) -> Option<Diagnostic> {
    let (sign, meant) = habit::set_signs(&words(text))?;
    let shown = shorten(&text[sign.clone()]);
    Some(
        Diagnostic::error("E0107", format!("unexpected `{shown}` in `set`"))
            .at(at(&sign), "words stand side by side, without brackets and commas")
            .help(format!("write {meant}")),
    )
}

/// `<<"YAML"`, `<< YAML`: no block is opened, and its lines would be read as steps.
fn heredoc_form(text: &str, at: &dyn Fn(&Span) -> Place) -> Option<Diagnostic> {
    let words = words(text);
    let (index, (word, span)) = words.iter().enumerate().find(|(_, (w, _))| w.starts_with("<<"))?;
    if word.contains('\n') || index + 2 < words.len() {
        return None;
    }
    let tag = match words.get(index + 1) {
        Some((tag, _)) if *word == "<<" => tag,
        None => word.trim_start_matches(['<', '-', '~']),
        _ => return None,
    };
    let tag = tag.trim_matches(['"', '\'']);
    if tag.is_empty() || !word.contains(['"', '-', '~']) && *word != "<<" {
        return None;
    }
    let end = words.last().map_or(span.end, |(_, s)| s.end);
    Some(
        Diagnostic::error("E0107", format!("`{}` opens no block", shorten(&text[span.start..end])))
            .at(at(&(span.start..end)), format!("write `<<{tag}`: the closing word may be indented"))
            .help(format!("write <<{tag}, or <<'{tag}' where `${{…}}` is not replaced; {tag} alone closes it")),
    )
}

/// A first word that an ordinary English keyboard would have written otherwise.
fn typed_otherwise(verb: &str, text: &str, at: &dyn Fn(&Span) -> Place) -> Option<Diagnostic> {
    let first = 0..verb.len();
    if let Some(ordinary) = habit::ordinary(verb)
        && let Some((sign, what)) = [("#", "a comment"), ("|", "a row of a table"), ("\"\"\"", "a text")]
            .into_iter()
            .find(|(sign, _)| ordinary.starts_with(sign))
    {
        let first = 0..verb.chars().next().map_or(0, char::len_utf8);
        return Some(
            Diagnostic::error("E0108", format!("{what} starts with an ordinary `{sign}`"))
                .at(at(&first), "a full-width character")
                .help(format!("write {sign}; switch the keyboard to half-width letters")),
        );
    }
    if let Some(meant) = keyboard::in_english(verb).filter(|w| find_verb(w).is_some()) {
        return Some(
            Diagnostic::error("E0104", format!("unknown verb `{}`", shorten(verb)))
                .at(at(&first), format!("`{meant}`, typed with the keyboard in Korean"))
                .help(format!("switch the keyboard to English, and write {meant}")),
        );
    }
    if verb.starts_with("```") {
        return Some(
            Diagnostic::error("E0104", "a fence of Markdown")
                .at(at(&first), "a scenario file holds the steps alone")
                .help("remove this line"),
        );
    }
    let cells = words(text).iter().filter(|(w, _)| *w == "|").count();
    (cells > 0 && !verb.starts_with('|') && find_verb(&verb.to_lowercase()).is_none() && !is_guessed(verb)).then(|| {
        Diagnostic::error("E0104", format!("unknown verb `{}`", shorten(verb)))
            .at(at(&first), "a row of a table?")
            .help(format!("a row starts and ends with `|`: | {} |", shorten(text.trim_matches(['|', ' ']))))
    })
}

fn is_guessed(verb: &str) -> bool {
    GUESSED_VERBS.iter().any(|(w, _)| *w == verb.to_lowercase())
}

/// A line as it was probably meant.
fn explain_words(text: &str, offset: usize, place: At<'_>) -> Option<Diagnostic> {
    let words = words(text);
    repair(&usage(&words).0, text, &words, offset, place)
}

/// A blank that is none makes two words one: then neither is known.
fn odd_blank(word: &str, offset: usize, place: At<'_>) -> Option<Diagnostic> {
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}');
    let (at, c) = word.char_indices().find(|(_, c)| c.is_whitespace() || hidden(*c))?;
    if hidden(c) {
        return Some(
            Diagnostic::error("E0108", format!("the character U+{:04X} cannot be seen", c as u32))
                .at(place(offset + at..offset + at + c.len_utf8()), "here")
                .help("delete it"),
        );
    }
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
    if let Some(d) = explain_words(text, offset, place).filter(|_| is_near_expectation(word)) {
        return Some(d);
    }
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
    if lower.starts_with("http/") {
        let code = words.get(index + 1).map_or("200", |(w, _)| *w);
        return Some(
            d.at(at(span), "the status alone is compared").help(format!("write expect status {}", shorten(code))),
        );
    }
    if let Some((_, meant)) = GUESSED_EXPECTATIONS.iter().find(|(w, _)| *w == *word || *w == lower) {
        return Some(d.at(at(span), "not a word of this language").help(format!("write {meant}")));
    }
    if let Some(meant) = keyboard::in_english(word).filter(|w| EXPECTATIONS.iter().any(|(known, _)| known == w)) {
        return Some(
            d.at(at(span), format!("`{meant}`, typed with the keyboard in Korean"))
                .help(format!("switch the keyboard to English, and write expect {meant} …")),
        );
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

/// A modifier in front, an expectation with a sign behind it or in full-width letters: the rest of the line says more.
fn is_near_expectation(word: &str) -> bool {
    let bare = word.trim_end_matches([':', '=']);
    MODIFIERS.iter().any(|(w, _)| *w == word)
        || matches!(word, "not" | "that" | "to" | "the")
        || word.starts_with('!')
        || bare != word && EXPECTATIONS.iter().any(|(w, _)| *w == bare)
        || habit::ordinary(word).is_some()
}
