//! What ran: the versions of the API server and of each Envoy, asked beside the work.

use super::event::Event;
use super::proxies::Proxy;
use crate::cluster::Cluster;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// Questions under way.
pub(super) struct Versions {
    events: UnboundedSender<Event>,
    asking: JoinSet<()>,
}

impl Versions {
    pub fn new(events: UnboundedSender<Event>) -> Versions {
        Versions { events, asking: JoinSet::new() }
    }

    pub fn of_api(&mut self, cluster: &Cluster) {
        let (cluster, events) = (cluster.clone(), self.events.clone());
        self.asking.spawn(async move {
            if let Ok(version) = cluster.version().await {
                let _ = events.send(Event::Version { component: "Kubernetes API".into(), version });
            }
        });
    }

    /// Opens the proxy's log and admin connection on the way.
    pub fn of_proxy(&mut self, cluster: &Cluster, proxy: Arc<Proxy>) {
        let (cluster, events) = (cluster.clone(), self.events.clone());
        self.asking.spawn(async move {
            proxy.log(&cluster).await;
            let Ok(info) = proxy.admin.server_info().await else { return };
            let component = format!("Envoy of {}.{}", proxy.pod.name, proxy.pod.namespace);
            let version = info["version"].as_str().map(short).unwrap_or_default();
            let _ = events.send(Event::Version { component, version });
        });
    }

    /// Waits for all answers, so that none comes after the run's end.
    pub async fn finish(&mut self) {
        while self.asking.join_next().await.is_some() {}
    }
}

/// `REVISION/1.40.0/Clean/RELEASE/BoringSSL` → `1.40.0 (Clean, RELEASE, BoringSSL)`.
fn short(version: &str) -> String {
    match version.split('/').collect::<Vec<_>>()[..] {
        [_, number, ref rest @ ..] => format!("{number} ({})", rest.join(", ")),
        _ => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_comes_first() {
        assert_eq!(short("0f4e/1.40.0/Clean/RELEASE/BoringSSL"), "1.40.0 (Clean, RELEASE, BoringSSL)");
        assert_eq!(short("odd"), "odd");
    }
}
