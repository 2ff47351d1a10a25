//! TLS contexts and the SDS configuration of their certificates.

use super::duration;
use super::json::{into_map, list, message, present, put, strings, text};
use super::node::Node;
use serde_json::{Map, Value, json};

/// A reference to a secret that the agent beside the proxy serves (workload certificate, root, files).
pub fn sds(name: &str) -> Value {
    let mut config = into_map(message! {
        "apiConfigSource": message! {
            "apiType": "GRPC",
            "transportApiVersion": "V3",
            "setNodeOnFirstMessageOnly": true,
            "grpcServices": vec![message! {"envoyGrpc": message! {"clusterName": "sds-grpc"}}],
        },
        "resourceApiVersion": "V3",
    });
    // Only the workload's own secrets are waited for without limit; files may be missing.
    if matches!(name, "default" | "ROOTCA") {
        config.insert("initialFetchTimeout".to_owned(), Value::from("0s"));
    }
    message! {"name": name, "sdsConfig": config}
}

/// A reference to a Kubernetes Secret that the control plane itself serves.
pub fn credential(name: &str) -> Value {
    let name =
        if ["builtin://", "kubernetes-gateway://", "configmap://", "kubernetes://"].iter().any(|p| name.starts_with(p))
        {
            match name.strip_prefix("builtin://") {
                Some("") => "default".to_owned(),
                _ => name.to_owned(),
            }
        } else {
            format!("kubernetes://{name}")
        };
    json!({"name": name, "sdsConfig": {"ads": {}, "resourceApiVersion": "V3"}})
}

/// Exact matchers for subject alternative names.
pub fn exact_names(names: &[String]) -> Value {
    names.iter().map(|n| message! {"exact": n.as_str()}).collect()
}

/// `{matchSubjectAltNames: […]}` without empty fields.
pub fn validation(names: &[String]) -> Map<String, Value> {
    let mut out = Map::new();
    put(&mut out, "matchSubjectAltNames", exact_names(names));
    out
}

pub fn combined(default: Map<String, Value>, root: Value) -> Value {
    message! {"defaultValidationContext": default, "validationContextSdsSecretConfig": root}
}

/// The transport socket of a TLS context; `context` without `@type`.
pub fn socket(kind: &str, mut context: Map<String, Value>) -> Value {
    context.insert(
        "@type".to_owned(),
        Value::from(format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}")),
    );
    message! {"name": "envoy.transport_sockets.tls", "typedConfig": context}
}

pub fn raw_buffer() -> Value {
    message! {
        "name": "envoy.transport_sockets.raw_buffer",
        "typedConfig": message! {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        },
    }
}

/// How a sidecar accepts mutual TLS from the mesh.
pub fn inbound_mtls(node: &Node) -> Value {
    let mesh = &node.push.mesh;
    let mut names = vec![json!({"prefix": format!("spiffe://{}/", mesh.trust_domain)})];
    names.extend(mesh.trust_domain_aliases.iter().map(|a| json!({"prefix": format!("spiffe://{a}/")})));
    let configured = strings(&mesh.raw["meshMTLS"]["cipherSuites"]);
    let ciphers = if configured.is_empty() {
        [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "AES128-GCM-SHA256",
        ]
        .map(str::to_owned)
        .to_vec()
    } else {
        configured
    };
    let minimum = match text(&mesh.raw["meshMTLS"]["minProtocolVersion"]) {
        "TLSV1_3" => "TLSv1_3",
        _ => "TLSv1_2",
    };
    let mut context = Map::new();
    context.insert("requireClientCertificate".to_owned(), json!(true));
    context.insert(
        "commonTlsContext".to_owned(),
        json!({
            "alpnProtocols": ["h2", "http/1.1"],
            "tlsParams": {
                "cipherSuites": ciphers,
                "tlsMinimumProtocolVersion": minimum,
                "tlsMaximumProtocolVersion": "TLSv1_3",
            },
            "tlsCertificateSdsSecretConfigs": [sds("default")],
            "combinedValidationContext": {
                "defaultValidationContext": {"matchSubjectAltNames": names},
                "validationContextSdsSecretConfig": sds("ROOTCA"),
            },
        }),
    );
    socket("DownstreamTlsContext", context)
}

/// The context of a gateway server (or Sidecar ingress) that ends TLS. `tcp` is a server that is not HTTP.
pub fn server(node: &Node, tls: &Value, tcp: bool) -> Value {
    let mode = text(&tls["mode"]);
    let mut common = Map::new();
    common.insert(
        "alpnProtocols".to_owned(),
        if tcp && mode == "ISTIO_MUTUAL" {
            json!(["istio-peer-exchange", "h2", "http/1.1"])
        } else {
            json!(["h2", "http/1.1"])
        },
    );
    let require = matches!(mode, "MUTUAL" | "ISTIO_MUTUAL");
    let validate = require || mode == "OPTIONAL_MUTUAL";
    let names = strings(&tls["subjectAltNames"]);
    let credentials = strings(&tls["credentialNames"]);
    if mode != "ISTIO_MUTUAL" && (!credentials.is_empty() || !text(&tls["credentialName"]).is_empty()) {
        credential_context(&mut common, tls, &credentials, validate);
    } else {
        let files = mode != "ISTIO_MUTUAL";
        file_context(&mut common, tls, files, validate, &names);
    }
    if matches!(mode, "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL") {
        server_parameters(node, &mut common, tls);
    }
    let mut context = Map::new();
    context.insert("requireClientCertificate".to_owned(), json!(require));
    context.insert("commonTlsContext".to_owned(), Value::Object(common));
    socket("DownstreamTlsContext", context)
}

