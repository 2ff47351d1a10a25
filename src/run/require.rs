//! `require`: what a scenario needs of its target. The lab provides it (through the API, and undone like
//! any change); on a cluster an unmet one fails the scenario with the way to mend it.

use super::event::{Event, ObjectAction, Verdict};
use super::scenario::{Runner, Stop};
use crate::cluster::{Applied, Error};
use crate::diag::Diagnostic;
use crate::plan::{Comparison, OutboundPolicy, Require, Requirement, Scenario, Version};
use serde_json::{Value, json};
use std::time::Instant;

/// Where Istio keeps its mesh config, and the key in it.
const MESH_NAMESPACE: &str = "istio-system";
const MESH_NAME: &str = "istio";

/// The field that tells who called, in an access-log format.
const PEER: &str = "%DOWNSTREAM_PEER_URI_SAN%";

/// Istio's format (1.30), which a mesh config without one of its own stands for.
const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%";

/// What is missing, and how to mend it by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unmet {
    title: String,
    help: Vec<String>,
}

/// The change that provides it.
pub(super) struct Provision {
    object: Value,
    /// One that reaches less, if there is one.
    narrow: Option<Value>,
    unmet: Unmet,
}

impl Runner {
    /// Checks all requirements of a scenario; provides what is unmet, where that is allowed.
    pub(super) async fn require(&mut self, scenario: &Scenario) -> Result<Verdict, Stop> {
        // All are looked at together; what one of them changes, the next sees.
        let mut checks = futures::future::join_all(scenario.requires.iter().map(|r| self.look(scenario, r))).await;
        let mut changed = false;
        for (nth, require) in scenario.requires.iter().enumerate() {
            let begun = Instant::now();
            let index = scenario.steps.len() + nth;
            let looked = match changed {
                false => checks.remove(0),
                true => self.look(scenario, require).await,
            };
            let provided = match looked {
                Ok(Some(provision)) => {
                    changed = true;
                    self.provide(scenario, provision).await
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let failure = match provided {
                Ok(None) => continue,
                Ok(Some(unmet)) => {
                    let mut failure = Diagnostic::error("E0506", unmet.title).at(require.place.clone(), "");
                    failure.help = unmet.help;
                    (failure, Verdict::Failed, Stop::Failed)
                }
                Err(error) => {
                    let mut failure = Diagnostic::error("E0506", error.to_string()).at(require.place.clone(), "");
                    if let Error::Absent { help, .. } = &error {
                        failure.help.push(help.clone());
                    }
                    match error.is_broken() {
                        true => (failure, Verdict::Broken, Stop::Broken),
                        false => (failure, Verdict::Failed, Stop::Failed),
                    }
                }
            };
            let line = require.place.line();
            let text = text_of(&require.what);
            self.emit(Event::StepStarted { index, line, text: text.clone() });
            let (failure, verdict, stop) = failure;
            let failure = Some(Box::new(failure));
            self.emit(Event::StepFinished { index, line, text, verdict, took: begun.elapsed(), failure });
            return Err(stop);
        }
        Ok(Verdict::Passed)
    }

    /// What is missing, if anything.
    pub(super) async fn look(&self, scenario: &Scenario, require: &Require) -> Result<Option<Provision>, Error> {
        match &require.what {
            Requirement::Outbound(policy) => self.outbound(scenario, *policy).await,
            Requirement::AccessLog { peer } => self.access_log(*peer).await,
            Requirement::Secret { name, namespace } => {
                self.secret(name, namespace.as_deref().unwrap_or(&scenario.namespace)).await
            }
            Requirement::Version { comparison, version } => self.istio_version(*comparison, version).await,
            Requirement::Crd(name) => self.crd(name).await,
            Requirement::GatewayPort(port) => self.gateway_port(scenario, *port).await,
        }
    }

    /// Makes the change, where that is allowed.
    async fn provide(&mut self, scenario: &Scenario, provision: Provision) -> Result<Option<Unmet>, Error> {
        let Provision { object, narrow, mut unmet } = provision;
        if !self.provide {
            unmet.help.push("or run with --provide: for as long as the scenario runs".into());
            return Ok(Some(unmet));
        }
        // On somebody's cluster the narrowest change that will do.
        let object = narrow.filter(|_| !self.lab).unwrap_or(object);
        let done = self.changes.apply(std::slice::from_ref(&object), "", &scenario.name).await;
        self.changed();
        for outcome in done.map_err(|failed| failed.error)? {
            if outcome.applied != Applied::Unchanged {
                let (namespace, name) = crate::cluster::identity(&object);
                self.emit(Event::Object {
                    step: None,
                    action: ObjectAction::Changed,
                    kind: object["kind"].as_str().unwrap_or_default().to_owned(),
                    namespace: Some(namespace.to_owned()),
                    name: name.to_owned(),
                    manifest: None,
                });
            }
        }
        Ok(None)
    }

    async fn outbound(&self, scenario: &Scenario, wanted: OutboundPolicy) -> Result<Option<Provision>, Error> {
        let (policy, mesh) = tokio::join!(self.sidecar_policy(&scenario.namespace), self.mesh_config());
        if let Some(policy) = policy? {
            // A Sidecar of the namespace has the last word.
            return match policy == wanted {
                true => Ok(None),
                false => Err(Error::Absent {
                    message: format!(
                        "a Sidecar in namespace {} sets outboundTrafficPolicy {}, not {}",
                        scenario.namespace,
                        name_of(policy),
                        name_of(wanted)
                    ),
                    help: format!("see `kubectl -n {} get sidecars -o yaml`", scenario.namespace),
                }),
            };
        }
        let mut mesh = mesh?;
        let mode =
            mesh.pointer("/outboundTrafficPolicy/mode").and_then(Value::as_str).unwrap_or("ALLOW_ANY").to_owned();
        if mode == name_of(wanted) {
            return Ok(None);
        }
        let wanted = name_of(wanted);
        mesh["outboundTrafficPolicy"] = json!({"mode": wanted});
        let unmet = Unmet {
            title: format!("the mesh's outbound traffic policy is {mode}, this scenario needs {wanted}"),
            help: vec![format!(
                "for the mesh: set meshConfig.outboundTrafficPolicy.mode to {wanted} (`istioctl install --set \
                 meshConfig.outboundTrafficPolicy.mode={wanted}`); for one namespace: a Sidecar with \
                 `outboundTrafficPolicy: {{mode: {wanted}}}`"
            )],
        };
        let sidecar = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
            "metadata": {"name": "egress-scn-outbound", "namespace": scenario.namespace},
            "spec": {"outboundTrafficPolicy": {"mode": wanted}}
        });
        Ok(Some(Provision { object: mesh_object(&mesh)?, narrow: Some(sidecar), unmet }))
    }

