//! Habits in `expect` lines, and of modifiers.

use super::rules::{is_expect, what};
use super::{Rewrite, Words};
use crate::diag::suggest::nearest;

fn is_duration(word: &str) -> bool {
    let number = word.trim_end_matches(char::is_alphabetic);
    !number.is_empty() && number != word && number.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn takes_modifiers(words: Words<'_>) -> bool {
    matches!(words.first().map(String::as_str), Some("expect" | "wait"))
}

fn is_modifier(word: &str) -> bool {
    matches!(word, "within" | "every" | "stable" | "because" | "on")
}

/// `within 10s expect status 200`, `expect within 10s status 200`.
pub(super) fn modifier_in_front(words: Words<'_>) -> Option<Rewrite> {
    let at = match words.first()?.as_str() {
        "within" | "every" | "stable" => 0,
        "expect" | "wait" => 1,
        _ => return None,
    };
    let word = words.get(at)?;
    if !is_modifier(word) || words.len() < at + 3 {
        return None;
    }
    let mut new = words.to_vec();
    let moved: Vec<String> = new.drain(at..at + 2).collect();
    new.extend(moved);
    Some(Rewrite { blamed: at..at + 2, why: format!("`{word} …` stands at the end"), words: new })
}

/// Modifiers that stand before the end.
pub(super) fn modifiers_last(words: Words<'_>) -> Option<Rewrite> {
    let (at, what) = what(words)?;
    let lists = matches!(what, "clusters" | "listeners" | "routes" | "only");
    let is = |w: &String| is_modifier(w) && !(lists && w == "on");
    let found = (at + 1..words.len().saturating_sub(2)).find(|i| is(&words[*i]))?;
    let mut new = words.to_vec();
    let moved: Vec<String> = new.drain(found..found + 2).collect();
    let why = format!("`{} …` stands at the end", moved[0]);
    new.extend(moved);
    Some(Rewrite { blamed: found..found + 2, why, words: new })
}

/// `clusters count 3 on sleep`: of lists the proxy stands first.
pub(super) fn lists_proxy(words: Words<'_>) -> Option<Rewrite> {
    let (at, what) = what(words)?;
    if !matches!(what, "clusters" | "listeners" | "routes") {
        return None;
    }
    let on = words.iter().position(|w| w == "on").filter(|on| *on > at + 1 && words.len() > on + 1)?;
    let mut new = words.to_vec();
    let moved: Vec<String> = new.drain(on..on + 2).collect();
    new.splice(at + 1..at + 1, moved);
    Some(Rewrite { blamed: on..on + 2, why: format!("`on NAME` stands behind `{what}`"), words: new })
}

/// `within=10s`, `--within 10s`, `--timeout=10s`.
pub(super) fn modifier_by_option(words: Words<'_>) -> Option<Rewrite> {
    if !takes_modifiers(words) {
        return None;
    }
    let at = words.iter().position(|w| {
        let name = w.trim_start_matches('-').split(['=', ':']).next().unwrap_or("");
        w.len() > name.len()
            && matches!(name, "within" | "timeout" | "every" | "interval" | "stable" | "because" | "on" | "retry")
    })?;
    let (name, value) = match words[at].trim_start_matches('-').split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (words[at].trim_start_matches('-'), None),
    };
    let name = match name {
        "timeout" | "retry" => "within",
        "interval" => "every",
        other => other,
    };
    let with: Vec<&str> = [name].into_iter().chain(value.filter(|v| !v.is_empty())).collect();
    Some(Rewrite::replace(words, at..at + 1, &with, format!("write `{name} …`")))
}

