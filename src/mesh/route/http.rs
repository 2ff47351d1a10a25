//! One Envoy route for each match of an `http` rule.

use super::action;
use super::matching::{is_catch_all, route_match};
use crate::mesh::Origin;
use crate::mesh::json::{into_map, labels, labels_match, list, present, put, text, unsigned};
use crate::mesh::node::Node;
use crate::mesh::object::config_metadata;
use crate::mesh::registry::service::Service;
use crate::mesh::virtual_service::VirtualService;
use serde_json::{Value, json};
use std::sync::Arc;

pub use super::matching::is_catch_all as catches_all;

/// Where routes are built for.
pub struct Context<'a> {
    pub node: &'a Node<'a>,
    /// `mesh` or `ns/name`.
    pub gateway: &'a str,
    /// The listener's port as rules see it.
    pub port: u32,
    pub tls: bool,
    /// The service that a host stands for, where the routes are.
    pub service: &'a dyn Fn(&str) -> Option<Arc<Service>>,
}

/// A route and where it came from.
#[derive(Debug, Clone)]
pub struct Route {
    pub body: Value,
    pub origin: Option<Origin>,
}

/// The routes of a VirtualService for a port, up to the first that takes everything.
pub fn routes(context: &Context, service: &VirtualService) -> Vec<Route> {
    let mut out = Vec::new();
    for rule in &service.http {
        let matches = list(&rule.spec()["match"]);
        if matches.is_empty() {
            out.extend(
                translate(context, service, rule.spec(), &Value::Null)
                    .map(|body| Route { body, origin: Some(rule.origin.clone()) }),
            );
            break;
        }
        let mut caught = false;
        for (index, found) in matches.iter().enumerate() {
            let Some(body) = translate(context, service, rule.spec(), found) else { continue };
            caught = is_catch_all(&body);
            let pointer = format!("{}/match/{index}", rule.origin.pointer).into();
            out.push(Route { body, origin: Some(Origin { pointer, ..rule.origin.clone() }) });
            if caught {
                break;
            }
        }
        if caught {
            break;
        }
    }
    out
}

fn applies(context: &Context, found: &Value) -> bool {
    if !present(found) {
        return true;
    }
    let port = unsigned(&found["port"]);
    if port != 0 && port != context.port {
        return false;
    }
    let gateways = list(&found["gateways"]);
    if !gateways.is_empty() {
        return gateways.iter().any(|g| text(g) == context.gateway);
    }
    let namespace = text(&found["sourceNamespace"]);
    labels_match(&labels(&found["sourceLabels"]), &context.node.proxy.labels)
        && (namespace.is_empty() || namespace == context.node.proxy.namespace)
}

fn translate(context: &Context, service: &VirtualService, rule: &Value, found: &Value) -> Option<Value> {
    if !applies(context, found) {
        return None;
    }
    let name = match (text(&rule["name"]), text(&found["name"])) {
        (rule, "") => rule.to_owned(),
        (rule, found) => format!("{rule}.{found}"),
    };
    let mut out = into_map(json!({
        "match": route_match(found),
        "metadata": config_metadata(&service.config_path()),
    }));
    put(&mut out, "name", Value::from(name));
    put(&mut out, "statPrefix", found["statPrefix"].clone());
    let authority = action::apply_headers(&mut out, &rule["headers"]);
    if present(&rule["redirect"]) {
        action::apply_redirect(&mut out, &rule["redirect"], context);
    } else if present(&rule["directResponse"]) {
        action::apply_direct_response(&mut out, &rule["directResponse"]);
    } else {
        action::apply_destinations(&mut out, rule, authority, context);
    }
    let operation = operation(&Value::Object(out.clone()), &service.object.name, context.port);
    out.insert("decorator".to_owned(), json!({"operation": operation}));
    let mut filters = serde_json::Map::new();
    put(&mut filters, "envoy.filters.http.fault", action::fault(&rule["fault"]));
    put(&mut filters, "envoy.filters.http.cors", action::cors(&rule["corsPolicy"]));
    if !filters.is_empty() {
        out.insert("typedPerFilterConfig".to_owned(), Value::Object(filters));
    }
    Some(Value::Object(out))
}

/// The name of the trace operation: destination and path.
fn operation(route: &Value, service: &str, port: u32) -> String {
    let found = &route["match"];
    let path = if present(&found["path"]) {
        text(&found["path"]).to_owned()
    } else if present(&found["safeRegex"]) {
        text(&found["safeRegex"]["regex"]).to_owned()
    } else {
        format!("{}*", text(&found["prefix"]))
    };
    let mut parts = text(&route["route"]["cluster"]).split('|').skip(1);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(port), Some(_), Some(host)) => format!("{host}:{port}{path}"),
        _ => format!("{service}:{port}{path}"),
    }
}
