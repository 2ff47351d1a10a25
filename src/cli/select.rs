//! `--tag` and `--scenario`, for the subcommands that look at scenarios.

use crate::check::{self, Loaded};
use crate::plan::Selection;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Select {
    /// Scenario files, or folders of them.
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Only scenarios with this tag; given again: with any of them. `!TAG` leaves those out that have it.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only the scenario of this name, or those whose name holds this text.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
}

impl Select {
    /// The scenarios that are asked for, all files checked. `Err` is the exit code, with the reason printed.
    pub fn load(&self) -> Result<Loaded, i32> {
        let mut loaded = check::load(&self.files).map_err(|problems| super::check::show(&problems, 2))?;
        let selection = Selection { tags: self.tags.clone(), names: self.scenarios.clone() };
        selection.keep(&mut loaded.plan).map_err(|message| super::fail(&message, 2))?;
        Ok(loaded)
    }

    /// As `load`, for what looks at scenarios and says nothing of what is doubtful about them.
    pub fn plan(&self) -> Result<crate::plan::Plan, i32> {
        self.load().map(|loaded| loaded.plan)
    }
}
