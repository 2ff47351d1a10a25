//! `egress-scn completions` and `man`: made from the command line itself.

use super::{Cli, fail, output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that completes: its script is printed, with the way to install it in `man egress-scn`.
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> i32 {
        let mut out = vec![];
        clap_complete::generate(self.shell, &mut Cli::command(), "egress-scn", &mut out);
        // clap_complete 4.6 names the branches of a program with `-` in its name by two rules that do not meet, so
        // that bash would complete no option of a subcommand.
        output::print(&String::from_utf8_lossy(&out).replace("egress__subcmd__scn", "egress__scn"));
        0
    }
}

#[derive(Debug, Args)]
pub struct Man {
    /// The subcommand whose page is wanted; without one, the program's own, which lists them.
    subcommand: Option<String>,
}

impl Man {
    pub fn run(self) -> i32 {
        let mut all = Cli::command();
        // Gives the subcommands their full names and the options that all have.
        all.build();
        let command = match &self.subcommand {
            None => all,
            Some(name) => {
                let found = all.find_subcommand(name).filter(|command| !command.is_hide_set()).cloned();
                let Some(found) = found else {
                    let known: Vec<&str> =
                        all.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name).collect();
                    return fail(&format!("no subcommand \"{name}\"; there are: {}", known.join(", ")), 2);
                };
                found
            }
        };
        let mut out = vec![];
        match clap_mangen::Man::new(command).render(&mut out) {
            Ok(()) => {
                output::print(&String::from_utf8_lossy(&out));
                0
            }
            Err(error) => fail(&format!("the page cannot be written: {error}"), 3),
        }
    }
}
