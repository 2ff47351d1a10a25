//! One access-log format: compiled from its format string or JSON tree, matched against lines.
//!
//! A text format becomes one anchored regular expression in which each command operator has the shape
//! of what Envoy can print for it, so that unquoted fields with spaces still end where they must. The
//! regex engine is linear: no line can make it hang.

use super::access_log::Entry;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Compiled formats that are kept, at most.
const KEPT: usize = 64;

/// Istio's default (`accessLogEncoding: TEXT`, no `accessLogFormat`), 1.30.3.
pub(super) const ISTIO_DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Envoy's own default, for a logger without a format.
pub(super) const ENVOY_DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

#[derive(Debug, Clone)]
pub struct LogFormat {
    form: Form,
    /// Operators that the format has, as `NAME` or `NAME(ARGUMENT)`.
    operators: Vec<String>,
}

#[derive(Debug, Clone)]
enum Form {
    Text(TextForm),
    /// JSON pointer-like path of keys → the text format of that leaf.
    Json(Vec<(Vec<String>, TextForm)>),
}

#[derive(Debug, Clone)]
struct TextForm {
    regex: Regex,
    operators: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Piece {
    Literal(String),
    /// `NAME` or `NAME(ARGUMENT)`, without the length limit.
    Operator(String),
}

impl LogFormat {
    /// `None` when the format is too large to compile.
    pub fn text(format: &str) -> Option<LogFormat> {
        let form = TextForm::compile(format)?;
        let operators = form.operators.clone();
        Some(LogFormat { form: Form::Text(form), operators })
    }

    /// A `json_format` tree: objects nest, leaves are format strings.
    pub fn json(tree: &Value) -> Option<LogFormat> {
        let mut leaves = vec![];
        collect_leaves(tree, &mut vec![], &mut leaves)?;
        let operators = leaves.iter().flat_map(|(_, form)| form.operators.iter().cloned()).collect();
        Some(LogFormat { form: Form::Json(leaves), operators })
    }

    pub fn istio_default() -> Option<LogFormat> {
        LogFormat::text(ISTIO_DEFAULT)
    }

    /// How many operators the format has.
    pub(super) fn operators(&self) -> usize {
        self.operators.len()
    }

    /// True when lines carry this operator (arguments do not matter).
    pub fn has(&self, operator: &str) -> bool {
        self.operators.iter().any(|name| name == operator || name.split('(').next() == Some(operator))
    }

    /// The line's fields, if it is of this format.
    pub fn parse(&self, line: &str) -> Option<Entry> {
        let line = line.trim_end_matches(['\n', '\r']);
        let mut fields = BTreeMap::new();
        match &self.form {
            Form::Text(form) => form.read(line, &mut fields)?,
            Form::Json(leaves) => {
                let value: Value = serde_json::from_str(line).ok().filter(Value::is_object)?;
                for (path, form) in leaves {
                    let leaf = path.iter().try_fold(&value, |here, key| here.get(key));
                    let text = match leaf {
                        // `omit_empty_values` leaves keys out; an absent value is null otherwise.
                        None | Some(Value::Null) => continue,
                        Some(Value::String(text)) => text.clone(),
                        Some(other) => other.to_string(),
                    };
                    form.read(&text, &mut fields)?;
                }
                if fields.is_empty() && !leaves.is_empty() {
                    return None;
                }
            }
        }
        Some(Entry::new(line, fields))
    }
}

fn collect_leaves(value: &Value, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, TextForm)>) -> Option<()> {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                path.push(key.clone());
                collect_leaves(value, path, leaves)?;
                path.pop();
            }
        }
        Value::String(format) => leaves.push((path.clone(), TextForm::compile(format)?)),
        _ => {}
    }
    Some(())
}

impl TextForm {
    /// Compiled once for each distinct format: a dump names the same few formats hundreds of times.
    fn compile(format: &str) -> Option<TextForm> {
        static COMPILED: Mutex<BTreeMap<String, TextForm>> = Mutex::new(BTreeMap::new());
        let compiled = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(form) = compiled().get(format) {
            return Some(form.clone());
        }
        let form = TextForm::build(format)?;
        let mut compiled = compiled();
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(format.to_string(), form.clone());
        Some(form)
    }

    fn build(format: &str) -> Option<TextForm> {
        let mut pattern = String::from("(?s)^");
        let mut operators = vec![];
        for piece in pieces(format.trim_end_matches(['\n', '\r'])) {
            match piece {
                Piece::Literal(text) => pattern.push_str(&regex::escape(&text)),
                Piece::Operator(name) => {
                    pattern.push('(');
                    pattern.push_str(shape(&name));
                    pattern.push(')');
                    operators.push(name);
                }
            }
        }
        pattern.push('$');
        Some(TextForm { regex: Regex::new(&pattern).ok()?, operators })
    }

    fn read(&self, line: &str, fields: &mut BTreeMap<String, String>) -> Option<()> {
        let found = self.regex.captures(line)?;
        for (index, name) in self.operators.iter().enumerate() {
            if let Some(value) = found.get(index + 1) {
                fields.insert(name.clone(), value.as_str().to_string());
            }
        }
        Some(())
    }
}

