//! Field management: `metadata.managedFields` after updates, and server-side apply with its conflicts.

use super::failure::Failure;
use super::fields::{FieldSet, element_step};
use super::object;
use super::schema::{Schema, Shape, Type};
use serde_json::{Map, Value, json};

/// Who writes, and how the write is recorded.
#[derive(Debug, Clone)]
pub struct Writer {
    pub manager: String,
    /// The apiVersion of the request.
    pub api_version: String,
    /// `status`, `scale` or empty.
    pub subresource: String,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

/// The metadata and other fields nobody owns.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "selfLink",
    "resourceVersion",
    "generation",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

fn read(object: &Value) -> Vec<Entry> {
    object::list(object, &["metadata", "managedFields"])
        .iter()
        .map(|e| Entry {
            manager: object::text(e, &["manager"]).into(),
            apply: object::text(e, &["operation"]) == "Apply",
            api_version: object::text(e, &["apiVersion"]).into(),
            subresource: object::text(e, &["subresource"]).into(),
            time: object::text(e, &["time"]).into(),
            fields: FieldSet::from_json(object::at(e, &["fieldsV1"])),
        })
        .collect()
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.fields.is_empty());
    // Kubernetes keeps applies before updates, then by time, then by manager.
    entries.sort_by(|a, b| (!a.apply, &a.time, &a.manager).cmp(&(!b.apply, &b.time, &b.manager)));
    let list: Vec<Value> = entries
        .into_iter()
        .map(|e| {
            let mut map = Map::new();
            map.insert("manager".into(), json!(e.manager));
            map.insert("operation".into(), json!(if e.apply { "Apply" } else { "Update" }));
            map.insert("apiVersion".into(), json!(e.api_version));
            map.insert("time".into(), json!(e.time));
            map.insert("fieldsType".into(), json!("FieldsV1"));
            map.insert("fieldsV1".into(), e.fields.to_json());
            if !e.subresource.is_empty() {
                map.insert("subresource".into(), json!(e.subresource));
            }
            Value::Object(map)
        })
        .collect();
    let metadata = object::metadata(object);
    if list.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), Value::Array(list));
    }
}

/// The object without what nobody owns.
fn stripped(object: &Value) -> Value {
    let mut copy = object.clone();
    if let Some(map) = copy.as_object_mut() {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
    }
    let metadata = object::metadata(&mut copy);
    metadata.retain(|key, _| !UNOWNED.contains(&key.as_str()));
    if metadata.is_empty()
        && let Some(map) = copy.as_object_mut()
    {
        map.shift_remove("metadata");
    }
    copy
}

/// Records a create, update or patch: `writer` now owns what it changed, others lose it.
/// `new` may carry edited `managedFields` (kubectl migrates them); an empty list resets them.
pub fn record_update(schema: &Schema, ty: &Type, live: Option<&Value>, new: &mut Value, writer: &Writer) {
    let given = new.get("metadata").and_then(|m| m.get("managedFields"));
    let reset = given.and_then(Value::as_array).is_some_and(|l| l.is_empty() || l == &[json!({})]);
    if reset && live.is_some() {
        object::metadata(new).shift_remove("managedFields");
        return;
    }
    let edited =
        live.is_some() && given.is_some_and(|g| Some(g) != live.and_then(|l| l["metadata"].get("managedFields")));
    let mut entries = if edited { read(new) } else { live.map(read).unwrap_or_default() };
    let before = live.map(stripped);
    let after = stripped(new);
    let changed = FieldSet::changed(schema, ty, before.as_ref(), &after);
    let removed = before.as_ref().map(|b| removed_fields(schema, ty, b, &after)).unwrap_or_default();
    if changed.is_empty() && removed.is_empty() {
        write(new, entries);
        return;
    }
    for entry in &mut entries {
        let own = !entry.apply && entry.manager == writer.manager && entry.subresource == writer.subresource;
        entry.fields.subtract_below(&removed);
        if !own {
            entry.fields.subtract(&changed);
        }
    }
    let now = object::now();
    let own = entries.iter_mut().find(|e| {
        !e.apply
            && e.manager == writer.manager
            && e.subresource == writer.subresource
            && e.api_version == writer.api_version
    });
    match own {
        Some(entry) => {
            entry.fields.union(&changed);
            entry.time = now;
        }
        None => entries.push(Entry {
            manager: writer.manager.clone(),
            apply: false,
            api_version: writer.api_version.clone(),
            subresource: writer.subresource.clone(),
            time: now,
            fields: changed,
        }),
    }
    write(new, entries);
}

