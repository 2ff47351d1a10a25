//! The run as lines: on a terminal with a moving progress line and colours, elsewhere plain.

use super::progress::Progress;
use super::style::{Color, action, gap, mark, of_verdict, paint, verdict, visible};
use super::{Reporter, duration};
use crate::diag;
use crate::run::event::{Counts, Event, EvidenceKind, ObjectAction, Trap, Verdict};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Stdout, Write};
use std::time::Duration;

/// The column that times begin at.
const TIME_COLUMN: usize = 78;

/// Lines of one piece of evidence shown without `-v`.
const EVIDENCE_LINES: usize = 24;

#[derive(Debug)]
pub struct Terminal<W: Write> {
    out: W,
    color: bool,
    verbose: bool,
    progress: Progress,
    /// The last file whose heading was printed.
    file: Option<String>,
    scenario: String,
    step: String,
    /// Lines that belong beneath the step that runs now, by its index.
    beneath: BTreeMap<usize, Vec<String>>,
    objects: BTreeMap<usize, Vec<ObjectAction>>,
    traps: Vec<Trap>,
    /// The reader is gone (a closed pipe): nothing more is written.
    gone: bool,
    finished: bool,
}

/// Writes to standard output, with colours and progress where a person looks at it. `NO_COLOR` and
/// `TERM=dumb` turn both off.
pub fn terminal(verbose: bool) -> Terminal<Stdout> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let person = io::stdout().is_terminal() && !dumb;
    let mut terminal = plain(io::stdout(), verbose);
    terminal.color = person && !set("NO_COLOR");
    if person && io::stderr().is_terminal() {
        terminal.progress = Progress::on_stderr();
    }
    terminal
}

/// Plain lines without colours or movement.
pub fn plain<W: Write>(out: W, verbose: bool) -> Terminal<W> {
    Terminal {
        out,
        color: false,
        verbose,
        progress: Progress::default(),
        file: None,
        scenario: String::new(),
        step: String::new(),
        beneath: BTreeMap::new(),
        objects: BTreeMap::new(),
        traps: vec![],
        gone: false,
        finished: false,
    }
}

impl<W: Write> Terminal<W> {
    /// The writer, for what was written so far.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn lines(&mut self, text: &str) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let out = &mut self.out;
        let written = self.progress.aside(|| writeln!(out, "{text}").and_then(|()| out.flush()));
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            other => other,
        }
    }

    fn paint(&self, text: &str, color: Color) -> String {
        paint(text, color, self.color)
    }

    fn scenario_started(&mut self, event: &Event) -> io::Result<()> {
        let Event::ScenarioStarted { file, file_title, name, tags, texts, traps, .. } = event else { return Ok(()) };
        if self.file.as_deref() != Some(file) {
            self.file = Some(file.clone());
            let title = file_title.as_ref().map(|title| format!("  {}", visible(title))).unwrap_or_default();
            let heading = format!("\n{}{title}", self.paint(&visible(file), Color::Bold));
            self.lines(&heading)?;
        }
        self.scenario = visible(name);
        let tags = if tags.is_empty() { String::new() } else { format!("  [{}]", tags.join(", ")) };
        let line =
            format!("\n  {}{}", self.paint(&self.scenario, Color::Bold), self.paint(&visible(&tags), Color::Dim));
        self.lines(&line)?;
        if self.verbose {
            for text in texts.iter().flat_map(|text| text.lines()) {
                let line = format!("      {}", self.paint(&visible(text.trim()), Color::Dim));
                self.lines(&line)?;
            }
        }
        self.traps.clone_from(traps);
        self.beneath.clear();
        self.objects.clear();
        Ok(())
    }

    fn evidence(&mut self, step: usize, kind: EvidenceKind, lines: &[String]) {
        let limit = if self.verbose { usize::MAX } else { EVIDENCE_LINES };
        let mut shown: Vec<String> = lines
            .iter()
            .take(limit)
            .map(|line| {
                let line = visible(line);
                let color = match (kind, line.chars().next()) {
                    (EvidenceKind::Diff, Some('+')) => Some(Color::Green),
                    (EvidenceKind::Diff, Some('-')) => Some(Color::Red),
                    (EvidenceKind::Log, _) => Some(Color::Dim),
                    _ => None,
                };
                color.map_or(line.clone(), |color| self.paint(&line, color))
            })
            .collect();
        if lines.len() > limit {
            shown.push(format!("… {} more lines (-v shows them)", lines.len() - limit));
        }
        self.beneath.entry(step).or_default().extend(shown);
    }

    fn step_finished(&mut self, event: &Event) -> io::Result<()> {
        let Event::StepFinished { index, line, text, verdict, took, failure } = event else { return Ok(()) };
        let head = format!("    {} {line:>4}  {}", mark(*verdict), visible(text));
        let note = self.object_note(*index);
        let plain = format!("{head}{note}");
        let time = duration::words(*took);
        let colored = head.replacen(mark(*verdict), &self.paint(mark(*verdict), of_verdict(*verdict)), 1);
        let whole = format!(
            "{colored}{}{}{}",
            self.paint(&note, Color::Dim),
            gap(&plain, TIME_COLUMN),
            self.paint(&time, Color::Dim)
        );
        self.lines(&whole)?;
        for line in self.beneath.remove(index).unwrap_or_default() {
            self.lines(&format!("            {line}"))?;
        }
        if let Some(failure) = failure {
            let text = diag::render(failure, self.color);
            self.lines(&text)?;
        }
        self.progress.say(&self.scenario);
        Ok(())
    }

    /// `  (2 created, 1 unchanged)`.
    fn object_note(&mut self, step: usize) -> String {
        let Some(actions) = self.objects.remove(&step) else { return String::new() };
        let order = [
            ObjectAction::Created,
            ObjectAction::Changed,
            ObjectAction::Deleted,
            ObjectAction::Restored,
            ObjectAction::Unchanged,
        ];
        let counted = order.iter().filter_map(|kind| {
            let count = actions.iter().filter(|action| *action == kind).count();
            (count > 0).then(|| format!("{count} {}", action(*kind)))
        });
        format!("  ({})", counted.collect::<Vec<_>>().join(", "))
    }

    fn scenario_finished(&mut self, verdict_of: Verdict, took: Duration, reason: Option<&str>) -> io::Result<()> {
        // What its author knows of such failures is told where one happened.
        let traps = std::mem::take(&mut self.traps);
        if self.verbose || verdict_of == Verdict::Failed {
            for trap in &traps {
                let line = format!("    trap  {}: {}; {}", trap.symptom, trap.cause, trap.mend);
                let line = self.paint(&visible(&line), Color::Yellow);
                self.lines(&line)?;
            }
        }
        let reason = reason.map(|reason| format!(": {}", visible(reason))).unwrap_or_default();
        let head = format!("  {} {}{reason}", mark(verdict_of), verdict(verdict_of));
        let line = format!(
            "{}{}{}",
            self.paint(&head, of_verdict(verdict_of)),
            gap(&head, TIME_COLUMN),
            self.paint(&duration::words(took), Color::Dim)
        );
        self.lines(&line)
    }

    fn run_finished(&mut self, counts: &Counts, took: Duration) -> io::Result<()> {
        self.finished = true;
        self.progress.clear();
        let worst = if counts.failed + counts.broken > 0 || counts.checked == 0 {
            Color::Red
        } else if counts.not_shown > 0 || counts.interrupted {
            Color::Yellow
        } else {
            Color::Green
        };
        let line = format!("\n{}", self.paint(&summary(counts, took), worst));
        self.lines(&line)
    }
}