/// Cuts a format string at its `%OPERATOR(argument):limit%`s; `%%` is a percent sign.
fn pieces(format: &str) -> Vec<Piece> {
    let mut pieces = vec![];
    let mut literal = String::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        literal.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        if let Some(next) = after.strip_prefix('%') {
            literal.push('%');
            rest = next;
            continue;
        }
        let Some((name, next)) = operator(after) else {
            literal.push('%');
            rest = after;
            continue;
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Operator(name));
        rest = next;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

/// `NAME%…`, `NAME(argument)%…`, `NAME(argument):limit%…`: an argument may hold percent signs (START_TIME).
fn operator(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
    if end == 0 {
        return None;
    }
    let (mut name, mut rest) = (text[..end].to_string(), &text[end..]);
    if rest.starts_with('(') {
        let close = rest.find(")%").or_else(|| rest.find("):"))?;
        name.push_str(&rest[..=close]);
        rest = &rest[close + 1..];
    }
    if let Some(limit) = rest.strip_prefix(':') {
        rest = limit.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    Some((name, rest.strip_prefix('%')?))
}

/// What Envoy can print for an operator; lazily matched where anything goes. `-` is "absent".
fn shape(operator: &str) -> &'static str {
    let name = operator.split('(').next().unwrap_or(operator);
    match name {
        "RESPONSE_CODE"
        | "BYTES_RECEIVED"
        | "BYTES_SENT"
        | "UPSTREAM_WIRE_BYTES_SENT"
        | "UPSTREAM_WIRE_BYTES_RECEIVED"
        | "UPSTREAM_HEADER_BYTES_SENT"
        | "UPSTREAM_HEADER_BYTES_RECEIVED"
        | "DOWNSTREAM_WIRE_BYTES_SENT"
        | "DOWNSTREAM_WIRE_BYTES_RECEIVED"
        | "DURATION"
        | "REQUEST_DURATION"
        | "RESPONSE_DURATION"
        | "RESPONSE_TX_DURATION"
        | "CONNECTION_ID"
        | "UPSTREAM_CONNECTION_ID"
        | "UPSTREAM_REQUEST_ATTEMPT_COUNT"
        | "DOWNSTREAM_REMOTE_PORT"
        | "DOWNSTREAM_LOCAL_PORT"
        | "DOWNSTREAM_DIRECT_REMOTE_PORT"
        | "DOWNSTREAM_DIRECT_LOCAL_PORT"
        | "UPSTREAM_LOCAL_PORT"
        | "UPSTREAM_REMOTE_PORT" => r"-?\d*",
        "RESPONSE_FLAGS" => r"-|[A-Z0-9_,]*",
        "RESPONSE_FLAGS_LONG" => r"-|[A-Za-z0-9_,]*",
        "START_TIME" if operator == "START_TIME" => r"[-0-9T:.Z]+",
        "PROTOCOL" => r"-|HTTP/[0-9.]+|",
        "DOWNSTREAM_REMOTE_ADDRESS"
        | "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
        | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"
        | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"
        | "DOWNSTREAM_LOCAL_ADDRESS"
        | "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
        | "UPSTREAM_LOCAL_ADDRESS"
        | "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
        | "UPSTREAM_REMOTE_ADDRESS"
        | "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
        | "REQUESTED_SERVER_NAME"
        | "DOWNSTREAM_PEER_URI_SAN"
        | "UPSTREAM_PEER_URI_SAN"
        | "DOWNSTREAM_TLS_VERSION"
        | "UPSTREAM_TLS_VERSION"
        | "UPSTREAM_CLUSTER"
        | "UPSTREAM_CLUSTER_RAW"
        | "UPSTREAM_HOST" => r#"[^\s"]*?"#,
        _ => r".*?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_operators_with_arguments_limits_and_percents() {
        let found = pieces("a%START_TIME(%Y-%m-%d)% %REQ(:PATH):80%100%% %not% %PROTOCOL%");
        let operator = |name: &str| Piece::Operator(name.into());
        let literal = |text: &str| Piece::Literal(text.into());
        assert_eq!(
            found,
            [
                literal("a"),
                operator("START_TIME(%Y-%m-%d)"),
                literal(" "),
                operator("REQ(:PATH)"),
                literal("100% %not% "),
                operator("PROTOCOL"),
            ]
        );
    }

    #[test]
    fn unquoted_fields_with_spaces_end_where_the_next_shape_begins() {
        let format =
            LogFormat::text("%START_TIME% %REQ(USER-AGENT)% %ROUTE_NAME% %RESPONSE_CODE% %RESPONSE_FLAGS%\n").unwrap();
        let entry = format.parse("2026-11-22T11:46:15.228Z my agent 1.0 a route 502 UF,URX").unwrap();
        assert_eq!(entry.get("RESPONSE_CODE"), Some("502"));
        assert!(entry.flags().contains("URX"));
        assert!(format.parse("not a line of this format").is_none());
    }

    #[test]
    fn quotes_inside_a_quoted_field_do_not_end_it() {
        let format = LogFormat::text("\"%REQ(USER-AGENT)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW%\n").unwrap();
        let entry = format.parse(r#""odd" "agent" "10.0.0.1:443" outbound|443||httpbin.org"#).unwrap();
        assert_eq!(entry.get("REQ(USER-AGENT)"), Some(r#"odd" "agent"#));
        assert_eq!(entry.cluster(), Some("outbound|443||httpbin.org"));
    }
}
