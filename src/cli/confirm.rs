//! The question before a cluster is changed: what would change, what it lacks, and "shall I?".

use crate::diag::render::visible;
use crate::plan::Plan;
use crate::run::Preview;
use std::io::{BufRead, IsTerminal, Write};

/// Shows the preview and asks. `Some` is the exit code of a run that does not take place.
#[allow(clippy::print_stdout, clippy::print_stderr)]
pub fn ask(target: &str, reason: &str, preview: &Preview) -> Option<i32> {
    println!("target: {target} ({reason})\n");
    show(preview);
    println!();
    if !std::io::stdin().is_terminal() {
        eprintln!("error: nobody can answer here; name the target: --lab, --context NAME, or --yes");
        return Some(3);
    }
    print!("Run there? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "예" | "네") {
        return None;
    }
    println!("Nothing was changed. `--lab` runs it on this machine instead.");
    Some(3)
}

/// Shows what a run would change; gives back 0.
#[allow(clippy::print_stdout)]
pub fn show(preview: &Preview) -> i32 {
    println!("A run would change this there, one scenario at a time, and put it back:");
    let mut nothing = true;
    let mut line = |mark: char, text: &str| {
        nothing = false;
        println!("  {mark} {text}");
    };
    preview.new.iter().for_each(|object| line('+', object));
    for difference in &preview.differing {
        line('~', &difference.object);
        difference.lines.iter().for_each(|changed| println!("      {changed}"));
    }
    preview.deleted.iter().for_each(|object| line('-', object));
    if nothing {
        println!("  nothing");
    }
    if !preview.identical.is_empty() {
        println!("Already there, and left alone: {}", preview.identical.join(", "));
    }
    for lack in &preview.lacks {
        println!("It lacks {}\n    {}", lack.what, lack.help);
    }
    0
}

/// What a dry run shows of any target: which it would be, and every step.
#[allow(clippy::print_stdout)]
pub fn steps(target: &str, reason: &str, plan: &Plan) {
    println!("dry run: nothing is changed\ntarget  {} ({})", visible(target), visible(reason));
    for scenario in &plan.scenarios {
        let tags = if scenario.tags.is_empty() { String::new() } else { format!("  [{}]", scenario.tags.join(", ")) };
        println!("\n{}  {}{}", visible(&scenario.file.name), visible(&scenario.name), visible(&tags));
        for step in &scenario.steps {
            println!("  {:4}  {}", step.place.line(), visible(&step.text));
        }
    }
    println!();
}
