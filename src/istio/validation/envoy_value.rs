//! Whether a patch's value is what Envoy calls by that name: types are errors, unknown fields are warnings.

use super::decode::Decoder;
use super::fields::Fields;
use super::findings::Findings;
use crate::istio::schema::envoy::envoy;
use crate::istio::schema::{Message, Shape, Type};
use serde_json::Value;

/// Checks the value of a patch on objects of a class.
pub(super) fn check(apply_to: &str, value: &Value) -> Findings {
    let name = match apply_to {
        "CLUSTER" => "config.cluster.v3.Cluster",
        "LISTENER" => "config.listener.v3.Listener",
        "ROUTE_CONFIGURATION" => "config.route.v3.RouteConfiguration",
        "FILTER_CHAIN" => "config.listener.v3.FilterChain",
        "HTTP_FILTER" => "extensions.filters.network.http_connection_manager.v3.HttpFilter",
        "NETWORK_FILTER" => "config.listener.v3.Filter",
        "VIRTUAL_HOST" => "config.route.v3.VirtualHost",
        "HTTP_ROUTE" => "config.route.v3.Route",
        "EXTENSION_CONFIG" => "config.core.v3.TypedExtensionConfig",
        "BOOTSTRAP" => "config.bootstrap.v3.Bootstrap",
        "LISTENER_FILTER" => "config.listener.v3.ListenerFilter",
        _ => return Findings::default(),
    };
    let Some(message) = envoy().message(&format!("envoy.{name}")) else { return Findings::default() };
    let schema = &envoy().schema;
    if let Err(error) = (Decoder { schema, strict: false }).message(value, message) {
        let hint = match error.contains("could not resolve Any message type") {
            false => "",
            true if error.contains(".v2.") => "referenced type unknown (hint: try using the v3 XDS API): ",
            true => "referenced type unknown: ",
        };
        return Findings::failed(format!("{hint}Envoy filter: {error}"));
    }
    let mut found = Findings::default();
    match (Decoder { schema, strict: true }).message(value, message) {
        Err(error) => found.warn(format!("Envoy filter: {error}")),
        Ok(decoded) => {
            let mut missing = vec![];
            by_name_alone(&decoded, message, &mut missing);
            if !missing.is_empty() {
                found.warn(format!("using deprecated types by name without typed_config; {}", missing.join(", ")));
            }
        }
    }
    found
}

/// Names of extensions without configuration of their own; not looked for in lists.
fn by_name_alone<'a>(value: &'a Value, message: &Message, missing: &mut Vec<&'a str>) {
    let single = message.fields.iter().filter(|field| field.shape == Shape::One);
    for field in single {
        if let (Type::Message(id), Some(inner)) = (&field.ty, value.get(field.name)) {
            by_name_alone(inner, &envoy().schema.messages[*id], missing);
        }
    }
    let configured = value.has("typedConfig") || value.has("configDiscovery");
    if message.field("typedConfig").is_some() && !configured {
        missing.push(value.text("name"));
    }
}
