//! Fields of proto3 JSON by their proto name, whether the writer kept it (`/config_dump`) or turned it
//! into lowerCamelCase (istioctl, protojson).

use serde_json::Value;

/// The field `name` (snake_case) of an object.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.get(&camel(name))).filter(|found| !found.is_null())
}

/// A field of a field of …
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |here, name| field(here, name))
}

/// The string at a path; empty when absent, as proto3 has it.
pub(super) fn text(value: &Value, path: &[&str]) -> String {
    at(value, path).and_then(Value::as_str).unwrap_or_default().to_string()
}

/// The list at a path; empty when absent.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn texts(value: &Value, path: &[&str]) -> Vec<String> {
    list(value, path).iter().filter_map(Value::as_str).map(str::to_string).collect()
}

pub(super) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// A number; protojson writes 64-bit ones as strings.
pub(super) fn number(value: &Value, path: &[&str]) -> Option<u64> {
    let found = at(value, path)?;
    found.as_u64().or_else(|| found.as_str()?.parse().ok())
}

pub(super) fn port(value: &Value, path: &[&str]) -> u16 {
    number(value, path).and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_both_spellings_and_no_nulls() {
        let value = json!({"filter_chains": [1], "defaultFilterChain": {"name": "x"}, "name": null});
        assert_eq!(list(&value, &["filter_chains"]).len(), 1);
        assert_eq!(text(&value, &["default_filter_chain", "name"]), "x");
        assert!(field(&value, "name").is_none());
    }
}
