//! What a statement says, word by word, with byte spans into the source. Values are not judged here.

use std::ops::Range;

pub type Span = Range<usize>;

#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// From its verb to its last word (a heredoc's closing word included).
    pub span: Span,
    pub verb: Verb,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    // Headers.
    Title(Word),
    Namespace(Word),
    Gateway(Word),
    Require(Require),
    Set {
        name: Name,
        words: Vec<Word>,
    },
    Let {
        name: Name,
        word: Word,
    },
    Within(Word),
    // Teaching.
    /// A `"""` text, its common indent removed.
    Text(String),
    Criteria(Word),
    See(Vec<Word>),
    Note(Word),
    Pause(Word),
    // Blocks.
    Scenario {
        title: Word,
        tags: Vec<Name>,
    },
    For {
        name: Name,
        words: Vec<Word>,
    },
    /// `for` alone on its line: a table follows.
    ForTable,
    Row(Vec<Word>),
    End,
    // Steps.
    Apply(Manifests),
    Delete(Vec<Word>),
    Exec(Exec),
    Capture {
        name: Name,
        source: CaptureSource,
    },
    Diff {
        left: Operand,
        right: Operand,
    },
    Expect(Box<Expect>),
    /// A line that could not be read.
    Broken(Broken),
}

/// What is still known of a line that could not be read, so that the lines after it are not blamed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broken {
    /// Its verb, or the verb that was probably meant, opens a block.
    pub opens: bool,
    /// It was to run a command.
    pub exec: bool,
    /// It was to give these names a value.
    pub names: Vec<Name>,
}

/// A name that the file gives: of a variable, a capture, a tag. In NFC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub span: Span,
    pub text: String,
}

/// One word: pieces that stand together without a blank between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub span: Span,
    pub pieces: Vec<Piece>,
    /// True when any part of it is in quotes: then it is never a keyword, a glob or a modifier.
    pub quoted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Variable(Name),
}

impl Word {
    /// The word as text when it holds no variable.
    pub fn literal(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|p| match p {
                Piece::Text(t) => Some(t.as_str()),
                Piece::Variable(_) => None,
            })
            .collect()
    }

    /// The variable that is the whole word.
    pub fn only_variable(&self) -> Option<&Name> {
        match self.pieces.as_slice() {
            [Piece::Variable(name)] => Some(name),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Require {
    Outbound(Word),
    GatewayPort(Word),
    AccessLog { peer: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Manifests {
    Words(Vec<Word>),
    Heredoc(Heredoc),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    pub tag: String,
    /// `<<'TAG'`: variables are not replaced.
    pub raw: bool,
    /// The body's lines, as they stand in the source.
    pub body: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Exec {
    /// `None` is `exec local`.
    pub target: Option<Word>,
    pub container: Option<Word>,
    pub command: Vec<Word>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    Clusters,
    Listeners,
    Routes,
}

/// `clusters|listeners|routes [on P]`.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    pub span: Span,
    pub kind: ListKind,
    pub on: Option<Word>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CaptureSource {
    List(List),
    Stdout,
    Header(Word),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    List(List),
    Word(Word),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    pub negated: bool,
    pub what: Expectation,
    /// From the expectation's first word to its last, modifiers left out.
    pub span: Span,
    pub modifiers: Vec<Modifier>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Modifier {
    pub span: Span,
    pub kind: ModifierKind,
    pub word: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModifierKind {
    Within,
    Every,
    Stable,
    Because,
    On,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    Status(Vec<Word>),
    Exit(Vec<Word>),
    SslVerify(Word),
    Header { name: Word, matches: Option<TextMatch> },
    Output { kind: OutputKind, matches: TextMatch },
    Certificate { field: CertificateField, matches: TextMatch },
    Blocked(Option<Word>),
    Direct,
    Via(Word),
    Path(Vec<Word>),
    Peer(Word),
    Log { proxy: Word, matches: TextMatch },
    Listener { port: Word, facts: Vec<Fact> },
    Cluster { host: Word, subset: Option<Word>, facts: Vec<Fact> },
    Route { name: Word },
    List { list: List, compare: Compare },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    Body,
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateField {
    San,
    Subject,
    Issuer,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TextMatch {
    /// No word between: `certificate san HOST`.
    Plain(Word),
    Equals(Word),
    Contains(Word),
    /// Without its slashes; `\/` is already `/`.
    Matches(Regex),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regex {
    pub span: Span,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub span: Span,
    pub kind: FactKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FactKind {
    RequireClientCertificate,
    Value { name: String, word: Word },
    To { host: Word, subset: Option<Word> },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Compare {
    Count(Word),
    FewerThan(Operand),
    SameAs(Operand),
}