/// `timeout 10s`, `for 10s`, `after 10s`, `up to 10s`.
pub(super) fn modifier_by_word(words: Words<'_>) -> Option<Rewrite> {
    if !takes_modifiers(words) {
        return None;
    }
    let value = (2..words.len()).rfind(|i| is_duration(&words[*i]))?;
    let before = words[value - 1].as_str();
    if matches!(before, "within" | "every" | "stable" | "<" | "<=" | ">" | ">=" | "time") {
        return None;
    }
    let guessed = ["timeout", "for", "after", "in", "during", "under", "until", "to", "max", "wait", "least"];
    if !guessed.contains(&before) {
        return None;
    }
    let start = if value > 2 && matches!(words[value - 2].as_str(), "up" | "at") { value - 2 } else { value - 1 };
    Some(Rewrite::replace(words, start..value, &["within"], "how long it is tried is said by `within`"))
}

/// `10 s`, `3 times`, `10 seconds`.
pub(super) fn unit_apart(words: Words<'_>) -> Option<Rewrite> {
    if !takes_modifiers(words) {
        return None;
    }
    let at = (2..words.len()).find(|i| {
        words[i - 1].chars().all(|c| c.is_ascii_digit())
            && matches!(
                words[*i].as_str(),
                "s" | "sec"
                    | "secs"
                    | "second"
                    | "seconds"
                    | "초"
                    | "m"
                    | "min"
                    | "minutes"
                    | "분"
                    | "ms"
                    | "x"
                    | "times"
                    | "번"
                    | "회"
            )
    })?;
    let unit = match words[at].as_str() {
        "m" | "min" | "minutes" | "분" => "m",
        "ms" => "ms",
        "x" | "times" | "번" | "회" => "x",
        _ => "s",
    };
    let joined = format!("{}{unit}", words[at - 1]);
    Some(Rewrite::replace(words, at - 1..at + 1, &[&joined], "a number and its unit are one word"))
}

/// `status == 200`, `status: 200`, `exit code 35`, `tls version 1.3`, `status != 200`.
pub(super) fn sign_behind_expectation(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    let (word, colon) = match word.strip_suffix([':', '=']) {
        Some(word) => (word, true),
        None => (word, false),
    };
    let word = word.trim_end_matches('=');
    if !matches!(word, "status" | "exit" | "ssl_verify" | "tls" | "via" | "peer" | "listener" | "secret" | "blocked") {
        return None;
    }
    if colon {
        return Some(Rewrite::replace(words, at..at + 1, &[word], "no sign stands here"));
    }
    let sign = words.get(at + 1)?.as_str();
    match sign {
        "=" | "==" | "===" | ":" | ":=" | "is" | "eq" | "equals" | "equal" | "code" | "version" | "be" | "to"
        | "of" | "id" | "port" | "result" | "in" | "gateway" | "name" => {
            Some(Rewrite::replace(words, at + 1..at + 2, &[], "nothing stands between the word and its value"))
        }
        "!=" | "not" | "<>" | "isn't" | "ne" => {
            let mut new = words.to_vec();
            new.remove(at + 1);
            if at == 1 {
                new.insert(1, "no".into());
            }
            Some(Rewrite {
                blamed: at + 1..at + 2,
                why: "`no` behind `expect` says that it does not hold".into(),
                words: new,
            })
        }
        _ => None,
    }
}

/// `200, 301`, `200 301`, `200 / 301`, `[200, 301]`.
pub(super) fn several_values(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    if !matches!(word, "status" | "exit") {
        return None;
    }
    let end = (at + 1..words.len()).find(|i| is_modifier(&words[*i])).unwrap_or(words.len());
    let values: Vec<String> = words[at + 1..end]
        .iter()
        .flat_map(|w| w.split([',', '|', '/', '[', ']', '(', ')', ';']).map(str::to_string).collect::<Vec<_>>())
        .filter(|w| !w.is_empty() && !matches!(w.as_str(), "or" | "and" | "||" | "또는"))
        .collect();
    let fits = |w: &String| w.len() <= 3 && w.starts_with(|c: char| c.is_ascii_digit());
    if values.len() < 2 || !values.iter().all(fits) {
        return None;
    }
    let joined = values.join(" or ");
    let mut new = words[..=at].to_vec();
    new.extend(joined.split(' ').map(str::to_string));
    new.extend_from_slice(&words[end..]);
    Some(Rewrite { blamed: at + 1..end, why: "`or` stands between several".into(), words: new })
}