fn credential_context(common: &mut Map<String, Value>, tls: &Value, credentials: &[String], validate: bool) {
    let single = text(&tls["credentialName"]).to_owned();
    let all = if credentials.is_empty() { std::slice::from_ref(&single) } else { credentials };
    common.insert("tlsCertificateSdsSecretConfigs".to_owned(), all.iter().map(|c| credential(c)).collect());
    let names = strings(&tls["subjectAltNames"]);
    if validate {
        let root = match text(&tls["caCertCredentialName"]) {
            "" => format!("{}-cacert", all.first().map_or("", String::as_str)),
            given => given.to_owned(),
        };
        let mut default = validation(&names);
        for field in ["verifyCertificateSpki", "verifyCertificateHash"] {
            if !list(&tls[field]).is_empty() {
                default.insert(field.to_owned(), tls[field].clone());
            }
        }
        common.insert("combinedValidationContext".to_owned(), combined(default, credential(&root)));
    } else if !names.is_empty() {
        common.insert("validationContext".to_owned(), Value::Object(validation(&names)));
    }
}

fn file_context(common: &mut Map<String, Value>, tls: &Value, files: bool, validate: bool, names: &[String]) {
    let field = |of: &Value, key: &str| if files { text(&of[key]).to_owned() } else { String::new() };
    let certificate = |of: &Value| match (field(of, "serverCertificate"), field(of, "privateKey")) {
        (chain, key) if !chain.is_empty() && !key.is_empty() => sds(&format!("file-cert:{chain}~{key}")),
        _ => sds("default"),
    };
    let several = if files { list(&tls["tlsCertificates"]) } else { &[] };
    let certificates: Value =
        if several.is_empty() { json!([certificate(tls)]) } else { several.iter().map(certificate).collect() };
    common.insert("tlsCertificateSdsSecretConfigs".to_owned(), certificates);
    if validate {
        let mut default = validation(names);
        if !text(&tls["caCrl"]).is_empty() {
            default.insert("crl".to_owned(), json!({"filename": tls["caCrl"]}));
        }
        let root = match field(tls, "caCertificates") {
            path if path.is_empty() => sds("ROOTCA"),
            path => sds(&format!("file-root:{path}")),
        };
        common.insert("combinedValidationContext".to_owned(), combined(default, root));
    }
}

fn server_parameters(node: &Node, common: &mut Map<String, Value>, tls: &Value) {
    let defaults = &node.push.mesh.raw["tlsDefaults"];
    let mut parameters = Map::new();
    put(&mut parameters, "ecdhCurves", json!(strings(&defaults["ecdhCurves"])));
    put(&mut parameters, "cipherSuites", json!(strings(&defaults["cipherSuites"])));
    let version = |v: &Value| match text(v) {
        "TLSV1_0" => Value::from("TLSv1_0"),
        "TLSV1_1" => Value::from("TLSv1_1"),
        "TLSV1_2" => Value::from("TLSv1_2"),
        "TLSV1_3" => Value::from("TLSv1_3"),
        _ => Value::Null,
    };
    if text(&defaults["minProtocolVersion"]) == "TLSV1_3" {
        put(&mut parameters, "tlsMinimumProtocolVersion", Value::from("TLSv1_3"));
    } else if present(&defaults["minProtocolVersion"]) && text(&defaults["minProtocolVersion"]) != "TLS_AUTO" {
        put(&mut parameters, "tlsMinimumProtocolVersion", Value::from("TLSv1_2"));
    }
    put(&mut parameters, "tlsMinimumProtocolVersion", version(&tls["minProtocolVersion"]));
    put(&mut parameters, "cipherSuites", json!(known_ciphers(&strings(&tls["cipherSuites"]))));
    put(&mut parameters, "tlsMaximumProtocolVersion", version(&tls["maxProtocolVersion"]));
    if !parameters.is_empty() {
        common.insert("tlsParams".to_owned(), Value::Object(parameters));
    }
}

/// Cipher suites that Envoy knows, each once.
fn known_ciphers(given: &[String]) -> Vec<String> {
    const KNOWN: &[&str] = &[
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-PSK-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-PSK-AES128-CBC-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "ECDHE-PSK-AES256-CBC-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "PSK-AES128-CBC-SHA",
        "PSK-AES256-CBC-SHA",
        "DES-CBC3-SHA",
        "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
        "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
    ];
    let mut out: Vec<String> = Vec::new();
    for suite in given {
        if KNOWN.contains(&suite.as_str()) && !out.contains(suite) {
            out.push(suite.clone());
        }
    }
    out
}

/// The time a client has to finish its TLS handshake on chains that Istio limits.
pub fn connect_timeout() -> Value {
    Value::from(duration::format(15_000_000_000))
}
