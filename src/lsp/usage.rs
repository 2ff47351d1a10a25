//! How statements are written, read from the vocabulary's own usage lines: what can stand behind a word. New constructs
//! are completed by what the vocabulary says of them.

/// What can stand at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// This very word.
    Word(String),
    /// A value of some kind: `HOST`, `FILE`, `PROXY`.
    Value(String),
}

/// Names of values in usage lines; other words in capitals stand for themselves (`REGISTRY_ONLY`).
const VALUES: &[&str] = &[
    "FILE",
    "NAME",
    "KIND",
    "WORKLOAD",
    "PROXY",
    "HOST",
    "PORT",
    "GATEWAY",
    "TEXT",
    "WORD",
    "COMMAND",
    "NAMESPACE",
    "CONTAINER",
    "CONDITION",
    "REGEX",
    "N",
    "X",
    "A",
    "B",
    "P",
    "W",
    "V",
    "WHAT",
    "CLIENT",
    "TITLE",
    "PARAMETER",
    "FACT",
    "ACCOUNT",
    "TRUST-DOMAIN",
    "SYMPTOM",
    "CAUSE",
    "MEND",
    "VALUE",
    "PATH",
    "SOURCE",
    "CODE",
    "MODE",
    "TAG",
    "SUBSET",
    "ID",
    "HEADER",
    "VERSION",
    "FIELD",
    "REASON",
];

/// A usage line as the places of its words, each with its alternatives; one list for each way of writing it.
pub fn ways(usage: &str) -> Vec<Vec<Vec<Slot>>> {
    usage
        .split(", or ")
        .map(|way| way.split_whitespace().map(slots).filter(|slots| !slots.is_empty()).collect())
        .collect()
}

fn slots(word: &str) -> Vec<Slot> {
    let bare = word.trim_matches(|c: char| "[](),…\"/".contains(c));
    bare.split('|')
        .flat_map(|part| part.split(':').next())
        .map(|part| part.trim_matches(|c: char| "[](),…\"/".contains(c)))
        .filter(|part| !part.is_empty() && *part != "=" && *part != "each" && *part != "a")
        .map(|part| match VALUES.contains(&part) || part.starts_with("${") || part.contains('.') {
            true => Slot::Value(part.split('.').next().unwrap_or(part).to_owned()),
            false => Slot::Word(part.to_owned()),
        })
        .collect()
}

/// What can stand behind `word` in a usage line, and whether one of it must.
pub fn behind(usage: &str, word: &str) -> (Vec<Slot>, bool) {
    let mut out = vec![];
    let mut must = false;
    for way in usage.split(", or ").chain(std::iter::once(usage)) {
        let words: Vec<&str> = way.split_whitespace().collect();
        for index in 0..words.len() {
            if slots(words[index]).contains(&Slot::Word(word.to_owned())) {
                must |= following(&words[index + 1..], &mut out);
            }
        }
    }
    out.sort();
    out.dedup();
    (out, must)
}

/// The first words of what follows: of each group in brackets, up to and with the first word outside of them.
fn following(words: &[&str], out: &mut Vec<Slot>) -> bool {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        // What was begun before ends here, or another way of writing it begins.
        if *word == "|" || word.ends_with(']') && !word.contains('[') && slots(word).is_empty() {
            return false;
        }
        let first = slots(word);
        let literal = first.iter().any(|slot| matches!(slot, Slot::Word(_)));
        let optional = word.starts_with(['[', '(']);
        let end = match optional {
            true => words[index..]
                .iter()
                .position(|word| word.trim_end_matches(',').ends_with([']', ')']))
                .map_or(words.len(), |n| index + n + 1),
            false => words.len(),
        };
        // `[== TEXT | contains TEXT]`, `count N | fewer than X`.
        let others =
            words[index..end].windows(2).filter(|pair| literal && pair[0] == "|").flat_map(|pair| slots(pair[1]));
        let others: Vec<Slot> = others.collect();
        let some = !first.is_empty();
        out.extend(first.into_iter().chain(others));
        if !optional && some {
            return true;
        }
        index = if optional { end } else { index + 1 };
        // The bracket around what was asked about closes: what follows may stand, and need not.
        if !optional && word.ends_with(']') {
            return false;
        }
    }
    false
}

/// Every word of a usage line that stands for itself, behind the first `skip`.
pub fn words(usage: &str, skip: usize) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for way in ways(usage) {
        for slot in way.into_iter().skip(skip).flatten() {
            if let Slot::Word(word) = slot
                && !out.contains(&word)
            {
                out.push(word);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Slot {
        Slot::Word(text.into())
    }

    fn value(text: &str) -> Slot {
        Slot::Value(text.into())
    }

    #[test]
    fn usage_lines_say_what_comes_next() {
        let listener = "expect listener PORT [on PROXY] [FACT…]";
        assert_eq!(behind(listener, "listener"), (vec![value("PORT")], true));
        assert_eq!(behind(listener, "on"), (vec![value("PROXY")], true));
        let blocked = "expect blocked [by REGISTRY_ONLY|sidecar-scope]";
        assert_eq!(behind(blocked, "blocked"), (vec![word("by")], false));
        assert_eq!(behind(blocked, "by"), (vec![word("REGISTRY_ONLY"), word("sidecar-scope")], true));
        assert_eq!(behind("mode PASSTHROUGH|SIMPLE", "mode"), (vec![word("PASSTHROUGH"), word("SIMPLE")], true));
        assert_eq!(behind("expect via GATEWAY[:PORT]", "via"), (vec![value("GATEWAY")], true));
        let lists = "expect clusters [on PROXY] count N | fewer than X | same as X";
        assert_eq!(behind(lists, "clusters"), (["count", "fewer", "on", "same"].map(word).to_vec(), true));
        assert_eq!(behind(lists, "count"), (vec![value("N")], true));
        assert_eq!(behind("expect header NAME [== TEXT | contains TEXT]", "contains"), (vec![value("TEXT")], true));
        assert_eq!(words("expect header NAME [== TEXT | contains TEXT]", 2), ["==", "contains"]);
    }
}
