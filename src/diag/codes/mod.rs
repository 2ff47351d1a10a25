//! The codes of diagnostics and what each means. A code never changes its meaning and is never
//! used again for another.

mod doubts;
mod language;
mod manifests;
mod run;

/// One code. `E…` is an error, `W…` a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub code: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// Why it matters and how it is mended.
    pub text: &'static str,
}

const fn code(code: &'static str, title: &'static str, text: &'static str) -> Code {
    Code { code, title, text }
}

/// The entry of a code, upper or lower case.
pub fn explain(wanted: &str) -> Option<&'static Code> {
    all().find(|c| c.code.eq_ignore_ascii_case(wanted))
}

/// Every code that the program gives, in order.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [language::CODES, manifests::CODES, run::CODES, doubts::CODES].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn codes_are_unique_and_sorted() {
        let all: Vec<&str> = all().map(|c| c.code).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(all, sorted);
    }

    /// Every code that stands anywhere in the program is explained, and every one that is explained stands somewhere.
    #[test]
    fn every_code_in_use_is_explained() {
        fn visit(folder: &std::path::Path, out: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, out);
                } else {
                    out.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut text = String::new();
        visit(std::path::Path::new("src"), &mut text);
        let mut tables = String::new();
        visit(std::path::Path::new("src/diag"), &mut tables);
        let used = regex::Regex::new(r#""([EW]0\d{3})""#).unwrap();
        let unknown: Vec<&str> =
            used.captures_iter(&text).map(|c| c.extract::<1>().1[0]).filter(|c| super::explain(c).is_none()).collect();
        assert!(unknown.is_empty(), "not in the table: {unknown:?}");
        let count = |text: &str, code: &str| text.matches(&format!("\"{code}\"")).count();
        let idle: Vec<&str> = all().map(|c| c.code).filter(|c| count(&text, c) == count(&tables, c)).collect();
        assert!(idle.is_empty(), "given by nothing: {idle:?}");
    }
}