    /// What a Sidecar for the whole namespace says, if there is one.
    async fn sidecar_policy(&self, namespace: &str) -> Result<Option<OutboundPolicy>, Error> {
        let Ok(kind) = self.cluster.kind("networking.istio.io/v1", "Sidecar").await else { return Ok(None) };
        let (sidecars, _) = self.cluster.list(&kind, Some(namespace), "").await?;
        let whole = sidecars.iter().filter(|s| s.pointer("/spec/workloadSelector").is_none());
        let mut modes = whole.filter_map(|s| s.pointer("/spec/outboundTrafficPolicy/mode").and_then(Value::as_str));
        Ok(modes.next().map(|mode| match mode {
            "REGISTRY_ONLY" => OutboundPolicy::RegistryOnly,
            _ => OutboundPolicy::AllowAny,
        }))
    }

    async fn access_log(&self, peer: bool) -> Result<Option<Provision>, Error> {
        let mut mesh = self.mesh_config().await?;
        let text = |mesh: &Value, key: &str| mesh[key].as_str().unwrap_or_default().to_owned();
        let on = !text(&mesh, "accessLogFile").is_empty();
        let format = text(&mesh, "accessLogFormat");
        if on && (!peer || format.contains(PEER)) {
            return Ok(None);
        }
        if !on {
            mesh["accessLogFile"] = "/dev/stdout".into();
        }
        if peer && !format.contains(PEER) {
            mesh["accessLogFormat"] = with_peer(&format, text(&mesh, "accessLogEncoding") == "JSON").into();
        }
        let title = match on {
            false => "the mesh writes no access log",
            true => "the mesh's access log does not say who called (%DOWNSTREAM_PEER_URI_SAN%)",
        };
        let help = "set meshConfig.accessLogFile to /dev/stdout, and for the peer add `peer=%DOWNSTREAM_PEER_URI_SAN%` to \
                    meshConfig.accessLogFormat";
        let unmet = Unmet { title: title.into(), help: vec![help.into()] };
        Ok(Some(Provision { object: mesh_object(&mesh)?, narrow: None, unmet }))
    }