pub(super) fn blocked_by(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    if word != "blocked" {
        return None;
    }
    let end = (at + 1..words.len()).find(|i| is_modifier(&words[*i])).unwrap_or(words.len());
    let from = match words.get(at + 1).map(String::as_str)? {
        "by" | "with" | "from" | "reason" | "via" => at + 2,
        "due" | "because" => at + 3,
        _ => at + 1,
    };
    if from >= end {
        return None;
    }
    let cause = words[from..end].join("-");
    Some(Rewrite::replace(words, at + 1..end, &["by", &cause], "a cause stands behind `by`, as one word"))
}

/// `=>`, `-->`, `>`, `,` or nothing, where `->` stands.
pub(super) fn arrows(words: Words<'_>) -> Option<Rewrite> {
    let from = match (words.first()?.as_str(), what(words)) {
        ("cut", _) => 1,
        (_, Some((at, "path"))) => at + 1,
        _ => return None,
    };
    let end = (from..words.len())
        .find(|i| matches!(words[*i].as_str(), "within" | "every" | "stable" | "because" | "refuse"))
        .unwrap_or(words.len());
    let arrow = |w: &str| {
        !w.is_empty() && (w.chars().all(|c| "-=>~|,·⇒➜➔⟶→»".contains(c)) || matches!(w, "to" | "then" | "via" | "from"))
    };
    let blamed = (from..end).find(|i| {
        let w = words[*i].as_str();
        (arrow(w) && !matches!(w, "->" | "→")) || w.ends_with(',') || w.contains("->") && w.len() > 2
    });
    let apart = words[from..end].join(" ").replace("-->", "->").replace("->", " -> ").replace(',', " , ");
    let stops: Vec<&str> = apart.split_whitespace().filter(|w| !arrow(w)).collect();
    if stops.len() < 2 {
        return None;
    }
    let joined = stops.join(" -> ");
    let mut new = words[..from].to_vec();
    new.extend(joined.split(' ').map(str::to_string));
    new.extend_from_slice(&words[end..]);
    let blamed = blamed.map_or(from + 1..(from + 2).min(end), |i| i..i + 1);
    Some(Rewrite { blamed, why: "stops are joined by `->`, with blanks around it".into(), words: new })
}

/// `via gateway 443`, `cluster host port 443`.
pub(super) fn port_apart(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    if !matches!(word, "via" | "cluster" | "endpoint" | "route") {
        return None;
    }
    let host = words.get(at + 1).filter(|w| !matches!(w.as_str(), "count" | "fewer" | "same" | "on" | "less"))?;
    let port = match words.get(at + 2)?.as_str() {
        "port" | ":" => at + 3,
        _ => at + 2,
    };
    let number = words.get(port).filter(|w| w.trim_start_matches(':').chars().all(|c| c.is_ascii_digit()))?;
    let joined = format!("{}:{}", host.trim_end_matches(':'), number.trim_start_matches(':'));
    let at = at + 1;
    Some(Rewrite {
        blamed: at + 1..port + 1,
        why: "a port is joined to its host by `:`".into(),
        words: Rewrite::replace(words, at..port + 1, &[&joined], "").words,
    })
}

fn takes_text(word: &str) -> bool {
    matches!(word, "header" | "body" | "stdout" | "stderr" | "json" | "certificate" | "log")
}

/// Where the operator of a text stands: behind the name, if the expectation has one.
fn operator_at(words: Words<'_>) -> Option<usize> {
    let (at, word) = what(words)?;
    match word {
        "header" | "json" | "certificate" | "log" => Some(at + 2),
        "body" | "stdout" | "stderr" => Some(at + 1),
        _ => None,
    }
}

