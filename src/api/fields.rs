//! Sets of fields as `managedFields` records them (`fieldsV1`): a tree whose steps are
//! `f:name` (a field or map key), `k:{...}` (a list element by its keys), `v:...` (a set's element).

use super::schema::{Schema, Shape, Type};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A node: whether it is itself in the set, and what lies below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet {
    pub here: bool,
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    pub fn is_empty(&self) -> bool {
        !self.here && self.children.values().all(FieldSet::is_empty)
    }

    /// Reads `fieldsV1`.
    pub fn from_json(value: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        let Some(map) = value.as_object() else { return set };
        for (step, below) in map {
            if step == "." {
                set.here = true;
                continue;
            }
            let mut child = FieldSet::from_json(below);
            if below.as_object().is_none_or(Map::is_empty) {
                child.here = true;
            }
            set.children.insert(step.clone(), child);
        }
        set
    }

    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.here && self.children.values().any(|c| !c.is_empty()) {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (step, child) in self.children.iter().filter(|(_, c)| !c.is_empty()) {
            map.insert(step.clone(), child.to_json());
        }
        Value::Object(map)
    }

    pub fn union(&mut self, other: &FieldSet) {
        self.here |= other.here;
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().union(child);
        }
    }

    /// Removes the members of `other`.
    pub fn subtract(&mut self, other: &FieldSet) {
        self.here &= !other.here;
        self.children.retain(|step, child| {
            if let Some(o) = other.children.get(step) {
                child.subtract(o);
            }
            !child.is_empty()
        });
    }

    /// Removes the members at or below the members of `other`.
    pub fn subtract_below(&mut self, other: &FieldSet) {
        if other.here {
            *self = FieldSet::default();
            return;
        }
        self.children.retain(|step, child| {
            if let Some(o) = other.children.get(step) {
                child.subtract_below(o);
            }
            !child.is_empty()
        });
    }

    pub fn intersect(&self, other: &FieldSet) -> FieldSet {
        let mut children = BTreeMap::new();
        for (step, child) in &self.children {
            if let Some(o) = other.children.get(step) {
                let both = child.intersect(o);
                if !both.is_empty() {
                    children.insert(step.clone(), both);
                }
            }
        }
        FieldSet { here: self.here && other.here, children }
    }

    /// The members as Kubernetes prints them: `.spec.containers[name="app"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.collect("", &mut all);
        all
    }

    fn collect(&self, prefix: &str, all: &mut Vec<String>) {
        if self.here {
            all.push(prefix.to_string());
        }
        for (step, child) in &self.children {
            child.collect(&format!("{prefix}{}", readable(step)), all);
        }
    }

    /// Every field a server-side apply of `value` owns.
    pub fn of(schema: &Schema, ty: &Type, value: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        match (schema.shape(ty, value), value) {
            (Shape::Struct(s), Value::Object(map)) => {
                for (name, item) in map {
                    let mut child = FieldSet::of(schema, schema.field(s, name), item);
                    child.here |= is_bare(item);
                    set.children.insert(format!("f:{name}"), child);
                }
            }
            (Shape::Map(item_type), Value::Object(map)) => {
                for (name, item) in map {
                    let mut child = FieldSet::of(schema, item_type, item);
                    // A map's own entries are members; in data without a schema only leaves are,
                    // as with a CRD that has one.
                    child.here |= is_bare(item) || !matches!(item_type, Type::Any);
                    set.children.insert(format!("f:{name}"), child);
                }
            }
            (Shape::Set, Value::Array(items)) => {
                for item in items {
                    let child = FieldSet { here: true, ..FieldSet::default() };
                    set.children.insert(format!("v:{item}"), child);
                }
            }
            (Shape::Keyed(keys, item_type), Value::Array(items)) => {
                for item in items {
                    let mut child = FieldSet::of(schema, item_type, item);
                    child.here = true;
                    set.children.insert(element_step(schema, keys, item_type, item), child);
                }
            }
            _ => set.here = true,
        }
        set
    }

    /// The fields in which `new` differs from `old`: added or changed.
    pub fn changed(schema: &Schema, ty: &Type, old: Option<&Value>, new: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        if old == Some(new) {
            return set;
        }
        match (schema.shape(ty, new), new) {
            (Shape::Struct(s), Value::Object(map)) => {
                for (name, item) in map {
                    let before = old.and_then(|o| o.get(name));
                    let mut child = FieldSet::changed(schema, schema.field(s, name), before, item);
                    child.here |= before.is_none() && is_bare(item);
                    set.children.insert(format!("f:{name}"), child);
                }
            }
            (Shape::Map(item_type), Value::Object(map)) => {
                set.here = old.is_none();
                for (name, item) in map {
                    let before = old.and_then(|o| o.get(name));
                    let mut child = FieldSet::changed(schema, item_type, before, item);
                    child.here |= before.is_none();
                    set.children.insert(format!("f:{name}"), child);
                }
            }
            (Shape::Set, Value::Array(items)) => {
                set.here = old.is_none();
                let before = old.and_then(Value::as_array);
                for item in items.iter().filter(|i| before.is_none_or(|b| !b.contains(i))) {
                    let child = FieldSet { here: true, ..FieldSet::default() };
                    set.children.insert(format!("v:{item}"), child);
                }
            }
            (Shape::Keyed(keys, item_type), Value::Array(items)) => {
                set.here = old.is_none();
                let before = old.and_then(Value::as_array);
                for item in items {
                    let step = element_step(schema, keys, item_type, item);
                    let same = |other: &&Value| element_step(schema, keys, item_type, other) == step;
                    let previous = before.and_then(|b| b.iter().find(same));
                    let mut child = FieldSet::changed(schema, item_type, previous, item);
                    child.here |= previous.is_none();
                    set.children.insert(step, child);
                }
            }
            _ => set.here = true,
        }
        set.children.retain(|_, child| !child.is_empty());
        set
    }
}

/// The step of a list element: its keys, sorted, as compact JSON.
pub fn element_step(schema: &Schema, keys: &[String], item_type: &Type, item: &Value) -> String {
    let sorted: BTreeMap<&str, &Value> =
        keys.iter().map(|k| (k.as_str(), schema.key(item_type, item, k))).filter(|(_, v)| !v.is_null()).collect();
    format!("k:{}", serde_json::to_string(&sorted).unwrap_or_default())
}

fn is_bare(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

fn readable(step: &str) -> String {
    if let Some(name) = step.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(keys) = step.strip_prefix("k:") {
        let map: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
        let parts: Vec<String> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
        return format!("[{}]", parts.join(","));
    }
    format!("[={}]", step.strip_prefix("v:").unwrap_or(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_json_form_is_read_back_as_written() {
        let form = json!({ "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } } } });
        assert_eq!(FieldSet::from_json(&form).to_json(), form);
    }

    #[test]
    fn an_applied_service_owns_its_ports_by_key() {
        let schema = Schema::builtin();
        let ty = schema.kind("", "v1", "Service");
        let object = json!({ "spec": { "ports": [{ "port": 80, "name": "http" }] } });
        let set = FieldSet::of(schema, &ty, &object);
        assert_eq!(
            set.to_json(),
            json!({ "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}":
                { ".": {}, "f:name": {}, "f:port": {} } } } })
        );
        let named = ".spec.ports[port=80,protocol=\"TCP\"].name";
        assert!(set.paths().contains(&named.to_string()), "{:?}", set.paths());
    }
}
