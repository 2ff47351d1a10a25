//! What a container's processes start with: the image's and the kubelet's variables, then the container's own, some of
//! them from ConfigMaps, Secrets and the pod itself.

use super::NodeConfig;
use super::pod::Pod;
use crate::lab::api_door::{SERVICE_ADDRESS, SERVICE_PORT};
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Secret};
use kube::Api;
use std::collections::BTreeMap;

/// The whole environment; the host's is not among it.
///
/// # Errors
/// What is missing, in the kubelet's words.
pub async fn of(spec: &Container, pod: &Pod, config: &NodeConfig) -> Result<Vec<(String, String)>, String> {
    let roots = config.outside_roots.display().to_string();
    let mut env = Environment(vec![
        ("PATH".to_string(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string()),
        // An empty home: a `.curlrc` of the user is not part of the lab.
        ("HOME".to_string(), pod.folder(config).join("home").display().to_string()),
        ("HOSTNAME".to_string(), pod.name.clone()),
        ("LANG".to_string(), "C.UTF-8".to_string()),
        ("SSL_CERT_FILE".to_string(), roots.clone()),
        ("CURL_CA_BUNDLE".to_string(), roots),
    ]);
    for (name, value) in of_the_api() {
        env.set(name.to_string(), value);
    }
    for source in spec.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let found = if let Some(map) = &source.config_map_ref {
            config_map(pod, config, &map.name, map.optional).await?
        } else if let Some(secret) = &source.secret_ref {
            self::secret(pod, config, &secret.name, secret.optional).await?
        } else {
            None
        };
        for (name, value) in found.into_iter().flatten() {
            env.set(format!("{prefix}{name}"), value);
        }
    }
    for var in spec.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (Some(value), _) => env.expand(value),
            (None, Some(source)) => match from_elsewhere(source, spec, pod, config).await? {
                Some(value) => value,
                // Optional, and absent: there is no such variable.
                None => continue,
            },
            (None, None) => String::new(),
        };
        env.set(var.name.clone(), value);
    }
    Ok(env.0)
}

/// Where a client within a cluster looks for the API, as the kubelet says it of the Service `kubernetes`.
fn of_the_api() -> [(&'static str, String); 8] {
    let (address, port) = (SERVICE_ADDRESS.to_string(), SERVICE_PORT.to_string());
    let url = format!("tcp://{address}:{port}");
    [
        ("KUBERNETES_SERVICE_HOST", address.clone()),
        ("KUBERNETES_SERVICE_PORT", port.clone()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", port.clone()),
        ("KUBERNETES_PORT", url.clone()),
        ("KUBERNETES_PORT_443_TCP", url),
        ("KUBERNETES_PORT_443_TCP_PROTO", "tcp".to_string()),
        ("KUBERNETES_PORT_443_TCP_PORT", port),
        ("KUBERNETES_PORT_443_TCP_ADDR", address),
    ]
}

/// What a process at a terminal is told of it, unless its container says otherwise.
pub fn with_terminal(mut env: Vec<(String, String)>) -> Vec<(String, String)> {
    if !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".into(), "xterm".into()));
    }
    env
}

/// `$(NAME)` in a container's command and arguments.
pub fn expand(text: &str, env: &[(String, String)]) -> String {
    Environment(env.to_vec()).expand(text)
}

struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, name: String, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    /// `$(NAME)` stands for a variable defined before; `$$(NAME)` for itself; an unknown one stays as it is.
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let from = &rest[at..];
            if let Some(after) = from.strip_prefix("$$") {
                expanded.push('$');
                rest = after;
                continue;
            }
            let name = from.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
            let known = name.and_then(|(name, after)| {
                self.0.iter().find(|(known, _)| known == name).map(|(_, value)| (value, after))
            });
            match known {
                Some((value, after)) => {
                    expanded.push_str(value);
                    rest = after;
                }
                None => {
                    expanded.push('$');
                    rest = &from[1..];
                }
            }
        }
        expanded + rest
    }
}

