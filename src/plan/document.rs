//! The plan as a document (`egress-scn plan`): typed steps with their places, for programs and for people.

use super::expected::{Stable, StatusPattern};
use super::step::{Comparison, Part, Plan, Text, Version, Workload};
use crate::diag::{Place, Source};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The shape's version. A field may be added to it; one that is renamed, dropped or means something else is a
/// new version.
pub const VERSION: &str = "egress-scn/v1";

/// The whole plan: `{apiVersion, kind: Plan, scenarios}`, described in `docs/commands.md`.
///
/// # Errors
/// None that is known: every part of a plan is a JSON value.
pub fn document(plan: &Plan) -> Result<Value, serde_json::Error> {
    let plan = serde_json::to_value(plan)?;
    Ok(json!({ "apiVersion": VERSION, "kind": "Plan", "scenarios": plan["scenarios"] }))
}

pub(super) fn name<S: Serializer>(source: &Arc<Source>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&source.name)
}

/// `{file, line, column}`, both counted from 1, the column in characters.
pub(super) fn place<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(3))?;
    map.serialize_entry("file", &place.source.name)?;
    map.serialize_entry("line", &place.line())?;
    map.serialize_entry("column", &place.column())?;
    map.end()
}

/// A shared value as if it stood here.
pub(super) fn whole<S: Serializer>(body: &Arc<Value>, to: S) -> Result<S::Ok, S::Error> {
    body.as_ref().serialize(to)
}

pub(super) fn maybe_place<S: Serializer>(at: &Option<Place>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => place(at, to),
        None => to.serialize_none(),
    }
}

/// As the language writes it: `10s`, `500ms`.
fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        whole if whole % 1000 == 0 => format!("{}s", whole / 1000),
        rest => format!("{rest}ms"),
    }
}

pub(super) fn duration<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&shown(*duration))
}

pub(super) fn maybe_duration<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    duration.map(shown).serialize(to)
}

/// A construct is always an object with its name as the one key, also when nothing stands behind the name.
pub(super) fn tagged<S: Serializer, T: Serialize>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    let value = serde_json::to_value(value).map_err(S::Error::custom)?;
    match value {
        Value::String(name) => json!({ name: {} }),
        other => other,
    }
    .serialize(to)
}

pub(super) fn all_tagged<S: Serializer, T: Serialize>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    struct Tagged<'a, T>(&'a T);
    impl<T: Serialize> Serialize for Tagged<'_, T> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            tagged(self.0, to)
        }
    }
    let mut list = to.serialize_seq(Some(values.len()))?;
    for value in values {
        list.serialize_element(&Tagged(value))?;
    }
    list.end()
}

impl Serialize for Workload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A string; where the run must fill something in, a list of strings and `{"capture": NAME}`.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let parts = self.0.iter().map(|part| match part {
            Part::Literal(text) => Value::String(text.clone()),
            Part::Capture(name) => json!({ "capture": name }),
        });
        let parts: Vec<Value> = parts.collect();
        match parts.as_slice() {
            [] => to.serialize_str(""),
            [Value::String(text)] => to.serialize_str(text),
            parts => parts.serialize(to),
        }
    }
}

impl Serialize for StatusPattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            StatusPattern::Code(code) => to.collect_str(&format_args!("{code:03}")),
            StatusPattern::Class(class) => to.collect_str(&format_args!("{class}xx")),
        }
    }
}

impl Serialize for Stable {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Stable::For(duration) => to.serialize_str(&shown(*duration)),
            Stable::Times(times) => to.collect_str(&format_args!("{times}x")),
        }
    }
}

impl Serialize for Comparison {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