/// What is in `old` and no longer in `new`.
fn removed_fields(schema: &Schema, ty: &Type, old: &Value, new: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    let gone = || FieldSet { here: true, ..FieldSet::default() };
    match (schema.shape(ty, old), old, new) {
        (Shape::Struct(s), Value::Object(a), Value::Object(b)) => {
            for (name, item) in a {
                let below = match b.get(name) {
                    Some(other) => removed_fields(schema, schema.field(s, name), item, other),
                    None => gone(),
                };
                set.children.insert(format!("f:{name}"), below);
            }
        }
        (Shape::Map(item_type), Value::Object(a), Value::Object(b)) => {
            for (name, item) in a {
                let below = match b.get(name) {
                    Some(other) => removed_fields(schema, item_type, item, other),
                    None => gone(),
                };
                set.children.insert(format!("f:{name}"), below);
            }
        }
        (Shape::Set, Value::Array(a), Value::Array(b)) => {
            for item in a.iter().filter(|i| !b.contains(i)) {
                set.children.insert(format!("v:{item}"), gone());
            }
        }
        (Shape::Keyed(keys, item_type), Value::Array(a), Value::Array(b)) => {
            for item in a {
                let step = element_step(schema, keys, item_type, item);
                let below = match b.iter().find(|o| element_step(schema, keys, item_type, o) == step) {
                    Some(other) => removed_fields(schema, item_type, item, other),
                    None => gone(),
                };
                set.children.insert(step, below);
            }
        }
        _ => {}
    }
    set.children.retain(|_, child| !child.is_empty());
    set
}

/// Server-side apply: the object after `config` is applied to `live`, its managed fields included.
///
/// Fails with 409 and one cause a field if another manager owns a field with another value, unless
/// `force`.
pub fn apply(
    schema: &Schema,
    ty: &Type,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Result<Value, Failure> {
    let mut config = without_nulls(config);
    object::metadata(&mut config).shift_remove("managedFields");
    let owned = FieldSet::of(schema, ty, &stripped(&config));
    let empty = json!({});
    let base = live.unwrap_or(&empty);
    let mut entries = read(base);
    if live.is_some() && entries.is_empty() {
        // Fields set before anybody was recorded belong to this name, as in a cluster.
        entries.push(Entry {
            manager: "before-first-apply".into(),
            apply: false,
            api_version: writer.api_version.clone(),
            subresource: String::new(),
            time: object::now(),
            fields: FieldSet::of(schema, ty, &stripped(base)),
        });
    }
    let mine = |e: &Entry| e.apply && e.manager == writer.manager && e.subresource == writer.subresource;
    let mut merged = base.clone();
    merge_applied(schema, ty, &mut merged, &config);

    let changed = FieldSet::changed(schema, ty, Some(&stripped(base)), &stripped(&merged));
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|e| !mine(e)) {
        let both = entry.fields.intersect(&changed).intersect(&owned);
        if both.is_empty() {
            continue;
        }
        if force {
            entry.fields.subtract(&both);
        } else {
            conflicts.extend(both.paths().into_iter().map(|path| (describe(entry), path)));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }

    let previous: FieldSet = entries.iter().filter(|e| mine(e)).fold(FieldSet::default(), |mut all, e| {
        all.union(&e.fields);
        all
    });
    let mut dropped = previous.clone();
    dropped.subtract(&owned);
    let mut kept = owned.clone();
    for entry in entries.iter().filter(|e| !mine(e)) {
        kept.union(&entry.fields);
    }
    remove_fields(schema, ty, &mut merged, &dropped, &kept);

    let old = entries.iter().find(|e| mine(e)).cloned();
    entries.retain(|e| !mine(e));
    let unchanged = old.as_ref().is_some_and(|o| o.fields == owned && o.api_version == writer.api_version)
        && stripped(&merged) == stripped(base);
    let time = old.filter(|_| unchanged).map_or_else(object::now, |o| o.time);
    entries.push(Entry {
        manager: writer.manager.clone(),
        apply: true,
        api_version: writer.api_version.clone(),
        subresource: writer.subresource.clone(),
        time,
        fields: owned,
    });
    write(&mut merged, entries);
    Ok(merged)
}

fn describe(entry: &Entry) -> String {
    let mut text = format!("\"{}\"", entry.manager);
    if !entry.subresource.is_empty() {
        text += &format!(" with subresource \"{}\"", entry.subresource);
    }
    if !entry.apply {
        text += &format!(" using {}", entry.api_version);
    }
    text
}

/// Kubernetes' words for an apply that meets other owners.
fn conflict(conflicts: &[(String, String)]) -> Failure {
    let plural = if conflicts.len() == 1 { "conflict" } else { "conflicts" };
    let mut owners: Vec<&str> = conflicts.iter().map(|(owner, _)| owner.as_str()).collect();
    owners.dedup();
    let count = conflicts.len();
    let message = if let ([owner], [(_, path)]) = (owners.as_slice(), conflicts) {
        format!("Apply failed with 1 conflict: conflict with {owner}: {path}")
    } else {
        let mut lines = String::new();
        for owner in &owners {
            lines += &format!("conflicts with {owner}:\n");
            for (_, path) in conflicts.iter().filter(|(o, _)| o == owner) {
                lines += &format!("- {path}\n");
            }
        }
        format!("Apply failed with {count} {plural}: {}", lines.trim_end())
    };
    let mut failure = Failure::new(409, "Conflict", message);
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(owner, path)| {
            json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {owner}"), "field": path })
        })
        .collect();
    failure.details = json!({ "causes": causes });
    failure
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        other => other.clone(),
    }
}

