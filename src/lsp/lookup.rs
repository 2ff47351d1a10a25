//! What the word at the cursor stands for: for hover and go-to-definition.

use super::cursor::Cursor;
use super::known::{Kind, Thing, Things};
use super::meaning::{Role, meaning};
use super::names;
use crate::diag::Place;
use crate::explain::Language;
use crate::plan::{Identity, ManifestObject};
use crate::syntax::{Parsed, Span, vocabulary};
use unicode_normalization::UnicodeNormalization;

/// What a word is.
#[derive(Debug, Clone)]
pub struct Found {
    pub span: Span,
    /// Markdown.
    pub text: String,
    /// Where it is defined; none for words of the language itself.
    pub places: Vec<Place>,
}

/// What lookups rest on.
pub struct Around<'a> {
    pub parsed: &'a Parsed,
    pub things: &'a Things,
    pub language: Language,
    /// Files of named steps that the scenario includes.
    pub included: &'a [Parsed],
    /// The text of a file that `include` names, and where it starts.
    pub step_file: &'a dyn Fn(&str) -> Option<Place>,
    /// The objects of the files that a word of `apply` names.
    pub files: &'a dyn Fn(&str) -> Vec<ManifestObject>,
}

pub fn lookup(around: &Around<'_>, cursor: &Cursor) -> Option<Found> {
    let text = &around.parsed.source.text;
    if cursor.word.is_empty() {
        return None;
    }
    if let Some((span, name)) = cursor.variable(text) {
        return variable(around, span, name);
    }
    let words = cursor.all(text);
    let word = words[cursor.index];
    let verb = words[0];
    let span = cursor.word.clone();
    let found = |text: String, places| Some(Found { span: span.clone(), text, places });
    let told = |role, usage: &str| {
        let meaning = meaning(role, word, around.language).unwrap_or_default();
        found(format!("```egress\n{usage}\n```\n{meaning}"), vec![])
    };
    if cursor.index == 0 {
        return vocabulary::find_verb(word).and_then(|entry| told(Role::Verb, entry.usage));
    }
    let bare = word.trim_matches(['"', '\'']);
    if verb == "expect" {
        let first = if words[1] == "no" { 2 } else { 1 };
        if cursor.index == first {
            let (_, usage) = vocabulary::EXPECTATIONS.iter().find(|(known, _)| *known == word)?;
            return told(Role::Expectation, usage);
        }
        for (role, table) in [(Role::Fact, vocabulary::FACTS), (Role::Modifier, vocabulary::MODIFIERS)] {
            if let Some((_, usage)) = table.iter().find(|(known, _)| *known == word) {
                return told(role, usage);
            }
        }
    }
    if verb == "do" && cursor.index == 1 {
        return steps(around, span, word);
    }
    if verb == "include" && cursor.index == 1 {
        let place = (around.step_file)(bare)?;
        return found(format!("`{}`", place.source.name), vec![place]);
    }
    if let Some(meaning) = meaning(Role::Value, word, around.language) {
        return found(format!("`{word}` — {meaning}"), vec![]);
    }
    if matches!(verb, "apply" | "delete") || verb == "set" && cursor.index > 2 {
        let objects = (around.files)(bare);
        if !objects.is_empty() {
            return found(objects.iter().map(object_line).collect(), first_places(&objects));
        }
    }
    let before = words[cursor.index - 1];
    let kinds: &[Kind] = match before {
        "subset" => &[Kind::Subset],
        "namespace" | "in" => &[Kind::Namespace],
        // `KIND NAME`.
        _ if matches!(verb, "delete" | "patch" | "wait") && cursor.index == 2 => &[Kind::Object],
        _ if verb == "expect" && words.contains(&"resource") && !matches!(before, "resource" | "in") => &[Kind::Object],
        _ if verb == "capture" && cursor.index == 4 => &[Kind::Object, Kind::Workload],
        _ => &[Kind::Host, Kind::Workload, Kind::Port, Kind::Namespace],
    };
    let mut things = resolve(around.things, kinds, bare, verb == "exec" && cursor.index > 1);
    if kinds.contains(&Kind::Object) {
        let of = |thing: &&Thing| thing.object.split(' ').next().unwrap_or("").to_lowercase();
        let kind = before.to_lowercase();
        things.retain(|thing| of(thing) == kind || of(thing) == kind.trim_end_matches('s'));
    }
    if things.is_empty() {
        return None;
    }
    let lines = things.iter().map(|thing| {
        let ports: Vec<String> = thing.ports.iter().map(u64::to_string).collect();
        let ports = if ports.is_empty() { String::new() } else { format!(", {}", ports.join(" ")) };
        format!("- {} ({}:{}{ports})\n", thing.object, thing.place.source.name, thing.place.line())
    });
    let places = things.iter().map(|thing| thing.place.clone()).collect();
    found(format!("`{bare}`\n{}", lines.collect::<String>()), places)
}

