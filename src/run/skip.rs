//! `only on` and `skip if`: the only ways to skip a scenario, always with a reason.

use super::require::words;
use super::scenario::Runner;
use crate::cluster::Error;
use crate::plan::{Require, Scenario, SkipWhen, TargetKind};

impl Runner {
    /// Why the scenario is not for this target, if it is not.
    pub(super) async fn skipped(&self, scenario: &Scenario) -> Result<Option<String>, Error> {
        for skip in &scenario.skips {
            let reason = match &skip.when {
                SkipWhen::NotOn(TargetKind::Lab) if !self.lab => "runs on the lab only".to_owned(),
                SkipWhen::NotOn(TargetKind::Cluster) if self.lab => "runs on a cluster only".to_owned(),
                SkipWhen::NotOn(_) => continue,
                SkipWhen::If { negated, requirement } => {
                    let require = Require { place: skip.place.clone(), what: requirement.clone() };
                    let met = match self.look(scenario, &require).await {
                        Ok(missing) => missing.is_none(),
                        Err(error) if error.is_broken() => return Err(error),
                        Err(_) => false,
                    };
                    if met == *negated {
                        continue;
                    }
                    let has = if met { "has" } else { "does not have" };
                    format!("the target {has} {}", words(requirement))
                }
            };
            return Ok(Some(match &skip.because {
                Some(because) => format!("{because} ({reason})"),
                None => reason,
            }));
        }
        Ok(None)
    }
}