fn merge_applied(schema: &Schema, ty: &Type, target: &mut Value, config: &Value) {
    match (schema.shape(ty, config), &mut *target, config) {
        (Shape::Struct(s), Value::Object(map), Value::Object(new)) => {
            for (name, item) in new {
                match map.get_mut(name) {
                    Some(slot) => merge_applied(schema, schema.field(s, name), slot, item),
                    None => {
                        map.insert(name.clone(), item.clone());
                    }
                }
            }
        }
        (Shape::Map(item_type), Value::Object(map), Value::Object(new)) => {
            for (name, item) in new {
                match map.get_mut(name) {
                    Some(slot) => merge_applied(schema, item_type, slot, item),
                    None => {
                        map.insert(name.clone(), item.clone());
                    }
                }
            }
        }
        (Shape::Set, Value::Array(list), Value::Array(new)) => {
            for item in new {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        }
        (Shape::Keyed(keys, item_type), Value::Array(list), Value::Array(new)) => {
            for item in new {
                let step = element_step(schema, keys, item_type, item);
                match list.iter_mut().find(|o| element_step(schema, keys, item_type, o) == step) {
                    Some(slot) => merge_applied(schema, item_type, slot, item),
                    None => list.push(item.clone()),
                }
            }
        }
        _ => *target = config.clone(),
    }
}

/// Removes the members of `dropped` from `value`, except what lies at or above a member of `kept`.
fn remove_fields(schema: &Schema, ty: &Type, value: &mut Value, dropped: &FieldSet, kept: &FieldSet) {
    let none = FieldSet::default();
    match value {
        Value::Object(map) => {
            for (step, below) in &dropped.children {
                let Some(name) = step.strip_prefix("f:") else { continue };
                let held = kept.children.get(step).unwrap_or(&none);
                if below.here && held.is_empty() {
                    map.shift_remove(name);
                    continue;
                }
                let field = match ty {
                    Type::Named(n) => schema.named(n).map_or(&Type::Any, |s| schema.field(s, name)),
                    _ => schema.item(ty),
                };
                if let Some(child) = map.get_mut(name) {
                    remove_fields(schema, field, child, below, held);
                    let bare =
                        child.as_object().is_some_and(Map::is_empty) || child.as_array().is_some_and(Vec::is_empty);
                    if bare && held.is_empty() {
                        map.shift_remove(name);
                    }
                }
            }
        }
        Value::Array(list) => {
            let item_type = schema.item(ty);
            let keys: &[String] = if let Type::Keyed(keys, _) = ty { keys } else { &[] };
            list.retain_mut(|item| {
                let step = match ty {
                    Type::Set(_) => format!("v:{item}"),
                    _ => element_step(schema, keys, item_type, item),
                };
                let Some(below) = dropped.children.get(&step) else { return true };
                let held = kept.children.get(&step).unwrap_or(&none);
                if below.here && held.is_empty() {
                    return false;
                }
                remove_fields(schema, item_type, item, below, held);
                true
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(manager: &str) -> Writer {
        Writer { manager: manager.into(), api_version: "v1".into(), subresource: String::new() }
    }

    fn service(ports: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" }, "spec": { "ports": ports } })
    }

    #[test]
    fn two_appliers_share_a_list_and_each_removes_only_its_own() {
        let schema = Schema::builtin();
        let ty = schema.kind("", "v1", "Service");
        let one = apply(schema, &ty, None, &service(json!([{ "port": 80 }])), &writer("a"), false).unwrap();
        let two = apply(schema, &ty, Some(&one), &service(json!([{ "port": 443 }])), &writer("b"), false).unwrap();
        assert_eq!(two["spec"]["ports"], json!([{ "port": 80 }, { "port": 443 }]));
        let gone = apply(schema, &ty, Some(&two), &service(json!([])), &writer("a"), false).unwrap();
        assert_eq!(gone["spec"]["ports"], json!([{ "port": 443 }]));
    }

    #[test]
    fn another_value_for_an_owned_field_is_a_conflict_unless_forced() {
        let schema = Schema::builtin();
        let ty = schema.kind("", "v1", "ConfigMap");
        let config = |v: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": v } });
        let one = apply(schema, &ty, None, &config("1"), &writer("a"), false).unwrap();
        let same = apply(schema, &ty, Some(&one), &config("1"), &writer("b"), false).unwrap();
        assert_eq!(same["metadata"]["managedFields"].as_array().unwrap().len(), 2, "equal values are shared");
        let error = apply(schema, &ty, Some(&one), &config("2"), &writer("b"), false).unwrap_err();
        assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"a\": .data.k");
        let forced = apply(schema, &ty, Some(&one), &config("2"), &writer("b"), true).unwrap();
        assert_eq!(forced["data"]["k"], "2");
        assert_eq!(forced["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn an_update_takes_the_fields_it_changes() {
        let schema = Schema::builtin();
        let ty = schema.kind("", "v1", "ConfigMap");
        let config = json!({ "metadata": { "name": "a" }, "data": { "k": "1", "l": "1" } });
        let live = apply(schema, &ty, None, &config, &writer("a"), false).unwrap();
        let mut new = live.clone();
        new["data"]["k"] = json!("2");
        record_update(schema, &ty, Some(&live), &mut new, &writer("edit"));
        let managed = new["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(managed[0]["fieldsV1"], json!({ "f:data": { "f:l": {} } }));
        assert_eq!(managed[1]["fieldsV1"], json!({ "f:data": { "f:k": {} } }));
    }

    #[test]
    fn a_custom_resource_keeps_lists_whole_and_drops_what_its_applier_drops() {
        let schema = Schema::builtin();
        let ty = schema.kind("networking.istio.io", "v1", "ServiceEntry");
        let config = |spec: Value| json!({ "metadata": { "name": "a" }, "spec": spec });
        let first = config(json!({ "hosts": ["a", "b"], "resolution": "DNS" }));
        let live = apply(schema, &ty, None, &first, &writer("a"), false).unwrap();
        let next = apply(schema, &ty, Some(&live), &config(json!({ "hosts": ["c"] })), &writer("a"), false).unwrap();
        assert_eq!(next["spec"], json!({ "hosts": ["c"] }));
    }
}
