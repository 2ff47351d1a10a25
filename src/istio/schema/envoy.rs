//! The messages of Envoy that an EnvoyFilter patches, in the same form as Istio's own.

use super::{Constraints, Enum, Field, Message, OneOf, Schema, Shape, Type};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Envoy's messages, and names of others.
#[derive(Debug)]
pub struct EnvoySchema {
    pub schema: Schema,
    ids: HashMap<&'static str, usize>,
    names: HashSet<String>,
}

static ENVOY: LazyLock<EnvoySchema> =
    LazyLock::new(|| read(include_str!("envoy.txt"), include_str!("envoy_names.txt")));

/// The messages of Envoy as Istio 1.30 knows them.
pub fn envoy() -> &'static EnvoySchema {
    &ENVOY
}

impl EnvoySchema {
    /// The message of that full name (`envoy.config.cluster.v3.Cluster`), if it is described.
    pub fn message(&self, full_name: &str) -> Option<&Message> {
        self.ids.get(full_name).map(|id| &self.schema.messages[*id])
    }

    /// Whether a message of that full name exists, described or not.
    pub fn knows(&self, full_name: &str) -> bool {
        self.ids.contains_key(full_name) || self.names.contains(full_name)
    }
}

/// The full name behind one without `envoy.`.
fn full(name: &str) -> String {
    let others = ["xds.", "udpa.", "google.", "io.", "stats."];
    if others.iter().any(|other| name.starts_with(other)) { name.to_string() } else { format!("envoy.{name}") }
}

fn read(messages: &'static str, names: &'static str) -> EnvoySchema {
    let mut schema = Schema { kinds: vec![], messages: vec![], enums: vec![], rules: vec![], status: 0 };
    let (mut ids, mut enums) = (HashMap::new(), HashMap::new());
    let lines = || messages.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines() {
        if let Some(name) = line.strip_prefix("message ") {
            let name: &'static str = full(name).leak();
            ids.insert(name, schema.messages.len());
            let (fields, by_name, rules, oneofs) = Default::default();
            schema.messages.push(Message { name, fields, by_name, rules, oneofs });
        } else if let Some(name) = line.strip_prefix("enum ") {
            let full_name: &'static str = full(name).leak();
            enums.insert(full_name, schema.enums.len());
            schema.enums.push(Enum { name, full_name, values: vec![] });
        }
    }
    let (mut in_message, mut message, mut choice) = (false, 0, 0);
    for line in lines() {
        if let Some(name) = line.strip_prefix("message ") {
            (in_message, message) = (true, ids[full(name).as_str()]);
        } else if let Some(name) = line.strip_prefix("enum ") {
            (in_message, choice) = (false, enums[full(name).as_str()]);
        } else if in_message {
            let message = &mut schema.messages[message];
            line.split_whitespace().for_each(|word| add_field(word, message, &ids, &enums));
        } else {
            schema.enums[choice].values.extend(line.split_whitespace());
        }
    }
    let names = names.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names = names.flat_map(|line| {
        let (package, messages) = line.split_once(' ').unwrap_or((line, ""));
        messages.split(' ').map(move |name| full(&format!("{package}.{name}")))
    });
    EnvoySchema { schema, ids, names: names.collect() }
}

fn add_field(
    word: &'static str,
    message: &mut Message,
    ids: &HashMap<&'static str, usize>,
    enums: &HashMap<&'static str, usize>,
) {
    let (snake, ty) = word.split_once(':').unwrap_or((word, "string"));
    let (ty, group) = ty.split_once('@').map_or((ty, None), |(ty, group)| (ty, Some(group)));
    let inner = |text: &str| value_type(text, message.name, ids, enums);
    let (shape, ty) = if let Some(item) = ty.strip_prefix('[') {
        (Shape::List, inner(item.trim_end_matches(']')))
    } else if let Some(entry) = ty.strip_prefix('{') {
        let entry = entry.trim_end_matches('}');
        let (key, value) = entry.split_once(':').unwrap_or(("string", entry));
        (Shape::Map { numeric_keys: key != "string" }, inner(value))
    } else {
        (Shape::One, inner(ty))
    };
    let index = message.fields.len();
    let oneof = group.map(|name| {
        let known = message.oneofs.iter().position(|group| group.name == name);
        let group = known.unwrap_or_else(|| {
            message.oneofs.push(OneOf { name, fields: vec![] });
            message.oneofs.len() - 1
        });
        message.oneofs[group].fields.push(index);
        group
    });
    let name: &'static str = camel_case(snake).leak();
    message.by_name.insert(name, index);
    message.by_name.insert(snake, index);
    message.fields.push(Field {
        name,
        snake: snake.to_string(),
        shape,
        ty,
        required: false,
        count: None,
        key: None,
        all_rules: vec![],
        value: Constraints::default(),
        listed_twice: true,
        oneof,
    });
}

/// A type; what the file does not describe may be anything.
fn value_type(
    text: &str,
    message: &str,
    ids: &HashMap<&'static str, usize>,
    enums: &HashMap<&'static str, usize>,
) -> Type {
    if let Some(inner) = text.strip_prefix('?') {
        return Type::Nullable(Box::new(value_type(inner, message, ids, enums)));
    }
    if let Some(scalar) = Type::scalar(text) {
        return scalar;
    }
    let name = match text.strip_prefix('.') {
        // The package ends where the first name in capitals begins.
        Some(local) => {
            let package = message.split('.').take_while(|step| !step.starts_with(char::is_uppercase));
            format!("{}.{local}", package.collect::<Vec<_>>().join("."))
        }
        None => full(text),
    };
    match (ids.get(name.as_str()), enums.get(name.as_str())) {
        (Some(id), _) => Type::Message(*id),
        (_, Some(id)) => Type::Enum(*id),
        _ => Type::Value,
    }
}

/// The JSON name of a field.
fn camel_case(snake: &str) -> String {
    let mut name = String::with_capacity(snake.len());
    let mut capital = false;
    for c in snake.chars() {
        if c == '_' {
            capital = true;
        } else {
            name.push(if capital { c.to_ascii_uppercase() } else { c });
            capital = false;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_described_down_to_its_enumerations() {
        let cluster = envoy().message("envoy.config.cluster.v3.Cluster").unwrap();
        assert_eq!(cluster.field("connectTimeout").unwrap().ty, Type::Duration);
        let Type::Enum(id) = cluster.field("lb_policy").unwrap().ty else { panic!("no enumeration") };
        assert!(envoy().schema.enums[id].values.contains(&"LEAST_REQUEST"));
        assert!(envoy().knows("envoy.extensions.filters.http.admission_control.v3.AdmissionControl"));
        assert!(!envoy().knows("envoy.Foo"));
    }

    #[test]
    fn every_type_that_is_named_is_described() {
        let untold: Vec<_> = (envoy().schema.messages.iter())
            .flat_map(|message| message.fields.iter().map(move |field| (message.name, field)))
            .filter(|(message, field)| field.ty == Type::Value && !message.starts_with("google.protobuf"))
            .map(|(message, field)| format!("{message}.{}", field.snake))
            .collect();
        // Only `google.protobuf.Value` itself.
        assert!(untold.len() <= 6, "{untold:?}");
    }
}
