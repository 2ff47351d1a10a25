//! The TLS of clusters: what a DestinationRule asks for, else mutual TLS where the other side accepts it.

use super::draft::{Draft, Kind};
use super::traffic_policy::Purpose;
use crate::mesh::json::{flag, message, present, put, strings, text};
use crate::mesh::node::Node;
use crate::mesh::policy::peer_authentication::Mode;
use crate::mesh::tls::{combined, credential, raw_buffer, sds, socket, validation};
use serde_json::{Map, Value, json};

/// Sets the cluster's transport socket.
pub fn apply_tls(node: &Node, draft: &mut Draft, tls: &Value, purpose: &Purpose) {
    if present(tls) {
        apply_given(node, draft, tls, purpose);
    } else if automatic(node, purpose) {
        let context = mutual(draft, purpose.accounts, &purpose.sni, purpose);
        if draft.kind == Kind::OriginalDst {
            draft.set("transportSocket", context);
        } else {
            draft.set(
                "transportSocketMatches",
                Value::Array(vec![
                    message! {
                        "name": "tlsMode-istio",
                        "match": message! {"tlsMode": "istio"},
                        "transportSocket": context,
                    },
                    message! {"name": "tlsMode-disabled", "match": Map::new(), "transportSocket": raw_buffer()},
                ]),
            );
        }
    }
}

fn automatic(node: &Node, purpose: &Purpose) -> bool {
    !purpose.mesh_external && node.push.mesh.auto_mtls && !matches!(purpose.mtls_mode, Mode::Unknown | Mode::Disable)
}

fn apply_given(node: &Node, draft: &mut Draft, tls: &Value, purpose: &Purpose) {
    let mode = text(&tls["mode"]);
    let secret = text(&tls["credentialName"]);
    let privileged = !secret.is_empty() && !secret.starts_with("configmap://");
    // A sidecar may not read Secrets unless the rule selects workloads.
    if privileged && node.is_sidecar() && !purpose.selected && matches!(mode, "SIMPLE" | "MUTUAL") {
        return;
    }
    match mode {
        "SIMPLE" | "MUTUAL" => {
            if let Some(context) = originate(node, draft, tls, purpose, mode == "MUTUAL") {
                draft.set("transportSocket", context);
            }
        }
        "ISTIO_MUTUAL" => {
            let sni = match text(&tls["sni"]) {
                "" => purpose.sni.clone(),
                given => given.to_owned(),
            };
            let given = strings(&tls["subjectAltNames"]);
            let names = if given.is_empty() { purpose.accounts } else { &given };
            let context = mutual(draft, names, &sni, purpose);
            if purpose.dynamic {
                set_automatic_names(draft, tls, &sni, names, true);
            }
            draft.set("transportSocket", context);
        }
        _ => {}
    }
}

/// The context of mesh mutual TLS.
fn mutual(draft: &Draft, names: &[String], sni: &str, purpose: &Purpose) -> Value {
    let mut context = Map::new();
    let sni = if sni.is_empty() && !purpose.dynamic { &draft.name } else { sni };
    put(&mut context, "sni", Value::from(sni));
    let alpn = if draft.is_http2() { json!(["istio", "h2"]) } else { json!(["istio"]) };
    context.insert(
        "commonTlsContext".to_owned(),
        message! {
            "alpnProtocols": alpn,
            "tlsParams": parameters(),
            "tlsCertificateSdsSecretConfigs": vec![sds("default")],
            "combinedValidationContext": combined(validation(names), sds("ROOTCA")),
        },
    );
    socket("UpstreamTlsContext", context)
}

fn parameters() -> Value {
    message! {"tlsMaximumProtocolVersion": "TLSv1_3", "tlsMinimumProtocolVersion": "TLSv1_2"}
}

/// SIMPLE and MUTUAL; `None` when MUTUAL lacks its certificate.
fn originate(node: &Node, draft: &mut Draft, tls: &Value, purpose: &Purpose, with_certificate: bool) -> Option<Value> {
    let sni = text(&tls["sni"]);
    let given = strings(&tls["subjectAltNames"]);
    set_automatic_names(draft, tls, sni, &given, purpose.dynamic);
    let names = if purpose.external_registry && given.is_empty() { purpose.accounts } else { &given };
    let skip_verify = flag(&tls["insecureSkipVerify"]);
    let mut common = Map::new();
    let mut tls_parameters = crate::mesh::json::into_map(parameters());
    let defaults = &node.push.mesh.raw["tlsDefaults"];
    put(&mut tls_parameters, "ecdhCurves", json!(strings(&defaults["ecdhCurves"])));
    put(&mut tls_parameters, "cipherSuites", json!(strings(&defaults["cipherSuites"])));
    common.insert("tlsParams".to_owned(), Value::Object(tls_parameters));
    let secret = text(&tls["credentialName"]);
    if secret.is_empty() {
        if with_certificate {
            let (chain, key) = (text(&tls["clientCertificate"]), text(&tls["privateKey"]));
            if chain.is_empty() || key.is_empty() {
                return None;
            }
            common
                .insert("tlsCertificateSdsSecretConfigs".to_owned(), json!([sds(&format!("file-cert:{chain}~{key}"))]));
        }
        if skip_verify {
            common.insert("validationContext".to_owned(), json!({}));
        } else {
            let mut default = validation(names);
            if !text(&tls["caCrl"]).is_empty() {
                default.insert("crl".to_owned(), json!({"filename": tls["caCrl"]}));
            }
            let root = match text(&tls["caCertificates"]) {
                "" => "system",
                path => path,
            };
            common.insert("combinedValidationContext".to_owned(), combined(default, sds(&format!("file-root:{root}"))));
        }
    } else {
        if with_certificate {
            common.insert("tlsCertificateSdsSecretConfigs".to_owned(), json!([credential(secret)]));
        }
        if !skip_verify {
            common.insert(
                "combinedValidationContext".to_owned(),
                combined(validation(names), credential(&format!("{secret}-cacert"))),
            );
        }
    }
    if draft.is_http2() {
        common.insert("alpnProtocols".to_owned(), json!(["h2"]));
    }
    let mut context = Map::new();
    put(&mut context, "sni", Value::from(sni));
    context.insert("commonTlsContext".to_owned(), Value::Object(common));
    Some(socket("UpstreamTlsContext", context))
}

/// Lets Envoy take SNI and names from the request's host where the rule gives none.
fn set_automatic_names(draft: &mut Draft, tls: &Value, sni: &str, names: &[String], dynamic: bool) {
    let skip_verify = flag(&tls["insecureSkipVerify"]);
    let auto_sni = sni.is_empty();
    let auto_san = (dynamic || (auto_sni && names.is_empty())) && !skip_verify;
    if dynamic
        && (skip_verify || !auto_sni || !auto_san)
        && let Some(config) = draft.body.get_mut("clusterType").and_then(|c| c.get_mut("typedConfig"))
    {
        config["allowInsecureClusterOptions"] = json!(true);
    }
    if auto_sni || auto_san {
        let auto = &mut draft.http().auto;
        if auto_sni {
            auto.insert("autoSni".to_owned(), json!(true));
        }
        if auto_san {
            auto.insert("autoSanValidation".to_owned(), json!(true));
        }
    }
}
