//! Pods of every shape in one lab: servers of well-known images in and out of the mesh, their environment and files,
//! probes, restarts and ends; the network between them; faults and outside sites as objects.

use crate::program::can_run;
use egress_scn::cluster::{Cluster, Pod, Propagation};
use egress_scn::lab::boot::Lab;
use futures::StreamExt;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use kube::runtime::watcher;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Place {
    _lab: Lab,
    pub cluster: Cluster,
    pub propagation: Propagation,
}

const PODS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: mesh-test}
data: {greeting: 안녕, file.txt: "from a map\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: mesh-test}
stringData: {password: hidden}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: httpbin, namespace: mesh-test}
---
apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: mesh-test, labels: {app: httpbin}}
spec:
  selector: {app: httpbin}
  ports: [{name: http, port: 8000, targetPort: web}]
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: mesh-test}
spec:
  clusterIP: None
  selector: {app: httpbin}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: legacy}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: httpbin, namespace: mesh-test}
spec:
  replicas: 2
  selector: {matchLabels: {app: httpbin}}
  template:
    metadata: {labels: {app: httpbin}}
    spec:
      serviceAccountName: httpbin
      containers:
        - name: httpbin
          image: docker.io/kennethreitz/httpbin
          ports: [{name: web, containerPort: 80}]
          readinessProbe: {httpGet: {path: /status/200, port: web}}
---
apiVersion: v1
kind: Pod
metadata: {name: bag, namespace: mesh-test, labels: {app: bag, sidecar.istio.io/inject: "false"}, annotations: {note: kept}}
spec:
  initContainers:
    - {name: first, image: busybox, command: [sh, -c, "echo made > /var/work/made"], volumeMounts: [{name: work, mountPath: /var/work}]}
  containers:
    - name: one
      image: busybox
      command: [sh, -c, "echo $(GREETING) $(cat /var/work/made) && exec sleep infinity"]
      env:
        - {name: PREFIX, value: say}
        - {name: GREETING, value: "$(PREFIX) $(S_greeting)"}
        - {name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: token, key: password}}}
        - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
      envFrom: [{configMapRef: {name: settings}, prefix: S_}]
      volumeMounts: [{name: work, mountPath: /var/work}, {name: settings, mountPath: /etc/settings}, {name: token, mountPath: /etc/token/password, subPath: password}]
    - {name: two, image: nginx, ports: [{containerPort: 80}]}
  volumes: [{name: work, emptyDir: {}}, {name: settings, configMap: {name: settings}}, {name: token, secret: {secretName: token}}]
---
apiVersion: v1
kind: Pod
metadata: {name: nobody-knows, namespace: legacy}
spec: {containers: [{name: db, image: "postgres:17"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: legacy, labels: {app: client}}
spec: {containers: [{name: client, image: curlimages/curl}]}
"#;

impl Place {
    pub async fn start() -> Place {
        let lab = Lab::start_with(Path::new(env!("CARGO_BIN_EXE_egress-scn")), |_| ()).await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let cluster = Cluster::connect(config).unwrap();
        Place { _lab: lab, propagation: Propagation::new(cluster.clone()), cluster }
    }

    async fn apply(&self, object: &Value) -> Result<(), kube::Error> {
        let (group, version) = object["apiVersion"]
            .as_str()
            .unwrap()
            .split_once('/')
            .unwrap_or(("", object["apiVersion"].as_str().unwrap()));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap()));
        let client = self.cluster.client().clone();
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.map(drop)
    }

    /// Applies, and waits until it is in force everywhere.
    pub async fn put(&self, text: &str) {
        self.put_unsettled(text).await;
        self.settle().await;
    }

    pub async fn put_unsettled(&self, text: &str) {
        use serde::Deserialize;
        for document in serde_yaml::Deserializer::from_str(text) {
            let object = Value::deserialize(document).unwrap();
            self.apply(&object).await.unwrap_or_else(|error| panic!("{error}\n{object}"));
        }
    }

    pub async fn settle(&self) {
        let settled = self.propagation.settle(&[], None, PATIENCE).await;
        assert!(settled.proven && settled.rejections.is_empty(), "{settled:?}");
    }

    async fn remove(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) {
        let kind = self.cluster.kind(api_version, kind).await.unwrap();
        self.cluster.delete(&kind, namespace, name, None, PATIENCE).await.unwrap();
        self.settle().await;
    }

    pub async fn pod(&self, namespace: &str, name: &str) -> Pod {
        if ["bag", "client", "ends"].contains(&name) {
            let is_ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
            self.status(namespace, name, |status| {
                status["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready))
            })
            .await;
        }
        self.cluster.pods(namespace, name, PATIENCE).await.unwrap().remove(0)
    }

    /// A shell's exit code and output in a pod's container.
    pub async fn sh(&self, pod: &Pod, container: &str, script: &str) -> (i32, String) {
        let command = ["sh", "-c", script].map(String::from);
        let output = self.cluster.exec(pod, Some(container), &command).await.unwrap();
        (output.exit, String::from_utf8(output.stdout).unwrap().trim_end().to_string())
    }

    pub async fn status(&self, namespace: &str, name: &str, wanted: impl Fn(&Value) -> bool + Send) -> Value {
        let api: Api<core::Pod> = Api::namespaced(self.cluster.client().clone(), namespace);
        let met = |pod: Option<&core::Pod>| pod.is_some_and(|pod| wanted(&json!(pod.status)));
        let found = tokio::time::timeout(PATIENCE, await_condition(api, name, met)).await;
        json!(found.unwrap_or_else(|_| panic!("{namespace}/{name}")).unwrap().unwrap().status)
    }
}

const CODE: &str = "curl -s -o /dev/null -m 5 -w '%{http_code}'";

#[test]
fn pods_and_what_is_between_them_are_as_in_a_cluster() {
    if !can_run("pods_and_what_is_between_them_are_as_in_a_cluster") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::start().await;
        place.put(PODS).await;
        containers(&place).await;
        terminal(&place).await;
        crate::attach::attached(&place).await;
        names_and_services(&place).await;
        tokens(&place).await;
        mesh(&place).await;
        policies(&place).await;
        sites_and_faults(&place).await;
        restarts_and_ends(&place).await;
    });
}

