//! curl's own account of a transfer: exit codes in plain words, the address asked for, the certificate seen.

use super::Probe;
use super::text::excerpt;
use serde_json::Value;

/// What an exit code of curl means here (curl's manual, "EXIT CODES").
pub(super) fn exit_words(exit: i32, message: &str) -> &'static str {
    match exit {
        0 => "no error",
        1 => "unsupported protocol",
        2 => "curl could not start: bad options",
        3 => "malformed URL",
        5 => "the proxy's name did not resolve",
        6 => "the host's name did not resolve",
        7 => "could not connect",
        16 => "HTTP/2 framing error",
        18 => "the transfer ended early",
        22 => "an HTTP error status (with -f)",
        23 => "the output could not be written",
        26 => "a file could not be read",
        27 => "out of memory",
        28 => "timed out",
        33 => "the server does not do ranges",
        35 if message.contains("wrong version number") => {
            "TLS handshake: wrong version number, the other side does not speak TLS"
        }
        35 if message.contains("unexpected message") => "TLS handshake: unexpected message",
        35 if message.contains("alert") => "TLS handshake refused by an alert",
        35 => "TLS handshake reset",
        47 => "too many redirects",
        51 | 60 => "the server's certificate did not verify",
        52 => "the connection closed without an answer",
        55 => "sending failed",
        56 => "connection reset while receiving",
        58 => "the client certificate could not be used",
        59 => "no common TLS cipher",
        61 => "unknown transfer encoding",
        67 => "login denied",
        77 => "the CA file could not be read",
        83 => "the issuer check failed",
        90 => "the pinned public key did not match",
        91 => "the certificate status was invalid",
        92 => "HTTP/2 stream error",
        95 => "HTTP/3 error",
        96 => "QUIC connection error",
        97 => "the proxy handshake failed",
        98 => "a client certificate is required",
        126 => "the command could not be run",
        127 => "command not found",
        130 => "interrupted",
        137 => "killed",
        143 => "terminated",
        _ => "see EXIT CODES in curl's manual",
    }
}

/// One transfer as `%{json}` tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a>(pub &'a Value);

impl<'a> Transfer<'a> {
    pub fn all(probe: &'a Probe) -> Vec<Transfer<'a>> {
        probe.transfers.iter().map(Transfer).collect()
    }

    /// The transfer that paths and peers are about: the last one.
    pub fn last(probe: &'a Probe) -> Option<Transfer<'a>> {
        probe.transfers.last().map(Transfer)
    }

    fn number(self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn text(self, name: &str) -> &'a str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// 0: no response.
    pub fn status(self) -> u16 {
        let code = self.0.get("response_code").or_else(|| self.0.get("http_code")).and_then(Value::as_i64);
        u16::try_from(code.unwrap_or(0)).unwrap_or(0)
    }

    /// This transfer's own exit code; the command's when curl does not say.
    pub fn exit(self, probe: &Probe) -> i32 {
        self.0.get("exitcode").and_then(Value::as_i64).map_or(probe.exit, |code| i32::try_from(code).unwrap_or(-1))
    }

    pub fn message(self) -> &'a str {
        self.text("errormsg").trim()
    }

    /// The local end of the connection; `None` when there was none.
    pub fn local(self) -> Option<(&'a str, u16)> {
        let port = u16::try_from(self.number("local_port")).ok().filter(|port| *port != 0)?;
        Some((self.text("local_ip"), port))
    }

    pub fn verify(self) -> Option<i64> {
        self.0.get("ssl_verify_result").and_then(Value::as_i64)
    }

    /// True when a TLS handshake with the far end was completed.
    pub fn shook_hands(self) -> bool {
        self.0.get("time_appconnect").and_then(Value::as_f64).is_some_and(|seconds| seconds > 0.0)
    }

    /// What was asked for, from the last URL.
    pub fn asked(self) -> Option<Asked> {
        let url = Some(self.text("url_effective")).filter(|url| !url.is_empty()).unwrap_or_else(|| self.text("url"));
        Asked::parse(url)
    }

    /// "no response (curl exit 35: TLS handshake reset)", or "503".
    pub fn outcome(self, probe: &Probe) -> String {
        match (self.status(), self.exit(probe)) {
            (0, exit) => {
                let words = exit_words(exit, self.message());
                format!("no response (curl exit {exit}: {words})")
            }
            (status, 0) => status.to_string(),
            (status, exit) => format!("{status}, then curl exit {exit}: {}", exit_words(exit, self.message())),
        }
    }

    /// The certificates seen, as curl prints them: the first is the server's own.
    pub fn certificate(self) -> Option<Certificate> {
        Certificate::parse(self.text("certs"))
    }
}

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub scheme: String,
    pub host: String,
    pub port: u16,
}

impl Asked {
    pub fn parse(url: &str) -> Option<Asked> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host_port = authority.rsplit('@').next().unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        let standard = match scheme.as_str() {
            "https" | "wss" => 443,
            "ftp" => 21,
            _ => 80,
        };
        let bare = host_port.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bare {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => host_port.split_once(':').map_or((host_port, None), |(host, port)| (host, Some(port))),
        };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => port.parse().ok()?,
            None => standard,
        };
        (!host.is_empty()).then(|| Asked { scheme, host: host.trim_end_matches('.').to_ascii_lowercase(), port })
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "wss")
    }
}

/// The server's own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Certificate {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
}

impl Certificate {
    /// Reads the text form of `%{certs}`; `None` when it is empty.
    pub fn parse(certs: &str) -> Option<Certificate> {
        let first = certs.split("-----BEGIN CERTIFICATE-----").next().unwrap_or_default();
        let mut found = Certificate::default();
        for line in first.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            match key.trim() {
                "Subject" => found.subject = value.trim().to_string(),
                "Issuer" => found.issuer = value.trim().to_string(),
                "X509v3 Subject Alternative Name" => {
                    found.names = value.split(',').map(|name| san(name.trim()).to_string()).collect();
                }
                _ => {}
            }
        }
        (found != Certificate::default()).then_some(found)
    }
}

fn san(name: &str) -> &str {
    ["DNS:", "IP Address:", "URI:", "email:"].iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name)
}

/// "curl said: …" when curl said more than its exit code does.
pub(super) fn message_line(transfer: Transfer<'_>) -> Option<String> {
    (!transfer.message().is_empty()).then(|| format!("curl  {}", excerpt(transfer.message())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_host_and_port() {
        let asked = |url| Asked::parse(url).map(|asked| (asked.host, asked.port));
        assert_eq!(asked("https://Edition.CNN.com/a:b"), Some(("edition.cnn.com".into(), 443)));
        assert_eq!(asked("http://user:pw@httpbin.org:8080?x"), Some(("httpbin.org".into(), 8080)));
        assert_eq!(asked("https://[2001:db8::1]:8443/"), Some(("2001:db8::1".into(), 8443)));
        assert_eq!(asked("example.org"), Some(("example.org".into(), 80)));
        assert_eq!(asked("https://x:99999/"), None);
    }

    #[test]
    fn the_first_certificate_is_the_servers() {
        let certs = "Subject:CN = edition.cnn.com\nIssuer:CN = ca\nX509v3 Subject Alternative Name:DNS:edition.cnn.com, \
                     DNS:*.cnn.com, IP Address:1.2.3.4\n-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\nSubject:CN = ca\n";
        let found = Certificate::parse(certs).unwrap();
        assert_eq!(found.subject, "CN = edition.cnn.com");
        assert_eq!(found.names, ["edition.cnn.com", "*.cnn.com", "1.2.3.4"]);
        assert_eq!(Certificate::parse(""), None);
    }
}
