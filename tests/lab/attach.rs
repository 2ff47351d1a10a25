//! `attach`: the streams of a container's own process, with and without a terminal; who leaves takes nothing along, but for
//! the input of a container with `stdinOnce`.

use crate::pods::Place;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PODS: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: standing, namespace: legacy}, spec: {containers: [
  {name: c, image: busybox, stdin: true, command: [sh, -c, 'while read line; do echo "said $line"; done']}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: once, namespace: legacy}, spec: {restartPolicy: Never, containers: [
  {name: c, image: busybox, stdin: true, stdinOnce: true, command: [sh, -c, 'cat; exit 5']}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: shell, namespace: legacy}, spec: {restartPolicy: Never, containers: [
  {name: c, image: busybox, stdin: true, stdinOnce: true, tty: true}]}}"#;

async fn heard(process: &mut AttachedProcess, words: &str) -> String {
    let mut output = process.stdout().unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(words) {
        let n = output.read_buf(&mut said).await.unwrap();
        assert_ne!(n, 0, "ended before {words:?}: {:?}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}

pub async fn attached(place: &Place) {
    place.put(PODS).await;
    let running = |status: &serde_json::Value| status["phase"] == "Running";
    for name in ["standing", "once", "shell"] {
        place.status("legacy", name, running).await;
    }
    let pods: Api<Pod> = Api::namespaced(place.cluster.client().clone(), "legacy");
    let input = AttachParams::default().stdin(true).stderr(false);

    // The first client ends its input and leaves; the process reads on, and hears the second.
    for word in ["one", "two"] {
        let mut process = pods.attach("standing", &input).await.unwrap();
        let mut stdin = process.stdin().unwrap();
        stdin.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
        assert_eq!(heard(&mut process, word).await, format!("said {word}\n"));
    }
    assert_eq!(pods.logs("standing", &Default::default()).await.unwrap(), "said one\nsaid two\n");
    let status = place.status("legacy", "standing", running).await;
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);

    // Its input ends with the first client's.
    let mut process = pods.attach("once", &input).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"all there is\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    let mut said = String::new();
    process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "all there is\n");
    let status = place.status("legacy", "once", |status| status["phase"] == "Failed").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 5);

    // A terminal, which is told its size. Without a command the image's own is a shell.
    let mut process = pods.attach("shell", &AttachParams::interactive_tty()).await.unwrap();
    process.terminal_size().unwrap().send(TerminalSize { width: 101, height: 33 }).await.unwrap();
    let script = "until [ \"$(stty size)\" = '33 101' ]; do :; done; echo \"on $(tty), $((6*7))\"; exit 4\n";
    process.stdin().unwrap().write_all(script.as_bytes()).await.unwrap();
    let said = heard(&mut process, ", 42").await;
    assert!(said.contains("on /dev/pts/"), "{said:?}");
    let status = place.status("legacy", "shell", |status| status["phase"] == "Failed").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 4);
}