async fn containers(place: &Place) {
    let bag = place.pod("mesh-test", "bag").await;
    let said = |script: &'static str| place.sh(&bag, "one", script);
    assert_eq!(said("echo \"$WHO $PASSWORD $APP $S_greeting\"").await.1, "bag hidden bag 안녕");
    assert_eq!(
        said("cat /var/work/made /etc/settings/file.txt /etc/token/password").await.1,
        "made\nfrom a map\nhidden"
    );
    assert!(said("curl -s http://localhost/").await.1.contains("Welcome to nginx!"));
    let logs = place.cluster.log_since(&bag, "one", 3600).await.unwrap();
    // `$(cat …)` names no variable, and is the shell's.
    assert!(logs.iter().any(|line| line.contains("say 안녕 made")), "{logs:?}");
    let pulled = place.status("legacy", "nobody-knows", |status| status["containerStatuses"].is_array()).await;
    let waiting = &pulled["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["reason"], "ErrImagePull");
    assert!(waiting["message"].as_str().unwrap().contains("the lab runs programs of this machine"), "{waiting}");
}

/// `exec -it`: a terminal, which is told its size; the exit code comes through.
async fn terminal(place: &Place) {
    use futures::SinkExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sleep = place.pod("mesh-test", "sleep").await;
    let pods: Api<core::Pod> = Api::namespaced(place.cluster.client().clone(), "mesh-test");
    let script =
        r#"read line; until [ "$(stty size)" = "33 101" ]; do :; done; test -t 1 && echo "$line on $(tty)"; exit 7"#;
    let params = kube::api::AttachParams::interactive_tty().container("sleep");
    let mut process = pods.exec(&sleep.name, ["sh", "-c", script], &params).await.unwrap();
    let size = kube::api::TerminalSize { width: 101, height: 33 };
    process.terminal_size().unwrap().send(size).await.unwrap();
    let mut input = process.stdin().unwrap();
    input.write_all(b"hello\n").await.unwrap();
    let mut said = String::new();
    process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
    assert!(said.contains("hello on /dev/pts/"), "{said:?}");
    let status = process.take_status().unwrap().await.unwrap();
    let code = status.details.and_then(|details| details.causes?.into_iter().next()?.message);
    assert_eq!(code.as_deref(), Some("7"));
}

async fn names_and_services(place: &Place) {
    let client = place.pod("legacy", "client").await;
    place.pod("mesh-test", "httpbin").await;
    let slices: Api<EndpointSlice> = Api::namespaced(place.cluster.client().clone(), "mesh-test");
    for service in ["httpbin", "headless"] {
        let wanted = format!("kubernetes.io/service-name={service}");
        let mut events = watcher(slices.clone(), watcher::Config::default().labels(&wanted)).boxed();
        let ready = async {
            loop {
                let event = events.next().await.unwrap().unwrap();
                let (watcher::Event::Apply(slice) | watcher::Event::InitApply(slice)) = event else { continue };
                let is_ready = |e: &&Endpoint| e.conditions.as_ref().and_then(|c| c.ready) == Some(true);
                if slice.endpoints.iter().filter(is_ready).count() == 2 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap_or_else(|_| panic!("endpoints of {service}"));
    }
    place.settle().await;
    for url in ["http://httpbin.mesh-test:8000/get", "http://headless.mesh-test.svc.cluster.local/get"] {
        assert_eq!(place.sh(&client, "client", &format!("{CODE} {url}")).await, (0, "200".into()), "{url}");
    }
    let both = place.sh(&client, "client", "getent ahostsv4 headless.mesh-test | grep -c STREAM").await;
    assert_eq!(both.1, "2", "a headless Service's name is its pods'");
    let alias = place.sh(&client, "client", "getent ahostsv4 outside | head -n1").await;
    assert!(alias.1.starts_with("203.0.113.12 "), "{alias:?}");
}

/// A pod reaches the API by its name, as its ServiceAccount, and may do what roles say; with a sidecar too.
async fn tokens(place: &Place) {
    let client = place.pod("legacy", "client").await;
    let sleep = place.pod("mesh-test", "sleep").await;
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(
        place.sh(&client, "client", &format!("cat {folder}/namespace; ls {folder}")).await.1,
        "legacyca.crt\nnamespace\ntoken"
    );
    let ask = |path: &str, token: &str| {
        format!(
            "curl -s -m 5 --cacert {folder}/ca.crt -H \"Authorization: Bearer {token}\" -w ' %{{http_code}}' https://kubernetes.default.svc{path}"
        )
    };
    let own = format!("$(cat {folder}/token)");
    let pods = "/api/v1/namespaces/legacy/pods";
    for (pod, container) in [(&client, "client"), (&sleep, "sleep")] {
        let version = place.sh(pod, container, &ask("/version", &own)).await.1;
        assert!(version.contains("gitVersion") && version.ends_with(" 200"), "{version}");
        for nobodys in ["", "made-up", "a.b.c"] {
            let refused = place.sh(pod, container, &ask("/version", nobodys)).await.1;
            assert!(refused.contains("Unauthorized") && refused.ends_with(" 401"), "{nobodys}: {refused}");
        }
        let refused = place.sh(pod, container, &ask(pods, &own)).await.1;
        assert!(refused.ends_with(" 403"), "{refused}");
        let who = if container == "sleep" { "mesh-test:sleep" } else { "legacy:default" };
        let told = format!(
            "pods is forbidden: User \\\"system:serviceaccount:{who}\\\" cannot list resource \\\"pods\\\" in API group \\\"\\\" in the namespace \\\"legacy\\\""
        );
        assert!(refused.contains(&told), "{refused}\n{told}");
    }
    place
        .put(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: legacy},
              rules: [{apiGroups: [''], resources: [pods], verbs: [list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader, namespace: legacy},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader},
  subjects: [{kind: ServiceAccount, name: default, namespace: legacy}]}",
        )
        .await;
    assert!(place.sh(&client, "client", &ask(pods, &own)).await.1.ends_with(" 200"));
    // Not the other account, no other namespace, no other verb, no other kind.
    assert!(place.sh(&sleep, "sleep", &ask(pods, &own)).await.1.ends_with(" 403"));
    for more in [
        "/api/v1/namespaces/mesh-test/pods",
        "/api/v1/namespaces/legacy/pods/client",
        "/api/v1/namespaces/legacy/secrets",
    ] {
        assert!(place.sh(&client, "client", &ask(more, &own)).await.1.ends_with(" 403"), "{more}");
    }
    // Where a client looks that knows it runs in a cluster.
    let by_variables = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' --cacert {folder}/ca.crt -H \"Authorization: Bearer {own}\" https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT_HTTPS/version"
    );
    for (pod, container) in [(&client, "client"), (&sleep, "sleep")] {
        assert_eq!(place.sh(pod, container, &by_variables).await, (0, "200".into()), "{container}");
    }
    // Without a pod's own authority the API is not believed.
    assert_eq!(place.sh(&client, "client", "curl -s https://kubernetes.default.svc/version").await.0, 60);
}

const DENIED: &str = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: none, namespace: mesh-test},
    spec: {selector: {matchLabels: {app: httpbin}}, action: DENY, rules: [{to: [{operation: {paths: [/status/418]}}]}]}}";

