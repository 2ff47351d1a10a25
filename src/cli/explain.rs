//! `egress-scn explain`: what a diagnostic's code means.

use super::{fail, output};
use crate::diag::codes::{self, CODES};
use clap::Args;

#[derive(Debug, Args)]
pub struct Explain {
    /// `E0104`, `W0235`, …; without one, all are listed.
    code: Option<String>,
}

impl Explain {
    pub fn run(self) -> i32 {
        let Some(wanted) = self.code else {
            output::print(&CODES.iter().map(|c| format!("{}  {}\n", c.code, c.title)).collect::<String>());
            return 0;
        };
        match codes::explain(wanted.trim()) {
            Some(code) => {
                output::print(&format!("{}: {}\n\n{}\n", code.code, code.title, code.text));
                0
            }
            None => fail(&format!("no diagnostic has the code \"{wanted}\"; `egress-scn explain` lists them all"), 2),
        }
    }
}
