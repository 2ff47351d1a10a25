//! Gathering what judgements need: config dumps, access-log lines since the probe, objects of the API.

use super::proxies::{Proxies, Proxy};
use crate::cluster::{Cluster, Error, LogFollower};
use crate::envoy::{Dump, LogFormats};
use crate::expect::{Captured, Evidence, Need, Probe, ProxyPod};
use crate::plan::Workload;
use futures::future::{join_all, try_join_all};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Istio's kinds that judgements look at.
const ISTIO: &[(&str, &str)] = &[
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "Sidecar"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
];

/// Where the followed logs stood when the probe began, by pod uid.
#[derive(Default)]
pub struct Marks {
    at: HashMap<String, (Arc<LogFollower>, usize)>,
    /// By workload, in the order they were asked for.
    pods: Vec<(Workload, Vec<Arc<Proxy>>)>,
}

/// A gateway that refuses a connection may write nothing at all.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(20);

/// What was gathered from the API, kept until the next change.
#[derive(Default)]
pub struct Gatherer {
    /// Rises with each change.
    pub change: u64,
    services: HashMap<String, (u64, Vec<Value>)>,
    istio: Option<(u64, Vec<Value>)>,
}

/// What a judgement needs beside the proxies.
pub struct Known<'a> {
    pub probe: Option<&'a Probe>,
    pub captures: &'a BTreeMap<String, Captured>,
    pub gateway: &'a Workload,
    pub workload: Option<&'a Workload>,
    /// A workload without which the judgement may do.
    pub optional: Option<&'a Workload>,
}

impl Marks {
    /// Opens the logs that `needs` ask for and notes where they stand. A workload that is not there has
    /// no log: whoever needs it says so.
    pub async fn set(&mut self, cluster: &Cluster, proxies: &mut Proxies, needs: &[Need]) -> Result<(), Error> {
        self.at.clear();
        self.pods.clear();
        for need in needs {
            let Need::Log(workload) = need else { continue };
            if self.pods.iter().any(|(known, _)| known == workload) {
                continue;
            }
            let pods = match proxies.of(workload).await {
                Ok(pods) => pods,
                Err(Error::Absent { .. }) => continue,
                Err(error) => return Err(error),
            };
            let followers = join_all(pods.iter().map(|p| p.log(cluster))).await;
            for (proxy, follower) in pods.iter().zip(followers) {
                if let Some(follower) = follower {
                    let mark = follower.mark();
                    self.at.insert(proxy.pod.uid.clone(), (follower, mark));
                }
            }
            self.pods.push((workload.clone(), pods));
        }
        Ok(())
    }

    /// Lines of a pod since the mark.
    fn lines(&self, proxy: &Proxy) -> Vec<String> {
        match self.at.get(&proxy.pod.uid) {
            Some((follower, mark)) => follower.since(*mark),
            None => vec![],
        }
    }

    fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// How long a line of any of the followed logs may wait in its Envoy; `None` if one does not say.
    pub async fn flush_interval(&self) -> Option<Duration> {
        let followed = self.pods.iter().flat_map(|(_, pods)| pods).filter(|pod| pod.pod.proxy_container.is_some());
        let intervals = join_all(followed.map(|pod| pod.flush_interval())).await;
        intervals.into_iter().try_fold(Duration::ZERO, |longest, interval| Some(longest.max(interval?)))
    }

    /// Waits until the log lines that belong to the probe's transfers have come: the sidecar's by
    /// curl's local port, then the gateway's by the address that the sidecar called from.
    pub async fn wait_joined(&self, probe: &Probe, limit: Duration) {
        if self.is_empty() {
            return;
        }
        let deadline = tokio::time::Instant::now() + limit;
        let ports: Vec<u64> =
            probe.transfers.iter().filter_map(|t| t["local_port"].as_u64()).filter(|p| *p != 0).collect();
        let source = self.pods.iter().find(|(w, _)| Some(w) == probe.workload.as_ref());
        let Some((_, sources)) = source else { return };
        let Some(proxy) = sources.iter().find(|p| p.pod.name == probe.pod) else { return };
        let Some((follower, mark)) = self.at.get(&proxy.pod.uid) else { return };
        for port in ports {
            let joined = format!("{}:{port}", proxy.pod.ip);
            if !follower.wait_line(*mark, deadline, |line| holds_address(line, &joined)).await {
                return;
            }
            let Some(line) = follower.since(*mark).into_iter().find(|l| holds_address(l, &joined)) else { return };
            self.wait_next_hop(&line, &joined, proxy, deadline).await;
        }
    }

