//! A configuration, and what its probes did.

use crate::probe::Seen;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

pub struct Case {
    pub name: String,
    /// The mesh config, YAML.
    pub mesh: String,
    /// Istio objects and Services.
    pub objects: Vec<Value>,
    pub probes: Vec<Told>,
    /// From a seed.
    pub generated: bool,
}

/// A probe and what became of it.
#[derive(Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub probe: String,
    pub exit: i32,
    #[serde(default)]
    pub http_code: Option<u16>,
    pub path: String,
    #[serde(default)]
    pub sleep_cluster: Vec<String>,
    #[serde(default)]
    pub gateway_cluster: Vec<String>,
    /// `true`, `false`, or `"core"`.
    pub stable: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answered_by: Value,
}

impl Told {
    /// A probe that is yet to be sent.
    pub fn asked(probe: String) -> Told {
        Told { probe, ..Told::default() }
    }

    pub fn of(probe: &str, seen: &Seen) -> Told {
        let answered_by = match &seen.answered_to {
            Some(from) => json!({"from": from, "sni": seen.sni}),
            None => Value::Null,
        };
        Told {
            probe: probe.to_owned(),
            exit: seen.exit,
            http_code: seen.http_code,
            path: seen.path.clone(),
            sleep_cluster: seen.sleep_clusters.clone(),
            gateway_cluster: seen.gateway_clusters.clone(),
            stable: json!(true),
            answered_by,
        }
    }
}

pub fn checked_in() -> Vec<Case> {
    let read = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        Case {
            name: value["case"].as_str().unwrap().to_string(),
            mesh: value["mesh"].as_str().unwrap().to_string(),
            objects: value["objects"].as_array().unwrap().clone(),
            probes: serde_json::from_value(value["probes"].take()).unwrap(),
            generated: false,
        }
    };
    include_str!("cases.jsonl").lines().map(read).collect()
}

pub fn of_folder(folder: &Path) -> Vec<Case> {
    let text = |path: &str| {
        let path = folder.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut truth: serde_json::Map<String, Value> = serde_json::from_str(&text("traffic/TRUTH.json")).unwrap();
    let of_case = |(name, probes): (&String, &mut Value)| Case {
        name: name.clone(),
        mesh: text(&format!("random/{name}/mesh.yaml")),
        objects: serde_yaml::Deserializer::from_str(&text(&format!("random/{name}/input.yaml")))
            .map(|document| Value::deserialize(document).unwrap())
            .filter(|object| {
                let api_version = object["apiVersion"].as_str().unwrap_or_default();
                api_version.contains("istio.io") || object["kind"] == "Service"
            })
            .collect(),
        probes: serde_json::from_value(probes.take()).unwrap(),
        generated: false,
    };
    truth.iter_mut().map(of_case).collect()
}
