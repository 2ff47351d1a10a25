//! A real Envoy as a pod's sidecar: captured connections go through it, its own do not come back to it.

use crate::network::{pod, shell};
use egress_scn::lab::authority::Authority;
use egress_scn::lab::envoy_binary::{Surroundings, VARIABLE};
use egress_scn::lab::fabric::Fabric;
use egress_scn::lab::internet::Internet;
use egress_scn::lab::pod_files::PodFile;
use egress_scn::lab::pod_root::View;
use egress_scn::lab::process::ProcessSpec;
use egress_scn::lab::rights::Rights;
use egress_scn::lab::sandbox::{Capture, SandboxSpec};
use nix::sys::signal::Signal;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Passes everything through to where it was meant to go, and says so on standard output.
const CONFIG: &str = r#"{
  "cluster_manager": {"upstream_bind_config": {
    "source_address": {"address": "0.0.0.0", "port_value": 0},
    "socket_options": [{"level": 1, "name": 36, "int_value": 1337, "state": "STATE_PREBIND"}]}},
  "static_resources": {
    "listeners": [{
      "name": "outbound",
      "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15001}},
      "listener_filters": [{"name": "original_dst", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}}],
      "filter_chains": [{"filters": [{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp", "cluster": "passthrough",
        "access_log": [{"name": "stdout", "typed_config": {
          "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
          "path": "/dev/stdout",
          "log_format": {"text_format_source": {"inline_string": "%UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS%\n"}}}}]}}]}]}],
    "clusters": [{"name": "passthrough", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "5s"}]}
}"#;

pub async fn a_real_sidecar_passes_captured_connections() {
    let envoy = Surroundings::of_process().present().unwrap();
    let envoy = envoy.unwrap_or_else(|| panic!("an Envoy is needed: {VARIABLE}=/path/of/envoy"));
    let fabric = Fabric::new().await.unwrap();
    let authority = Arc::new(Authority::new("outside").unwrap());
    let mut files = pod(5).files;
    files.extend(PodFile::trusted(&authority.root_pem()));
    let view = View::Container(vec![envoy.path.clone()]);
    let _internet = Internet::start(&fabric, authority).await.unwrap();
    let pod = fabric
        .sandbox(SandboxSpec { capture: Capture::Outbound, files, view, rights: Rights::Proxy, ..pod(5) })
        .await
        .unwrap();
    // No sidecar, no way out.
    assert_eq!(shell(&pod, "curl -s https://httpbin.org/get").await.0, 7);

    let flags = "--disable-hot-restart --concurrency 1 --file-flush-interval-msec 1 -l info --config-yaml";
    let mut argv = vec![envoy.path.display().to_string()];
    argv.extend(flags.split(' ').chain([CONFIG]).map(String::from));
    let mut sidecar = pod.spawn(ProcessSpec { argv, ..ProcessSpec::default() }).await.unwrap();
    let mut said = BufReader::new(sidecar.stderr.take().unwrap()).lines();
    let mut log = BufReader::new(sidecar.stdout.take().unwrap()).lines();
    let mut heard = String::new();
    while !heard.contains("starting main dispatch loop") {
        heard += &said.next_line().await.unwrap().unwrap_or_else(|| panic!("Envoy ended: {heard}"));
    }
    let curl = "curl -s -o /dev/null -w '%{http_code} %{ssl_verify_result} %{local_port}' https://httpbin.org/get";
    let (code, facts, _) = shell(&pod, curl).await;
    let facts: Vec<&str> = facts.split(' ').collect();
    assert_eq!((code, &facts[..2]), (0, &["200", "0"][..]));
    let line = log.next_line().await.unwrap().unwrap();
    assert_eq!(line, format!("203.0.113.10:443 10.244.0.5:{}", facts[2]));
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await.unwrap(), 0);
}
