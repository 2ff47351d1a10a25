//! Transport sockets in Istio's words: which TLS mode a listener or a cluster has.

use super::json::{at, field, flag, list, text, texts};
use serde_json::Value;

/// A TLS mode as Istio names it in Gateways and DestinationRules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// No TLS of Envoy's own: plain text, or somebody else's TLS passed through.
    None,
    Simple,
    Mutual,
    OptionalMutual,
    IstioMutual,
}

impl TlsMode {
    pub fn name(self) -> &'static str {
        match self {
            TlsMode::None => "none",
            TlsMode::Simple => "SIMPLE",
            TlsMode::Mutual => "MUTUAL",
            TlsMode::OptionalMutual => "OPTIONAL_MUTUAL",
            TlsMode::IstioMutual => "ISTIO_MUTUAL",
        }
    }
}

/// What a TLS transport socket says, downstream or upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsContext {
    pub mode: TlsMode,
    pub require_client_certificate: bool,
    /// SNI that an upstream socket sends; empty: none of its own.
    pub sni: String,
    /// Subject alternative names that the other side must have (with `prefix*` or `*suffix` for such matches).
    pub sans: Vec<String>,
    pub alpn: Vec<String>,
    /// Names of the SDS secrets with the certificate shown to the other side.
    pub certificates: Vec<String>,
    /// Name of the SDS secret that the other side's certificate is checked with; empty: unchecked.
    pub validation: String,
}

impl TlsContext {
    pub fn none() -> TlsContext {
        TlsContext {
            mode: TlsMode::None,
            require_client_certificate: false,
            sni: String::new(),
            sans: vec![],
            alpn: vec![],
            certificates: vec![],
            validation: String::new(),
        }
    }

    /// Reads `transport_socket`; sockets that wrap another one (PROXY protocol, internal upstream) are looked through.
    pub(super) fn read(socket: Option<&Value>) -> TlsContext {
        let Some(config) = socket.and_then(|socket| field(socket, "typed_config")) else { return TlsContext::none() };
        if let Some(inner) = field(config, "transport_socket") {
            return TlsContext::read(Some(inner));
        }
        let kind = config.get("@type").and_then(Value::as_str).unwrap_or_default();
        let downstream = kind.ends_with("DownstreamTlsContext");
        if !downstream && !kind.ends_with("UpstreamTlsContext") {
            return TlsContext::none();
        }
        let common = field(config, "common_tls_context").unwrap_or(&Value::Null);
        let mut certificates: Vec<String> = list(common, &["tls_certificate_sds_secret_configs"])
            .iter()
            .map(|secret| text(secret, &["name"]))
            .collect();
        certificates.extend(list(common, &["tls_certificates"]).iter().map(|_| "inline".to_string()));
        let combined = field(common, "combined_validation_context");
        let secret = combined
            .and_then(|combined| field(combined, "validation_context_sds_secret_config"))
            .or_else(|| field(common, "validation_context_sds_secret_config"));
        let inline = combined
            .and_then(|combined| field(combined, "default_validation_context"))
            .or_else(|| field(common, "validation_context"));
        let validation = match (secret, inline) {
            (Some(secret), _) => text(secret, &["name"]),
            (None, Some(inline)) if field(inline, "trusted_ca").is_some() => "inline".into(),
            _ => String::new(),
        };
        let require = flag(config, &["require_client_certificate"]);
        // Workload certificates come from SDS under these two names (golden 03, 06): nothing else uses them.
        let workload = certificates.iter().any(|name| name == "default") && validation == "ROOTCA";
        let mode = match (downstream, workload, require) {
            (true, true, true) | (false, true, _) => TlsMode::IstioMutual,
            (true, _, true) => TlsMode::Mutual,
            (true, _, false) if !validation.is_empty() => TlsMode::OptionalMutual,
            (false, _, _) if !certificates.is_empty() => TlsMode::Mutual,
            _ => TlsMode::Simple,
        };
        TlsContext {
            mode,
            require_client_certificate: require,
            sni: text(config, &["sni"]),
            sans: inline.map(subject_names).unwrap_or_default(),
            alpn: texts(common, &["alpn_protocols"]),
            certificates,
            validation,
        }
    }
}

fn subject_names(context: &Value) -> Vec<String> {
    let plain = list(context, &["match_subject_alt_names"]).iter();
    let typed = list(context, &["match_typed_subject_alt_names"]).iter().filter_map(|typed| field(typed, "matcher"));
    plain.chain(typed).filter_map(matcher).collect()
}

fn matcher(value: &Value) -> Option<String> {
    let get = |name| field(value, name).and_then(Value::as_str);
    get("exact")
        .map(str::to_string)
        .or_else(|| get("prefix").map(|prefix| format!("{prefix}*")))
        .or_else(|| get("suffix").map(|suffix| format!("*{suffix}")))
        .or_else(|| at(value, &["safe_regex", "regex"])?.as_str().map(|regex| format!("/{regex}/")))
}
