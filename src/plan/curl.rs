//! curl's command line, read as curl reads it: its options, and the URLs that are left.

use crate::diag::suggest::nearest;

/// curl's options that take a value in the next word, from curl's own list (7.88 and later ones).
const WITH_VALUE: &str = " abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config \
    connect-timeout connect-to continue-at cookie cookie-jar create-file-mode crlfile curves data data-ascii \
    data-binary data-raw data-urlencode delegation dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url \
    dump-header ech egd-file engine etag-compare etag-save expect100-timeout form form-string ftp-account \
    ftp-alternative-to-user ftp-method ftp-port ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip header \
    hostpubmd5 hostpubsha256 hsts interface ip-tos ipfs-gateway json keepalive-cnt keepalive-time key key-type \
    knownhosts krb libcurl limit-rate local-port login-options mail-auth mail-from mail-rcpt max-filesize max-redirs \
    max-time netrc-file noproxy oauth2-bearer output output-dir parallel-max parallel-max-host pass pinnedpubkey \
    preproxy proto proto-default proto-redir proxy proxy-cacert proxy-capath proxy-cert proxy-cert-type proxy-ciphers \
    proxy-crlfile proxy-header proxy-key proxy-key-type proxy-pass proxy-pinnedpubkey proxy-service-name \
    proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword proxy-tlsuser proxy-user proxy1.0 pubkey quote \
    random-file range rate referer request request-target resolve retry retry-delay retry-max-time sasl-authzid \
    service-name sigalgs signature-algorithms socks4 socks4a socks5 socks5-gssapi-service socks5-hostname speed-limit \
    speed-time stderr telnet-option tftp-blksize time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser \
    trace trace-ascii trace-config unix-socket upload-file upload-flags url url-query user user-agent variable \
    vlan-priority write-out ";

/// The same for short options.
const SHORT_WITH_VALUE: &str = "AbcCdDeEFHKmoPQrtTuUwxXyYz";

/// Long options that take none, from the same list; those that exist as `--no-…` alone, too.
const WITHOUT_VALUE: &str = " alpn anyauth append basic buffer ca-native cert-status clobber compressed compressed-ssh create-dirs crlf \
    digest disable disable-eprt disable-epsv disallow-username-in-url doh-cert-status doh-insecure fail fail-early \
    fail-with-body false-start follow form-escape ftp-create-dirs ftp-pasv ftp-pret ftp-skip-pasv-ip ftp-ssl-ccc \
    ftp-ssl-control get globoff haproxy-protocol head help http0.9 http1.0 http1.1 http2 http2-prior-knowledge http3 \
    http3-only ignore-content-length include insecure ipv4 ipv6 junk-session-cookies keepalive list-only location \
    location-trusted mail-rcpt-allowfails manual metalink mptcp negotiate netrc netrc-optional next npn ntlm ntlm-wb \
    out-null parallel parallel-immediate path-as-is post301 post302 post303 progress-bar progress-meter proxy-anyauth proxy-basic \
    proxy-ca-native proxy-digest proxy-http2 proxy-insecure proxy-negotiate proxy-ntlm proxy-ssl-allow-beast \
    proxy-ssl-auto-client-cert proxy-tlsv1 proxytunnel raw remote-header-name remote-name remote-name-all \
    remote-time remove-on-error retry-all-errors retry-connrefused sasl-ir sessionid show-error show-headers silent skip-existing \
    socks5-basic socks5-gssapi socks5-gssapi-nec ssl ssl-allow-beast ssl-auto-client-cert ssl-no-revoke ssl-reqd \
    ssl-revoke-best-effort sslv2 sslv3 styled-output suppress-connect-headers tcp-fastopen tcp-nodelay tftp-no-options \
    tls-earlydata tlsv1 tlsv1.0 tlsv1.1 tlsv1.2 tlsv1.3 tr-encoding trace-ids trace-time use-ascii verbose version \
    xattr ";

