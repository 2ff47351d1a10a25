//! The site httpbin.org, as far as tests of a mesh ask for it: the same JSON for the same request.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::time::Duration;

/// The longest delay httpbin.org grants, in seconds.
const LONGEST_DELAY: f64 = 10.0;

/// A request, as httpbin shows it back.
pub(in crate::lab) struct Question {
    pub method: Method,
    pub url: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub authority: String,
    pub body: Bytes,
    pub origin: IpAddr,
}

pub(in crate::lab) async fn answer(question: Question) -> Response<Full<Bytes>> {
    let path = question.path.clone();
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
    let reads = matches!(question.method, Method::GET | Method::HEAD);
    match (first, rest) {
        ("", None) => html("httpbin.org", "A simple HTTP Request &amp; Response Service."),
        ("get", None) if reads => json_of(question.echo(&["args", "headers", "origin", "url"])),
        ("headers", None) if reads => json_of(question.echo(&["headers"])),
        ("ip", None) if reads => json_of(question.echo(&["origin"])),
        ("user-agent", None) if reads => json_of(json!({ "user-agent": question.header("user-agent") })),
        ("post" | "put" | "patch" | "delete", None) if question.method.as_str().eq_ignore_ascii_case(first) => {
            json_of(question.echo(&["args", "data", "form", "headers", "json", "origin", "url"]))
        }
        ("get" | "headers" | "ip" | "user-agent" | "post" | "put" | "patch" | "delete", None) => {
            html_status(StatusCode::METHOD_NOT_ALLOWED)
        }
        ("anything", _) => {
            json_of(question.echo(&["args", "data", "form", "headers", "json", "method", "origin", "url"]))
        }
        ("status", Some(code)) => match code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
            // Informational ones would only precede an answer.
            Some(status) if !status.is_informational() => status_only(status),
            _ => html_status(StatusCode::BAD_REQUEST),
        },
        ("delay", Some(seconds)) => match seconds.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => {
                tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_DELAY))).await;
                json_of(question.echo(&["args", "data", "form", "headers", "origin", "url"]))
            }
            _ => html_status(StatusCode::NOT_FOUND),
        },
        _ => html_status(StatusCode::NOT_FOUND),
    }
}

impl Question {
    /// The named facts about the request, in their alphabetical order, as httpbin writes them.
    fn echo(&self, facts: &[&str]) -> Value {
        let content_type = self.header("content-type");
        let is_form = content_type.as_str().is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let body = String::from_utf8_lossy(&self.body);
        let fact = |name: &str| match name {
            "args" => pairs(&self.query),
            "form" => {
                if is_form {
                    pairs(&body)
                } else {
                    json!({})
                }
            }
            "data" => {
                if is_form {
                    json!("")
                } else {
                    json!(body)
                }
            }
            "json" => serde_json::from_str(&body).unwrap_or(Value::Null),
            "headers" => self.all_headers(),
            "method" => json!(self.method.as_str()),
            "origin" => json!(self.origin.to_string()),
            _ => json!(self.url),
        };
        facts.iter().map(|name| (name.to_string(), fact(name))).collect::<Map<_, _>>().into()
    }

    fn header(&self, name: &str) -> Value {
        self.headers.get(name).map_or(Value::Null, |value| json!(String::from_utf8_lossy(value.as_bytes())))
    }

    fn all_headers(&self) -> Value {
        let mut all: Vec<(String, String)> = vec![("Host".into(), self.authority.clone())];
        for name in self.headers.keys().filter(|name| name.as_str() != "host") {
            let values: Vec<_> =
                self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            all.push((title_case(name), values.join(",")));
        }
        all.sort();
        all.into_iter().map(|(name, value)| (name, json!(value))).collect::<Map<_, _>>().into()
    }
}

/// `user-agent` as `User-Agent`.
fn title_case(name: &HeaderName) -> String {
    let word = |word: &str| {
        word.chars().take(1).map(|letter| letter.to_ascii_uppercase()).chain(word.chars().skip(1)).collect::<String>()
    };
    name.as_str().split('-').map(word).collect::<Vec<_>>().join("-")
}

/// `a=1&b=2&a=3` as `{"a": ["1", "3"], "b": "2"}`.
fn pairs(query: &str) -> Value {
    let mut found = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), Value::from(decode(value)));
        match found.get_mut(&name) {
            None => drop(found.insert(name, value)),
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    let mut sorted: Vec<_> = found.into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    sorted.into_iter().collect::<Map<_, _>>().into()
}

/// Percent signs and plus signs decoded; what is not two hexadecimal digits stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hexadecimal = || u8::from_str_radix(text.get(index + 1..index + 3)?, 16).ok();
        match (bytes[index], hexadecimal()) {
            (b'+', _) => decoded.push(b' '),
            (b'%', Some(byte)) => {
                decoded.push(byte);
                index += 2;
            }
            (byte, _) => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn json_of(value: Value) -> Response<Full<Bytes>> {
    let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
    with_type(StatusCode::OK, text, "application/json")
}

fn status_only(status: StatusCode) -> Response<Full<Bytes>> {
    with_type(status, String::new(), "text/html; charset=utf-8")
}

fn html_status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = html(&status.to_string(), status.canonical_reason().unwrap_or_default());
    *response.status_mut() = status;
    response
}

fn html(title: &str, text: &str) -> Response<Full<Bytes>> {
    let page = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n");
    with_type(StatusCode::OK, page, "text/html; charset=utf-8")
}

fn with_type(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert("server", HeaderValue::from_static("gunicorn/19.9.0"));
    response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
    response.headers_mut().insert("access-control-allow-credentials", HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_and_encoded_arguments_are_shown_as_httpbin_does() {
        let expected = json!({ "a": ["1 2", "é"], "b": "", "z%zz": "%" });
        assert_eq!(pairs("a=1+2&b&a=%C3%A9&z%zz=%25"), expected);
    }

    #[test]
    fn header_names_are_shown_in_title_case() {
        assert_eq!(title_case(&HeaderName::from_static("x-forwarded-for")), "X-Forwarded-For");
    }
}
