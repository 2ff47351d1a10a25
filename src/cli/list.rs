//! `egress-scn list`: which scenarios there are.

use super::output::{self, Format};
use super::select::Select;
use crate::plan::Scenario;
use clap::Args;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    select: Select,
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

impl List {
    pub fn run(self) -> i32 {
        let plan = match self.select.plan() {
            Ok(plan) => plan,
            Err(code) => return code,
        };
        if self.output == Format::Table {
            output::print(&table(&plan.scenarios));
        } else {
            let all: Vec<Value> = plan.scenarios.iter().map(entry).collect();
            output::print(&output::document(&Value::Array(all), self.output));
        }
        0
    }
}

fn entry(scenario: &Scenario) -> Value {
    json!({
        "name": scenario.name,
        "title": scenario.file_title,
        "file": scenario.file.name,
        "line": scenario.place.line(),
        "tags": scenario.tags,
        "steps": scenario.steps.len(),
    })
}

/// Columns as kubectl has them: three blanks between, headings in capitals.
fn table(scenarios: &[Scenario]) -> String {
    let visible = crate::diag::render::visible;
    let row = |s: &Scenario| {
        [
            visible(&format!("{}:{}", s.file.name, s.place.line())),
            visible(&s.name).replace('\n', " "),
            visible(&s.tags.join(",")),
            visible(s.file_title.as_deref().unwrap_or("")).replace('\n', " "),
        ]
    };
    let mut rows = vec![["FILE", "SCENARIO", "TAGS", "TITLE"].map(str::to_owned)];
    rows.extend(scenarios.iter().map(row));
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + 3));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
