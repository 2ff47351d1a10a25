//! The nearest known word to a misspelt one.

/// The candidate that `word` most likely meant: within an edit distance of a third of its length
/// (transpositions count once), upper and lower case alike. `None` when nothing is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let limit = (lower.chars().count() / 3).clamp(1, 4);
    let near = candidates
        .iter()
        .copied()
        .filter(|c| *c != word)
        .map(|c| (distance(&lower, &c.to_lowercase(), limit), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, c)| (*d, c.len()))
        .map(|(_, c)| c);
    // A word that breaks off: `requireClientCert`.
    let longer = |c: &&str| lower.chars().count() >= 4 && c.to_lowercase().starts_with(&lower) && *c != word;
    near.or_else(|| candidates.iter().copied().find(longer)).or_else(|| {
        // A word that starts alike and ends otherwise: `PASSTHRU`.
        let alike = |c: &str| lower.chars().zip(c.to_lowercase().chars()).take_while(|(a, b)| a == b).count();
        let count = lower.chars().count();
        candidates
            .iter()
            .copied()
            .filter(|c| *c != word && alike(c) >= 5 && alike(c) + 2 >= count)
            .max_by_key(|c| alike(c))
    })
}

/// Optimal string alignment distance; more than `limit` comes back as `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = vec![];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i];
        for j in 1..=b.len() {
            let substitution = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            current.push(best);
        }
        before = previous;
        previous = current;
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let verbs = ["apply", "expect", "exec", "scenario"];
        assert_eq!(nearest("aplpy", verbs), Some("apply"));
        assert_eq!(nearest("exepct", verbs), Some("expect"));
        assert_eq!(nearest("Apply", verbs), Some("apply"));
        assert_eq!(nearest("scenrio", verbs), Some("scenario"));
        assert_eq!(nearest("zzz", verbs), None);
        assert_eq!(nearest("requireClientCert", ["requireClientCertificate"]), Some("requireClientCertificate"));
        assert_eq!(nearest("PASSTHRU", ["SIMPLE", "PASSTHROUGH"]), Some("PASSTHROUGH"));
        assert_eq!(nearest("서비스", ["서비즈", "apply"]), Some("서비즈"));
    }
}
