//! `egress-scn plan`: the typed plan, for programs.

use super::fail;
use super::output::{self, Format};
use super::select::Select;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    select: Select,
    #[arg(short = 'o', long, alias = "output", value_enum, default_value_t = As::Yaml)]
    format: As,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    Json,
    Yaml,
}

impl Plan {
    pub fn run(self) -> i32 {
        let plan = match self.select.plan() {
            Ok(plan) => plan,
            Err(code) => return code,
        };
        match crate::plan::document(&plan) {
            Ok(document) => {
                let format = if self.format == As::Json { Format::Json } else { Format::Yaml };
                output::print(&output::document(&document, format));
                0
            }
            Err(error) => fail(&format!("the plan cannot be written: {error}"), 3),
        }
    }
}