/// httpbin in the mesh: mTLS by itself, its caller known, policies heard, and nothing else let in where that is asked for.
async fn mesh(place: &Place) {
    let sleep = place.pod("mesh-test", "sleep").await;
    let client = place.pod("legacy", "client").await;
    let url = "http://httpbin.mesh-test:8000";
    place.put(DENIED).await;
    assert_eq!(place.sh(&sleep, "sleep", &format!("{CODE} {url}/status/418")).await, (0, "403".into()));
    assert_eq!(place.sh(&sleep, "sleep", &format!("{CODE} {url}/status/417")).await, (0, "417".into()));
    let (exit, headers) = place.sh(&sleep, "sleep", &format!("curl -s {url}/headers")).await;
    assert_eq!(exit, 0);
    assert!(headers.contains("By=spiffe://cluster.local/ns/mesh-test/sa/httpbin"), "{headers}");
    assert!(headers.contains("URI=spiffe://cluster.local/ns/mesh-test/sa/sleep"), "{headers}");
    let plain = place.sh(&client, "client", &format!("curl -s {url}/headers")).await.1;
    assert!(!plain.to_lowercase().contains("x-forwarded-client-cert"), "{plain}");
    place
        .put(
            "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: strict, namespace: mesh-test},
              spec: {mtls: {mode: STRICT}}}",
        )
        .await;
    assert_eq!(place.sh(&sleep, "sleep", &format!("{CODE} {url}/get")).await, (0, "200".into()));
    let refused = place.sh(&client, "client", &format!("{CODE} {url}/get")).await;
    assert_eq!(refused, (56, "000".into()), "no plaintext");
    let space = Some("mesh-test");
    place.remove("security.istio.io/v1", "AuthorizationPolicy", space, "none").await;
    place.remove("security.istio.io/v1", "PeerAuthentication", space, "strict").await;
    assert_eq!(place.sh(&client, "client", &format!("{CODE} {url}/get")).await, (0, "200".into()));
    // Connections that stand are asked to end by their next answer, and what comes then is judged anew.
    let many = format!("for i in $(seq 20); do {CODE} {url}/status/418; echo; done");
    let codes = place.sh(&sleep, "sleep", &many).await.1;
    assert!(codes.ends_with("418\n418\n418"), "{codes}");
    place.put(DENIED).await;
    let codes = place.sh(&sleep, "sleep", &many).await.1;
    assert!(codes.ends_with("403\n403\n403"), "{codes}");
    place.remove("security.istio.io/v1", "AuthorizationPolicy", space, "none").await;
}

