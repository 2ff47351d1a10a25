//! `egress-scn fmt`: lays scenarios out.

use super::{fail, output};
use crate::diag::Source;
use crate::syntax;
use clap::Args;
use similar::TextDiff;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scenario larger than this is refused (bytes).
const LIMIT: u64 = 64 << 20;

#[derive(Debug, Args)]
pub struct Fmt {
    /// Scenario files, or folders of them; `-` reads standard input and writes standard output.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing; exit 1 when a file would change.
    #[arg(long)]
    check: bool,
    /// Write nothing; show what would change.
    #[arg(long)]
    diff: bool,
}

impl Fmt {
    pub fn run(self) -> i32 {
        let mut worst = 0;
        for path in &self.files {
            let code = match expand(path) {
                Ok(files) => files.iter().map(|file| self.file(file)).max().unwrap_or(0),
                Err(message) => fail(&message, 2),
            };
            worst = worst.max(code);
        }
        worst
    }

    fn file(&self, path: &Path) -> i32 {
        let standard = path == Path::new("-");
        let name = if standard { "standard input".to_owned() } else { path.display().to_string() };
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => return fail(&format!("cannot read {name}: {error}"), 2),
        };
        let source = Arc::new(Source { name: name.clone(), text });
        let errors = syntax::parse(&source).errors;
        if errors.iter().any(|d| d.is_error()) {
            return output::problems(&errors, 2);
        }
        let laid_out = syntax::format(&source.text);
        let same = laid_out == source.text;
        if self.diff && !same {
            let diff = TextDiff::from_lines(source.text.as_str(), laid_out.as_str());
            output::print(&diff.unified_diff().context_radius(3).header(&name, &name).to_string());
        }
        if self.check {
            if !same && !self.diff {
                output::print(&format!("{name}\n"));
            }
            return i32::from(!same);
        }
        if self.diff {
            return 0;
        }
        if standard {
            output::print(&laid_out);
        } else if !same && let Err(error) = replace(path, &laid_out) {
            return fail(&format!("cannot write {name}: {error}"), 2);
        }
        0
    }
}

/// The whole text, at most as much as `check` would read.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let mut from: Box<dyn Read> =
        if path == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(std::fs::File::open(path)?) };
    from.by_ref().take(LIMIT + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LIMIT {
        true => Err(std::io::Error::other(format!("it is larger than {} MiB", LIMIT >> 20))),
        false => Ok(text),
    }
}

/// The new text in place of the old one, whole: whatever happens, one of the two is there. Links and modes stay.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mode = std::fs::metadata(&path)?.permissions();
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(mode)?;
    new.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// A folder stands for the scenarios in it.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.is_file() && file.extension().is_some_and(|e| e == "egress"));
    files.sort();
    if files.is_empty() { Err(format!("no scenario in {}", path.display())) } else { Ok(files) }
}
