//! The host that a new scenario is about: a name that DNS and SNI can carry.

use unicode_normalization::UnicodeNormalization;

/// A host outside the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// As people read it: `한글.kr`.
    pub shown: String,
    /// As DNS and SNI carry it: `xn--bj0bj06e.kr`.
    pub dns: String,
}

/// Why a word is no such host, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    pub help: String,
}

fn refused<T>(why: impl Into<String>, help: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { why: why.into(), help: help.into() })
}

impl Host {
    /// Reads what a person typed.
    ///
    /// # Errors
    /// URLs, ports, wildcards, addresses, names of the cluster, and what is no name at all.
    pub fn read(word: &str) -> Result<Host, Refused> {
        let word: String = word.trim().nfc().collect();
        if word.is_empty() {
            return refused("the host is empty", "write a name: www.example.com");
        }
        if let Some((_, rest)) = word.split_once("://") {
            let host = rest.split(['/', '?', '#', ':']).next().unwrap_or("");
            return refused("a URL, not a host", format!("write {host}"));
        }
        if word.contains('*') {
            let one = format!("www.{}", word.trim_start_matches("*."));
            return refused(
                "a wildcard stands for many hosts, and a scenario asks one: there is nothing to resolve or to call",
                format!("write one of its hosts: {one}"),
            );
        }
        let bare = word.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::IpAddr>().is_ok() {
            return refused("an address has no SNI to choose by", "write the name that the site's certificate is for");
        }
        if let Some((host, port)) = word.split_once(':') {
            return refused(format!("port {port} belongs to the pattern, not to the host"), format!("write {host}"));
        }
        if word.contains(['/', '@', ' ', '\t', '_']) {
            return refused("not a host name", "letters, digits, `-` and dots: www.example.com");
        }
        let name = word.trim_end_matches('.');
        let dns = match idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::STD3) {
            Ok(dns) => dns.into_owned(),
            Err(_) => return refused("not a host name", "letters, digits, `-` and dots: www.example.com"),
        };
        let labels: Vec<&str> = dns.split('.').collect();
        let bad = |label: &str| label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-');
        if dns.len() > 253 || labels.iter().any(|label| bad(label)) {
            return refused("not a host name", "at most 253 characters, each part at most 63 and not empty");
        }
        let last = labels.last().copied().unwrap_or("");
        if labels.len() < 2 {
            return refused("a single word is a name of the cluster", "write the whole name: www.example.com");
        }
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return refused("a name does not end in a number", "write the name that the site's certificate is for");
        }
        if dns.ends_with(".cluster.local") || last == "local" || last == "svc" || last == "localhost" {
            return refused("a name inside the cluster needs no egress", "write a host outside: www.example.com");
        }
        let (shown, readable) = idna::domain_to_unicode(&dns);
        Ok(Host { shown: if readable.is_ok() { shown } else { dns.clone() }, dns })
    }

    /// As a name of objects, subsets and files: `www-example-com`, at most 40 characters.
    pub fn slug(&self) -> String {
        let mut slug = self.dns.replace('.', "-");
        slug.truncate(40);
        slug.trim_end_matches('-').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script() {
        let host = Host::read("WWW.Example.com.").unwrap();
        assert_eq!((host.shown.as_str(), host.dns.as_str()), ("www.example.com", "www.example.com"));
        let korean = Host { shown: "한글.kr".into(), dns: "xn--bj0bj06e.kr".into() };
        assert_eq!(Host::read("한글.kr"), Ok(korean.clone()));
        assert_eq!(Host::read("xn--bj0bj06e.kr"), Ok(korean.clone()));
        assert_eq!(Host::read("\u{1112}\u{1161}\u{11ab}글.kr"), Ok(korean), "decomposed letters are the same name");
        assert_eq!(Host::read("www.example.com").unwrap().slug(), "www-example-com");
    }

    #[test]
    fn what_is_no_host_says_what_to_write() {
        let why = |word: &str| Host::read(word).unwrap_err();
        assert_eq!(why("https://a.com/x").help, "write a.com");
        assert_eq!(why("a.com:8443").help, "write a.com");
        assert_eq!(why("*.example.com").help, "write one of its hosts: www.example.com");
        let long = format!("{}.com", "a".repeat(64));
        for word in [
            "",
            " ",
            "localhost",
            "httpbin.other.svc.cluster.local",
            "1.2.3.4",
            "[::1]",
            "a..com",
            "-a.com",
            "a b.com",
            "a.123",
            "a\u{1b}.com",
            "xn--a.com",
            "../a.com",
            "a.com\n",
            "$(x).com",
            "\"a.com",
            long.as_str(),
        ] {
            if word == "a.com\n" {
                assert!(Host::read(word).is_ok(), "blanks around are not the name's");
                continue;
            }
            assert!(Host::read(word).is_err(), "{word:?}");
        }
    }
}
