//! Readiness, liveness and startup probes, made from within the pod as a kubelet makes them from the node.

use super::container::Container;
use super::pod::Pod;
use crate::lab::process::ProcessSpec;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Probe;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How often a container that is not ready yet is looked at: a kubelet takes its period, people wait for it.
const SOON: Duration = Duration::from_millis(100);

/// Watches a running container until it ends: says when it is ready, and ends it when it is no longer alive. Dropping it
/// stops the watch.
pub async fn watch(container: Arc<Container>, pod: Arc<Pod>, since: jiff::Timestamp) {
    let spec = &container.spec;
    if let Some(startup) = &spec.startup_probe {
        let limit = startup.failure_threshold.unwrap_or(3).max(1);
        let mut failures = 0;
        let mut ticks = ticks(startup, period(startup));
        loop {
            ticks.tick().await;
            if passes(startup, &container, &pod).await {
                break;
            }
            failures += 1;
            if failures >= limit {
                return container.signal(Signal::SIGTERM);
            }
        }
    }
    tokio::join!(readiness(&container, &pod, since), liveness(&container, &pod));
}

async fn readiness(container: &Arc<Container>, pod: &Arc<Pod>, since: jiff::Timestamp) {
    let Some(probe) = &container.spec.readiness_probe else {
        return pod.set_running(&container.spec.name, since, true);
    };
    let (wanted, limit) = (probe.success_threshold.unwrap_or(1), probe.failure_threshold.unwrap_or(3).max(1));
    let (mut ready, mut successes, mut failures) = (false, 0, 0);
    let mut soon = ticks(probe, SOON.min(period(probe)));
    let mut regular = ticks(probe, period(probe));
    loop {
        if ready {
            regular.tick().await
        } else {
            soon.tick().await
        };
        if passes(probe, container, pod).await {
            (successes, failures) = (successes + 1, 0);
        } else {
            (successes, failures) = (0, failures + 1);
        }
        let now = if ready { failures < limit } else { successes >= wanted };
        if now != ready {
            ready = now;
            pod.set_running(&container.spec.name, since, ready);
        }
    }
}

async fn liveness(container: &Arc<Container>, pod: &Arc<Pod>) {
    let Some(probe) = &container.spec.liveness_probe else { return };
    let limit = probe.failure_threshold.unwrap_or(3).max(1);
    let mut failures = 0;
    let mut ticks = ticks(probe, period(probe));
    loop {
        ticks.tick().await;
        failures = if passes(probe, container, pod).await { 0 } else { failures + 1 };
        if failures >= limit {
            return container.signal(Signal::SIGTERM);
        }
    }
}

fn period(probe: &Probe) -> Duration {
    Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10).max(1))
}

fn ticks(probe: &Probe, period: Duration) -> tokio::time::Interval {
    let delay = Duration::from_secs(u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0));
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + delay, period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

async fn passes(probe: &Probe, container: &Arc<Container>, pod: &Arc<Pod>) -> bool {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
    let asked = async {
        let sandbox = pod.sandbox()?;
        if let Some(exec) = &probe.exec {
            let argv = exec.command.clone().unwrap_or_default();
            let spec = ProcessSpec { argv, env: container.env(), cwd: None, stdin: false };
            let mut process = sandbox.spawn(spec).await.ok()?;
            drop(sandbox);
            let (stdout, stderr) = (process.stdout.take()?, process.stderr.take()?);
            let drain = async |mut output: Box<dyn tokio::io::AsyncRead + Unpin + Send>| {
                drop(output.read_to_end(&mut Vec::new()).await);
            };
            let (exit, (), ()) = tokio::join!(process.wait(), drain(Box::new(stdout)), drain(Box::new(stderr)));
            return (exit.ok()? == 0).then_some(());
        }
        let port = probe.http_get.as_ref().map(|get| &get.port).or(probe.tcp_socket.as_ref().map(|tcp| &tcp.port))?;
        let stream = sandbox.connect_to(pod.ip, number(port, container)?).await.ok()?;
        drop(sandbox);
        let Some(get) = &probe.http_get else { return Some(()) };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let mut request = http::Request::get(get.path.as_deref().unwrap_or("/"))
            .header("host", get.host.clone().unwrap_or_else(|| pod.ip.to_string()))
            .header("user-agent", "kube-probe/1.34");
        for header in get.http_headers.iter().flatten() {
            request = request.header(&header.name, &header.value);
        }
        let answer = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).ok()?);
        let answer = tokio::select! {
            answer = answer => answer.ok()?,
            _ = connection => return None,
        };
        (200..400).contains(&answer.status().as_u16()).then_some(())
    };
    tokio::time::timeout(limit, asked).await.ok().flatten().is_some()
}

fn number(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let mut ports = container.spec.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name))?;
            u16::try_from(named.container_port).ok()
        }
    }
}
