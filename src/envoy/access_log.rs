//! Access-log lines by field, in whatever formats a dump says its loggers write.

use super::json::{at, field, text};
use super::log_format::{ENVOY_DEFAULT, LogFormat};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Every distinct format of a proxy's file and stdout loggers. A line is read by the first that fits.
#[derive(Debug, Clone, Default)]
pub struct LogFormats {
    formats: Vec<LogFormat>,
    /// A logger without a filter exists: ordinary traffic is written, not only `NR`.
    unfiltered: bool,
    /// A logger that writes elsewhere (gRPC, OpenTelemetry): its lines are not in the container's log.
    remote: bool,
}

impl LogFormats {
    /// Reads the formats of every logger in a config dump.
    pub fn read(dump: &Value) -> LogFormats {
        let mut found = LogFormats::default();
        let mut seen = BTreeSet::new();
        found.walk(dump, &mut seen);
        // The most telling formats first: a short format may fit a long format's line by chance.
        found.formats.sort_by_key(|format| std::cmp::Reverse(format.operators()));
        found
    }

    fn walk(&mut self, value: &Value, seen: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    if key == "access_log" || key == "accessLog" {
                        value.as_array().into_iter().flatten().for_each(|logger| self.logger(logger, seen));
                    }
                    self.walk(value, seen);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, seen)),
            _ => {}
        }
    }

    fn logger(&mut self, logger: &Value, seen: &mut BTreeSet<String>) {
        let Some(config) = field(logger, "typed_config") else { return };
        let kind = config.get("@type").and_then(Value::as_str).unwrap_or_default();
        if !["FileAccessLog", "StdoutAccessLog", "StderrAccessLog"].iter().any(|name| kind.ends_with(name)) {
            self.remote = true;
            return;
        }
        self.unfiltered |= field(logger, "filter").is_none();
        let (json, format) =
            if let Some(json) = at(config, &["log_format", "json_format"]).or_else(|| field(config, "json_format")) {
                (true, json.clone())
            } else {
                let inline = text(config, &["log_format", "text_format_source", "inline_string"]);
                let older = [text(config, &["log_format", "text_format"]), text(config, &["format"])];
                let format = std::iter::once(inline).chain(older).find(|text| !text.is_empty());
                (false, Value::String(format.unwrap_or_else(|| ENVOY_DEFAULT.to_string())))
            };
        if !seen.insert(format!("{json}{format}")) {
            return;
        }
        self.formats.extend(match &format {
            Value::String(format) if !json => LogFormat::text(format),
            tree => LogFormat::json(tree),
        });
    }

    /// Istio's default format, for lines whose proxy has shown no dump.
    pub fn istio_default() -> LogFormats {
        LogFormats { formats: LogFormat::istio_default().into_iter().collect(), unfiltered: true, remote: false }
    }

    /// True when ordinary traffic is written where it can be read.
    pub fn writes(&self) -> bool {
        self.unfiltered && !self.formats.is_empty()
    }

    /// True when some logger sends its entries over the network instead.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// True when lines carry this operator.
    pub fn has(&self, operator: &str) -> bool {
        self.formats.iter().any(|format| format.has(operator))
    }

    /// The line's fields; `None` for lines of other kinds (Envoy's own messages, an unknown format).
    pub fn parse(&self, line: &str) -> Option<Entry> {
        self.formats.iter().find_map(|format| format.parse(line))
    }
}

/// One access-log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line as it was written.
    pub line: String,
    fields: BTreeMap<String, String>,
}

impl Entry {
    pub(super) fn new(line: &str, fields: BTreeMap<String, String>) -> Entry {
        Entry { line: line.to_string(), fields }
    }

    /// The value of an operator (`UPSTREAM_HOST`, `REQ(:AUTHORITY)`); `None` when absent or `-`.
    pub fn get(&self, operator: &str) -> Option<&str> {
        self.fields.get(operator).map(String::as_str).filter(|value| !value.is_empty() && *value != "-")
    }

    /// True when the line's format has the operator, even if the value is absent.
    pub fn knows(&self, operator: &str) -> bool {
        self.fields.contains_key(operator)
    }

    /// `UPSTREAM_CLUSTER_RAW`, or `UPSTREAM_CLUSTER` without the `;` that istiod's stat names end with.
    pub fn cluster(&self) -> Option<&str> {
        self.get("UPSTREAM_CLUSTER_RAW").or_else(|| self.get("UPSTREAM_CLUSTER")).map(|name| name.trim_end_matches(';'))
    }

    /// Response flags: a set, as Envoy's order is not fixed.
    pub fn flags(&self) -> BTreeSet<&str> {
        self.get("RESPONSE_FLAGS").map(|flags| flags.split(',').collect()).unwrap_or_default()
    }

    /// 0 where there is none (TCP, or no answer).
    pub fn code(&self) -> u16 {
        self.get("RESPONSE_CODE").and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// `ip:port` of who connected.
    pub fn downstream(&self) -> Option<String> {
        self.address("DOWNSTREAM_REMOTE").or_else(|| self.address("DOWNSTREAM_DIRECT_REMOTE"))
    }

    /// `ip:port` from which Envoy connected onwards.
    pub fn upstream_local(&self) -> Option<String> {
        self.address("UPSTREAM_LOCAL")
    }

    /// `ip:port` that Envoy connected to, or tried to.
    pub fn upstream_host(&self) -> Option<String> {
        self.get("UPSTREAM_HOST").map(str::to_string).or_else(|| self.address("UPSTREAM_REMOTE"))
    }

    fn address(&self, which: &str) -> Option<String> {
        self.get(&format!("{which}_ADDRESS")).map(str::to_string).or_else(|| {
            let ip = self.get(&format!("{which}_ADDRESS_WITHOUT_PORT"))?;
            Some(format!("{ip}:{}", self.get(&format!("{which}_PORT"))?))
        })
    }

    pub fn server_name(&self) -> Option<&str> {
        self.get("REQUESTED_SERVER_NAME")
    }

    pub fn authority(&self) -> Option<&str> {
        self.get("REQ(:AUTHORITY)")
    }

    /// RESPONSE_CODE_DETAILS, e.g. `via_upstream`, `direct_response`, `filter_chain_not_found`.
    pub fn details(&self) -> Option<&str> {
        self.get("RESPONSE_CODE_DETAILS")
    }

    pub fn termination(&self) -> Option<&str> {
        self.get("CONNECTION_TERMINATION_DETAILS")
    }

    pub fn transport_failure(&self) -> Option<&str> {
        self.get("UPSTREAM_TRANSPORT_FAILURE_REASON")
    }

    pub fn route(&self) -> Option<&str> {
        self.get("ROUTE_NAME")
    }

    /// The client's SPIFFE id, as its certificate says.
    pub fn peer(&self) -> Option<&str> {
        self.get("DOWNSTREAM_PEER_URI_SAN")
    }
}
