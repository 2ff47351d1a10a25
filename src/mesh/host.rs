//! Host names with a leading wildcard, as Istio compares them.

use std::collections::HashMap;

/// `*`, `*.example.org`, `*suffix`.
pub fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// What follows the first character; hosts are compared by suffix.
fn tail(host: &str) -> &str {
    host.strip_prefix('*').unwrap_or(host)
}

/// Whether some name fits both.
pub fn matches(a: &str, b: &str) -> bool {
    match (is_wildcard(a), is_wildcard(b)) {
        (true, true) if a.len() < b.len() => tail(b).ends_with(tail(a)),
        (true, true) => tail(a).ends_with(tail(b)),
        (true, false) => b.ends_with(tail(a)),
        (false, true) => a.ends_with(tail(b)),
        (false, false) => a == b,
    }
}

/// Whether every name that fits `a` fits `b`.
pub fn subset_of(a: &str, b: &str) -> bool {
    match (is_wildcard(a), is_wildcard(b)) {
        (true, true) => a.len() >= b.len() && tail(a).ends_with(tail(b)),
        (true, false) => false,
        (false, true) => a.ends_with(tail(b)),
        (false, false) => a == b,
    }
}

/// Order of specificity: exact before wildcard, longer before shorter, then by name.
pub fn more_specific(a: &str, b: &str) -> bool {
    match (is_wildcard(a), is_wildcard(b)) {
        (false, true) => true,
        (true, false) => false,
        _ if a.len() != b.len() => a.len() > b.len(),
        _ => a < b,
    }
}

/// Values by host names, some of which may have a wildcard.
#[derive(Debug)]
pub struct ByHost<V> {
    exact: HashMap<String, V>,
    with_wildcard: HashMap<String, V>,
}

impl<V> Default for ByHost<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), with_wildcard: HashMap::new() }
    }
}

impl<V> ByHost<V> {
    fn of(&mut self, host: &str) -> &mut HashMap<String, V> {
        if is_wildcard(host) { &mut self.with_wildcard } else { &mut self.exact }
    }

    pub fn insert(&mut self, host: String, value: V) {
        self.of(&host).insert(host, value);
    }

    pub fn insert_first(&mut self, host: String, value: V) {
        self.of(&host).entry(host).or_insert(value);
    }

    /// The value of the key that fits `needle` most specifically.
    pub fn most_specific(&self, needle: &str) -> Option<&V> {
        let same = if is_wildcard(needle) { &self.with_wildcard } else { &self.exact };
        if let Some(exact) = same.get(needle) {
            return Some(exact);
        }
        if self.with_wildcard.is_empty() {
            return None;
        }
        // Every wildcard that can match is `*` plus a suffix of the needle, so there is no need to scan the map; the
        // longest is the most specific.
        let mut key = format!("*{}", tail(needle));
        loop {
            if let Some(found) = self.with_wildcard.get(&key) {
                return Some(found);
            }
            let first = key[1..].chars().next()?;
            key.drain(1..=first.len_utf8());
        }
    }
}

/// A name without a dot is a Service in the object's namespace. `domain` may be empty: then no suffix follows.
pub fn resolve_short(host: &str, namespace: &str, domain: &str) -> String {
    if host.is_empty() || host == "*" || host.contains('.') || host.parse::<std::net::IpAddr>().is_ok() {
        return host.to_owned();
    }
    if domain.is_empty() { format!("{host}.{namespace}") } else { format!("{host}.{namespace}.svc.{domain}") }
}

/// `name`, `./name`, `ns/name` and the old `name.ns.svc…` to `ns/name`; `mesh` stays.
pub fn resolve_gateway(name: &str, namespace: &str) -> String {
    if name == "mesh" {
        return name.to_owned();
    }
    match name.split_once('/') {
        Some((".", rest)) => format!("{namespace}/{rest}"),
        Some(_) => name.to_owned(),
        None => match name.split_once('.') {
            None => format!("{namespace}/{name}"),
            Some((short, rest)) => format!("{}/{short}", rest.split('.').next().unwrap_or(rest)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_compare_by_suffix() {
        assert!(matches("*.org", "httpbin.org") && matches("httpbin.org", "*") && !matches("a.org", "b.org"));
        assert!(subset_of("*.a.org", "*.org") && !subset_of("*.org", "*.a.org") && !subset_of("*.org", "a.org"));
    }

    #[test]
    fn the_longest_wildcard_wins() {
        let mut map = ByHost::default();
        for (host, value) in [("*", 0), ("*.org", 1), ("*.a.org", 2), ("a.org", 3)] {
            map.insert_first(host.to_owned(), value);
        }
        assert_eq!(map.most_specific("x.a.org"), Some(&2));
        assert_eq!(map.most_specific("*.b.org"), Some(&1));
        assert_eq!(map.most_specific("é.com"), Some(&0));
        assert_eq!(map.most_specific("a.org"), Some(&3));
    }

    #[test]
    fn gateways_are_named_by_namespace() {
        assert_eq!(resolve_gateway("gw", "a"), "a/gw");
        assert_eq!(resolve_gateway("./gw", "a"), "a/gw");
        assert_eq!(resolve_gateway("gw.b.svc.cluster.local", "a"), "b/gw");
        assert_eq!(resolve_gateway("c/gw", "a"), "c/gw");
    }
}