/// `header server: envoy`.
pub(super) fn colon_behind_header(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    let name = words.get(at + 1).filter(|_| word == "header")?.strip_suffix([':', '='])?;
    (words.len() > at + 2)
        .then(|| Rewrite::replace(words, at + 1..at + 2, &[name, "=="], "`==` stands before the value"))
}

/// Those that a slip may have meant.
const OPERATORS: [&str; 2] = ["contains", "matches"];

pub(super) fn operator(words: Words<'_>) -> Option<Rewrite> {
    let (_, word) = what(words)?;
    let at = operator_at(words)?;
    let written = words.get(at)?.as_str();
    let meant = match written {
        "=" | "===" | ":" | "is" | "equals" | "equal" | "eq" | "be" if word != "log" => "==",
        "includes" | "include" | "containing" | "contain" | "has" | "with" | "having" | "~" | "like" | "==" | "=" => {
            "contains"
        }
        "=~" | "~=" | "match" | "regex" | "matching" => "matches",
        "==*" | "contains" | "matches" => return None,
        "!=" | "not" => {
            let mut new = words.to_vec();
            new[at] = "==".into();
            new.insert(1, "no".into());
            let why = "`no` behind `expect` says that it does not hold".into();
            return (words[1] != "no").then_some(Rewrite { blamed: at..at + 1, why, words: new });
        }
        _ if is_modifier(written) => return None,
        _ => {
            // A slip, where a text stands behind it.
            let text_follows = words.get(at + 1).is_some_and(|w| !is_modifier(w));
            if let Some(near) = nearest(written, OPERATORS).filter(|_| text_follows) {
                return Some(Rewrite::replace(words, at..at + 1, &[near], format!("write `{near}`")));
            }
            // No operator at all.
            let meant = match word {
                "header" | "json" => "==",
                _ => "contains",
            };
            let mut new = words.to_vec();
            new.insert(at, meant.into());
            return Some(Rewrite { blamed: at..at + 1, why: format!("`{meant}` stands before the text"), words: new });
        }
    };
    (meant != written).then(|| Rewrite::replace(words, at..at + 1, &[meant], format!("write `{meant}`")))
}

/// `matches url`.
pub(super) fn regex_without_slashes(words: Words<'_>) -> Option<Rewrite> {
    let at = words.iter().position(|w| w == "matches").filter(|_| is_expect(words))? + 1;
    let word = words.get(at).filter(|w| !w.starts_with('/') && !w.starts_with("<<"))?;
    let regex = format!("/{}/", word.trim_matches(['"', '\'']).replace('/', "\\/"));
    Some(Rewrite::replace(words, at..at + 1, &[&regex], "a regex stands between slashes"))
}

/// `certificate httpbin.org`, `certificate cn a`.
pub(super) fn certificate_field(words: Words<'_>) -> Option<Rewrite> {
    let (at, _) = what(words).filter(|(_, w)| *w == "certificate")?;
    let field = words.get(at + 1)?;
    let meant = match field.to_lowercase().as_str() {
        "san" | "subject" | "issuer" => return None,
        "sans" | "dns" | "name" | "host" | "subjectaltname" => "san",
        "cn" | "commonname" => "subject",
        "ca" | "from" | "by" => "issuer",
        _ if words.len() == at + 2 => {
            let mut new = words.to_vec();
            new.insert(at + 1, "san".into());
            let why = "which part of it: `san`, `subject` or `issuer`".into();
            return Some(Rewrite { blamed: at + 1..at + 2, why, words: new });
        }
        _ => return None,
    };
    Some(Rewrite::replace(words, at + 1..at + 2, &[meant], format!("write `{meant}`")))
}

/// `rejected with hosts`, `analysis ok`.
pub(super) fn rejected_and_analysis(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    let next = words.get(at + 1)?.as_str();
    let meant = match (word, next) {
        ("rejected", "with" | "contains" | "by" | "because" | "matching" | "==" | "for") => "containing",
        ("analysis", "ok" | "none" | "empty" | "passes" | "pass" | "success" | "green") => "clean",
        ("analysis", "has" | "containing" | "includes" | "with" | "==") => "contains",
        _ => return None,
    };
    Some(Rewrite::replace(words, at + 1..at + 2, &[meant], format!("write `{meant}`")))
}

