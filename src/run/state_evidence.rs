//! Evidence beside proxies' listeners and logs: whole dumps, objects of the API, Istio's analysis, a refusal.

use super::scenario::Runner;
use crate::cluster::Error;
use crate::expect::{Evidence, Need, Said};
use crate::istio::analyze::{self, Level};
use crate::plan::{ObjectRef, Scenario, Workload};
use futures::future::try_join_all;
use serde_json::Value;
use std::sync::Arc;

/// Kinds beside Istio's that its analysis reads.
const ANALYZED: &[(&str, &str)] = &[("apps/v1", "Deployment"), ("telemetry.istio.io/v1", "Telemetry")];

/// Pods of a proxy, each with its raw dump.
pub(super) type RawDumps = Vec<(String, Arc<Value>)>;

impl Runner {
    /// Adds what the needs ask for that the proxies' usual look does not give.
    pub(super) async fn state_evidence(
        &mut self,
        scenario: &Scenario,
        needs: &[Need],
        evidence: &mut Evidence,
    ) -> Result<(), Error> {
        evidence.refusal = self.state.refusal.clone();
        evidence.baselines = self.state.baselines.clone();
        for need in needs {
            match need {
                Need::Raw(workload) => {
                    evidence.raw.insert(workload.to_string(), self.raw_dumps(workload).await?);
                }
                Need::Object(object) => {
                    let found = self.object(object, &scenario.namespace).await?;
                    evidence.objects.push((object.clone(), found));
                }
                Need::Analysis => evidence.analysis = Some(self.analysis(scenario).await?),
                _ => {}
            }
        }
        Ok(())
    }

    /// The whole dump of each pod, endpoints included, as it is now; none of pods without Envoy.
    pub(super) async fn raw_dumps(&mut self, workload: &Workload) -> Result<RawDumps, Error> {
        let mut out = vec![];
        for proxy in self.proxies.of(workload).await? {
            if proxy.pod.proxy_container.is_some() {
                let dump = proxy.admin.config_dump_with_endpoints().await?;
                out.push((proxy.pod.name.clone(), Arc::new(dump)));
            }
        }
        Ok(out)
    }

    pub(super) async fn object(&self, object: &ObjectRef, namespace: &str) -> Result<Option<Value>, Error> {
        let kind = self.kind_of(object).await?;
        let namespace = object.namespace.as_deref().unwrap_or(namespace);
        self.cluster.get(&kind, Some(namespace).filter(|_| kind.namespaced), &object.name).await
    }

    /// What Istio's analysis says of the target's objects, as far as it is about the scenario's namespace,
    /// its gateway's, or an object that it applied.
    async fn analysis(&mut self, scenario: &Scenario) -> Result<Vec<Said>, Error> {
        let mut objects = self.gatherer.istio(&self.cluster).await?;
        let cluster = self.cluster.clone();
        let lists = ANALYZED.iter().map(|(version, kind)| {
            let cluster = cluster.clone();
            async move {
                let Ok(kind) = cluster.kind(version, kind).await else { return Ok(vec![]) };
                Ok::<_, Error>(cluster.list(&kind, None, "").await?.0)
            }
        });
        objects.extend(try_join_all(lists).await?.into_iter().flatten());
        let services = self.cluster.kind("v1", "Service").await?;
        objects.extend(self.cluster.list(&services, None, "").await?.0);
        let mesh = self.mesh_config().await.unwrap_or(Value::Null);
        let namespaces = [scenario.namespace.as_str(), scenario.gateway.namespace.as_str()];
        let applied = |origin: &analyze::Origin| {
            self.state
                .applied
                .iter()
                .any(|o| o.body["kind"] == origin.kind.as_str() && o.body["metadata"]["name"] == origin.name.as_str())
        };
        let messages = analyze::analyze(&objects, &mesh).into_iter();
        let ours = messages.filter(|m| namespaces.contains(&m.origin.namespace.as_str()) || applied(&m.origin));
        Ok(ours
            .map(|m| Said {
                code: m.code.to_string(),
                is_serious: m.level != Level::Info,
                line: format!("{} [{}] ({}) {}", m.level, m.code, m.origin, m.message),
            })
            .collect())
    }
}
