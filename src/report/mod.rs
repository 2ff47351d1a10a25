//! Folds the event stream of a run: terminal progress, plain text, Markdown. The only room that prints a
//! run's results.
//!
//! A reporter learns everything from events: another one (JSON, JUnit, HTML) is one more fold, and none
//! asks the runner anything.

mod duration;
mod markdown;
mod progress;
mod run_model;
mod style;
mod terminal;

pub use markdown::{Markdown, markdown};
pub use run_model::{Model, ObjectLine, OutputBlock, ScenarioModel, StepModel};
pub use terminal::{Terminal, plain, terminal};

use crate::run::event::Event;
use std::io;

/// One fold of the event stream.
pub trait Reporter {
    /// Takes the next event. An error means that the report cannot be written; the run goes on.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// After the last event, also of a run that broke off: what is not written yet is written now.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
