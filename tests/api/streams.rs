//! Exec, logs and port-forward as kube-rs does them.

use crate::lab::{Lab, start};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, AttachParams, DeleteParams, LogParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn pods(lab: &Lab) -> Api<Pod> {
    let pods: Api<Pod> = Api::default_namespaced(lab.client.clone());
    let pod = json!({ "metadata": { "name": "p" },
        "spec": { "nodeName": "lab", "containers": [{ "name": "c", "image": "i" }] } });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    pods
}

#[tokio::test]
async fn exec_gives_both_streams_and_the_exit_code() {
    let lab = start();
    let pods = pods(&lab).await;
    let params = AttachParams::default().stdout(true).stderr(true).stdin(false);
    let mut process = pods.exec("p", ["sh", "-c", "echo out; echo err >&2; exit 7"], &params).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout().unwrap().read_to_string(&mut out).await.unwrap();
    process.stderr().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let causes = status.details.unwrap().causes.unwrap();
    assert_eq!((causes[0].reason.as_deref(), causes[0].message.as_deref()), (Some("ExitCode"), Some("7")));
    process.join().await.unwrap();
}

#[tokio::test]
async fn the_end_of_stdin_reaches_the_command() {
    let lab = start();
    let pods = pods(&lab).await;
    let params = AttachParams::default().stdout(true).stderr(false).stdin(true);
    let mut process = pods.exec("p", ["cat"], &params).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    let big = vec![b'x'; 300_000];
    let sent = big.clone();
    let writer = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut out = Vec::new();
    process.stdout().unwrap().read_to_end(&mut out).await.unwrap();
    writer.await.unwrap();
    assert!(out == big, "{} bytes came back", out.len());
    assert_eq!(process.take_status().unwrap().await.unwrap().status.as_deref(), Some("Success"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_command() {
    let lab = start();
    let pods = pods(&lab).await;
    let params = AttachParams::default().stdout(true).stderr(false).stdin(false);
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("exec 3>{}; echo up; exec sleep 1000", fifo.display());
    let process = pods.exec("p", ["sh", "-c", &script], &params);
    let reader = tokio::task::spawn_blocking(move || std::fs::read(fifo));
    let mut process = process.await.unwrap();
    let mut first = [0; 3];
    process.stdout().unwrap().read_exact(&mut first).await.unwrap();
    process.abort();
    drop(process);
    // The read ends when the last writer, the command, is gone.
    assert_eq!(reader.await.unwrap().unwrap(), b"");
}

#[tokio::test]
async fn refusals_of_exec_name_the_reason() {
    let lab = start();
    let pods = pods(&lab).await;
    let params = AttachParams::default();
    let missing = pods.exec("nobody", ["true"], &params).await;
    assert!(missing.is_err());
    let wrong = pods.exec("p", ["true"], &AttachParams::default().container("x")).await;
    assert!(wrong.is_err());
    let mut process = pods.exec("p", ["/nowhere/program"], &params).await.unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    assert!(status.message.unwrap().contains("exec failed"));
}

#[tokio::test]
async fn logs_are_passed_on() {
    let lab = start();
    let pods = pods(&lab).await;
    let params = LogParams { tail_lines: Some(2), ..LogParams::default() };
    assert_eq!(pods.logs("p", &params).await.unwrap(), "p line 4\np line 5\n");
}

#[tokio::test]
async fn a_forwarded_port_carries_bytes_both_ways() {
    let lab = start();
    let pods = pods(&lab).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&buffer).await.unwrap();
    });
    let mut forward = pods.portforward("p", &[port]).await.unwrap();
    let mut stream = forward.take_stream(port).unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"hello");
    echo.await.unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut refused = pods.portforward("p", &[closed]).await.unwrap();
    let message = refused.take_error(closed).unwrap().await.unwrap();
    assert!(message.contains("refused"), "{message}");
}

/// Who asks within the server's own process: the same objects and watches, and no stream that takes a connection over.
#[tokio::test]
async fn who_lives_with_the_server_needs_no_connection() {
    let lab = start();
    let pods = pods(&lab).await;
    let answer = lab.server.in_process();
    let service = tower::service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    let within: Api<Pod> = Api::default_namespaced(kube::Client::new(service, "default"));
    let known = within.get("p").await.unwrap();
    assert_eq!(known.metadata.uid, pods.get("p").await.unwrap().metadata.uid);
    let params = AttachParams::default().stdout(true).stderr(false).stdin(false);
    assert!(within.exec("p", ["true"], &params).await.is_err(), "there is no connection to take over");
    let mut changes = std::pin::pin!(within.watch(&WatchParams::default(), "0").await.unwrap());
    assert!(matches!(changes.try_next().await.unwrap(), Some(WatchEvent::Added(pod)) if pod.name_any() == "p"));
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    loop {
        // What comes before it are bookmarks and the pod's own changes.
        match changes.try_next().await.unwrap() {
            Some(WatchEvent::Deleted(pod)) => break assert_eq!(pod.metadata.uid, known.metadata.uid),
            Some(_) => {}
            None => panic!("the watch ended before the pod was deleted"),
        }
    }
    assert!(matches!(within.get("p").await, Err(kube::Error::Api(refusal)) if refusal.code == 404));
}
