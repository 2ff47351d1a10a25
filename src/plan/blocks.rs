//! Statements → scenarios with their blocks: which headers hold for what, where `for`, `steps`, `setup` and
//! `cleanup` end, and everything that stands in the wrong place.

use crate::diag::{Diagnostic, Place, Source};
use crate::syntax::{Name, Span, Statement, Verb, Word};
use std::sync::Arc;

/// Deeper blocks are an error, so that no file can exhaust the stack.
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub struct FileBlocks<'a> {
    /// Headers and teaching before the first `scenario` line, or of a file without one.
    pub headers: Vec<&'a Statement>,
    pub around: Around<'a>,
    pub scenarios: Vec<ScenarioBlock<'a>>,
}

/// The blocks that stand with the headers of a file or a scenario.
#[derive(Debug, Default)]
pub struct Around<'a> {
    pub named: Vec<NamedSteps<'a>>,
    /// Names of steps whose first line could not be read.
    pub lost: Vec<&'a Name>,
    pub setup: Option<(&'a Statement, Vec<Node<'a>>)>,
    pub cleanup: Option<(&'a Statement, Vec<Node<'a>>)>,
}

/// `steps NAME PARAMETER…`.
#[derive(Debug)]
pub struct NamedSteps<'a> {
    pub name: &'a Name,
    pub parameters: &'a [Name],
    pub body: Vec<Node<'a>>,
}

#[derive(Debug)]
pub struct ScenarioBlock<'a> {
    /// `None`: the file has no `scenario` line and is one itself.
    pub line: Option<(&'a Statement, &'a Word, &'a [Name])>,
    pub headers: Vec<&'a Statement>,
    pub around: Around<'a>,
    pub body: Vec<Node<'a>>,
}

#[derive(Debug)]
pub enum Node<'a> {
    Step(&'a Statement),
    For { statement: &'a Statement, over: Over<'a>, body: Vec<Node<'a>> },
}

#[derive(Debug)]
pub enum Over<'a> {
    Words {
        name: &'a Name,
        words: &'a [Word],
    },
    /// The first row names the variables.
    Table {
        names: Vec<Name>,
        rows: Vec<(&'a Statement, &'a [Word])>,
    },
}

/// What a block is.
enum Opened<'a> {
    For(&'a Statement, Over<'a>),
    Named {
        name: &'a Name,
        parameters: &'a [Name],
    },
    Setup(&'a Statement),
    Cleanup(&'a Statement),
    /// `steps`, `setup` or `cleanup` whose line could not be read: their steps are nobody's.
    Lost,
}

impl Opened<'_> {
    /// Its steps run elsewhere: they are none of the scenario's own.
    fn is_aside(&self) -> bool {
        !matches!(self, Opened::For(..))
    }
}

/// A block that is not closed yet.
struct Open<'a> {
    /// `None`: a line that could not be read, or a block too deep; its steps are still checked.
    node: Option<Opened<'a>>,
    opened: Span,
    body: Vec<Node<'a>>,
}

pub fn blocks<'a>(source: &Arc<Source>, statements: &'a [Statement], errors: &mut Vec<Diagnostic>) -> FileBlocks<'a> {
    let has_scenarios = statements.iter().any(|s| matches!(s.verb, Verb::Scenario { .. }));
    let mut cutter = Cutter {
        source,
        file: FileBlocks { headers: vec![], around: Around::default(), scenarios: vec![] },
        open: vec![],
        stepped: None,
        stray: false,
        has_scenarios,
        errors,
    };
    if !has_scenarios {
        cutter.file.scenarios.push(ScenarioBlock::of(None));
    }
    for statement in statements {
        cutter.statement(statement);
    }
    cutter.close_all("the file ends");
    let mut file = cutter.file;
    // A file of named steps alone is there to be included: it is no scenario.
    let is_library = !has_scenarios && !file.around.named.is_empty() && file.around.setup.is_none();
    if is_library && file.around.cleanup.is_none() && file.scenarios.iter().all(|s| s.body.is_empty()) {
        file.scenarios.clear();
    }
    file
}

