//! Propagation: after a change, wait until the proxies have it.
//!
//! The lab's control plane says so itself (`/debug/lab/synced`: every proxy has acknowledged all up to
//! a resourceVersion); then nothing may be warming in the Envoys. A real istiod has no call that
//! says "this object has reached that proxy", and some mistakes change nothing to acknowledge:
//! there the proxies are watched until their configuration is quiet, and the result says that it
//! proves nothing.

use super::{Admin, Cluster, Error};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// What waiting has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Every proxy has the change, so a fact that is absent is absent.
    pub proven: bool,
    /// What a proxy or the control plane refused, in its own words: "sleep-…: Error adding listener …".
    pub rejections: Vec<String>,
    /// Why it is not proven.
    pub reason: Option<String>,
}

/// Waits for changes to reach the proxies.
pub struct Propagation {
    cluster: Cluster,
    /// The lab's control plane; `None` once it is known that it is another one.
    lab: OnceCell<Option<Admin>>,
}

const SYNCED: &str = "/debug/lab/synced";
/// istiod's HTTP port for monitoring and debugging.
pub(super) const MONITORING: u16 = 15014;
/// istiod gathers changes for 100 ms or more before it pushes: quiet means for longer than that.
const QUIET: Duration = Duration::from_millis(1000);
/// Between two looks at a proxy's counters; there is no event to wait for.
const LOOK: Duration = Duration::from_millis(100);
/// Warming ends within milliseconds as a rule.
const LOOK_WARMING: Duration = Duration::from_millis(5);
const WARMING: &str = "^(listener_manager.total_listeners_warming|cluster_manager.warming_clusters)$";
const UPDATES: &str = "^(cluster_manager|listener_manager).*(update_success|update_rejected|version|warming.*)$";

impl Propagation {
    pub fn new(cluster: Cluster) -> Propagation {
        Propagation { cluster, lab: OnceCell::new() }
    }

    /// True when the control plane can prove that a change has arrived.
    pub async fn can_prove(&self) -> bool {
        self.lab().await.is_some()
    }

    /// Waits until `proxies` have everything up to now, at most `limit`. What cannot be asked is not
    /// proven: the result says why. `version` is the resourceVersion of the last change, where it is known and no
    /// controller makes more of it; else the API is asked.
    pub async fn settle(&self, proxies: &[&Admin], version: Option<u64>, limit: Duration) -> Settled {
        let deadline = Instant::now() + limit;
        let settled = match self.lab().await {
            Some(control) => self.acknowledged(control, version, deadline).await,
            None => quiet(proxies, deadline).await,
        };
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                return Settled { reason: Some(format!("propagation unproven: {error}")), ..Settled::default() };
            }
        };
        let warming = match settled.proven {
            true => nothing_warms(proxies, deadline).await,
            false => return settled,
        };
        match warming {
            Ok(true) => settled,
            Ok(false) => {
                Settled { proven: false, reason: Some("a listener or cluster is still warming".into()), ..settled }
            }
            Err(error) => Settled { proven: false, reason: Some(format!("propagation unproven: {error}")), ..settled },
        }
    }

    async fn acknowledged(&self, control: &Admin, version: Option<u64>, deadline: Instant) -> Result<Settled, Error> {
        let version = match version {
            Some(version) => version.to_string(),
            None => self.current_version().await?,
        };
        let path = format!("{SYNCED}?rv={version}");
        let Ok(answer) = tokio::time::timeout_at(deadline, control.get(&path)).await else {
            let reason = Some("the control plane did not say in time that every proxy has the change".to_owned());
            return Ok(Settled { reason, ..Settled::default() });
        };
        let answer = answer?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let rejections = rejections(&body);
        match answer.status {
            200 => Ok(Settled { proven: true, rejections, reason: None }),
            status => Ok(Settled {
                proven: false,
                rejections,
                reason: Some(format!(
                    "the control plane answered HTTP {status}: {}",
                    String::from_utf8_lossy(&answer.body).trim()
                )),
            }),
        }
    }

    /// The API's present resourceVersion: all our changes are at most this.
    async fn current_version(&self) -> Result<String, Error> {
        let kind = self.cluster.kind("v1", "Namespace").await?;
        Ok(self.cluster.list(&kind, None, "").await?.1)
    }

    async fn lab(&self) -> Option<&Admin> {
        self.lab
            .get_or_init(|| async {
                let pods = self.cluster.pods("istio-system", "istiod", Duration::from_secs(1)).await.ok()?;
                let control = self.cluster.http(pods.first()?, MONITORING);
                let answer = control.get(&format!("{SYNCED}?rv=0")).await.ok()?;
                (answer.status == 200).then_some(control)
            })
            .await
            .as_ref()
    }
}

/// Every text under a key that names an error, with the proxy it belongs to.
fn rejections(body: &Value) -> Vec<String> {
    let mut found = vec![];
    for proxy in body["proxies"].as_array().into_iter().flatten() {
        let name = proxy["proxy"].as_str().or_else(|| proxy["name"].as_str()).unwrap_or("a proxy");
        for error in proxy["errors"].as_array().into_iter().flatten() {
            let text = match error.as_str() {
                Some(text) => text.to_owned(),
                None => error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned),
            };
            found.push(format!("{name}: {text}"));
        }
    }
    found
}

/// Waits until no proxy has a warming listener or cluster. False at the deadline.
async fn nothing_warms(proxies: &[&Admin], deadline: Instant) -> Result<bool, Error> {
    let looks = proxies.iter().map(|proxy| async move {
        let mut looks = tokio::time::interval(LOOK_WARMING);
        loop {
            looks.tick().await;
            if proxy.stats(WARMING).await?.iter().all(|(_, value)| *value == 0) {
                return Ok::<_, Error>(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    });
    Ok(futures::future::try_join_all(looks).await?.into_iter().all(|still| still))
}

/// Watches the proxies' update counters until they have not moved for a while.
async fn quiet(proxies: &[&Admin], deadline: Instant) -> Result<Settled, Error> {
    let mut before = counters(proxies).await?;
    let mut since = Instant::now();
    let mut looks = tokio::time::interval(LOOK);
    while !proxies.is_empty() && since.elapsed() < QUIET && Instant::now() < deadline {
        looks.tick().await;
        let now = counters(proxies).await?;
        if now != before {
            before = now;
            since = Instant::now();
        }
    }
    let reason = "propagation unproven: this control plane does not say when a change has reached a proxy".to_owned();
    Ok(Settled { proven: false, rejections: vec![], reason: Some(reason) })
}

async fn counters(proxies: &[&Admin]) -> Result<Vec<Vec<(String, u64)>>, Error> {
    let mut all = vec![];
    for proxy in proxies {
        all.push(proxy.stats(UPDATES).await?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_proxy_that_refuses_is_quoted() {
        let body = json!({"proxies": [{"proxy": "sleep-1.mesh-test", "errors": ["Error adding listener"]}, {"proxy": "b", "errors": []}]});
        assert_eq!(rejections(&body), ["sleep-1.mesh-test: Error adding listener"]);
    }
}
