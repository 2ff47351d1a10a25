//! What a request asks for: its path, query and body, read with bounds.

use super::failure::Failure;
use super::protobuf;
use super::resource::{Registry, Resource};
use super::schema::Schema;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde_json::Value;
use std::sync::Arc;

/// The largest body that is read, in bytes: what a kube-apiserver takes.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// How deep an object may nest; serde_json itself stops at 128.
const MAX_DEPTH: usize = 100;

/// A request whose body has been read.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A path that names a resource, an object of it or a subresource.
#[derive(Debug, Clone)]
pub struct Target {
    pub resource: Arc<Resource>,
    pub version: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Target {
    /// Reads `/api/v1/...` and `/apis/GROUP/VERSION/...`.
    pub fn parse(path: &str, registry: &Registry) -> Result<Target, Failure> {
        let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(percent_decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_such_resource()),
        };
        let find = |plural: &str| registry.find(group, version, plural).ok_or_else(Failure::no_such_resource);
        let target = |plural: &str, namespace: Option<&str>, tail: &[&str]| -> Result<Target, Failure> {
            let resource = find(plural)?;
            let (name, subresource) = match tail {
                [] => (None, None),
                [name] => (Some(name.to_string()), None),
                [name, sub] => (Some(name.to_string()), Some(sub.to_string())),
                _ => return Err(Failure::no_such_resource()),
            };
            if subresource.as_ref().is_some_and(|s| !resource.has(s)) {
                return Err(Failure::no_such_resource());
            }
            let namespace = namespace.map(str::to_string);
            Ok(Target { resource, version: version.to_string(), namespace, name, subresource })
        };
        match rest {
            ["namespaces", namespace, plural, tail @ ..]
                if !(group.is_empty() && ["status", "finalize"].contains(plural)) =>
            {
                let target = target(plural, Some(namespace), tail)?;
                if target.resource.namespaced { Ok(target) } else { Err(Failure::no_such_resource()) }
            }
            [plural, tail @ ..] => {
                let target = target(plural, None, tail)?;
                if target.resource.namespaced && target.name.is_some() {
                    return Err(Failure::no_such_resource());
                }
                Ok(target)
            }
            [] => Err(Failure::no_such_resource()),
        }
    }

    pub fn subresource(&self) -> &str {
        self.subresource.as_deref().unwrap_or("")
    }
}

/// A query string's pairs, decoded, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Query {
        let plus = |s: &str| percent_decode(&s.replace('+', " "));
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (plus(key), plus(value))
        });
        Query(pairs.collect())
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// `true`, `1` and a bare key are true.
    pub fn flag(&self, key: &str) -> bool {
        self.0.iter().find(|(k, _)| k == key).is_some_and(|(_, v)| matches!(v.as_str(), "true" | "1" | "True" | ""))
    }

    /// A whole number, if the key is given.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let number = text.parse().map_err(|_| Failure::bad_request(format!("{key}: Invalid value: \"{text}\"")))?;
        Ok(Some(number))
    }
}

/// Decodes `%XX`; what is not a valid escape stays as it is, what is not UTF-8 is replaced.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if bytes[i] == b'%'
            && i + 2 < bytes.len()
            && let (Some(high), Some(low)) = (hex(bytes[i + 1]), hex(bytes[i + 2]))
        {
            out.push(high * 16 + low);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Request {
    /// A header, or "".
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// The body's media type, without parameters.
    pub fn media_type(&self) -> &str {
        self.header(header::CONTENT_TYPE).split(';').next().unwrap_or("").trim()
    }

    /// The body as an object: JSON, YAML, or protobuf of a built-in kind.
    pub fn object(&self, schema: &Schema) -> Result<Value, Failure> {
        match self.media_type() {
            protobuf::MEDIA_TYPE => return protobuf::decode(schema, &self.body),
            "" | "application/json" | "application/yaml" | "application/apply-patch+yaml" => {}
            other => {
                let what = format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json, application/yaml, application/vnd.kubernetes.protobuf (got {other})"
                );
                return Err(Failure::new(415, "UnsupportedMediaType", what));
            }
        }
        decode(&self.body)
    }

    /// The body as JSON of any form: patches.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))
    }
}

/// Reads an object from JSON, or from YAML if it is not JSON.
pub fn decode(body: &[u8]) -> Result<Value, Failure> {
    let looks_like_json = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    let value: Value = if looks_like_json {
        serde_json::from_slice(body)
            .map_err(|e| Failure::bad_request(format!("the object provided is unrecognized: {e}")))?
    } else {
        serde_yaml::from_slice(body).map_err(|e| Failure::bad_request(format!("error converting YAML to JSON: {e}")))?
    };
    if !value.is_object() {
        return Err(Failure::bad_request("the object provided is unrecognized: it is not an object"));
    }
    if depth(&value) > MAX_DEPTH {
        return Err(Failure::bad_request(format!("the object nests deeper than {MAX_DEPTH} levels")));
    }
    Ok(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let registry = Registry::builtin();
        let pod = Target::parse("/api/v1/namespaces/a/pods/b/log", &registry).unwrap();
        assert_eq!((pod.namespace.as_deref(), pod.name.as_deref(), pod.subresource()), (Some("a"), Some("b"), "log"));
        let ns = Target::parse("/api/v1/namespaces/a", &registry).unwrap();
        assert_eq!((ns.resource.kind.as_str(), ns.name.as_deref()), ("Namespace", Some("a")));
        let status = Target::parse("/api/v1/namespaces/a/status", &registry).unwrap();
        assert_eq!((status.resource.kind.as_str(), status.subresource()), ("Namespace", "status"));
        for bad in ["/api/v1/nothing", "/api/v1/pods/b", "/apis/apps/v1/namespaces/a/nodes", "/apis/apps", "/x"] {
            assert_eq!(Target::parse(bad, &registry).unwrap_err().code, 404, "{bad}");
        }
    }

    #[test]
    fn queries() {
        let query = Query::parse("command=sh&command=-c&command=a%20b+c%3B&stdin=true&tty=false&n=x");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "a b c;"]);
        assert!(query.flag("stdin") && !query.flag("tty") && !query.flag("absent"));
        assert!(query.number("n").is_err());
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
    }

    #[test]
    fn deep_objects_are_refused() {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(110), "]".repeat(110));
        assert_eq!(decode(body.as_bytes()).unwrap_err().code, 400);
        assert_eq!(decode(b"kind: Pod\napiVersion: v1").unwrap()["kind"], "Pod");
    }
}
