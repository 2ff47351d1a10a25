//! Where two JSON values differ. Objects have no order, lists have one.

use serde_json::Value;

/// Each difference as `pointer: expected …, got …`.
pub fn between(expected: &Value, got: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(expected, got, &mut String::new(), &mut out);
    out
}

fn walk(expected: &Value, got: &Value, pointer: &mut String, out: &mut Vec<String>) {
    if expected == got {
        return;
    }
    let length = pointer.len();
    match (expected, got) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))).collect();
            keys.sort();
            for key in keys {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                walk(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), pointer, out);
                pointer.truncate(length);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for index in 0..a.len().max(b.len()) {
                pointer.push_str(&format!("/{index}"));
                walk(a.get(index).unwrap_or(&Value::Null), b.get(index).unwrap_or(&Value::Null), pointer, out);
                pointer.truncate(length);
            }
        }
        _ => out.push(format!("{pointer}: expected {}, got {}", short(expected), short(got))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 160 { text } else { text.chars().take(160).chain(['…']).collect() }
}