/// `expect not blocked`, `expect that status 200`.
pub(super) fn filler(words: Words<'_>) -> Option<Rewrite> {
    let next = words.get(1).filter(|_| is_expect(words))?.as_str();
    match next {
        "not" | "!" | "never" => Some(Rewrite::replace(words, 1..2, &["no"], "`no` says that it does not hold")),
        "that" | "the" | "to" | "a" | "an" | "for" => {
            Some(Rewrite::replace(words, 1..2, &[], "not a word of this language"))
        }
        _ if next.len() > 1 && next.starts_with('!') => {
            Some(Rewrite::replace(words, 1..2, &["no", &next[1..]], "`no` says that it does not hold"))
        }
        _ => None,
    }
}

/// Several words behind `contains`, `==`, `because`.
pub(super) fn text_without_quotes(words: Words<'_>) -> Option<Rewrite> {
    let (_, word) = what(words)?;
    let because = words.iter().position(|w| w == "because");
    let operator = (takes_text(word) || word == "rejected")
        .then(|| words.iter().position(|w| matches!(w.as_str(), "contains" | "==" | "containing")));
    let at = because.or(operator.flatten())? + 1;
    let end =
        (at..words.len()).skip(1).find(|i| matches!(words[*i].as_str(), "within" | "every" | "stable" | "because"));
    let end = end.unwrap_or(words.len());
    if end < at + 2 || words[at..end].iter().any(|w| w.contains(['"', '\''])) {
        return None;
    }
    let quoted = format!("\"{}\"", words[at..end].join(" "));
    Some(Rewrite::replace(words, at..end, &[&quoted], "a text of several words stands in quotes"))
}

/// `less than`, `<`, `fewer 10`, `= 10`.
pub(super) fn fewer_than(words: Words<'_>) -> Option<Rewrite> {
    let (at, word) = what(words)?;
    if !matches!(word, "clusters" | "listeners" | "routes" | "cluster" | "listener" | "route") {
        return None;
    }
    let plural = match word.ends_with('s') {
        true => word.to_string(),
        false => format!("{word}s"),
    };
    let sign = (at + 1..words.len()).find(|i| {
        let w = words[*i].as_str();
        matches!(
            w,
            "<" | "less" | "smaller" | "below" | "under" | "fewer" | "==" | "=" | "equals" | "is" | "count" | "same"
        ) || word.ends_with('s') && w.chars().all(|c| c.is_ascii_digit())
    })?;
    // Of one listener or cluster nothing is counted: only where the comparison stands right behind it, lists are meant.
    if !word.ends_with('s') && sign != at + 1 && words.get(at + 1).is_none_or(|w| w != "on") {
        return None;
    }
    let value = words.last().filter(|_| sign < words.len())?;
    let compare: Vec<&str> = match words[sign].as_str() {
        "count" => vec!["count"],
        "same" => vec!["same", "as"],
        "==" | "=" | "equals" | "is" if value.contains("${") => vec!["same", "as"],
        "==" | "=" | "equals" | "is" => vec!["count"],
        w if w.chars().all(|c| c.is_ascii_digit()) => vec!["count"],
        _ => vec!["fewer", "than"],
    };
    let fits = value.chars().all(|c| c.is_ascii_digit()) || value.starts_with("${");
    if !fits {
        return None;
    }
    let mut new = words[..sign].to_vec();
    new[at] = plural;
    new.extend(compare.iter().map(|w| w.to_string()));
    new.push(value.clone());
    let why = match compare[0] {
        "count" => "a number stands behind `count`",
        "same" => "write `same as`",
        _ => "write `fewer than`",
    };
    (new != words).then(|| Rewrite { blamed: sign..words.len().max(sign + 1), why: why.into(), words: new })
}