    async fn gateway_port(&self, scenario: &Scenario, port: u16) -> Result<Option<Provision>, Error> {
        let gateway = &scenario.gateway;
        let kind = self.cluster.kind("v1", "Service").await?;
        let Some(service) = self.cluster.get(&kind, Some(&gateway.namespace), &gateway.name).await? else {
            return Err(Error::Absent {
                message: format!("there is no Service {}/{}: the egress gateway is not installed", gateway.namespace, gateway.name),
                help: "install one (chart istio/gateway, or `istioctl install --set components.egressGateways[0].enabled=true`)"
                    .into(),
            });
        };
        let ports = service.pointer("/spec/ports").and_then(Value::as_array);
        if ports.into_iter().flatten().any(|p| p["port"].as_u64() == Some(port.into())) {
            return Ok(None);
        }
        let entry = json!({"name": format!("tls-{port}"), "port": port, "protocol": "TCP", "targetPort": port});
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": gateway.name, "namespace": gateway.namespace},
            "spec": {"ports": [entry]}
        });
        let patch = json!({"op": "add", "path": "/spec/ports/-", "value": entry});
        let unmet = Unmet {
            title: format!("the Service of {gateway} does not expose port {port}, so sidecars cannot reach it there"),
            help: vec![format!(
                "kubectl -n {} patch service {} --type json -p '[{patch}]'",
                gateway.namespace, gateway.name
            )],
        };
        Ok(Some(Provision { object, narrow: None, unmet }))
    }

    async fn secret(&self, name: &str, namespace: &str) -> Result<Option<Provision>, Error> {
        let kind = self.cluster.kind("v1", "Secret").await?;
        if self.cluster.get(&kind, Some(namespace), name).await?.is_some() {
            return Ok(None);
        }
        let absent = |error: rcgen::Error| Error::Absent {
            message: format!("no certificate could be made for Secret {namespace}/{name}: {error}"),
            help: String::new(),
        };
        // Its own authority: whoever is to trust it takes ca.crt.
        let host = format!("{name}.example");
        let made = rcgen::generate_simple_self_signed(vec![host]).map_err(absent)?;
        let certificate = made.cert.pem();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {"tls.crt": certificate, "tls.key": made.signing_key.serialize_pem(), "ca.crt": certificate}
        });
        let unmet = Unmet {
            title: format!("there is no Secret {namespace}/{name}"),
            help: vec![format!("kubectl -n {namespace} create secret tls {name} --cert FILE --key FILE")],
        };
        Ok(Some(Provision { object, narrow: None, unmet }))
    }

    async fn istio_version(&self, comparison: Comparison, wanted: &Version) -> Result<Option<Provision>, Error> {
        let text = self.cluster.istio_version().await?;
        let mut is: Vec<u64> = text.split('.').filter_map(|part| part.parse().ok()).collect();
        // `1.30` stands for all its patches.
        is.truncate(wanted.0.len());
        match comparison.holds(&is, &wanted.0) {
            true => Ok(None),
            false => Err(Error::Absent {
                message: format!("this scenario needs Istio {comparison} {wanted}, and the target has {text}"),
                help: "install another, or say skip if no version … where the scenario may be left out".into(),
            }),
        }
    }

    async fn crd(&self, name: &str) -> Result<Option<Provision>, Error> {
        let kind = self.cluster.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition").await?;
        match self.cluster.get(&kind, None, name).await? {
            Some(_) => Ok(None),
            None => Err(Error::Absent {
                message: format!("the target has no CustomResourceDefinition {name}"),
                help: "install what brings it, or say skip if no crd … where the scenario may be left out".into(),
            }),
        }
    }

    pub(super) async fn mesh_config(&self) -> Result<Value, Error> {
        let kind = self.cluster.kind("v1", "ConfigMap").await?;
        let Some(map) = self.cluster.get(&kind, Some(MESH_NAMESPACE), MESH_NAME).await? else {
            return Err(Error::Absent {
                message: format!("there is no ConfigMap {MESH_NAMESPACE}/{MESH_NAME}: is Istio installed?"),
                help: "see `istioctl version`; a revisioned install names it istio-REVISION".into(),
            });
        };
        let text = map.pointer("/data/mesh").and_then(Value::as_str).unwrap_or_default();
        let parsed: Value = serde_yaml::from_str(text).map_err(|e| Error::Absent {
            message: format!("the mesh config in ConfigMap {MESH_NAMESPACE}/{MESH_NAME} is not YAML: {e}"),
            help: String::new(),
        })?;
        Ok(if parsed.is_object() { parsed } else { json!({}) })
    }
}