/// `3 passed, 1 failed, 0 not shown, 0 skipped, 0 broken; 14 expectations checked in 1.30 s`.
pub(super) fn summary(counts: &Counts, took: Duration) -> String {
    let checked = match counts.checked {
        0 => "nothing was checked".to_string(),
        1 => "1 expectation checked".to_string(),
        more => format!("{more} expectations checked"),
    };
    let interrupted = if counts.interrupted { "interrupted: " } else { "" };
    format!(
        "{interrupted}{} passed, {} failed, {} not shown, {} skipped, {} broken; {checked} in {}",
        counts.passed,
        counts.failed,
        counts.not_shown,
        counts.skipped,
        counts.broken,
        duration::words(took)
    )
}

impl<W: Write> Reporter for Terminal<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Target { name, reason } => {
                let line = format!("target  {}: {}", visible(name), visible(reason));
                self.lines(&line)
            }
            Event::Version { component, version } if self.verbose => {
                let line = format!("version {} {}", visible(component), visible(version));
                self.lines(&line)
            }
            Event::Setup { text, progress: Some((done, total)) } => {
                self.progress.bytes(&visible(text), *done, *total);
                Ok(())
            }
            Event::Setup { text, progress: None } => {
                self.progress.say(&visible(text));
                if self.verbose { self.lines(&format!("setup   {}", visible(text))) } else { Ok(()) }
            }
            Event::RunStarted { scenarios, steps } => {
                let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
                self.lines(&format!("{}, {}", plural(*scenarios, "scenario"), plural(*steps, "step")))
            }
            Event::ScenarioStarted { .. } => self.scenario_started(event),
            Event::Object { step, action: what, kind, namespace, name, .. } => {
                if let Some(step) = step {
                    self.objects.entry(*step).or_default().push(*what);
                    if self.verbose {
                        let place = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
                        let line = visible(&format!("{} {kind} {place}{name}", action(*what)));
                        self.beneath.entry(*step).or_default().push(line);
                    }
                }
                Ok(())
            }
            Event::StepStarted { text, .. } => {
                self.step = format!("{}: {}", self.scenario, visible(text));
                self.progress.say(&self.step);
                Ok(())
            }
            Event::Attempt { number, .. } => {
                if *number > 1 {
                    self.progress.say(&format!("{} (try {number})", self.step));
                }
                Ok(())
            }
            Event::Output { step, stdout, stderr, exit, .. } if self.verbose => {
                let mut lines = vec![format!("exit {exit}")];
                for bytes in [stdout, stderr] {
                    lines.extend(visible(&String::from_utf8_lossy(bytes)).lines().map(str::to_string));
                }
                self.evidence(*step, EvidenceKind::Log, &lines);
                Ok(())
            }
            Event::Evidence { step, kind, lines } => {
                self.evidence(*step, *kind, lines);
                Ok(())
            }
            Event::StepFinished { .. } => self.step_finished(event),
            Event::ScenarioFinished { verdict, took, reason, .. } => {
                self.scenario_finished(*verdict, *took, reason.as_deref())
            }
            Event::Paused { text, .. } => {
                let line = format!("    {} {}", self.paint("…", Color::Yellow), visible(text));
                self.progress.say("waiting for you");
                self.lines(&line)
            }
            Event::Undo { text, failed: Some(failed) } => {
                let line = self.paint(&format!("  ! undo failed: {}: {}", visible(text), visible(failed)), Color::Red);
                self.lines(&line)
            }
            Event::Undo { text, failed: None } => {
                self.progress.say(&visible(text));
                if self.verbose { self.lines(&format!("    undo  {}", visible(text))) } else { Ok(()) }
            }
            Event::RunFinished { counts, took } => self.run_finished(counts, *took),
            #[allow(unreachable_patterns, reason = "events are added faster than words for them")]
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.progress.clear();
        if self.finished { Ok(()) } else { self.lines("\nthe run broke off") }
    }
}
