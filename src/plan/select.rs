//! Which scenarios of a plan are meant: by tag, by name.

use super::step::{Plan, Scenario};
use crate::diag::suggest::nearest;
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

/// What the user asked for. Empty lists ask for everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Scenarios that have any of these tags. `!TAG` leaves those out that have it, whatever else is asked.
    pub tags: Vec<String>,
    /// Scenarios with any of these names; where none has exactly that name, those whose name holds it,
    /// upper and lower case alike.
    pub names: Vec<String>,
}

impl Selection {
    /// Keeps the scenarios that are meant, in their order.
    ///
    /// # Errors
    /// When a word fits no scenario, or nothing is left: a run of nothing must not look like a pass.
    pub fn keep(&self, plan: &mut Plan) -> Result<(), String> {
        let fold = |text: &str| text.nfc().collect::<String>().to_lowercase();
        let known: BTreeSet<&str> = plan.scenarios.iter().flat_map(|s| s.tags.iter().map(String::as_str)).collect();
        for tag in &self.tags {
            let word: String = tag.trim_start_matches('!').nfc().collect();
            if !known.contains(word.as_str()) {
                let all = known.iter().copied().collect::<Vec<_>>().join(", ");
                let near = nearest(&word, known.iter().copied());
                return Err(match (near, all.is_empty()) {
                    (_, true) => format!("no scenario has the tag \"{word}\"; none has a tag"),
                    (Some(near), _) => {
                        format!("no scenario has the tag \"{word}\"; did you mean \"{near}\"? Tags: {all}")
                    }
                    (None, _) => format!("no scenario has the tag \"{word}\"; tags: {all}"),
                });
            }
        }
        let mut named: BTreeSet<usize> = BTreeSet::new();
        for name in &self.names {
            let word: String = name.nfc().collect();
            let fits = |fit: &dyn Fn(&Scenario) -> bool| -> Vec<usize> {
                plan.scenarios.iter().enumerate().filter(|(_, s)| fit(s)).map(|(index, _)| index).collect()
            };
            let mut found = fits(&|s| s.name == word);
            if found.is_empty() {
                found = fits(&|s| fold(&s.name).contains(&fold(&word)));
            }
            if found.is_empty() {
                let all: Vec<String> = plan.scenarios.iter().map(|s| format!("\n  {}", s.name)).collect();
                return Err(format!("no scenario is named \"{word}\"; there are:{}", all.concat()));
            }
            named.extend(found);
        }
        let has = |s: &Scenario, tag: &str| s.tags.iter().any(|t| *t == tag.nfc().collect::<String>());
        let (without, with): (Vec<_>, Vec<_>) = self.tags.iter().partition(|tag| tag.starts_with('!'));
        let mut index = 0;
        plan.scenarios.retain(|s| {
            let meant = self.names.is_empty() || named.contains(&index);
            index += 1;
            meant
                && (with.is_empty() || with.iter().any(|tag| has(s, tag)))
                && !without.iter().any(|tag| has(s, &tag[1..]))
        });
        if plan.scenarios.is_empty() && !(self.tags.is_empty() && self.names.is_empty()) {
            return Err("no scenario is left: none has both the name and the tag that are asked for".into());
        }
        Ok(())
    }
}
