//! Expectations that rest on curl's own account: status, exit, ssl_verify, certificate.

use super::curl::{self, Certificate, Transfer};
use super::explain::explained;
use super::finding::Finding;
use super::text::{Matcher, quoted};
use super::{Evidence, Failure, Probe, code};
use crate::plan::{CertificateField, StatusPattern, TextMatch};

fn no_probe() -> Finding {
    Finding::not_shown("no command ran before this line", "put an `exec` before it")
}

/// The probe and its transfers, or why there are none.
pub(super) fn transfers(evidence: &Evidence) -> Result<(&Probe, Vec<Transfer<'_>>), Finding> {
    let probe = evidence.probe.as_ref().ok_or_else(no_probe)?;
    let transfers = Transfer::all(probe);
    if !transfers.is_empty() {
        return Ok((probe, transfers));
    }
    let program = probe.command.first().map_or("the command", String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    if name == "curl" {
        let words = curl::exit_words(probe.exit, "");
        let said = super::printable_bytes(&probe.stderr);
        return Err(Finding::no(
            Failure::new(code::STATUS, format!("curl made no transfer (exit {}: {words})", probe.exit))
                .seen_all((!said.trim().is_empty()).then(|| format!("stderr  {}", super::text::excerpt(&said)))),
        ));
    }
    Err(Finding::not_shown(
        format!("`{}` is not curl: it gives no account of its transfers", super::text::excerpt(name)),
        "use curl, or judge by `expect exit` and `expect stdout`",
    ))
}

pub(super) fn status_words(patterns: &[StatusPattern]) -> String {
    let each = patterns.iter().map(|pattern| match pattern {
        StatusPattern::Code(code) => format!("{code:03}"),
        StatusPattern::Class(class) => format!("{class}xx"),
    });
    format!("status {}", each.collect::<Vec<_>>().join(" or "))
}

pub(super) fn status(patterns: &[StatusPattern], evidence: &Evidence) -> Finding {
    let (probe, transfers) = match transfers(evidence) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let fits = |transfer: &Transfer<'_>| {
        let status = transfer.status();
        patterns.iter().any(|pattern| match pattern {
            StatusPattern::Code(code) => status == *code,
            StatusPattern::Class(class) => status / 100 == *class,
        })
    };
    match transfers.iter().find(|transfer| !fits(transfer)) {
        None => Finding::yes(),
        Some(transfer) => {
            let title = format!("expected {}, got {}", status_words(patterns), transfer.outcome(probe));
            Finding::no(explained(Failure::new(code::STATUS, title), evidence))
        }
    }
}

pub(super) fn exit_words(codes: &[i32]) -> String {
    format!("exit {}", codes.iter().map(i32::to_string).collect::<Vec<_>>().join(" or "))
}

pub(super) fn exit(codes: &[i32], evidence: &Evidence) -> Finding {
    let Some(probe) = evidence.probe.as_ref() else { return no_probe() };
    if codes.contains(&probe.exit) {
        return Finding::yes();
    }
    let transfer = Transfer::last(probe);
    let seen = match transfer {
        Some(transfer) if probe.exit == 0 => format!("exit 0 and status {}", transfer.status()),
        Some(transfer) => format!("exit {} ({})", probe.exit, curl::exit_words(probe.exit, transfer.message())),
        None => format!("exit {}", probe.exit),
    };
    let mut failure = Failure::new(code::EXIT, format!("expected {}, got {seen}", exit_words(codes)));
    if transfer.is_none() {
        let said = super::printable_bytes(&probe.stderr);
        failure =
            failure.seen_all((!said.trim().is_empty()).then(|| format!("stderr  {}", super::text::excerpt(&said))));
    }
    Finding::no(explained(failure, evidence))
}

