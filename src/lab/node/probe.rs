//! Readiness, liveness and startup probes, made from within the pod as a kubelet makes them from the node.

use super::container::Container;
use super::pod::Pod;
use crate::lab::events::Recorder;
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
pub async fn watch(container: Arc<Container>, pod: Arc<Pod>, since: jiff::Timestamp, events: Recorder) {
    let spec = &container.spec;
    let watch = Watch { container: &container, pod: &pod, events };
    if let Some(startup) = &spec.startup_probe {
        let limit = startup.failure_threshold.unwrap_or(3).max(1);
        let mut failures = 0;
        let mut ticks = ticks(startup, period(startup));
        loop {
            ticks.tick().await;
            let Err(why) = passes(startup, &container, &pod).await else { break };
            watch.unhealthy("Startup", &why);
            failures += 1;
            if failures >= limit {
                return watch.kill("startup");
            }
        }
    }
    tokio::join!(watch.readiness(since), watch.liveness());
}

struct Watch<'a> {
    container: &'a Arc<Container>,
    pod: &'a Arc<Pod>,
    events: Recorder,
}

impl Watch<'_> {
    async fn readiness(&self, since: jiff::Timestamp) {
        let name = &self.container.spec.name;
        let Some(probe) = &self.container.spec.readiness_probe else {
            return self.pod.set_running(name, since, true);
        };
        let (wanted, limit) = (probe.success_threshold.unwrap_or(1), probe.failure_threshold.unwrap_or(3).max(1));
        let (mut ready, mut successes, mut failures) = (false, 0, 0);
        let mut soon = ticks(probe, SOON.min(period(probe)));
        let mut regular = ticks(probe, period(probe));
        // Told at most as often as a kubelet looks.
        let mut silent_until = tokio::time::Instant::now() + period(probe);
        loop {
            if ready {
                regular.tick().await
            } else {
                soon.tick().await
            };
            match passes(probe, self.container, self.pod).await {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(why) => {
                    (successes, failures) = (0, failures + 1);
                    let now = tokio::time::Instant::now();
                    if ready || now >= silent_until {
                        self.unhealthy("Readiness", &why);
                        silent_until = now + period(probe);
                    }
                }
            }
            let now = if ready { failures < limit } else { successes >= wanted };
            if now != ready {
                ready = now;
                self.pod.set_running(name, since, ready);
            }
        }
    }

    async fn liveness(&self) {
        let Some(probe) = &self.container.spec.liveness_probe else { return };
        let limit = probe.failure_threshold.unwrap_or(3).max(1);
        let mut failures = 0;
        let mut ticks = ticks(probe, period(probe));
        loop {
            ticks.tick().await;
            match passes(probe, self.container, self.pod).await {
                Ok(()) => failures = 0,
                Err(why) => {
                    self.unhealthy("Liveness", &why);
                    failures += 1;
                }
            }
            if failures >= limit {
                return self.kill("liveness");
            }
        }
    }

    fn unhealthy(&self, which: &str, why: &str) {
        self.events.warning(&self.pod.object, "Unhealthy", format!("{which} probe failed: {why}"));
    }

    fn kill(&self, which: &str) {
        let message = format!("Container {} failed {which} probe, will be restarted", self.container.spec.name);
        self.events.normal(&self.pod.object, "Killing", message);
        self.container.signal(Signal::SIGTERM);
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

/// Why it fails, in a kubelet's words.
async fn passes(probe: &Probe, container: &Arc<Container>, pod: &Arc<Pod>) -> Result<(), String> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
    match tokio::time::timeout(limit, ask(probe, container, pod)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s (timeoutSeconds)", limit.as_secs())),
    }
}

async fn ask(probe: &Probe, container: &Arc<Container>, pod: &Arc<Pod>) -> Result<(), String> {
    let sandbox = pod.sandbox().ok_or("the pod has no sandbox")?;
    if let Some(exec) = &probe.exec {
        let argv = exec.command.clone().unwrap_or_default();
        let spec = ProcessSpec { argv, env: container.env(), cwd: None, ..ProcessSpec::default() };
        let mut process = sandbox.spawn(spec).await.map_err(|error| error.to_string())?;
        drop(sandbox);
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let (exit, out, err) = tokio::join!(process.wait(), said(stdout), said(stderr));
        return match exit {
            Ok(0) => Ok(()),
            Ok(code) if out.is_empty() && err.is_empty() => Err(format!("exit code {code}")),
            Ok(_) => Err(out + &err),
            Err(error) => Err(error.to_string()),
        };
    }
    let port = probe.http_get.as_ref().map(|get| &get.port).or(probe.tcp_socket.as_ref().map(|tcp| &tcp.port));
    let port = port.and_then(|port| number(port, container)).ok_or("it names no port of the container")?;
    let stream = sandbox.connect_to(pod.ip, port).await;
    let stream = stream.map_err(|error| format!("dial tcp {}:{port}: connect: {error}", pod.ip))?;
    drop(sandbox);
    let Some(get) = &probe.http_get else { return Ok(()) };
    let path = get.path.as_deref().unwrap_or("/");
    let broken = |error: &dyn std::fmt::Display| format!("Get \"http://{}:{port}{path}\": {error}", pod.ip);
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    let mut request = http::Request::get(path)
        .header("host", get.host.clone().unwrap_or_else(|| pod.ip.to_string()))
        .header("user-agent", "kube-probe/1.34");
    for header in get.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| broken(&error))?;
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(|error| broken(&error))?,
        _ = connection => return Err(broken(&"EOF")),
    };
    match answer.status().as_u16() {
        200..400 => Ok(()),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

/// How much of a command's output a kubelet tells.
const MOST_SAID: u64 = 10 * 1024;

/// The beginning of what a command says; the rest is read and let go.
async fn said(output: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let Some(output) = output else { return String::new() };
    let mut begin = output.take(MOST_SAID);
    let mut text = Vec::new();
    let _ = begin.read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut begin.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).into_owned()
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
