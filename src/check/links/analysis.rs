//! What `istioctl analyze` says of the same objects: its code beside ours, and its message where we have none.

use super::index::place;
use crate::diag::{Diagnostic, Place};
use crate::istio::analyze::analyze;
use crate::plan::ManifestObject;
use serde_json::Value;

/// Our codes, and istioctl's for the same link.
const SAME: &[(&str, &str)] = &[
    ("W0321", "IST0101"),
    ("W0322", "IST0101"),
    ("W0325", "IST0101"),
    ("W0325", "IST0132"),
    ("W0324", "IST0132"),
    ("W0332", "IST0132"),
    ("W0334", "IST0132"),
    ("W0328", "IST0109"),
];

/// Links of istioctl's that are told even if nothing of ours is: a reference, a host that a gateway does not serve, a
/// host that two VirtualServices claim.
const LINKS: &[&str] = &["IST0101", "IST0109", "IST0132"];

pub fn add(objects: &[ManifestObject], ambient: &[ManifestObject], namespace: &str, found: &mut Vec<Diagnostic>) {
    let ours: Vec<&ManifestObject> = ambient.iter().chain(objects).collect();
    let bodies: Vec<Value> = ours.iter().map(|o| with_namespace(&o.body, namespace)).collect();
    let before = found.len();
    for message in analyze(&bodies, &Value::Null).iter().filter(|m| LINKS.contains(&m.code)) {
        // What was there before is not judged.
        let Some(object) = message.object.checked_sub(ambient.len()).map(|i| &objects[i]) else { continue };
        let same = |d: &Diagnostic| {
            SAME.contains(&(d.code, message.code)) && d.labels.first().is_some_and(|l| inside(&l.place, &object.place))
        };
        let said = format!("istioctl analyze  [{}] {}", message.code, message.message);
        let known: Vec<usize> = (0..before).filter(|i| same(&found[*i])).collect();
        if known.is_empty() {
            let (title, label) = words(message.code);
            found.push(
                Diagnostic::warning("W0345", format!("{title} [{}]", message.code))
                    .at(place(object, &message.pointer), label)
                    .evidence(said),
            );
            continue;
        }
        for index in known {
            if !found[index].evidence.iter().any(|line| line.contains(message.code)) {
                found[index].evidence.push(said.clone());
            }
        }
    }
}

fn words(code: &str) -> (&'static str, &'static str) {
    match code {
        "IST0109" => {
            ("a host that two VirtualServices claim for the mesh", "the older one counts, the other is ignored")
        }
        "IST0132" => ("hosts that the gateway does not serve", "no server of this gateway has a host of `spec.hosts`"),
        _ => ("a reference to what does not exist", "nothing of that name is applied"),
    }
}

fn inside(place: &Place, object: &Place) -> bool {
    place.source.name == object.source.name
        && object.span.start <= place.span.start
        && place.span.start <= object.span.end
}

fn with_namespace(body: &Value, namespace: &str) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
        && !metadata.get("namespace").is_some_and(Value::is_string)
    {
        metadata.insert("namespace".into(), namespace.into());
    }
    body
}