/// The things that a word names: a host with or without its port, a URL's host, a workload with or without its namespace.
fn resolve<'t>(things: &'t [Thing], kinds: &[Kind], word: &str, command: bool) -> Vec<&'t Thing> {
    let host = match word.split_once("://") {
        Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or(""),
        None => word,
    };
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let workload = word.trim_start_matches("deploy/");
    let workload = workload.rsplit_once(':').map_or(workload, |(name, _)| name);
    let fits = |thing: &&Thing| {
        kinds.contains(&thing.kind)
            && match thing.kind {
                Kind::Host => {
                    thing.name == host
                        || thing.name.strip_prefix('*').is_some_and(|end| end.len() > 1 && host.ends_with(end))
                }
                // In a command only URLs are looked at: its words are not the scenario's.
                _ if command => false,
                Kind::Workload => match workload.split_once('.') {
                    Some((name, namespace)) => thing.name == name && thing.namespace.as_deref() == Some(namespace),
                    None => thing.name == workload,
                },
                Kind::Subset | Kind::Namespace | Kind::Port | Kind::Object => thing.name == word,
            }
    };
    things.iter().filter(fits).collect()
}

/// Named steps: the statement that names them, here or in an included file.
fn steps(around: &Around<'_>, span: Span, word: &str) -> Option<Found> {
    let all = std::iter::once(around.parsed).chain(around.included);
    let word = word.nfc().collect::<String>();
    all.flat_map(|parsed| names::steps(parsed).map(move |found| (parsed, found)))
        .find(|(_, (name, ..))| name.text == word)
        .map(|(parsed, (name, _, statement))| Found {
            span,
            text: format!("```egress\n{}\n```", &parsed.source.text[statement.clone()]),
            places: vec![Place { source: parsed.source.clone(), span: name.span.clone() }],
        })
}

fn variable(around: &Around<'_>, span: Span, name: &str) -> Option<Found> {
    let parsed = around.parsed;
    let place = |span: &Span| Place { source: parsed.source.clone(), span: span.clone() };
    let known = names::at(parsed, span.start);
    if let Some(known) = known.iter().rev().find(|known| known.name.text == name) {
        let statement = &parsed.source.text[known.statement.clone()];
        return Some(Found {
            span,
            text: format!("```egress\n{statement}\n```"),
            places: vec![place(&known.name.span)],
        });
    }
    let tables = names::table_names(parsed, span.start);
    let (_, at) = tables.iter().rev().find(|(known, _)| known == name)?;
    Some(Found { span, text: format!("```egress\n| {name} |\n```"), places: vec![place(at)] })
}

fn object_line(object: &ManifestObject) -> String {
    let Identity { kind, namespace, name, .. } = &*object.identity;
    let slash = if namespace.is_empty() { "" } else { "/" };
    let at = format!("{}:{}", object.place.source.name, object.place.line());
    format!("- {kind} {namespace}{slash}{name} ({at})\n")
}

/// The start of each file, once.
fn first_places(objects: &[ManifestObject]) -> Vec<Place> {
    let mut out: Vec<Place> = vec![];
    for object in objects {
        if !out.iter().any(|place| place.source.name == object.place.source.name) {
            let start = object.place.span.start;
            out.push(Place { source: object.place.source.clone(), span: start..start });
        }
    }
    out
}
