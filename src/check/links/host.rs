//! Host names as Istio compares them.

/// A short name (no dot) is a Service of the object's own namespace.
pub fn full(host: &str, namespace: &str) -> String {
    if host.contains('.') || host.contains('*') {
        host.to_string()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// Whether `host` is one of those that `pattern` stands for: itself, or `*.suffix`, or `*`.
/// Upper and lower case are alike.
pub fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_lowercase(), host.to_lowercase());
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix) || host == pattern,
        None => host == pattern,
    }
}

/// Whether some host can be meant by both patterns.
pub fn overlap(a: &str, b: &str) -> bool {
    matches(a, b) || matches(b, a)
}

/// A Gateway's host without the namespace it may carry: `ns/host`, `./host`.
pub fn without_namespace(host: &str) -> &str {
    host.rsplit_once('/').map_or(host, |(_, h)| h)
}

/// Whether the name is that of a Service in the cluster.
pub fn is_service(host: &str) -> bool {
    host.ends_with(".svc.cluster.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_what_is_before_the_suffix() {
        assert!(matches("*.wikipedia.org", "ko.wikipedia.org"));
        assert!(!matches("*.wikipedia.org", "wikipedia.org"));
        assert!(matches("*", "a.b"));
        assert!(matches("Edition.CNN.com", "edition.cnn.com"));
        assert!(overlap("*.cnn.com", "edition.cnn.com") && overlap("edition.cnn.com", "*.cnn.com"));
    }
}
