//! `check`'s diagnostics as the editor shows them, each at the file that it points into.

use super::documents::{Document, Documents, Kind, uri};
use super::position::Encoding;
use crate::check::editor::{self, Unsaved};
use crate::diag::{self, Place, Severity};
use lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, PublishDiagnosticsParams,
    Uri,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type ByFile = BTreeMap<PathBuf, Vec<Diagnostic>>;

/// What was found, by the document that it was found for: the same manifest may be wrong for two scenarios.
#[derive(Debug, Default)]
pub struct Found {
    of: BTreeMap<PathBuf, ByFile>,
}

impl Found {
    /// Checks every open document, and says what changed of each file's diagnostics.
    pub fn check(&mut self, documents: &Documents, encoding: Encoding) -> Vec<PublishDiagnosticsParams> {
        let unsaved = documents.unsaved();
        let now: BTreeMap<PathBuf, ByFile> =
            documents.all().map(|d| (d.path.clone(), one(d, &unsaved, documents, encoding))).collect();
        let before = std::mem::replace(&mut self.of, now);
        let targets = |all: &BTreeMap<PathBuf, ByFile>| -> BTreeSet<PathBuf> {
            all.values().flat_map(|files| files.keys().cloned()).chain(all.keys().cloned()).collect()
        };
        let (was, is) = (targets(&before), targets(&self.of));
        was.union(&is)
            .filter_map(|target| {
                let diagnostics = merged(&self.of, target);
                // An open document is answered for each version; of others only what is new is told.
                let open = documents.at(target);
                if open.is_none() && diagnostics == merged(&before, target) {
                    return None;
                }
                let uri = open.map(|d| d.uri.clone()).or_else(|| uri(target))?;
                Some(PublishDiagnosticsParams { uri, diagnostics, version: open.map(|d| d.version) })
            })
            .collect()
    }
}

fn merged(of: &BTreeMap<PathBuf, ByFile>, target: &Path) -> Vec<Diagnostic> {
    let mut out: Vec<Diagnostic> = vec![];
    for diagnostic in of.values().filter_map(|files| files.get(target)).flatten() {
        if !out.contains(diagnostic) {
            out.push(diagnostic.clone());
        }
    }
    out
}

fn one(document: &Document, unsaved: &Unsaved, documents: &Documents, encoding: Encoding) -> ByFile {
    let found = match document.kind {
        Kind::Scenario => editor::source_beside(&document.source, &document.path, unsaved).1,
        Kind::Manifest => editor::manifest(&document.source),
        Kind::Other => vec![],
    };
    let mut out = ByFile::new();
    for diagnostic in &found {
        let target = diagnostic.labels.first().map_or(document.path.clone(), |label| file(&label.place, document));
        out.entry(target).or_default().push(converted(diagnostic, document, documents, encoding));
    }
    out
}

/// The file that a place is in.
fn file(place: &Place, document: &Document) -> PathBuf {
    if place.source.name == document.source.name {
        return document.path.clone();
    }
    let path = PathBuf::from(&place.source.name);
    std::path::absolute(&path).unwrap_or(path)
}

fn converted(found: &diag::Diagnostic, document: &Document, documents: &Documents, encoding: Encoding) -> Diagnostic {
    let range = |place: &Place| encoding.range(&place.source.text, &place.span);
    let mut message = found.title.clone();
    if let Some(label) = found.labels.first().filter(|label| !label.text.is_empty()) {
        message.push_str(&format!("\n{}", label.text));
    }
    message.extend(found.help.iter().map(|help| format!("\ntry: {help}")));
    let related: Vec<DiagnosticRelatedInformation> = found
        .labels
        .iter()
        .skip(1)
        .filter_map(|label| {
            let path = file(&label.place, document);
            let uri = documents.at(&path).map(|d| d.uri.clone()).or_else(|| uri(&path))?;
            let message = if label.text.is_empty() { found.title.clone() } else { label.text.clone() };
            Some(DiagnosticRelatedInformation { location: Location { uri, range: range(&label.place) }, message })
        })
        .collect();
    Diagnostic {
        range: found.labels.first().map(|label| range(&label.place)).unwrap_or_default(),
        severity: Some(match found.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(found.code.to_owned())),
        source: Some("egress-scn".into()),
        message,
        related_information: Some(related).filter(|related| !related.is_empty()),
        ..Diagnostic::default()
    }
}

/// The place as the editor names it.
pub fn location(place: &Place, document: &Document, documents: &Documents, encoding: Encoding) -> Option<Location> {
    let path = file(place, document);
    let uri: Uri = documents.at(&path).map(|d| d.uri.clone()).or_else(|| uri(&path))?;
    Some(Location { uri, range: encoding.range(&place.source.text, &place.span) })
}
