//! Load balancing: consistent hashing, localities, warm-up.

use super::fields::Fields;
use super::findings::Findings;
use super::names::check_duration;
use serde_json::Value;
use std::collections::BTreeSet;

/// Load balancer settings; failover needs outlier detection beside it.
pub(super) fn check(settings: Option<&Value>, has_outlier_detection: bool) -> Findings {
    let mut found = Findings::default();
    let Some(settings) = settings else { return found };
    if let Some(hash) = settings.message("consistentHash") {
        check_hash(hash, &mut found);
    }
    if let Some(locality) = settings.message("localityLbSetting") {
        found.join(check_locality(locality, has_outlier_detection));
    }
    if let Some(warmup) = settings.message("warmup") {
        match warmup.get("duration").and_then(Value::as_i64) {
            None => found.error("duration is required"),
            Some(duration) => found.check(check_duration(duration)),
        }
        if warmup.real("minimumPercent") > 100.0 {
            found.error("minimumPercent value should be less than or equal to 100");
        }
        if warmup.has("aggression") && warmup.real("aggression") < 1.0 {
            found.error("aggression should be greater than or equal to 1");
        }
    }
    found
}

fn check_hash(hash: &Value, found: &mut Findings) {
    if let Some(cookie) = hash.message("httpCookie") {
        if cookie.text("name").is_empty() {
            found.error("name required for HttpCookie");
        }
        let mut names = BTreeSet::new();
        for attribute in cookie.items("attributes") {
            let name = attribute.text("name");
            if name.is_empty() {
                found.error("cookie attribute name cannot be empty");
            } else if !names.insert(name) {
                found.error(format!("duplicate cookie attribute name: {name}"));
            }
        }
    }
    if hash.has("minimumRingSize") {
        found.warn(
            "consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead",
        );
        if hash.has("ringHash") || hash.has("maglev") {
            found.error("only one of MinimumRingSize or Maglev/Ringhash can be specified");
        }
    }
    if let Some(maglev) = hash.message("maglev") {
        let size = maglev.get("tableSize").and_then(Value::as_u64).unwrap_or_default();
        if size == 0 {
            found.error("tableSize must be set for maglev");
        }
        if size >= 5_000_011 {
            found.error("tableSize must be less than 5000011 for maglev");
        }
        if !is_prime(size) {
            found.error("tableSize must be a prime number for maglev");
        }
    }
}

/// Envoy's notion: 1 counts as prime. Beyond the largest table the answer does not matter enough to seek it long.
fn is_prime(number: u64) -> bool {
    match number {
        0 => false,
        1..4 => true,
        even if even % 2 == 0 => false,
        _ => (3..)
            .step_by(2)
            .take_while(|factor: &u64| *factor <= 1 << 21 && factor * factor <= number)
            .all(|f| !number.is_multiple_of(f)),
    }
}

fn check_locality(settings: &Value, has_outlier_detection: bool) -> Findings {
    let (distribute, failover) = (settings.items("distribute"), settings.items("failover"));
    if !distribute.is_empty() && !failover.is_empty() {
        return Findings::failed("can not simultaneously specify 'distribute' and 'failover'");
    }
    let priorities = settings.texts("failoverPriority");
    let topology = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
    if let (false, Some(label)) = (failover.is_empty(), priorities.iter().find(|label| topology.contains(label))) {
        return Findings::failed(format!(
            "can not simultaneously set 'failover' and topology label '{label}' in 'failover_priority'"
        ));
    }
    let mut found = Findings::default();
    for rule in distribute {
        let to = rule.entries("to");
        let weights: Vec<i64> = to.iter().map(|(_, weight)| weight.as_i64().unwrap_or_default()).collect();
        if weights.iter().any(|weight| !(1..=100).contains(weight)) {
            found.error("locality weight must be in range [1, 100]");
            return found;
        }
        let total: i64 = weights.iter().sum();
        if total != 100 {
            found.error(format!("total locality weight {total} != 100"));
            return found;
        }
        found.check(check_localities(to.iter().map(|(locality, _)| *locality)));
    }
    found.check(check_localities(distribute.iter().map(|rule| rule.text("from"))));
    if (!failover.is_empty() || !priorities.is_empty()) && !has_outlier_detection {
        found.warn("outlier detection policy must be provided for failover");
    }
    for rule in failover {
        let (from, to) = (rule.text("from"), rule.text("to"));
        if from == to {
            found.error("locality lb failover settings must specify different regions");
        }
        if from.contains('/') || to.contains('/') {
            found.error("locality lb failover only specify region");
        }
        if from.contains('*') || to.contains('*') {
            found.error("locality lb failover region should not contain '*' wildcard");
        }
    }
    found
}

/// Localities (`region/zone/subzone`, the last step may be `*`) that must not overlap with earlier ones.
fn check_localities<'a>(localities: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen: Vec<Vec<&str>> = vec![];
    for locality in localities {
        let stars = locality.matches('*').count();
        if stars > 1 || (stars == 1 && !locality.ends_with('*')) {
            return Err(format!("locality {locality} wildcard '*' number can not exceed 1 and must be in the end"));
        }
        let overlap = || Err(format!("locality {locality} overlap with previous specified ones"));
        if seen.iter().any(|earlier| earlier[..] == ["*"]) {
            return overlap();
        }
        let steps: Vec<&str> = locality.splitn(3, '/').collect();
        if steps.contains(&"") {
            return Err(format!("locality {locality} must not contain empty region/zone/subzone info"));
        }
        let covers = |earlier: &Vec<&str>| earlier.iter().zip(&steps).all(|(old, new)| *old == "*" || old == new);
        if seen.iter().any(covers) {
            return overlap();
        }
        seen.push(steps);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities_overlap_with_earlier_ones_only() {
        assert!(check_localities(["a/b", "a/*"].into_iter()).is_ok());
        assert!(check_localities(["a/*", "a/b"].into_iter()).is_err());
        assert!(check_localities(["a", "a/b/c"].into_iter()).is_err());
        assert!(check_localities(["a", "*"].into_iter()).is_ok());
        assert!(check_localities(["*", "a"].into_iter()).is_err());
    }

    #[test]
    fn a_huge_table_size_does_not_take_long() {
        assert!(!is_prime(u64::MAX) || is_prime(7));
        assert!(is_prime(65537) && !is_prime(65536) && !is_prime(9));
    }
}
