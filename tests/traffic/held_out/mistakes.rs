//! One thing wrong: an object gone or in another namespace, or a value that is another's.

use crate::random_mesh::Random;
use serde_json::{Value, json};

pub fn one(random: &mut Random, objects: &mut Vec<Value>) {
    if objects.is_empty() {
        return;
    }
    let chosen = random.below(objects.len());
    match random.below(8) {
        0 | 1 => {
            objects.remove(chosen);
        }
        2 => objects[chosen]["metadata"]["namespace"] = json!(random.pick(&["other", "istio-system"])),
        _ => {
            // The same choice of the same object, whatever order its fields are looked at in.
            let mut places = Vec::new();
            find(&objects[chosen]["spec"], "/spec".into(), &mut places);
            if places.is_empty() {
                return;
            }
            let place = &places[random.below(places.len())];
            let (parent, key) = place.rsplit_once('/').unwrap();
            spoil(random, key, objects[chosen].pointer_mut(parent).unwrap());
        }
    }
}

/// Where a mistake is likely: ports, modes, protocols, names of others.
fn find(value: &Value, path: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let at = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                let likely = matches!(
                    key.as_str(),
                    "number"
                        | "port"
                        | "targetPort"
                        | "mode"
                        | "protocol"
                        | "host"
                        | "subset"
                        | "sni"
                        | "resolution"
                        | "istio"
                        | "sniHosts"
                        | "hosts"
                        | "gateways"
                        | "tls"
                        | "tcp"
                        | "match"
                );
                if likely {
                    places.push(at.clone());
                }
                find(inner, at, places);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                find(inner, format!("{path}/{index}"), places);
            }
        }
        _ => {}
    }
}

fn spoil(random: &mut Random, key: &str, parent: &mut Value) {
    let fields = parent.as_object_mut().unwrap();
    let other = match key {
        "number" | "port" | "targetPort" if fields[key].is_number() => {
            random.one(&[80, 443, 15443, 8443, 9000].map(|number| json!(number)))
        }
        "mode" => random.one(&["PASSTHROUGH", "ISTIO_MUTUAL", "SIMPLE", "DISABLE"].map(|mode| json!(mode))),
        "protocol" => random.one(&["TLS", "HTTPS", "HTTP", "TCP"].map(|protocol| json!(protocol))),
        "resolution" => random.one(&[json!("NONE"), json!("DNS")]),
        "host" | "sni" => random.one(&[json!("wrong.example"), json!("httpbin.other.svc.cluster.local")]),
        "subset" | "istio" => json!("absent"),
        "sniHosts" | "hosts" => json!(["wrong.example"]),
        "gateways" => random.one(&[json!(["mesh"]), json!(["absent"])]),
        // Without it: a server's or a policy's TLS, a rule's match.
        _ => {
            fields.shift_remove(key);
            return;
        }
    };
    fields.insert(key.to_owned(), other);
}