pub(super) fn ssl_verify(wanted: i64, evidence: &Evidence) -> Finding {
    let (probe, transfers) = match transfers(evidence) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    for transfer in transfers {
        // Without a handshake curl says 0, which would prove nothing.
        let tls = transfer.asked().is_some_and(|asked| asked.is_tls());
        let seen = match transfer.verify() {
            _ if !tls => "no TLS: the URL is plain http".to_string(),
            None => return Finding::not_shown("curl did not say ssl_verify_result", "curl 7.70 or newer says it"),
            Some(result)
                if !transfer.shook_hands() && matches!(transfer.exit(probe), 0 | 6 | 7 | 28 | 35 | 52 | 56) =>
            {
                format!("no TLS handshake ({}; ssl_verify_result {result} proves nothing)", transfer.outcome(probe))
            }
            Some(result) if result == wanted => continue,
            Some(result) => format!("{result} ({})", verify_words(result)),
        };
        let failure = Failure::new(code::SSL_VERIFY, format!("expected ssl_verify {wanted}, got {seen}"));
        return Finding::no(explained(failure, evidence));
    }
    Finding::yes()
}

/// OpenSSL's `X509_V_*` results that occur.
fn verify_words(result: i64) -> &'static str {
    match result {
        0 => "verified",
        1 => "no verdict: the handshake did not get so far",
        9 => "certificate not yet valid",
        10 => "certificate expired",
        18 => "self-signed certificate",
        19 => "self-signed certificate in the chain",
        20 => "unable to get the local issuer certificate",
        21 => "unable to verify the first certificate",
        62 => "host name mismatch",
        _ => "see `openssl verify`",
    }
}

pub(super) fn certificate(field: CertificateField, matches: &TextMatch, evidence: &Evidence) -> Finding {
    let (probe, transfers) = match transfers(evidence) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let matcher = match Matcher::new(matches, evidence) {
        Ok(matcher) => matcher,
        Err(reason) => return Finding::not_shown(reason, "capture it before this line"),
    };
    let name = match field {
        CertificateField::San => "san",
        CertificateField::Subject => "subject",
        CertificateField::Issuer => "issuer",
    };
    for transfer in transfers {
        if !transfer.asked().is_some_and(|asked| asked.is_tls()) {
            return Finding::no(explained(
                Failure::new(
                    code::CERTIFICATE,
                    format!("expected certificate {name} {matcher}, but the URL is plain http"),
                ),
                evidence,
            ));
        }
        let Some(certificate) = transfer.certificate() else {
            if transfer.shook_hands() {
                return Finding::not_shown(
                    "curl did not say which certificate it saw",
                    "curl 7.88 or newer with OpenSSL or GnuTLS says it",
                );
            }
            return Finding::no(explained(
                Failure::new(
                    code::CERTIFICATE,
                    format!("expected certificate {name} {matcher}, got no certificate: {}", transfer.outcome(probe)),
                ),
                evidence,
            ));
        };
        if !certificate_fits(field, &matcher, &certificate) {
            let seen = match field {
                CertificateField::San => certificate.names.join(", "),
                CertificateField::Subject => certificate.subject.clone(),
                CertificateField::Issuer => certificate.issuer.clone(),
            };
            let failure = Failure::new(
                code::CERTIFICATE,
                format!("expected certificate {name} {matcher}, got {}", quoted(&seen)),
            )
            .seen(format!(
                "certificate  subject {}, issuer {}",
                quoted(&certificate.subject),
                quoted(&certificate.issuer)
            ));
            return Finding::no(explained(failure, evidence));
        }
    }
    Finding::yes()
}

fn certificate_fits(field: CertificateField, matcher: &Matcher, certificate: &Certificate) -> bool {
    match field {
        CertificateField::San => certificate.names.iter().any(|name| {
            // A name under the certificate's wildcard is covered by it (one label, RFC 6125).
            let covered = |wanted: &String| {
                let rest = name.strip_prefix("*.").zip(wanted.split_once('.'));
                rest.is_some_and(|(suffix, (_, tail))| tail.eq_ignore_ascii_case(suffix))
            };
            matcher.fits(name) || matches!(matcher, Matcher::Equals(wanted) if covered(wanted))
        }),
        CertificateField::Subject => distinguished_name_fits(matcher, &certificate.subject),
        CertificateField::Issuer => distinguished_name_fits(matcher, &certificate.issuer),
    }
}

/// `CN = x, O = y`: the whole, or its common name alone.
fn distinguished_name_fits(matcher: &Matcher, name: &str) -> bool {
    let common = name.split(',').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("CN").then(|| value.trim())
    });
    matcher.fits(name) || common.is_some_and(|common| matcher.fits(common))
}
