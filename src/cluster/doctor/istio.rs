//! Istio as it is installed: versions, revisions, injection or ambient, outbound policy.

use super::{Finding, ROOT_NAMESPACE, Subject, full};
use crate::cluster::{Cluster, Error, Pod};
use serde_json::Value;

const AMBIENT: &str = "the traffic of an ambient workload passes ztunnel and waypoints, whose configuration and logs are not an Envoy sidecar's: \
    `expect path`, `expect blocked by` and the sidecar's listeners mean nothing there";

impl Cluster {
    pub(super) async fn look_at_istio(&self) -> Vec<Finding> {
        const ABOUT: &str = "Istio";
        let pods = match self.control_planes().await {
            Ok(pods) => pods,
            Err(error) => return vec![Finding::unanswered(ABOUT, &error)],
        };
        if pods.is_empty() {
            let seen = format!("there is no istiod (label app=istiod) in {ROOT_NAMESPACE}");
            return vec![Finding::refused(
                ABOUT,
                seen,
                "istioctl install --set components.egressGateways[0].enabled=true",
            )];
        }
        let mut findings = vec![];
        for pod in &pods {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let revision = pod.pointer("/metadata/labels/istio.io~1rev").and_then(Value::as_str).unwrap_or("default");
            let version = match self.istiod_version(name).await {
                Ok(version) => version,
                // The image's tag says the same, unless it was built by hand.
                Err(_) => image_tag(pod).unwrap_or_else(|| "of unknown version".into()),
            };
            findings.push(Finding::good(ABOUT, format!("{version}, revision {revision} ({name})")));
        }
        if self.kind("networking.istio.io/v1", "ServiceEntry").await.is_err() {
            let seen = "networking.istio.io/v1 is not served: this Istio is older than 1.22";
            findings.push(Finding::refused(
                "Istio's kinds",
                seen,
                "upgrade Istio: https://istio.io/latest/docs/setup/upgrade/",
            ));
        }
        findings
    }

    async fn control_planes(&self) -> Result<Vec<Value>, Error> {
        let kind = self.kind("v1", "Pod").await?;
        let (pods, _) = self.list(&kind, Some(ROOT_NAMESPACE), "app=istiod").await?;
        Ok(pods.into_iter().filter(|pod| pod.pointer("/status/phase").is_some_and(|p| p == "Running")).collect())
    }

    async fn istiod_version(&self, name: &str) -> Result<String, Error> {
        let pod = Pod {
            namespace: ROOT_NAMESPACE.into(),
            name: name.into(),
            uid: String::new(),
            ip: String::new(),
            default_container: String::new(),
            proxy_container: None,
        };
        let answer = self.http(&pod, 15014).get("/version").await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        // VERSION-REVISION-STATUS
        let mut parts: Vec<&str> = text.trim().rsplitn(3, '-').collect();
        Ok(parts.pop().unwrap_or_default().to_string())
    }

    pub(super) async fn look_at_namespace(&self, subject: &Subject) -> Vec<Finding> {
        const ABOUT: &str = "injection";
        let found = async {
            let kind = self.kind("v1", "Namespace").await?;
            self.get(&kind, None, &subject.namespace).await
        };
        let namespace = match found.await {
            Ok(Some(namespace)) => namespace,
            Ok(None) => {
                let create = format!(
                    "kubectl create namespace {0} && kubectl label namespace {0} istio-injection=enabled",
                    subject.namespace
                );
                return vec![Finding::refused(ABOUT, format!("there is no namespace {}", subject.namespace), create)];
            }
            Err(error) => return vec![Finding::unanswered(ABOUT, &error)],
        };
        let label = |name: &str| namespace.pointer("/metadata/labels").and_then(|labels| labels[name].as_str());
        if label("istio.io/dataplane-mode") == Some("ambient") {
            let seen = format!("namespace {} is ambient: {AMBIENT}", subject.namespace);
            let mend = format!(
                "kubectl label namespace {0} istio.io/dataplane-mode- istio-injection=enabled && kubectl -n {0} rollout restart deploy",
                subject.namespace
            );
            return vec![Finding::refused(ABOUT, seen, mend)];
        }
        vec![match (label("istio-injection"), label("istio.io/rev")) {
            (Some("enabled"), _) => {
                Finding::good(ABOUT, format!("namespace {}: istio-injection=enabled", subject.namespace))
            }
            (Some("disabled"), _) => Finding::lacking(
                ABOUT,
                format!("namespace {} says istio-injection=disabled", subject.namespace),
                format!("kubectl label namespace {} istio-injection=enabled --overwrite", subject.namespace),
            ),
            (_, Some(revision)) => {
                Finding::good(ABOUT, format!("namespace {}: istio.io/rev={revision}", subject.namespace))
            }
            _ => Finding::lacking(
                ABOUT,
                format!(
                    "namespace {} has no injection label; its pods get a sidecar only by their own",
                    subject.namespace
                ),
                format!("kubectl label namespace {} istio-injection=enabled", subject.namespace),
            ),
        }]
    }