impl<'a> ScenarioBlock<'a> {
    fn of(line: Option<(&'a Statement, &'a Word, &'a [Name])>) -> Self {
        ScenarioBlock { line, headers: vec![], around: Around::default(), body: vec![] }
    }
}

struct Cutter<'a, 'e> {
    source: &'e Arc<Source>,
    file: FileBlocks<'a>,
    open: Vec<Open<'a>>,
    /// The first step of the scenario, behind which no header may stand.
    stepped: Option<Span>,
    /// A step before the first scenario was already reported.
    stray: bool,
    has_scenarios: bool,
    errors: &'e mut Vec<Diagnostic>,
}

impl<'a> Cutter<'a, '_> {
    fn place(&self, span: &Span) -> Place {
        Place { source: self.source.clone(), span: span.clone() }
    }

    fn before_first_scenario(&self) -> bool {
        self.has_scenarios && self.file.scenarios.is_empty()
    }

    fn statement(&mut self, statement: &'a Statement) {
        match &statement.verb {
            Verb::Scenario { title, tags } => {
                self.close_all("the next scenario starts");
                self.stepped = None;
                let line = Some((statement, title, tags.as_slice()));
                self.file.scenarios.push(ScenarioBlock::of(line));
            }
            Verb::Title(_)
            | Verb::Namespace(_)
            | Verb::Gateway(_)
            | Verb::Require(_)
            | Verb::Set { .. }
            | Verb::Let { .. }
            | Verb::Within(_)
            | Verb::Include(_)
            | Verb::OnlyOn { .. }
            | Verb::SkipIf { .. }
            | Verb::Disruptive { .. } => self.header(statement),
            Verb::Text(_) | Verb::Criteria(_) | Verb::See(_) | Verb::Trap { .. } => self.keep_header(statement),
            Verb::For { name, words } => {
                self.open_block(statement, Some(Opened::For(statement, Over::Words { name, words })))
            }
            Verb::ForTable => {
                let over = Over::Table { names: vec![], rows: vec![] };
                self.open_block(statement, Some(Opened::For(statement, over)))
            }
            Verb::Steps { name, parameters } => self.open_aside(statement, Opened::Named { name, parameters }),
            Verb::Setup => self.open_aside(statement, Opened::Setup(statement)),
            Verb::Cleanup => self.open_aside(statement, Opened::Cleanup(statement)),
            Verb::Row(cells) => self.row(statement, cells),
            Verb::End => self.end(statement),
            Verb::Broken(broken) => {
                // Kept as a step, so that the names and the exec it was to bring are known below.
                if !self.before_first_scenario() || !self.open.is_empty() {
                    self.body().push(Node::Step(statement));
                }
                if broken.aside {
                    self.push_open(first_line(&self.source.text, &statement.span), Some(Opened::Lost));
                } else if broken.opens {
                    self.open_block(statement, None);
                }
                if let Some(name) = &broken.steps {
                    self.around().lost.push(name);
                }
                // What was to close the block closes it: its end is not missed too.
                if broken.closes
                    && let Some(open) = self.open.pop()
                {
                    self.close(open);
                }
            }
            _ => self.step(statement),
        }
    }

    fn header(&mut self, statement: &'a Statement) {
        if self.aside() {
            let verb = first_word(&self.source.text[statement.span.clone()]).to_string();
            let d = Diagnostic::error("E0116", format!("the header `{verb}` stands in a block"))
                .at(self.place(&statement.span), "headers hold for a whole file or scenario")
                .help(format!("move `{verb}` above the block"));
            self.errors.push(d);
        } else if let Some(stepped) = self.stepped.clone() {
            let verb = first_word(&self.source.text[statement.span.clone()]).to_string();
            let d = Diagnostic::error("E0116", format!("the header `{verb}` stands behind a step"))
                .at(self.place(&statement.span), "headers hold for all steps, so they stand before the first")
                .at(self.place(&stepped), "the first step")
                .help(format!("move `{verb}` above this line"));
            self.errors.push(d);
        }
        self.keep_header(statement);
    }

    /// Headers with a wrong place are still obeyed, so that their names are known below.
    fn keep_header(&mut self, statement: &'a Statement) {
        if self.before_first_scenario() || !self.has_scenarios && self.open.is_empty() {
            self.file.headers.push(statement);
        } else if let Some(scenario) = self.file.scenarios.last_mut() {
            scenario.headers.push(statement);
        }
    }

