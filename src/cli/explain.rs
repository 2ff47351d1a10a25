//! `egress-scn explain`: what a diagnostic's code means, or a scenario in plain words and commands.

use super::{fail, output};
use crate::check;
use crate::diag::codes;
use crate::explain::{self, Language};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Explain {
    /// A code (`E0104`, `W0235`, …), or scenario files; without one, all codes are listed.
    #[arg(value_name = "CODE|FILE", value_hint = clap::ValueHint::AnyPath)]
    what: Vec<String>,
    /// The words' language; without it, the locale's (`LC_ALL`, `LC_MESSAGES`, `LANG`).
    #[arg(long, value_enum)]
    lang: Option<Lang>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    En,
    Ko,
}

impl Explain {
    pub fn run(self) -> i32 {
        match self.what.as_slice() {
            [] => {
                output::print(&codes::all().map(|c| format!("{}  {}\n", c.code, c.title)).collect::<String>());
                0
            }
            all if all.iter().all(|word| is_code(word)) => all.iter().map(|word| code(word)).max().unwrap_or(0),
            _ => self.scenarios(),
        }
    }

    fn scenarios(&self) -> i32 {
        if let Some(word) = self.what.iter().find(|word| is_code(word)) {
            return fail(&format!("\"{word}\" is a code and the others are files: ask for one or the other"), 2);
        }
        let files: Vec<PathBuf> = self.what.iter().map(PathBuf::from).collect();
        let loaded = match check::load(&files) {
            Ok(loaded) => loaded,
            Err(problems) => return super::check::show(&problems, 2),
        };
        let language = match self.lang {
            Some(Lang::En) => Language::English,
            Some(Lang::Ko) => Language::Korean,
            None => Language::of_locale(&locale()),
        };
        let ambient: Vec<_> = files.iter().flat_map(|file| check::ambient(file)).collect();
        output::print(&explain::render(&explain::explain(&loaded.plan, language, &ambient), language));
        0
    }
}

/// `E0104` and the like, when no file is so named.
fn is_code(word: &str) -> bool {
    let word = word.trim();
    let digits = word.strip_prefix(['E', 'e', 'W', 'w']).unwrap_or("");
    digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()) && !std::path::Path::new(word).exists()
}

fn code(wanted: &str) -> i32 {
    match codes::explain(wanted.trim()) {
        Some(code) => {
            output::print(&format!("{}: {}\n\n{}\n", code.code, code.title, code.text));
            0
        }
        None => fail(&format!("no diagnostic has the code \"{wanted}\"; `egress-scn explain` lists them all"), 2),
    }
}

/// The locale of messages, as gettext finds it.
pub(super) fn locale() -> String {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set).unwrap_or_default()
}
