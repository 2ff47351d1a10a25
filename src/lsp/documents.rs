//! The texts that are open in the editor, saved or not, and how URIs name files.

use super::position::Encoding;
use crate::diag::Source;
use lsp_types::{TextDocumentContentChangeEvent, Uri};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scenario,
    Manifest,
    /// Open, and none of our business.
    Other,
}

#[derive(Debug, Clone)]
pub struct Document {
    /// As the editor wrote it: it is answered in the same words.
    pub uri: Uri,
    pub path: PathBuf,
    pub kind: Kind,
    pub version: i32,
    pub source: Arc<Source>,
}

#[derive(Debug, Default)]
pub struct Documents {
    open: BTreeMap<PathBuf, Document>,
}

impl Documents {
    pub fn open(&mut self, uri: Uri, language: &str, version: i32, text: String) {
        let path = path(&uri);
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let kind = match (language, ending) {
            ("egress", _) | (_, "egress") => Kind::Scenario,
            (_, "yaml" | "yml" | "json") => Kind::Manifest,
            _ => Kind::Other,
        };
        let source = Arc::new(Source { name: shown(&path), text });
        self.open.insert(path.clone(), Document { uri, path, kind, version, source });
    }

    /// Changes in their order: each is of the text that the one before it left.
    pub fn change(
        &mut self,
        uri: &Uri,
        version: i32,
        changes: Vec<TextDocumentContentChangeEvent>,
        encoding: Encoding,
    ) {
        let Some(document) = self.open.get_mut(&path(uri)) else { return };
        let mut text = document.source.text.clone();
        for change in changes {
            match change.range {
                None => text = change.text,
                Some(range) => {
                    let (start, end) = (encoding.offset(&text, range.start), encoding.offset(&text, range.end));
                    text.replace_range(start..end.max(start), &change.text);
                }
            }
        }
        document.source = Arc::new(Source { name: document.source.name.clone(), text });
        document.version = version;
    }

    pub fn close(&mut self, uri: &Uri) {
        self.open.remove(&path(uri));
    }

    pub fn get(&self, uri: &Uri) -> Option<&Document> {
        self.open.get(&path(uri))
    }

    pub fn at(&self, path: &Path) -> Option<&Document> {
        self.open.get(path)
    }

    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.open.values()
    }

    /// The open manifests' texts by their real paths: what a check reads instead of the files.
    pub fn unsaved(&self) -> HashMap<PathBuf, String> {
        let manifests = self.open.values().filter(|d| d.kind == Kind::Manifest);
        manifests.filter_map(|d| Some((d.path.canonicalize().ok()?, d.source.text.clone()))).collect()
    }
}

/// The path as a person in the server's folder would type it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_ref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    short.display().to_string()
}

/// The file that a URI names. One that is no file (`untitled:…`) stands for a file of that name in the server's folder.
pub fn path(uri: &Uri) -> PathBuf {
    let text = uri.as_str();
    let encoded = text.strip_prefix("file://").map(|rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
    let encoded = encoded.unwrap_or_else(|| text.rsplit([':', '/']).next().unwrap_or(text));
    let path = PathBuf::from(decoded(encoded));
    std::path::absolute(&path).unwrap_or(path)
}

fn decoded(text: &str) -> String {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = vec![];
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match pair.and_then(|pair| Some(hex(pair[0])? * 16 + hex(pair[1])?)) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The URI of a file.
pub fn uri(path: &Path) -> Option<Uri> {
    let mut out = String::from("file://");
    for byte in path.to_str()?.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_any_script_are_uris_and_back() {
        let file = Path::new("/tmp/실습 1/a#b%.egress");
        let named = uri(file).map(|uri| (uri.as_str().to_owned(), path(&uri)));
        let encoded = "file:///tmp/%EC%8B%A4%EC%8A%B5%201/a%23b%25.egress";
        assert_eq!(named, Some((encoded.to_owned(), file.to_path_buf())));
    }
}
