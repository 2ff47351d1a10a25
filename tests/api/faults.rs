//! Much at once, and requests that nobody means.

use crate::lab::start;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, PostParams};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_commands_at_once_each_get_their_own_output() {
    let lab = start();
    let pods: Api<Pod> = Api::default_namespaced(lab.client.clone());
    let pod = json!({ "metadata": { "name": "p" },
        "spec": { "nodeName": "lab", "containers": [{ "name": "c", "image": "i" }] } });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let runs = futures::future::join_all((0..200).map(|i| {
        let pods = pods.clone();
        let params = AttachParams::default().stdout(true).stderr(false).stdin(false);
        async move {
            let command = ["sh".to_string(), "-c".into(), format!("echo {i}; exit {}", i % 100)];
            let mut process = pods.exec("p", command, &params).await.unwrap();
            let mut out = String::new();
            process.stdout().unwrap().read_to_string(&mut out).await.unwrap();
            assert_eq!(out, format!("{i}\n"));
            let status = process.take_status().unwrap().await.unwrap();
            let code = status.details.and_then(|details| details.causes?.into_iter().next()?.message);
            assert_eq!(code.as_deref().unwrap_or("0"), (i % 100).to_string());
        }
    }));
    runs.await;
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.roll(words.len())]
    }

    /// Bytes that may stand in a URL, odd ones among them, percent-encoded where they must be.
    fn odd(&mut self) -> String {
        (0..self.roll(12))
            .map(|_| match self.roll(4) {
                0 => format!("%{:02x}", self.roll(256)),
                1 => self.pick(&["..", ".", "%2f", "%00", "%2e%2e", "~", "$", ":", "@", "%"]).replace('%', "%25"),
                _ => char::from(b'a' + u8::try_from(self.roll(26)).unwrap()).to_string(),
            })
            .collect()
    }

    fn path(&mut self) -> String {
        const PARTS: [&str; 24] = [
            "api",
            "v1",
            "apis",
            "apps",
            "namespaces",
            "default",
            "pods",
            "p",
            "exec",
            "log",
            "portforward",
            "status",
            "scale",
            "networking.istio.io",
            "v1beta1",
            "serviceentries",
            "openapi",
            "v3",
            "configmaps",
            "token",
            "serviceaccounts",
            "deployments",
            "customresourcedefinitions",
            "",
        ];
        let parts: Vec<String> = (0..self.roll(8))
            .map(|_| if self.roll(3) == 0 { self.odd() } else { self.pick(&PARTS).to_string() })
            .collect();
        const KEYS: [&str; 14] = [
            "watch",
            "limit",
            "continue",
            "labelSelector",
            "fieldSelector",
            "resourceVersion",
            "timeoutSeconds",
            "dryRun",
            "fieldManager",
            "fieldValidation",
            "force",
            "ports",
            "command",
            "sendInitialEvents",
        ];
        let mut query: Vec<String> = (0..self.roll(4))
            .map(|_| {
                let value = match self.roll(4) {
                    0 => self
                        .pick(&[
                            "true",
                            "-1",
                            "0",
                            "1e9",
                            "18446744073709551616",
                            "All",
                            "a in (",
                            "!",
                            "a=b,c!=d",
                            "%",
                        ])
                        .replace('%', "%25"),
                    _ => self.odd(),
                };
                format!("{}={}", self.pick(&KEYS), value.replace(' ', "+"))
            })
            .collect();
        // A watch has no end of its own; this one has.
        query.push("timeoutSeconds=0".into());
        format!("/{}?{}", parts.join("/"), query.join("&"))
    }

    fn body(&mut self) -> Vec<u8> {
        match self.roll(5) {
            0 => vec![],
            1 => (0..self.roll(64)).map(|_| u8::try_from(self.roll(256)).unwrap()).collect(),
            2 => [b"k8s\0".to_vec(), (0..self.roll(64)).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()]
                .concat(),
            3 => format!("{}{}", "[".repeat(self.roll(3000)), "{\"a\":".repeat(self.roll(3000))).into_bytes(),
            _ => {
                let value =
                    self.pick(&["null", "1", "\"x\"", "[]", "{}", "[null]", "{\"name\":1}", "1e400", "\"\\ud800\""]);
                let key = self.pick(&["metadata", "spec", "kind", "apiVersion", "status", "data"]);
                format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"{key}\":{value}}}").into_bytes()
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_are_answered_and_harm_nothing() {
    let lab = start();
    let mut dice = Dice(0x5eed_cafe_f00d_beef);
    let mut counts = [0; 6];
    for round in 0..3000 {
        let method = dice.pick(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]);
        let path = dice.path();
        let mut request = http::Request::builder().method(method).uri(&path);
        for _ in 0..dice.roll(3) {
            let value = match dice.roll(3) {
                0 => dice.odd(),
                _ => dice
                    .pick(&[
                        "application/json",
                        "application/vnd.kubernetes.protobuf",
                        "application/merge-patch+json",
                        "application/json-patch+json",
                        "application/apply-patch+yaml",
                        "application/strategic-merge-patch+json",
                        "application/json;as=Table;v=v1;g=meta.k8s.io",
                        "websocket",
                        "SPDY/3.1",
                        "v4.channel.k8s.io",
                        "text/html",
                    ])
                    .to_string(),
            };
            let name = dice.pick(&[
                "accept",
                "content-type",
                "user-agent",
                "sec-websocket-protocol",
                "x-stream-protocol-version",
            ]);
            request = request.header(name, value);
        }
        let Ok(request) = request.body(kube::client::Body::from(dice.body())) else { continue };
        let answer = match lab.client.send(request).await {
            Ok(answer) => answer,
            // A URL that the client itself does not send.
            Err(error) if error.to_string().contains("uri") => continue,
            Err(error) => panic!("round {round}: {method} {path}: {error}"),
        };
        let code = answer.status().as_u16();
        counts[usize::from(code / 100)] += 1;
        assert!(code < 500, "round {round}: {method} {path}: {code}");
        if code >= 400 && method != "HEAD" {
            let body = answer.into_body().collect_bytes().await.unwrap();
            if body == "404 page not found\n" {
                continue;
            }
            let status: Value =
                serde_json::from_slice(&body).unwrap_or_else(|_| panic!("round {round}: {method} {path}: {body:?}"));
            assert_eq!(
                (&status["kind"], &status["code"]),
                (&json!("Status"), &json!(code)),
                "round {round}: {method} {path}"
            );
        }
    }
    // Most are refused, some do mean something: both were met.
    assert!(counts[4] > 1000 && counts[2] > 50, "{counts:?}");
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(lab.client.clone());
    assert!(namespaces.get("kube-system").await.is_ok());
}
