//! What a statement says, word by word, with byte spans into the source. Values are not judged here. A file may have very many
//! statements, so what is large or rare in one stands in a box.

use smallvec::SmallVec;
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
    Require(Box<Require>),
    Set {
        name: Name,
        words: Vec<Word>,
    },
    Let {
        name: Name,
        word: Box<Word>,
    },
    Within(Word),
    Include(Word),
    /// `only on lab|cluster`.
    OnlyOn {
        target: Box<Word>,
        because: Option<Box<Word>>,
    },
    /// `skip if [no] …`: in the words of `require`.
    SkipIf {
        negated: bool,
        requirement: Box<Require>,
        because: Option<Box<Word>>,
    },
    Disruptive {
        because: Option<Box<Word>>,
    },
    // Teaching.
    /// A `"""` text, its common indent removed.
    Text(String),
    Criteria(Word),
    See(Vec<Word>),
    Note(Word),
    Pause(Word),
    Trap {
        symptom: Box<Word>,
        cause: Box<Word>,
        mend: Box<Word>,
    },
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
    /// `steps NAME PARAMETER…`: named steps, for `do`.
    Steps {
        name: Name,
        parameters: Vec<Name>,
    },
    Setup,
    Cleanup,
    End,
    // Steps.
    Apply(Manifests),
    Delete(Vec<Word>),
    Patch {
        object: Box<Object>,
        patch: Box<Heredoc>,
    },
    Restart(Word),
    Scale {
        workload: Box<Word>,
        replicas: Box<Word>,
    },
    Wait {
        object: Box<Object>,
        condition: Condition,
        modifiers: Vec<Modifier>,
    },
    Exec(Box<Exec>),
    Do {
        name: Name,
        words: Vec<Word>,
    },
    Site {
        host: Box<Word>,
        behaviour: Vec<Behaviour>,
    },
    /// `cut A -> B`.
    Cut {
        from: Box<Word>,
        to: Box<Word>,
        /// New connections are refused, instead of packets dropped.
        refuse: bool,
    },
    Kill {
        proxy: Box<Word>,
        container: Option<Box<Word>>,
    },
    Capture {
        name: Name,
        source: Box<CaptureSource>,
    },
    Diff {
        left: Box<Operand>,
        right: Box<Operand>,
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
    /// That block's steps run elsewhere: `steps`, `setup`, `cleanup`.
    pub aside: bool,
    /// It was to close a block: `done`, `}`.
    pub closes: bool,
    /// It was to name steps, by this name.
    pub steps: Option<Name>,
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
    /// Nearly always one.
    pub pieces: SmallVec<[Piece; 1]>,
    /// True when any part of it is in quotes: then it is never a keyword, a glob or a modifier.
    pub quoted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Variable(Box<Name>),
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
            [Piece::Variable(name)] => Some(&**name),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Require {
    Outbound(Word),
    GatewayPort(Word),
    AccessLog { peer: bool },
    Secret { name: Word, namespace: Option<Word> },
    Version { comparison: Comparison, version: Word },
    Crd(Word),
}

/// `< <= == >= >`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Comparison {
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::AtMost => left <= right,
            Comparison::Equal => left == right,
            Comparison::AtLeast => left >= right,
            Comparison::More => left > right,
        }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Equal => "==",
            Comparison::AtLeast => ">=",
            Comparison::More => ">",
        })
    }
}

/// `KIND NAME [in NAMESPACE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub span: Span,
    pub kind: Word,
    pub name: Word,
    pub namespace: Option<Word>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Ready,
    Available,
    Gone,
    /// `condition=TYPE` or `condition=TYPE=STATUS`.
    Is(Box<Word>),
}

/// `down`, `unresolved`, or a name and its value: how an outside site behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    pub span: Span,
    pub name: String,
    pub value: Option<Word>,
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
    /// `json PATH`: of the last exec's output.
    Json(Word),
    /// `KIND NAME [in NAMESPACE] PATH`.
    Object {
        object: Object,
        path: Word,
    },
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
    Header {
        name: Word,
        matches: Option<Box<TextMatch>>,
    },
    Output {
        kind: OutputKind,
        matches: Box<TextMatch>,
    },
    Certificate {
        field: CertificateField,
        matches: Box<TextMatch>,
    },
    Blocked(Option<Word>),
    Direct,
    Via(Word),
    Path(Vec<Word>),
    Peer(Word),
    Log {
        proxy: Word,
        matches: Box<TextMatch>,
    },
    Listener {
        port: Word,
        facts: Vec<Fact>,
    },
    Cluster {
        host: Word,
        subset: Option<Box<Word>>,
        facts: Vec<Fact>,
    },
    Route {
        name: Word,
        facts: Vec<Fact>,
    },
    Endpoint {
        host: Word,
        subset: Option<Box<Word>>,
        facts: Vec<Fact>,
    },
    Secret {
        name: Word,
    },
    List {
        list: List,
        compare: Box<Compare>,
    },
    Json {
        path: Word,
        matches: Option<Box<TextMatch>>,
    },
    Time {
        comparison: Comparison,
        limit: Word,
    },
    Tls {
        version: Word,
    },
    /// `only route 80 [on P] changed`.
    Only {
        kind: ListKind,
        name: Word,
    },
    Config {
        document: Heredoc,
    },
    Resource {
        object: Box<Object>,
        document: Option<Box<Heredoc>>,
    },
    Rejected {
        containing: Option<Word>,
    },
    /// `analysis clean`, or `analysis contains CODE`.
    Analysis {
        contains: Option<Word>,
    },
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
    /// Of an endpoint.
    Healthy,
    Value {
        name: String,
        word: Word,
    },
    To {
        host: Word,
        subset: Option<Box<Word>>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Compare {
    Count(Word),
    FewerThan(Operand),
    SameAs(Operand),
}