    /// Sidecar, ambient or neither; and which form of sidecar.
    pub(super) async fn look_at_sidecar(&self, subject: &Subject, pods: &[Pod]) -> Finding {
        const ABOUT: &str = "sidecar";
        let restart = format!("kubectl -n {} rollout restart deploy/{}", subject.namespace, subject.source);
        let Ok(kind) = self.kind("v1", "Pod").await else { return Finding::lacking(ABOUT, "pods cannot be read", "") };
        let mut forms = vec![];
        for pod in pods {
            let object = match self.get(&kind, Some(&pod.namespace), &pod.name).await {
                Ok(Some(object)) => object,
                Ok(None) => continue,
                Err(error) => return Finding::unanswered(ABOUT, &error),
            };
            let annotations = object.pointer("/metadata/annotations");
            if annotations.is_some_and(|all| all["ambient.istio.io/redirection"] == "enabled") {
                return Finding::refused(ABOUT, format!("{} is ambient: {AMBIENT}", full(pod)), restart);
            }
            let init = object.pointer("/spec/initContainers").and_then(Value::as_array);
            let native = init.into_iter().flatten().any(|c| c["name"] == "istio-proxy");
            forms.push(match (&pod.proxy_container, native) {
                (None, _) => return Finding::refused(ABOUT, format!("{} has none", full(pod)), restart),
                (Some(_), true) => "a native sidecar (an init container that keeps running)",
                (Some(_), false) => "an ordinary container",
            });
        }
        forms.dedup();
        Finding::good(ABOUT, format!("{}: {}", pods.iter().map(full).collect::<Vec<_>>().join(", "), forms.join("; ")))
    }

    pub(super) async fn look_at_policy(&self, subject: &Subject) -> Vec<Finding> {
        const ABOUT: &str = "outbound policy";
        let mut findings = vec![];
        match self.mesh_config().await {
            Ok(Some(mesh)) => {
                let mode = mesh.pointer("/outboundTrafficPolicy/mode").and_then(Value::as_str);
                let seen = mode.map_or("ALLOW_ANY (Istio's default)".to_string(), str::to_string);
                findings.push(Finding::good(
                    ABOUT,
                    format!("{seen}; scenarios that need another say so with `require outbound`"),
                ));
            }
            Ok(None) => findings.push(Finding::lacking(
                ABOUT,
                format!("there is no ConfigMap istio in {ROOT_NAMESPACE}; a revisioned install has istio-REVISION"),
                format!("kubectl -n {ROOT_NAMESPACE} get configmaps"),
            )),
            Err(error) => findings.push(Finding::unanswered(ABOUT, &error)),
        }
        if let Ok(kind) = self.kind("networking.istio.io/v1", "Sidecar").await {
            for namespace in [&subject.namespace, ROOT_NAMESPACE] {
                let Ok((sidecars, _)) = self.list(&kind, Some(namespace), "").await else { continue };
                for sidecar in sidecars {
                    let name = sidecar.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                    let mode = sidecar.pointer("/spec/outboundTrafficPolicy/mode").and_then(Value::as_str);
                    let seen =
                        format!("Sidecar {namespace}/{name} narrows it: {}", mode.unwrap_or("no policy of its own"));
                    findings.push(Finding::good(ABOUT, seen));
                }
            }
        }
        findings
    }

    async fn mesh_config(&self) -> Result<Option<Value>, Error> {
        let kind = self.kind("v1", "ConfigMap").await?;
        let Some(map) = self.get(&kind, Some(ROOT_NAMESPACE), "istio").await? else { return Ok(None) };
        let text = map.pointer("/data/mesh").and_then(Value::as_str).unwrap_or_default();
        let broken = |error: serde_yaml::Error| Error::Absent {
            message: format!("the mesh config in ConfigMap {ROOT_NAMESPACE}/istio is not YAML: {error}"),
            help: format!("kubectl -n {ROOT_NAMESPACE} edit configmap istio"),
        };
        Ok(Some(serde_yaml::from_str(text).map_err(broken)?))
    }
}

fn image_tag(pod: &Value) -> Option<String> {
    let image = pod.pointer("/spec/containers/0/image")?.as_str()?;
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    Some(tag.to_string())
}
