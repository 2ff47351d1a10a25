//! Go's IP addresses and prefixes (`net/netip`).

use super::quote;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `netip.ParseAddr` accepts the text.
pub fn is_address(text: &str) -> bool {
    bits(text).is_some()
}

/// Bits of the address's family.
fn bits(text: &str) -> Option<u8> {
    match text.split_once('%') {
        Some((address, zone)) => (!zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()).then_some(128),
        None => text.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { 32 } else { 128 }),
    }
}

/// `netip.ParsePrefix`: nothing, or its error.
pub fn check_prefix(text: &str) -> Result<(), String> {
    let error = |why: &str| Err(format!("netip.ParsePrefix({}): {why}", quote(text)));
    let Some((address, length)) = text.rsplit_once('/') else {
        return error("no '/'");
    };
    let Some(bits) = bits(address) else {
        return error(&address_error(address));
    };
    if address.contains('%') {
        return error("IPv6 zones cannot be present in a prefix");
    }
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    if !digits || (length.len() > 1 && length.starts_with('0')) {
        return error(&format!("bad bits after slash: {}", quote(length)));
    }
    match length.parse::<u8>() {
        Ok(length) if length <= bits => Ok(()),
        _ => error("prefix length out of range"),
    }
}

/// The error of `netip.ParseAddr`.
fn address_error(text: &str) -> String {
    let why = match text.find(['.', ':', '%']).map(|at| &text[at..at + 1]) {
        Some(".") => ipv4_error(text),
        Some("%") => "missing IPv6 address".to_string(),
        Some(_) => ipv6_error(text),
        None => "unable to parse IP".to_string(),
    };
    format!("ParseAddr({}): {why}", quote(text))
}

fn ipv4_error(text: &str) -> String {
    if text.parse::<Ipv4Addr>().is_ok() {
        return String::new();
    }
    let (mut fields, mut value, mut digits) = (0, 0u32, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return "IPv4 field has octet with leading zero".into();
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return "IPv4 field has value >255".into();
                }
            }
            b'.' => {
                if at == 0 || at == text.len() - 1 || digits == 0 {
                    return format!("IPv4 field must have at least one digit (at {})", quote(&text[at..]));
                }
                if fields == 3 {
                    return "IPv4 address too long".into();
                }
                (fields, value, digits) = (fields + 1, 0, 0);
            }
            _ => return format!("unexpected character (at {})", quote(text.get(at..).unwrap_or_default())),
        }
    }
    "IPv4 address too short".into()
}

fn ipv6_error(text: &str) -> String {
    let odd = text.find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.');
    match odd {
        Some(0) => format!("each colon-separated field must have at least one digit (at {})", quote(text)),
        Some(at) => format!("unexpected character, want colon (at {})", quote(&text[at..])),
        None => "address string too short".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_refused_in_gos_words() {
        let error = |text| check_prefix(text).unwrap_err();
        assert_eq!(error("10.0.0.0/99"), "netip.ParsePrefix(\"10.0.0.0/99\"): prefix length out of range");
        assert_eq!(error("a/8"), "netip.ParsePrefix(\"a/8\"): ParseAddr(\"a\"): unable to parse IP");
        assert_eq!(
            error("300.0.0.0/8"),
            "netip.ParsePrefix(\"300.0.0.0/8\"): ParseAddr(\"300.0.0.0\"): IPv4 field has value >255"
        );
        assert_eq!(error("10.0.0.0/x"), "netip.ParsePrefix(\"10.0.0.0/x\"): bad bits after slash: \"x\"");
        assert!(check_prefix("2001:db8::/32").is_ok());
    }

    #[test]
    fn addresses_may_carry_a_zone() {
        assert!(is_address("fe80::1%eth0"));
        assert!(!is_address("10.0.0.1%eth0"));
        assert!(!is_address("010.0.0.1"));
    }
}