async fn from_elsewhere(
    source: &EnvVarSource,
    spec: &Container,
    pod: &Pod,
    config: &NodeConfig,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return pod_field(&field.field_path, pod).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return Ok(Some(resource_field(&resource.resource, spec)));
    }
    if let Some(from) = &source.config_map_key_ref {
        let map = config_map(pod, config, &from.name, from.optional).await?;
        return key(map, &from.key, from.optional, "configmap", pod, &from.name);
    }
    if let Some(from) = &source.secret_key_ref {
        let map = secret(pod, config, &from.name, from.optional).await?;
        return key(map, &from.key, from.optional, "secret", pod, &from.name);
    }
    Ok(None)
}

fn key(
    map: Option<BTreeMap<String, String>>,
    key: &str,
    optional: Option<bool>,
    kind: &str,
    pod: &Pod,
    name: &str,
) -> Result<Option<String>, String> {
    match map.map(|mut map| map.remove(key)) {
        Some(Some(value)) => Ok(Some(value)),
        _ if optional == Some(true) => Ok(None),
        _ => Err(format!("couldn't find key {key} in {kind} {}/{name}", pod.namespace)),
    }
}

/// The texts of a ConfigMap; `None` if it is absent and may be.
pub async fn config_map(
    pod: &Pod,
    config: &NodeConfig,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let api: Api<ConfigMap> = Api::namespaced(config.client.clone(), &pod.namespace);
    match api.get_opt(name).await.map_err(|error| format!("reading configmap {name}: {error}"))? {
        Some(map) => {
            let binary = map.binary_data.into_iter().flatten();
            let binary = binary.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()));
            Ok(Some(map.data.into_iter().flatten().chain(binary).collect()))
        }
        None if optional == Some(true) => Ok(None),
        None => Err(format!("configmap \"{name}\" not found")),
    }
}

/// The texts of a Secret; `None` if it is absent and may be.
pub async fn secret(
    pod: &Pod,
    config: &NodeConfig,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let api: Api<Secret> = Api::namespaced(config.client.clone(), &pod.namespace);
    match api.get_opt(name).await.map_err(|error| format!("reading secret {name}: {error}"))? {
        Some(secret) => {
            let data = secret.data.into_iter().flatten();
            Ok(Some(data.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect()))
        }
        None if optional == Some(true) => Ok(None),
        None => Err(format!("secret \"{name}\" not found")),
    }
}

/// A field of the pod, as the downward API gives it.
pub fn pod_field(path: &str, pod: &Pod) -> Result<String, String> {
    let metadata = &pod.object.metadata;
    let spec = pod.object.spec.as_ref();
    let of_map = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key).cloned()).unwrap_or_default()
    };
    let whole = |map: &Option<BTreeMap<String, String>>| {
        let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
        map.iter().flatten().map(line).collect::<Vec<_>>().join("\n")
    };
    let subscript = |field: &str| path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Ok(of_map(&metadata.labels, key));
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(of_map(&metadata.annotations, key));
    }
    Ok(match path {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => pod.uid.clone(),
        "metadata.labels" => whole(&metadata.labels),
        "metadata.annotations" => whole(&metadata.annotations),
        "status.podIP" | "status.podIPs" => pod.ip.to_string(),
        "status.hostIP" | "status.hostIPs" => crate::lab::fabric::GATEWAY.to_string(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        other => return Err(format!("unsupported fieldPath: {other}")),
    })
}

/// As said in the container's `resources`; 0 if nothing is.
fn resource_field(resource: &str, spec: &Container) -> String {
    let (list, name) = resource.split_once('.').unwrap_or(("limits", resource));
    let resources = spec.resources.as_ref();
    let from = match list {
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => resources.and_then(|resources| resources.limits.as_ref()),
    };
    from.and_then(|quantities| quantities.get(name)).map_or("0".to_string(), |quantity| quantity.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_those_before_them() {
        let env = Environment(vec![("A".into(), "1".into()), ("B".into(), "".into())]);
        for (text, expected) in
            [("$(A)-$(B).", "1-."), ("$(C) $A $", "$(C) $A $"), ("$$(A)", "$(A)"), ("$(A", "$(A"), ("값 $(A)", "값 1")]
        {
            assert_eq!(env.expand(text), expected);
        }
    }
}
