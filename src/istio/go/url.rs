//! Go's URLs, as far as messages of Istio and of CEL show them.

use super::quote;

/// What the checks ask of a URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Url {
    pub scheme: String,
    /// Host with port, percent escapes decoded.
    pub host: String,
}

/// `url.Parse`.
pub fn parse(text: &str) -> Result<Url, String> {
    let without_fragment = text.split('#').next().unwrap_or_default();
    parse_as(without_fragment, false).map_err(|error| format!("parse {}: {error}", quote(without_fragment)))
}

/// `url.ParseRequestURI`: absolute URLs and absolute paths only.
pub fn parse_request_uri(text: &str) -> Result<Url, String> {
    parse_as(text, true).map_err(|error| format!("parse {}: {error}", quote(text)))
}

fn parse_as(text: &str, request: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && request {
        return Err("empty url".into());
    }
    if text == "*" {
        return Ok(Url::default());
    }
    let (scheme, rest) = split_scheme(text)?;
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), host: String::new() };
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            return Ok(url);
        }
        if request {
            return Err("invalid URI for request".into());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let mut path = rest;
    if (!url.scheme.is_empty() || (!request && !rest.starts_with("///"))) && rest.starts_with("//") {
        let authority = &rest[2..];
        let end = authority.find('/').unwrap_or(authority.len());
        path = &authority[end..];
        let authority = &authority[..end];
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        url.host = host_part(host)?;
    }
    unescape(path, false)?;
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (index, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((&text[..index], &text[index + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn host_part(host: &str) -> Result<String, String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |index| &host[index..])
    };
    let valid =
        port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if !valid {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    unescape(host, true)
}

/// Decodes percent escapes; a host may not hold some characters even bare.
fn unescape(text: &str, host: bool) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        if byte == b'%' {
            let digits = bytes.get(index + 1..index + 3).and_then(|two| std::str::from_utf8(two).ok());
            let value = digits
                .filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|two| u8::from_str_radix(two, 16).ok());
            let shown = text.get(index..(index + 3).min(text.len())).unwrap_or("%");
            let Some(value) = value else { return Err(format!("invalid URL escape {}", quote(shown))) };
            if host && value < 0x80 && shown != "%25" {
                return Err(format!("invalid URL escape {}", quote(shown)));
            }
            decoded.push(value);
            index += 3;
            continue;
        }
        if host && byte < 0x80 && !host_may_hold(byte) {
            return Err(format!("invalid character {} in host name", quote(&char::from(byte).to_string())));
        }
        decoded.push(byte);
        index += 1;
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}

fn host_may_hold(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_refused_in_gos_words() {
        let error = |text| parse(text).unwrap_err();
        assert_eq!(error(":bad"), "parse \":bad\": missing protocol scheme");
        assert_eq!(error("https://a b/"), "parse \"https://a b/\": invalid character \" \" in host name");
        assert_eq!(error("http://[::1"), "parse \"http://[::1\": missing ']' in host");
        assert_eq!(error("http://a:b"), "parse \"http://a:b\": invalid port \":b\" after host");
        assert_eq!(error("http://%zz"), "parse \"http://%zz\": invalid URL escape \"%zz\"");
        assert_eq!(parse_request_uri("a b").unwrap_err(), "parse \"a b\": invalid URI for request");
        assert_eq!(parse("HTTPS://a:1/x?y").unwrap(), Url { scheme: "https".into(), host: "a:1".into() });
    }
}
