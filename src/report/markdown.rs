//! The run as a test report in Markdown: goal, manifests, commands with raw output, expected and actual,
//! evidence, verdict, for each scenario. Written whole when the run has ended.

use super::run_model::{Model, ObjectLine, OutputBlock, ScenarioModel, StepModel};
use super::style::{action, mark, verdict, visible};
use super::{Reporter, duration, terminal};
use crate::diag;
use crate::run::event::{Event, EvidenceKind, Verdict};
use jiff::Zoned;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The most that is kept of one output, in bytes.
const OUTPUT_LIMIT: usize = 64 * 1024;

#[derive(Debug)]
pub struct Markdown {
    path: PathBuf,
    /// `2026-06-08 14:03 KST`.
    date: String,
    model: Model,
    written: bool,
}

/// A report for `path`, dated now. The file is written at the end of the run; its folder must exist.
pub fn markdown(path: &Path) -> Markdown {
    dated(path, Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string())
}

/// As [`markdown`], with a date of one's own.
pub(super) fn dated(path: &Path, date: String) -> Markdown {
    Markdown { path: path.to_path_buf(), date, model: Model::default(), written: false }
}

impl Reporter for Markdown {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.model.event(event);
        if matches!(event, Event::RunFinished { .. }) {
            self.written = true;
            return std::fs::write(&self.path, self.text());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.written { Ok(()) } else { std::fs::write(&self.path, self.text()) }
    }
}

impl Markdown {
    /// The report as it stands.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let title = self.model.scenarios.iter().find_map(|scenario| scenario.file_title.as_deref());
        writeln!(out, "# Test report: {}\n", prose(title.unwrap_or("egress-scn run")))?;
        writeln!(out, "- date: {}", prose(&self.date))?;
        if let Some((name, reason)) = &self.model.target {
            writeln!(out, "- target: {} ({})", prose(name), prose(reason))?;
        }
        for (component, version) in &self.model.versions {
            writeln!(out, "- {}: {}", prose(component), code(version))?;
        }
        match &self.model.finished {
            Some((counts, took)) => writeln!(out, "- result: **{}**", prose(&terminal::summary(counts, *took)))?,
            None => writeln!(out, "- result: **the run broke off**")?,
        }
        writeln!(out, "\n| # | scenario | file | verdict | checks | time |\n| --- | --- | --- | --- | --- | --- |")?;
        for (index, scenario) in self.model.scenarios.iter().enumerate() {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                index + 1,
                cell(&scenario.name),
                code_cell(&scenario.file),
                verdict_words(scenario.verdict),
                scenario.checks(),
                duration::words(scenario.took)
            )?;
        }
        for (index, scenario) in self.model.scenarios.iter().enumerate() {
            write_scenario(out, index + 1, scenario)?;
        }
        write_undo(out, "## Undo", &self.model.undo)
    }
}

fn verdict_words(of: Option<Verdict>) -> String {
    of.map_or("broke off".into(), |of| format!("{} {}", mark(of), verdict(of)))
}

fn write_scenario(out: &mut String, number: usize, scenario: &ScenarioModel) -> std::fmt::Result {
    writeln!(out, "\n## {number}. {}\n", prose(&scenario.name))?;
    let tags =
        if scenario.tags.is_empty() { String::new() } else { format!(" · {}", prose(&scenario.tags.join(", "))) };
    writeln!(
        out,
        "**{}** · {} · {}{tags}",
        verdict_words(scenario.verdict),
        duration::words(scenario.took),
        code(&scenario.file)
    )?;
    if let Some(reason) = &scenario.reason {
        writeln!(out, "\n{}", prose(reason))?;
    }
    if !(scenario.texts.is_empty() && scenario.criteria.is_empty() && scenario.see.is_empty()) {
        writeln!(out, "\n### Goal\n")?;
        for text in &scenario.texts {
            for line in text.trim().lines() {
                writeln!(out, "{}", prose(line.trim()))?;
            }
            writeln!(out)?;
        }
        for criterion in &scenario.criteria {
            writeln!(out, "- criterion: {}", prose(criterion))?;
        }
        for see in &scenario.see {
            writeln!(out, "- see: {}", prose(see))?;
        }
    }
    if !scenario.traps.is_empty() {
        writeln!(out, "\n### Traps\n\n| symptom | cause | mend |\n| --- | --- | --- |")?;
        for trap in &scenario.traps {
            writeln!(out, "| {} | {} | {} |", cell(&trap.symptom), cell(&trap.cause), cell(&trap.mend))?;
        }
    }
    write_manifests(out, scenario)?;
    if !scenario.steps.is_empty() {
        writeln!(out, "\n### Steps")?;
    }
    for step in &scenario.steps {
        write_step(out, step)?;
    }
    write_undo(out, "### Undo", &scenario.undo)
}

