//! A field that does not exist: misspelt, indented too much or too little, or of another kind.

use super::known::Known;
use super::place;
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use crate::plan::ManifestObject;
use serde_json::Value;

/// More fields than this are not listed.
const LISTED: usize = 14;

pub fn unknown(object: &ManifestObject, pointer: &str) -> Diagnostic {
    let (above, name) = place::split(pointer);
    let kind = object.body.get("kind").and_then(Value::as_str).unwrap_or("object");
    let whose = match place::path(above) {
        path if path.is_empty() => format!("a {kind}"),
        path => format!("`{path}`"),
    };
    let d = Diagnostic::error("E0311", format!("`{name}` is no field of {whose}"));
    let at = place::of_key(object, pointer);
    let Some(known) = Known::at(object, above) else { return d.at(at, "no such field") };
    if let Some(near) = nearest(&name, known.fields()) {
        let there = object.body.pointer(&format!("{above}/{near}")).is_some();
        return match there {
            false => d.at(at, format!("did you mean `{near}`?")),
            true => d.at(at, "no such field").help(format!("`{near}` is already given here: remove one of the two")),
        };
    }
    if let Some(owner) = owner_above(object, above, &name) {
        let path = place::path(&owner);
        let of = if path.is_empty() { format!("the {kind} itself") } else { format!("`{path}`") };
        return d.at(at, format!("is a field of {of}: indent it less"));
    }
    if let Some((owner, list)) = owner_below(known, &name) {
        let how = if list { format!("under an item `- …` of `{owner}:`") } else { format!("under `{owner}:`") };
        return d.at(at, format!("stands {how}: indent it more"));
    }
    let mut fields = known.fields();
    fields.sort_unstable();
    let d = d.at(at, "no such field");
    if fields.is_empty() || fields.len() > LISTED { d } else { d.help(format!("fields here: {}", fields.join(", "))) }
}

/// The field that was most likely meant, as its pointer: that it is missing is the same mistake.
pub fn meant(object: &ManifestObject, pointer: &str) -> Option<String> {
    let (above, name) = place::split(pointer);
    let known = Known::at(object, above)?;
    if let Some(near) = nearest(&name, known.fields()) {
        return Some(format!("{above}/{near}"));
    }
    match owner_above(object, above, &name) {
        Some(owner) => Some(format!("{owner}/{name}")),
        None => owner_below(known, &name).map(|(owner, _)| format!("{above}/{owner}")),
    }
}

/// The nearest map around that has such a field.
fn owner_above(object: &ManifestObject, above: &str, name: &str) -> Option<String> {
    let mut at = above;
    while let Some((around, _)) = at.rsplit_once('/') {
        if Known::at(object, around).is_some_and(|known| known.has(name)) {
            return Some(around.to_string());
        }
        at = around;
    }
    None
}

/// The one field here whose map has such a field.
fn owner_below(known: Known, name: &str) -> Option<(&'static str, bool)> {
    let mut owners = known.fields().into_iter().filter_map(|field| {
        let (below, list) = known.below(field)?;
        below.has(name).then_some((field, list))
    });
    let owner = owners.next()?;
    owners.next().is_none().then_some(owner)
}