fn known() -> impl Iterator<Item = &'static str> {
    WITH_VALUE.split_whitespace().chain(WITHOUT_VALUE.split_whitespace())
}

/// A long option in full: curl takes the beginning of a name for it, where one name alone begins so.
fn whole(name: &str) -> &str {
    let mut longer = known().filter(|known| known.starts_with(name));
    match (longer.next(), longer.next()) {
        (Some(one), None) => one,
        _ => name,
    }
}

/// The option that a long one most likely meant, where curl has none of that name.
pub fn meant(option: &str) -> Option<String> {
    let (no, name) = option.strip_prefix("no-").map_or(("", option), |name| ("no-", name));
    if name.is_empty() || known().any(|known| known.starts_with(name)) {
        return None;
    }
    nearest(name, known()).map(|near| format!("{no}{near}"))
}

/// True when the command is curl, by the name of its program. A shell that calls curl is not.
pub fn is_curl(command: &[String]) -> bool {
    command.first().is_some_and(|program| program.rsplit('/').next() == Some("curl"))
}

/// One option as curl reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag<'a> {
    /// Long name without dashes, or one letter.
    pub name: &'a str,
    pub value: Option<&'a str>,
    /// The words it takes, as indexes of the command; a letter in a cluster shares its word.
    pub words: std::ops::Range<usize>,
    /// Byte at which this letter stands in its word (0 for a long option).
    pub at: usize,
}

/// The options of a curl command line, in order; URLs are left out.
pub fn options(command: &[String]) -> Vec<Flag<'_>> {
    let mut found = vec![];
    let mut i = 1;
    while let Some(word) = command.get(i) {
        if word == "--" {
            break;
        }
        if let Some(name) = word.strip_prefix("--") {
            let takes = WITH_VALUE.contains(&format!(" {} ", whole(name)));
            let value = if takes { command.get(i + 1).map(String::as_str) } else { None };
            let end = i + 1 + usize::from(takes);
            found.push(Flag { name, value, words: i..end, at: 0 });
            i = end;
            continue;
        }
        let mut end = i + 1;
        if word.len() > 1 && word.starts_with('-') {
            for (at, letter) in word.char_indices().skip(1) {
                let rest = &word[at + letter.len_utf8()..];
                let name = &word[at..at + letter.len_utf8()];
                if !SHORT_WITH_VALUE.contains(letter) {
                    found.push(Flag { name, value: None, words: i..i + 1, at });
                    continue;
                }
                let value = match rest.is_empty() {
                    true => {
                        end = i + 2;
                        command.get(i + 1).map(String::as_str)
                    }
                    false => Some(rest),
                };
                found.push(Flag { name, value, words: i..end, at });
                break;
            }
        }
        i = end;
    }
    found
}

/// The words that are URLs: those that no option takes, and the values of `--url`. As indexes of the command.
pub fn urls(command: &[String]) -> Vec<usize> {
    let options = options(command);
    let end = command.iter().position(|word| word == "--");
    let taken = |index: usize| options.iter().any(|o| o.words.contains(&index));
    let plain = (1..command.len()).filter(|i| !taken(*i) && Some(*i) != end);
    let named = options.iter().filter(|o| o.name == "url" && o.value.is_some()).map(|o| o.words.end - 1);
    let mut out: Vec<usize> = plain.chain(named).collect();
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_what_no_option_takes() {
        let of = |line: &str| {
            let command: Vec<String> = line.split(' ').map(str::to_string).collect();
            urls(&command).into_iter().map(|i| command[i].clone()).collect::<Vec<_>>()
        };
        assert_eq!(of("curl -sI https://a.b/"), ["https://a.b/"]);
        assert_eq!(of("curl -s -o /dev/null -H x a.b --max-time 3 c.d"), ["a.b", "c.d"]);
        assert_eq!(of("curl --url a.b -- -c"), ["a.b", "-c"]);
        assert_eq!(of("curl -so out"), Vec::<String>::new());
        assert_eq!(of("curl --max-t 5 --comp a.b"), ["a.b"]);
    }
}