fn write_manifests(out: &mut String, scenario: &ScenarioModel) -> std::fmt::Result {
    if scenario.manifests.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Manifests")?;
    for manifest in &scenario.manifests {
        let objects = scenario.objects.iter().filter(|object| object.path.as_deref() == Some(&manifest.path));
        let mut objects: Vec<String> = objects.map(|object| prose(&object_words(object))).collect();
        objects.dedup();
        writeln!(out, "\n{}: {}\n", code(&manifest.path), objects.join(", "))?;
        fence(out, "yaml", &manifest.text)?;
    }
    Ok(())
}

fn object_words(object: &ObjectLine) -> String {
    let place = object.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{} {} {place}{}", action(object.action), object.kind, object.name)
}

fn write_step(out: &mut String, step: &StepModel) -> std::fmt::Result {
    let tries = if step.attempts > 1 { format!(", {} tries", step.attempts) } else { String::new() };
    writeln!(
        out,
        "\n{} {} — line {}, {}{tries}",
        step.verdict.map_or("…", mark),
        code(&step.text),
        step.line,
        duration::words(step.took)
    )?;
    let bare: Vec<String> =
        step.objects.iter().filter(|object| object.path.is_none()).map(|object| prose(&object_words(object))).collect();
    if !bare.is_empty() {
        writeln!(out, "\n{}", bare.join(", "))?;
    }
    for output in &step.outputs {
        write_output(out, output)?;
    }
    for (kind, lines) in &step.evidence {
        let label = match kind {
            EvidenceKind::Path => "path",
            EvidenceKind::Diff => "difference",
            EvidenceKind::Log => "access log",
            EvidenceKind::Config => "configuration",
        };
        writeln!(out, "\n*{label}*\n")?;
        fence(out, if *kind == EvidenceKind::Diff { "diff" } else { "text" }, &lines.join("\n"))?;
    }
    if let Some(failure) = &step.failure {
        writeln!(out, "\n*expected and actual*\n")?;
        fence(out, "text", &diag::render(failure, false))?;
    }
    Ok(())
}

fn write_output(out: &mut String, output: &OutputBlock) -> std::fmt::Result {
    let mut text = format!("$ {}\n", output.command);
    for bytes in [&output.stdout, &output.stderr] {
        text.push_str(&limited(bytes));
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            text.push('\n');
        }
    }
    let _ = write!(text, "(exit {})", output.exit);
    writeln!(out)?;
    fence(out, "console", &text)
}

fn limited(bytes: &[u8]) -> String {
    match bytes.get(..OUTPUT_LIMIT) {
        Some(head) if head.len() < bytes.len() => {
            format!("{}\n… {} bytes more\n", String::from_utf8_lossy(head), bytes.len() - head.len())
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn write_undo(out: &mut String, heading: &str, undo: &[(String, Option<String>)]) -> std::fmt::Result {
    if undo.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}\n")?;
    for (text, failed) in undo {
        match failed {
            None => writeln!(out, "- {}", prose(text))?,
            Some(reason) => writeln!(out, "- **failed**: {}: {}", prose(text), prose(reason))?,
        }
    }
    Ok(())
}

/// A fenced block that its content cannot end: the fence is longer than any run of backticks within.
fn fence(out: &mut String, language: &str, text: &str) -> std::fmt::Result {
    let text = visible(text);
    let ticks = "`".repeat((longest_run(&text) + 1).max(3));
    writeln!(out, "{ticks}{language}\n{}\n{ticks}", text.trim_end_matches('\n'))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Inline code that its content cannot end.
fn code(text: &str) -> String {
    let text = visible(text).replace(['\n', '\t'], " ");
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Text in which nothing is markup.
fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}

fn cell(text: &str) -> String {
    prose(text).replace(['\n', '\t'], " ")
}

/// Inline code in a table, where `|` ends the cell even within code.
fn code_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_ends_its_fence() {
        let mut out = String::new();
        fence(&mut out, "text", "a\n```\nb\n````").unwrap();
        assert_eq!(out, "`````text\na\n```\nb\n````\n`````\n");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(prose("a <b> *c* [d](e) | `f`"), "a &lt;b&gt; \\*c\\* \\[d\\](e) \\| \\`f\\`");
    }
}