fn mesh_object(mesh: &Value) -> Result<Value, Error> {
    let text = serde_yaml::to_string(mesh).map_err(|e| Error::Absent {
        message: format!("the mesh config cannot be written as YAML: {e}"),
        help: String::new(),
    })?;
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": MESH_NAME, "namespace": MESH_NAMESPACE}, "data": {"mesh": text}
    }))
}

/// A log format with the peer's identity.
fn with_peer(format: &str, json: bool) -> String {
    if json {
        let parsed = serde_json::from_str::<Value>(format).ok().filter(Value::is_object);
        let mut fields = parsed.unwrap_or_else(|| json!({}));
        fields["peer"] = PEER.into();
        return fields.to_string();
    }
    let format = if format.is_empty() { DEFAULT_FORMAT } else { format };
    format!("{} peer={PEER}\n", format.trim_end())
}

fn name_of(policy: OutboundPolicy) -> &'static str {
    match policy {
        OutboundPolicy::RegistryOnly => "REGISTRY_ONLY",
        OutboundPolicy::AllowAny => "ALLOW_ANY",
    }
}

fn text_of(what: &Requirement) -> String {
    format!("require {}", words(what))
}

/// As the language writes it, behind `require`.
pub(super) fn words(what: &Requirement) -> String {
    match what {
        Requirement::Outbound(policy) => format!("outbound {}", name_of(*policy)),
        Requirement::GatewayPort(port) => format!("gateway port {port}"),
        Requirement::AccessLog { peer: true } => "access-log peer".into(),
        Requirement::AccessLog { peer: false } => "access-log".into(),
        Requirement::Secret { name, namespace: Some(namespace) } => format!("secret {name} in {namespace}"),
        Requirement::Secret { name, namespace: None } => format!("secret {name}"),
        Requirement::Version { comparison, version } => format!("version {comparison} {version}"),
        Requirement::Crd(name) => format!("crd {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_added_to_any_format() {
        assert!(with_peer("", false).ends_with("%ROUTE_NAME% peer=%DOWNSTREAM_PEER_URI_SAN%\n"));
        assert_eq!(with_peer("%A%\n", false), "%A% peer=%DOWNSTREAM_PEER_URI_SAN%\n");
        assert_eq!(with_peer(r#"{"a":"%A%"}"#, true), r#"{"a":"%A%","peer":"%DOWNSTREAM_PEER_URI_SAN%"}"#);
    }
}