async fn policies(place: &Place) {
    let client = place.pod("legacy", "client").await;
    let egress = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: out, namespace: legacy},
        spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [
          {to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]},
          {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: mesh-test}}, podSelector: {matchLabels: {app: httpbin}}}],
           ports: [{port: web}]},
          {to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.11/32]}}], ports: [{port: 443}]}]}}";
    place.put(egress).await;
    let get = |url: &str| format!("curl -s -o /dev/null --connect-timeout 0.5 -w '%{{http_code}}' {url}");
    let url = "http://httpbin.mesh-test:8000/get";
    assert_eq!(place.sh(&client, "client", &get(url)).await, (0, "200".into()));
    assert_eq!(place.sh(&client, "client", &get("https://example.org/")).await, (0, "200".into()));
    for kept in ["http://example.org/", "https://edition.cnn.com/", "http://sleep.mesh-test/"] {
        assert_eq!(place.sh(&client, "client", &get(kept)).await.0, 28, "{kept}");
    }
    place.remove("networking.k8s.io/v1", "NetworkPolicy", Some("legacy"), "out").await;
    assert_eq!(place.sh(&client, "client", &get("http://example.org/")).await.1, "200");
    place
        .put(
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: in, namespace: mesh-test},
              spec: {podSelector: {matchLabels: {app: httpbin}}, ingress: [{from: [{podSelector: {}}]}]}}",
        )
        .await;
    assert_eq!(place.sh(&client, "client", &get(url)).await.0, 28);
    let sleep = place.pod("mesh-test", "sleep").await;
    assert_eq!(place.sh(&sleep, "sleep", &get(url)).await.1, "200");
    place.remove("networking.k8s.io/v1", "NetworkPolicy", Some("mesh-test"), "in").await;
}

