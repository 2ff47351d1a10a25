//! Mistakes in a scenario's own text.

use super::{Code, code};

pub(super) const CODES: &[Code] = &[
    code(
        "E0101",
        "a quote is not closed",
        "A quote closes on the line on which it opens. A text of several lines stands between \"\"\" and \"\"\"; an apostrophe inside a text needs double quotes around it.",
    ),
    code(
        "E0102",
        "a block `<<TAG` is not closed",
        "The closing word stands alone on its line, at any indent, spelt as behind `<<`.",
    ),
    code("E0103", "a text `\"\"\"` is not closed", "A teaching text starts and ends with three double quotes."),
    code(
        "E0104",
        "unknown verb",
        "A line starts with a verb of the language. The message names the nearest one, or what is written instead of a word that other tools use.",
    ),
    code(
        "E0107",
        "the words do not fit the verb",
        "The verb is known, and something is missing, too much or in the wrong place. The message shows the verb's form.",
    ),
    code(
        "E0108",
        "a character that cannot stand here",
        "Control characters, blanks that are none (U+00A0, U+3000) and typographic quotes look right and are not. Type the ordinary character, or put the word in quotes.",
    ),
    code(
        "E0109",
        "unknown escape",
        "In double quotes \\n \\t \\r \\\" \\\\ and \\$ are known. In single quotes nothing is special.",
    ),
    code(
        "E0110",
        "`${…}` names no variable",
        "A name is letters, digits, `_` and `-`, and starts with a letter. `$${` stands for the characters `${`.",
    ),
    code(
        "E0111",
        "a `\\` that does not continue",
        "A line is continued by a `\\` as its very last character; a blank or a comment behind it ends the statement.",
    ),
    code(
        "E0113",
        "a block is not closed",
        "`for` and its like are closed by a line `end` before the next scenario and before the file's end.",
    ),
    code(
        "E0114",
        "`end` closes nothing",
        "No block is open. A scenario needs no `end`: it ends where the next one starts.",
    ),
    code(
        "E0115",
        "a step before the first scenario",
        "In a file with `scenario` lines each step belongs to one. Without such lines the whole file is one scenario.",
    ),
    code(
        "E0116",
        "a header behind a step",
        "Headers (title, namespace, gateway, require, set, let, within, include, only, skip, disruptive, and the blocks steps and setup) hold for a whole file or scenario, so they stand before its first step.",
    ),
    code("E0117", "given twice", "A header or modifier that can hold only one value is given a second time."),
    code(
        "E0118",
        "unknown expectation",
        "Nothing can be expected by this name. The message names the nearest one, or what is written instead.",
    ),
    code(
        "E0119",
        "unknown or misplaced fact",
        "Listeners have requireClientCertificate, mode, sni, chains, to, san, alpn, bound; clusters have type, tls, sni, san, alpn.",
    ),
    code(
        "E0121",
        "a table is not right",
        "A table stands directly below a line with `for` alone: the first row names the variables, every further row has as many cells.",
    ),
    code("E0122", "nested too deep", "Blocks may be nested 32 deep."),
    code("E0123", "a block without steps", "Nothing would be repeated."),
    code("E0124", "too many steps", "Loops multiply. A file repeats to 1000000 steps at most."),
    code(
        "E0125",
        "a block where it has no place",
        "`steps`, `setup` and `cleanup` stand in a file or a scenario, never in another block.",
    ),
    code(
        "E0126",
        "not a file to be included",
        "An included file holds named steps (`steps NAME … end`), `set`, `let` and `include`. Anything else in it would never run.",
    ),
    code(
        "E0127",
        "steps that do themselves",
        "`do` puts the named steps where it stands; steps that name themselves would never end.",
    ),
    code("E0201", "unknown name", "No `set`, `let`, `for` or `capture` above gives this name a value."),
    code(
        "E0202",
        "a set where one word stands",
        "A set is several words; it can only be a whole word, without quotes, where several may stand.",
    ),
    code(
        "E0203",
        "a capture is not known yet",
        "What a capture holds is known only when the run reaches it. It can stand in a command, in texts to compare with, behind `fewer than` and `same as`, and in `diff`.",
    ),
    code("E0204", "named twice", "Names of one level differ, and so do the scenarios of a file."),
    code(
        "E0205",
        "a value does not fit",
        "The word is not a port, status, duration, workload, … as its place asks. The message says what is.",
    ),
    code(
        "E0207",
        "the regex cannot be read",
        "Regexes are those of Rust's `regex` crate: no look-around, no back-references.",
    ),
    code(
        "E0208",
        "an expectation without an exec",
        "Status, exit code, headers, path and the like are about what an `exec` did, so one stands before them.",
    ),
    code(
        "E0209",
        "an expectation of before a change",
        "Between the exec and this line something was applied or deleted. What the exec saw is of before; repeat it.",
    ),
    code(
        "E0210",
        "a modifier where it has no place",
        "`within every stable because on in as` are reserved at the end of apply, expect and wait. Quote a file that is so named.",
    ),
    code(
        "E0211",
        "on which proxy?",
        "Without `on NAME` a list or cluster is that of the last exec's workload, and there is none.",
    ),
    code("E0212", "no such steps", "`do` names steps of this file or of a file that it includes."),
    code("E0213", "as many words as parameters", "`do NAME` takes one word for each parameter of `steps NAME …`."),
    code(
        "E0214",
        "changed since when?",
        "`expect only … changed` compares with the last `capture NAME = clusters|listeners|routes on PROXY` of that proxy.",
    ),
    code(
        "E0215",
        "rejected: which change?",
        "`expect rejected` stands right below the `apply`, `patch`, `scale` or `delete` that is to be refused.",
    ),
    code("E0216", "curl does not say", "Which TLS version was agreed on is told by `curl -v` only."),
    code(
        "E0217",
        "curl alone says this",
        "Status, headers, times, the verification of the chain and the certificate are known from curl's own account of its transfer. Another program, or a shell that runs curl, gives none: run curl itself, or judge by `expect exit` and `expect stdout`.",
    ),
    code(
        "E0240",
        "a route asked of TLS passthrough",
        "Traffic that passes as TLS is matched by SNI in a listener's filter chains; no route is ever looked at. Ask `expect listener PORT sni HOST` and `expect path …`.",
    ),
];