    /// Within `steps`, `setup` or `cleanup`.
    fn aside(&self) -> bool {
        self.open.iter().any(|o| o.node.as_ref().is_some_and(Opened::is_aside))
    }

    /// Says once a file that steps before the first scenario belong to none.
    fn belongs(&mut self, statement: &Statement) -> bool {
        if self.aside() {
            return true;
        }
        if !self.before_first_scenario() {
            self.stepped.get_or_insert(statement.span.clone());
            return true;
        }
        if !self.stray {
            self.stray = true;
            let d = Diagnostic::error("E0115", "a step stands before the first `scenario` line")
                .at(self.place(&statement.span), "belongs to no scenario")
                .help("move it below a `scenario` line, or remove those lines: then the whole file is one scenario");
            self.errors.push(d);
        }
        false
    }

    fn step(&mut self, statement: &'a Statement) {
        if self.belongs(statement) {
            self.body().push(Node::Step(statement));
        }
    }

    fn body(&mut self) -> &mut Vec<Node<'a>> {
        if let Some(open) = self.open.last_mut() {
            return &mut open.body;
        }
        if self.file.scenarios.is_empty() {
            self.file.scenarios.push(ScenarioBlock::of(None));
        }
        let last = self.file.scenarios.len() - 1;
        &mut self.file.scenarios[last].body
    }

    /// `steps`, `setup` and `cleanup` stand with the headers; `cleanup` may stand behind the steps too.
    fn open_aside(&mut self, statement: &'a Statement, node: Opened<'a>) {
        let verb = first_word(&self.source.text[statement.span.clone()]).to_string();
        let opened = first_line(&self.source.text, &statement.span);
        if let Some(outer) = self.open.last().map(|o| o.opened.clone()) {
            let d = Diagnostic::error("E0125", format!("`{verb}` stands in another block"))
                .at(self.place(&opened), "stands in a file or a scenario, outside of other blocks")
                .at(self.place(&outer), "this block is open")
                .help(format!("close it with `end` before `{verb}`"));
            self.errors.push(d);
            return self.push_open(opened, None);
        }
        if let (Some(stepped), false) = (self.stepped.clone(), matches!(node, Opened::Cleanup(_))) {
            let d = Diagnostic::error("E0116", format!("`{verb}` stands behind a step"))
                .at(self.place(&opened), format!("`{verb}` stands with the headers, before the first step"))
                .at(self.place(&stepped), "the first step")
                .help("move the block above this line");
            self.errors.push(d);
        }
        self.push_open(opened, Some(node));
    }

    fn push_open(&mut self, opened: Span, node: Option<Opened<'a>>) {
        self.open.push(Open { node, opened, body: vec![] });
    }

    /// The file's or the scenario's own.
    fn around(&mut self) -> &mut Around<'a> {
        match self.file.scenarios.last_mut() {
            Some(scenario) if self.has_scenarios => &mut scenario.around,
            _ => &mut self.file.around,
        }
    }

    fn open_block(&mut self, statement: &'a Statement, mut node: Option<Opened<'a>>) {
        let belongs = self.belongs(statement);
        if !belongs {
            node = None;
        }
        if self.open.len() >= MAX_DEPTH {
            if self.open.len() == MAX_DEPTH {
                let d = Diagnostic::error("E0122", format!("blocks are nested more than {MAX_DEPTH} deep"))
                    .at(self.place(&statement.span), "this one is too deep");
                self.errors.push(d);
            }
            node = None;
        }
        let opened = first_line(&self.source.text, &statement.span);
        self.push_open(opened, node);
    }

    fn row(&mut self, statement: &'a Statement, cells: &'a [Word]) {
        let place = self.place(&statement.span);
        if let Some(Open { node: None, body, .. }) = self.open.last()
            && body.is_empty()
        {
            return;
        }
        let Some(Open { node: Some(Opened::For(_, Over::Table { names, rows })), body, .. }) = self.open.last_mut()
        else {
            let d = Diagnostic::error("E0121", "a table row without a table")
                .at(place, "rows stand directly below a line with `for` alone")
                .help("write for, below it | name | name |, then the rows, the steps and end");
            self.errors.push(d);
            return;
        };
        if !body.is_empty() {
            let d = Diagnostic::error("E0121", "a table row behind a step").at(place, "rows stand before the steps");
            self.errors.push(d);
        } else if names.is_empty() {
            for cell in cells {
                let text = cell.literal().unwrap_or_default();
                if !is_name(&text) {
                    let at = Place { source: place.source.clone(), span: cell.span.clone() };
                    let d = Diagnostic::error("E0121", "the first row of a table names its variables")
                        .at(at, "not a name")
                        .help("a name is letters, digits, `_` and `-`, and starts with a letter");
                    self.errors.push(d);
                }
                names.push(Name { span: cell.span.clone(), text });
            }
        } else if cells.iter().all(|c| c.literal().is_some_and(|t| t.len() > 1 && t.chars().all(|c| "-:".contains(c))))
        {
            let d = Diagnostic::error("E0121", "a line of Markdown in a table")
                .at(place, "the rows follow the names at once")
                .help("remove this line");
            self.errors.push(d);
        } else if cells.len() != names.len() {
            let d = Diagnostic::error(
                "E0121",
                format!("{}, and the table has {}", several(cells.len(), "cell"), several(names.len(), "column")),
            )
            .at(place, "")
            .at(
                Place { source: self.source.clone(), span: names[0].span.start..names[names.len() - 1].span.end },
                "the columns",
            );
            self.errors.push(d);
        } else {
            rows.push((statement, cells));
        }
    }

    fn end(&mut self, statement: &'a Statement) {
        let Some(open) = self.open.pop() else {
            let d = Diagnostic::error("E0114", "`end` closes nothing")
                .at(self.place(&statement.span), "no block is open here")
                .help("`end` closes `for`, `steps`, `setup` and `cleanup`; a scenario ends where the next one starts");
            self.errors.push(d);
            return;
        };
        self.close(open);
    }

    fn close(&mut self, open: Open<'a>) {
        let Some(node) = open.node else {
            if !self.before_first_scenario() || !self.open.is_empty() {
                self.body().extend(open.body);
            }
            return;
        };
        if let Opened::For(_, Over::Table { rows, .. }) = &node
            && rows.is_empty()
            && !matches!(open.body.first(), Some(Node::Step(Statement { verb: Verb::Broken(_), .. })))
        {
            let d = Diagnostic::error("E0121", "`for` alone needs a table")
                .at(self.place(&open.opened), "no rows stand below it")
                .help("write for NAME in WORD…, or a table: | name | and below it | value |");
            self.errors.push(d);
        }
        if matches!(node, Opened::Lost) {
            return;
        }
        if open.body.is_empty() {
            let what = if node.is_aside() { "nothing is done" } else { "nothing is repeated" };
            let d = Diagnostic::error("E0123", "a block without steps").at(self.place(&open.opened), what);
            self.errors.push(d);
        }
        match node {
            Opened::Lost => {}
            Opened::For(statement, over) => self.body().push(Node::For { statement, over, body: open.body }),
            Opened::Named { name, parameters } => {
                self.around().named.push(NamedSteps { name, parameters, body: open.body })
            }
            Opened::Setup(statement) => {
                let before = self.around().setup.replace((statement, open.body));
                self.only_one("setup", statement, before.map(|(s, _)| s));
            }
            Opened::Cleanup(statement) => {
                let before = self.around().cleanup.replace((statement, open.body));
                self.only_one("cleanup", statement, before.map(|(s, _)| s));
            }
        }
    }

    fn only_one(&mut self, verb: &str, statement: &Statement, before: Option<&Statement>) {
        if let Some(before) = before {
            let d = Diagnostic::error("E0117", format!("`{verb}` is given twice"))
                .at(self.place(&statement.span), "again")
                .at(self.place(&before.span), "first here");
            self.errors.push(d);
        }
    }

    fn close_all(&mut self, why: &str) {
        while let Some(open) = self.open.pop() {
            let d = Diagnostic::error("E0113", "a block is not closed")
                .at(self.place(&open.opened), format!("opens here; {why} before its `end`"))
                .help("close it with a line `end`");
            self.errors.push(d);
            self.close(open);
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split([' ', '\t', '\r', '\n']).next().unwrap_or("")
}

fn first_line(text: &str, span: &Span) -> Span {
    let line = text[span.clone()].lines().next().unwrap_or("");
    span.start..span.start + line.len()
}

fn several(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The grammar's `name`.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
