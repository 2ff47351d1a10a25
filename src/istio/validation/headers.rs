//! Header names and values of routes, and what Envoy's `%…%` in them must look like.

use super::fields::Fields;
use super::findings::Messages;
use crate::istio::go::quote;
use serde_json::Value;

const PSEUDO: &[&str] = &[":method", ":scheme", ":authority", ":path", ":status"];

/// A character that HTTP allows in a header's name.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn not_valid(name: &str) -> String {
    format!("header name {name} is not a valid header name")
}

/// A header of a match: also a pseudo header, or a JWT claim.
pub(super) fn check_match_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("header name cannot be empty".into());
    }
    if is_jwt_claim(name) || PSEUDO.contains(&name) || is_token(name) {
        return Ok(());
    }
    Err(not_valid(name))
}

/// A header of a CORS policy, or `*`.
pub(super) fn check_cors_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("header name cannot be empty".into()),
        "*" => Ok(()),
        name if is_token(name) => Ok(()),
        name => Err(not_valid(name)),
    }
}

/// A header that a JWT claim is written to.
pub(super) fn check_strict_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("header name cannot be empty".into());
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(not_valid(name));
    }
    Ok(())
}

/// `@request.auth.claims.name` or `@request.auth.claims[name]`, for routing at a gateway.
pub(super) fn is_jwt_claim(name: &str) -> bool {
    const CLAIMS: &str = "@request.auth.claims";
    let Some(head) = name.get(..CLAIMS.len()) else { return false };
    let rest = &name[CLAIMS.len()..];
    head.eq_ignore_ascii_case(CLAIMS)
        && rest.len() > 1
        && (rest.starts_with('.') || (rest.len() > 2 && rest.starts_with('[') && rest.ends_with(']')))
}

pub(super) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

fn with_colon(name: &str) -> String {
    format!("invalid header {}: header cannot have \":\" prefix", quote(name))
}

/// A header to add to or set on a request, the authority included.
fn check_request_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("header name cannot be empty".into());
    }
    if name.starts_with(':') && !is_authority(name) {
        return Err(with_colon(name));
    }
    Ok(())
}

/// Any other header that is added, set or removed.
fn check_other_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("header name cannot be empty".into());
    }
    if name.eq_ignore_ascii_case("host") {
        return Err(format!("invalid header {}: cannot set Host header", quote(name)));
    }
    if name.starts_with(':') {
        return Err(with_colon(name));
    }
    Ok(())
}

/// `headers` of a route or of a destination.
pub(super) fn check_operations(headers: Option<&Value>) -> Messages {
    let mut errors = Messages::default();
    for (part, set_name) in [
        ("request", check_request_name as fn(&str) -> Result<(), String>),
        ("response", check_other_name as fn(&str) -> Result<(), String>),
    ] {
        let Some(operations) = headers.and_then(|headers| headers.message(part)) else { continue };
        for (name, value) in operations.entries("add").into_iter().chain(operations.entries("set")) {
            errors.join(set_name(name).into());
            errors.join(check_value(value.as_str().unwrap_or_default()).into());
        }
        for name in operations.texts("remove") {
            errors.join(check_other_name(name).into());
        }
    }
    errors
}

fn check_value(value: &str) -> Result<(), String> {
    if value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') {
        return Err(format!("header value configuration {value} is invalid"));
    }
    check_format(value).map_err(|error| format!("header value configuration: {error}"))
}

/// Where the reader of a value stands.
#[derive(PartialEq)]
enum At {
    Text,
    Name,
    Arguments,
    Argument,
    AfterArgument,
    ArgumentStart,
    ArgumentsEnd,
    End,
}

/// `%VAR%`, `%VAR(argument)%` and `%VAR(["a", "b"])%`; `%%` is a percent sign.
fn check_format(value: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("invalid header configuration. {why}"));
    let mut at = At::Text;
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        at = match (at, byte) {
            (At::Text, b'%') => match bytes.peek() {
                None => return wrong("Un-escaped %"),
                Some(b'%') => {
                    bytes.next();
                    At::Text
                }
                Some(_) => At::Name,
            },
            (At::Name, b'%') | (At::End, b'%') => At::Text,
            (At::Name, b'(') => At::Arguments,
            (At::Arguments, b'[') => At::ArgumentStart,
            (At::Arguments, b' ') => At::Arguments,
            (At::Arguments, _) => At::Argument,
            (At::AfterArgument, b',') => At::ArgumentStart,
            (At::AfterArgument, b']') => At::ArgumentsEnd,
            (At::AfterArgument, b' ') => At::AfterArgument,
            (At::AfterArgument, _) => return wrong("Expecting ',', ']', or whitespace"),
            (At::ArgumentStart, b'"') => At::Argument,
            (At::ArgumentStart, b' ') => At::ArgumentStart,
            (At::ArgumentStart, _) => return wrong("Expecting '\"'"),
            (At::Argument, b'\\') => {
                if bytes.next().is_none() {
                    return wrong("Un-terminated backslash in JSON string");
                }
                At::Argument
            }
            (At::Argument, b')') | (At::ArgumentsEnd, b')') => At::End,
            (At::Argument, b'"') => At::AfterArgument,
            (At::ArgumentsEnd, b' ') => At::ArgumentsEnd,
            (At::ArgumentsEnd, _) => return wrong("Expecting ')' or whitespace after '{}', but found '{}'"),
            (At::End, b' ') => At::End,
            (At::End, _) => return wrong("Expecting '%' or whitespace after"),
            (state, _) => state,
        };
    }
    if at == At::Text { Ok(()) } else { wrong(&format!("Un-terminated variable expression '{value}'")) }
}

/// The authority may be rewritten in one place only.
pub(super) fn check_authority_rewrite(rewrite: Option<&Value>, headers: Option<&Value>) -> Result<(), String> {
    let mut current = rewrite.map(|rewrite| rewrite.text("authority")).unwrap_or_default();
    let Some(request) = headers.and_then(|headers| headers.message("request")) else { return Ok(()) };
    for (name, value) in request.entries("set").into_iter().chain(request.entries("add")) {
        if !is_authority(name) {
            continue;
        }
        let value = value.as_str().unwrap_or_default();
        if !current.is_empty() {
            return Err(format!(
                "authority header cannot be set multiple times: have {}, attempting to set {}",
                quote(current),
                quote(value)
            ));
        }
        current = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_variables_of_envoy() {
        for value in ["foo", "%HOSTNAME%", "100%%", "a %REQ(X)% b", "%DYN([\"a\", \"b\"])%"] {
            assert_eq!(check_value(value), Ok(()), "{value}");
        }
        assert_eq!(
            check_value("100%"),
            Err("header value configuration: invalid header configuration. Un-escaped %".into())
        );
        assert_eq!(
            check_value("abc%123"),
            Err(
                "header value configuration: invalid header configuration. Un-terminated variable expression 'abc%123'"
                    .into()
            )
        );
    }
}