    /// If the sidecar's line names a followed pod as its upstream, waits for that pod's line too: the one
    /// that was called from the sidecar's address; where no connection stood, any, but not for long.
    async fn wait_next_hop(&self, line: &str, joined: &str, source: &Proxy, deadline: tokio::time::Instant) {
        let own = addresses(line).filter(|a| host_of(a) == source.pod.ip && !holds_address(joined, a));
        let from: Vec<&str> = own.collect();
        let soon = tokio::time::Instant::now() + REFUSAL_PATIENCE;
        for (_, pods) in &self.pods {
            for next in pods.iter().filter(|p| p.pod.uid != source.pod.uid) {
                let is_upstream = addresses(line).any(|a| host_of(a) == next.pod.ip);
                let (true, Some((follower, mark))) = (is_upstream, self.at.get(&next.pod.uid)) else { continue };
                match from.is_empty() {
                    true => follower.wait_line(*mark, deadline.min(soon), |_| true).await,
                    false => {
                        let wanted = |l: &str| from.iter().any(|a| holds_address(l, a));
                        follower.wait_line(*mark, deadline, wanted).await
                    }
                };
            }
        }
    }

    /// Waits until any followed log has a line beyond what `seen` counted, or the pause is over.
    pub async fn wait_any(&self, pause: Duration) {
        let deadline = tokio::time::Instant::now() + pause;
        let waits = self.at.values().map(|(follower, _)| {
            let mark = follower.mark();
            Box::pin(async move {
                if !follower.wait_line(mark, deadline, |_| true).await {
                    tokio::time::sleep_until(deadline).await;
                }
            })
        });
        let waits: Vec<_> = waits.collect();
        match waits.is_empty() {
            true => tokio::time::sleep_until(deadline).await,
            false => {
                futures::future::select_all(waits).await;
            }
        }
    }
}

impl Gatherer {
    /// The dumps that `needs` ask for, to be had while something else is done: what [`Self::gather`] takes
    /// then is at hand. Errors are left to it.
    pub async fn ahead(&self, proxies: &mut Proxies, needs: &[Need]) -> impl Future<Output = ()> + use<> {
        let change = self.change;
        let mut wanted = vec![];
        for (workload, look) in looks(needs) {
            let pods = proxies.of(&workload).await.unwrap_or_default();
            wanted.extend(pods.into_iter().filter(|p| p.pod.proxy_container.is_some()).map(|pod| (pod, look)));
        }
        async move {
            join_all(wanted.iter().map(|(proxy, look)| config(proxy, *look, change, false))).await;
        }
    }

    /// Fetches what `needs` ask for. `fresh` asks the proxies anew though nothing of ours changed.
    /// What is not there of `known.optional` is left out.
    pub async fn gather(
        &mut self,
        cluster: &Cluster,
        proxies: &mut Proxies,
        marks: &Marks,
        needs: &[Need],
        known: &Known<'_>,
        fresh: bool,
    ) -> Result<Evidence, Error> {
        let mut evidence = Evidence {
            probe: known.probe.cloned(),
            captures: known.captures.clone(),
            gateway: Some(known.gateway.clone()),
            workload: known.workload.cloned(),
            ..Evidence::default()
        };
        for need in needs {
            match need {
                Need::Services(namespace) => evidence.services.extend(self.services(cluster, namespace).await?),
                Need::Istio => evidence.istio = self.istio(cluster).await?,
                // The last three are the runner's own.
                Need::Log(_) | Need::Format(_) | Need::Dump(_) => {}
                Need::Raw(_) | Need::Object(_) | Need::Analysis => {}
            }
        }
        let mut asked = vec![];
        for (workload, look) in looks(needs) {
            let pods = match proxies.of(&workload).await {
                Err(Error::Absent { .. }) if known.optional == Some(&workload) => continue,
                pods => pods?,
            };
            let change = self.change;
            asked.push(async move {
                let pods = try_join_all(pods.iter().map(|p| pod_evidence(p, marks, look, change, fresh)));
                Ok::<_, Error>((workload.to_string(), pods.await?))
            });
        }
        evidence.proxies.extend(try_join_all(asked).await?);
        Ok(evidence)
    }

    async fn services(&mut self, cluster: &Cluster, namespace: &str) -> Result<Vec<Value>, Error> {
        if let Some((at, known)) = self.services.get(namespace)
            && *at == self.change
        {
            return Ok(known.clone());
        }
        let kind = cluster.kind("v1", "Service").await?;
        let (found, _) = cluster.list(&kind, Some(namespace), "").await?;
        self.services.insert(namespace.to_owned(), (self.change, found.clone()));
        Ok(found)
    }

    pub(super) async fn istio(&mut self, cluster: &Cluster) -> Result<Vec<Value>, Error> {
        if let Some((at, known)) = &self.istio
            && *at == self.change
        {
            return Ok(known.clone());
        }
        let lists = ISTIO.iter().map(|(version, kind)| async move {
            // A kind that is not installed has no objects.
            let Ok(kind) = cluster.kind(version, kind).await else { return Ok(vec![]) };
            Ok::<_, Error>(cluster.list(&kind, None, "").await?.0)
        });
        let found: Vec<Value> = try_join_all(lists).await?.into_iter().flatten().collect();
        self.istio = Some((self.change, found.clone()));
        Ok(found)
    }
}

