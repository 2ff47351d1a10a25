//! Label and field selectors.

use super::failure::Failure;
use super::object;
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(String),
    NotEqual(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// `app=sleep,tier!=db,env in (a,b),!canary`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelSelector(Vec<(String, Test)>);

impl LabelSelector {
    pub fn parse(text: &str) -> Result<LabelSelector, Failure> {
        let mut tests = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if !part.is_empty() {
                tests.push(requirement(part).ok_or_else(|| unparsable(text, part))?);
            }
        }
        Ok(LabelSelector(tests))
    }

    /// A selector object (`matchLabels`, `matchExpressions`) or a plain map of labels.
    pub fn from_object(value: &Value) -> LabelSelector {
        let mut tests = Vec::new();
        let labels = value.get("matchLabels").unwrap_or(value);
        let structured = value.get("matchLabels").is_some() || value.get("matchExpressions").is_some();
        if let Some(map) = labels.as_object().filter(|_| !structured || value.get("matchLabels").is_some()) {
            for (key, v) in map {
                tests.push((key.clone(), Test::Equal(v.as_str().unwrap_or("").to_string())));
            }
        }
        for e in object::list(value, &["matchExpressions"]) {
            let values: Vec<String> =
                object::list(e, &["values"]).iter().filter_map(|v| v.as_str().map(str::to_string)).collect();
            let test = match object::text(e, &["operator"]) {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                _ => Test::Absent,
            };
            tests.push((object::text(e, &["key"]).to_string(), test));
        }
        LabelSelector(tests)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|(key, test)| {
            let value = labels.and_then(|l| l.get(key)).and_then(Value::as_str);
            match test {
                Test::Equal(v) => value == Some(v),
                Test::NotEqual(v) => value != Some(v),
                Test::In(vs) => value.is_some_and(|x| vs.iter().any(|v| v == x)),
                Test::NotIn(vs) => value.is_none_or(|x| vs.iter().all(|v| v != x)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }
}

fn unparsable(text: &str, part: &str) -> Failure {
    Failure::bad_request(format!("unable to parse requirement: found '{part}' in selector '{text}'"))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<(String, Test)> {
    let word = |s: &str| {
        let s = s.trim();
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!s.is_empty() && s.chars().all(fine)).then(|| s.to_string())
    };
    let value = |s: &str| if s.trim().is_empty() { Some(String::new()) } else { word(s) };
    if let Some(key) = part.strip_prefix('!') {
        return Some((word(key)?, Test::Absent));
    }
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, v)) = part.split_once(sign) {
            let v = value(v)?;
            return Some((word(key)?, if equal { Test::Equal(v) } else { Test::NotEqual(v) }));
        }
    }
    let values = |s: &str| -> Option<Vec<String>> {
        s.trim().strip_prefix('(')?.strip_suffix(')')?.split(',').map(value).collect()
    };
    if let Some((key, rest)) = part.split_once(" notin ").or_else(|| part.split_once(" notin(")) {
        let rest = if rest.trim_start().starts_with('(') { rest.to_string() } else { format!("({rest}") };
        return Some((word(key)?, Test::NotIn(values(&rest)?)));
    }
    if let Some((key, rest)) = part.split_once(" in ").or_else(|| part.split_once(" in(")) {
        let rest = if rest.trim_start().starts_with('(') { rest.to_string() } else { format!("({rest}") };
        return Some((word(key)?, Test::In(values(&rest)?)));
    }
    Some((word(part)?, Test::Exists))
}

/// `metadata.name=x,status.phase!=Running`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

/// The fields besides metadata.name and metadata.namespace by which built-in kinds may be selected.
fn selectable(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        "Node" => &["spec.unschedulable"],
        "Service" => &["spec.clusterIP", "spec.type"],
        "ReplicaSet" | "ReplicationController" => &["status.replicas"],
        "Job" => &["status.successful"],
        _ => &[],
    }
}

impl FieldSelector {
    /// Parses a selector for objects of `kind`. A field that Kubernetes does not index is a 400, as
    /// in a cluster.
    pub fn parse(text: &str, kind: &str, custom: bool) -> Result<FieldSelector, Failure> {
        let known = if custom { &[] } else { selectable(kind) };
        let mut tests = Vec::new();
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let split = |sign: &str| part.split_once(sign).map(|(k, v)| (k.trim(), v.trim()));
            let (field, equal, value) = match (split("!="), split("=="), split("=")) {
                (Some((f, v)), _, _) => (f, false, v),
                (_, Some((f, v)), _) | (_, _, Some((f, v))) => (f, true, v),
                _ => {
                    let why = format!("invalid field selector \"{text}\": can't understand '{part}'");
                    return Err(Failure::bad_request(why));
                }
            };
            if !["metadata.name", "metadata.namespace"].contains(&field) && !known.contains(&field) {
                return Err(Failure::bad_request(if custom || !known.is_empty() {
                    format!("field label not supported: {field}")
                } else {
                    format!("\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                }));
            }
            tests.push((field.to_string(), equal, unescape(value)));
        }
        Ok(FieldSelector(tests))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, equal, wanted)| {
            let path: Vec<&str> = field.split('.').collect();
            let seen = match object::at(object, &path) {
                Value::String(s) => s.clone(),
                Value::Null if field == "spec.unschedulable" || field == "spec.hostNetwork" => "false".into(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (seen == *wanted) == *equal
        })
    }
}

fn unescape(value: &str) -> String {
    value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors() {
        let labels = json!({ "app": "sleep", "env": "test" });
        for (text, wanted) in [
            ("app=sleep", true),
            ("app==sleep,env!=prod", true),
            ("app in (a, sleep),env", true),
            ("env notin (test)", false),
            ("!app", false),
            ("!other", true),
            ("other", false),
            ("", true),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(labels.as_object()), wanted, "{text}");
        }
        assert!(LabelSelector::parse("app in sleep").is_err());
        assert!(LabelSelector::parse("a b").is_err());
    }

    #[test]
    fn field_selectors_know_their_fields() {
        let pod = json!({ "metadata": { "name": "a" }, "status": { "phase": "Running" } });
        assert!(FieldSelector::parse("metadata.name=a,status.phase!=Failed", "Pod", false).unwrap().matches(&pod));
        let error = FieldSelector::parse("spec.image=x", "Pod", false).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (400, "field label not supported: spec.image"));
        let error = FieldSelector::parse("data.color=blue", "ConfigMap", false).unwrap_err().message;
        assert_eq!(error, r#""data.color" is not a known field selector: only "metadata.name", "metadata.namespace""#);
    }
}