async fn sites_and_faults(place: &Place) {
    let client = place.pod("legacy", "client").await;
    let head = "apiVersion: lab.egress-scn.dev/v1";
    let get = |url: &str| format!("curl -s -o /dev/null --connect-timeout 0.5 -w '%{{http_code}}' {url}");
    place
        .put(&format!("{{{head}, kind: Site, metadata: {{name: busy}}, spec: {{hosts: [example.org], status: 503}}}}"))
        .await;
    assert_eq!(place.sh(&client, "client", &get("https://example.org/")).await.1, "503");
    let wrong = json!({"apiVersion": "lab.egress-scn.dev/v1", "kind": "Site", "metadata": {"name": "wrong"},
        "spec": {"hosts": ["a.example"], "stauts": 503}});
    let refused = place.apply(&wrong).await.unwrap_err().to_string();
    assert!(refused.contains("unknown field `stauts`"), "{refused}");
    place.remove("lab.egress-scn.dev/v1", "Site", None, "busy").await;
    assert_eq!(place.sh(&client, "client", &get("https://example.org/")).await.1, "200");

    let cut = |to: &str, effect: &str| {
        let from = "from: {workload: client, namespace: legacy}";
        format!("{{{head}, kind: Cut, metadata: {{name: cut}}, spec: {{{from}, to: {to}, effect: {effect}}}}}")
    };
    place.put(&cut("{host: example.org}", "Drop")).await;
    assert_eq!(place.sh(&client, "client", &get("https://example.org/")).await.0, 28);
    place.put(&cut("{workload: httpbin, namespace: mesh-test}", "Refuse")).await;
    assert_eq!(place.sh(&client, "client", &get("http://httpbin.mesh-test:8000/get")).await.0, 7);
    assert_eq!(place.sh(&client, "client", &get("https://example.org/")).await.1, "200");
    place.put(&cut("{dns: true}", "Drop")).await;
    let unresolved = "RES_OPTIONS='timeout:1 attempts:1' curl -s -m 1 https://example.org/";
    assert!(matches!(place.sh(&client, "client", unresolved).await.0, 6 | 28));
    place.remove("lab.egress-scn.dev/v1", "Cut", None, "cut").await;
}

/// A killed Envoy comes back by itself with all it had; a deleted pod ends in order; what fails is started again.
async fn restarts_and_ends(place: &Place) {
    let sleep = place.pod("mesh-test", "sleep").await;
    let url = "http://httpbin.mesh-test:8000/get";
    let kill = "{apiVersion: lab.egress-scn.dev/v1, kind: Kill, metadata: {name: envoy},
        spec: {workload: sleep, namespace: mesh-test, container: istio-proxy}}";
    place.put(kill).await;
    let restarted = |status: &Value| {
        let proxy =
            status["initContainerStatuses"].as_array().into_iter().flatten().find(|c| c["name"] == "istio-proxy");
        proxy.is_some_and(|proxy| proxy["restartCount"] == 1 && proxy["ready"] == true)
    };
    let status = place.status("mesh-test", &sleep.name, restarted).await;
    let proxy =
        status["initContainerStatuses"].as_array().unwrap().iter().find(|c| c["name"] == "istio-proxy").unwrap();
    assert_eq!(proxy["lastState"]["terminated"]["exitCode"], 137, "{proxy}");
    assert_eq!(place.sh(&sleep, "sleep", &format!("{CODE} {url}")).await, (0, "200".into()));

    place
        .put(
            "{apiVersion: v1, kind: Pod, metadata: {name: ends, namespace: legacy}, spec: {containers: [{name: a, image: busybox,
              command: [bash, -c, 'trap \"echo told; exit 0\" TERM; touch ~/up; sleep infinity & wait'],
              readinessProbe: {exec: {command: [bash, -c, 'test -e ~/up']}}}]}}",
        )
        .await;
    let pods: Api<core::Pod> = Api::namespaced(place.cluster.client().clone(), "legacy");
    let ends = place.pod("legacy", "ends").await;
    let log = place.cluster.follow(&ends, "a").await;
    pods.delete("ends", &DeleteParams::default()).await.unwrap();
    assert!(log.wait_line(0, tokio::time::Instant::now() + PATIENCE, |line| line.contains("told")).await, "grace");
    await_condition(pods, "ends", kube::runtime::wait::conditions::is_deleted(&ends.uid)).await.unwrap();
}