/// How closely a proxy's configuration is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    None,
    Format,
    Dump,
}

/// The proxies that are needed, each with the closest look that is asked for.
fn looks(needs: &[Need]) -> Vec<(Workload, Look)> {
    let mut found: Vec<(Workload, Look)> = vec![];
    for need in needs {
        let (workload, look) = match need {
            Need::Log(workload) => (workload, Look::None),
            Need::Format(workload) => (workload, Look::Format),
            Need::Dump(workload) => (workload, Look::Dump),
            Need::Services(_) | Need::Istio | Need::Raw(_) | Need::Object(_) | Need::Analysis => continue,
        };
        match found.iter_mut().find(|(known, _)| known == workload) {
            Some((_, known)) => *known = look.max(*known),
            None => found.push((workload.clone(), look)),
        }
    }
    found
}

type Config = (Option<Arc<Dump>>, Option<Arc<LogFormats>>);

/// A proxy's configuration after change number `change`.
async fn config(proxy: &Proxy, look: Look, change: u64, fresh: bool) -> Result<Config, Error> {
    match look {
        _ if proxy.pod.proxy_container.is_none() => Ok((None, None)),
        Look::None => Ok((None, None)),
        Look::Format => Ok((None, Some(proxy.formats(change, fresh).await?))),
        Look::Dump => Ok((Some(proxy.dump(change, fresh).await?), None)),
    }
}

/// What one pod has to say.
async fn pod_evidence(proxy: &Proxy, marks: &Marks, look: Look, change: u64, fresh: bool) -> Result<ProxyPod, Error> {
    let (dump, formats) = config(proxy, look, change, fresh).await?;
    Ok(ProxyPod { pod: proxy.pod.name.clone(), ip: proxy.pod.ip.clone(), dump, formats, log: marks.lines(proxy) })
}

/// How long to wait for a probe's log lines: twice as long as Envoy may hold them back (`flush`), and their way here.
/// Where it does not say, what is `left` of the expectation's limit.
pub fn log_patience(flush: Option<Duration>, left: Duration) -> Duration {
    // Envoy's own flush interval is 10 s, Istio's 1 s.
    const LONGEST: Duration = Duration::from_secs(11);
    match flush {
        Some(flush) => (flush * 2 + Duration::from_millis(200)).min(LONGEST),
        None => left.clamp(Duration::from_millis(1500), LONGEST),
    }
}

/// Log lines that come so soon come at once.
pub const AT_ONCE: Duration = Duration::from_millis(100);

/// The words of a log line that look like `ADDRESS:PORT`.
fn addresses(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || matches!(c, '"' | ',' | '=' | '{' | '}')).filter(|word| {
        word.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && host.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'[' | b']'))
        })
    })
}

fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a line holds an address as a whole word: 10.0.0.1:80 is not in 10.0.0.1:8080.
fn holds_address(line: &str, address: &str) -> bool {
    let unbracketed = |a: &str| a.replace(['[', ']'], "");
    let wanted = unbracketed(address);
    addresses(line).any(|a| unbracketed(a) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"[2026-01-01T00:00:00.000Z] "- - -" 0 - - - "-" 721 1384 5 - "-" "-" "-" "-" "10.244.0.30:8443" outbound|443|httpbin|x 10.244.0.10:59562 203.0.113.10:443 10.244.0.10:40000 httpbin.org -"#;

    #[test]
    fn a_log_is_waited_for_as_long_as_envoy_may_hold_it_back() {
        let (second, left) = (Duration::from_secs(1), Duration::from_secs(10));
        assert!(log_patience(Some(Duration::from_millis(1)), left) < Duration::from_millis(250));
        assert!((second..3 * second).contains(&log_patience(Some(second), left)));
        assert_eq!(log_patience(Some(left), Duration::ZERO), 11 * second);
        assert_eq!(log_patience(None, left), left);
    }

    #[test]
    fn addresses_are_whole_words() {
        let found: Vec<&str> = addresses(LINE).collect();
        assert_eq!(found, ["10.244.0.30:8443", "10.244.0.10:59562", "203.0.113.10:443", "10.244.0.10:40000"]);
        assert!(holds_address(LINE, "10.244.0.10:40000"));
        assert!(!holds_address(LINE, "10.244.0.10:4000"));
        assert!(!holds_address(LINE, "0.244.0.10:40000"));
    }

    #[test]
    fn addresses_in_json_and_of_ipv6_are_found() {
        assert!(holds_address(r#"{"remote":"10.0.0.1:80","x":1}"#, "10.0.0.1:80"));
        assert!(holds_address("a=[fd00::1]:443 b", "fd00::1:443"));
        assert_eq!(host_of("[fd00::1]:443"), "fd00::1");
    }
}
