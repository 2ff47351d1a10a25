//! A real Envoy for tests: in namespaces of its own, with nothing but a loopback; admin on a Unix socket.
#![allow(dead_code, reason = "each test file uses a part")]

use egress_scn::lab::bootstrap;
use egress_scn::lab::envoy_binary::Surroundings;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Generous: it ends a test that hangs; nothing waits for it.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const SOCKET: &str = "xds.sock";
pub const IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 10);

/// The Envoy to run, or nothing where `EGRESS_SCN_SKIP_LAB=1` allows to go without.
pub fn find() -> Option<PathBuf> {
    match Surroundings::of_process().find(&mut |_| ()) {
        Ok(found) => Some(found.path),
        Err(why) => {
            let skip = std::env::var_os("EGRESS_SCN_SKIP_LAB").is_some_and(|value| value == "1");
            assert!(skip, "{why} (EGRESS_SCN_SKIP_LAB=1 skips this)");
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// Killed at the end.
pub struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the Envoy of a pod; it finds its control plane at `SOCKET` in `folder`.
pub fn start(envoy: &Path, folder: &Path, pod: &Pod) -> Envoy {
    let mut document = bootstrap::document(pod, IP, &folder.join(SOCKET), None);
    document["admin"]["address"] = json!({"pipe": {"path": folder.join("admin.sock")}});
    let file = folder.join("bootstrap.json");
    std::fs::write(&file, document.to_string()).unwrap();
    // A new network namespace's loopback is down; there may be no `ip` to change that, but sysfs can.
    let up = "mount -t sysfs sysfs /sys && echo 0x9 > /sys/class/net/lo/flags && exec \"$0\" \"$@\"";
    let log = std::fs::File::create(folder.join("envoy.log")).unwrap();
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", up])
        .args(bootstrap::command(envoy, &file))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Envoy(child)
}

/// GET on Envoy's admin socket.
pub async fn admin(folder: &Path, path: &str) -> String {
    get(tokio::net::UnixStream::connect(folder.join("admin.sock")).await.unwrap(), path).await
}

/// GET over a connection that ends with the answer.
pub async fn get<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut stream: S, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return body.to_string();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}
