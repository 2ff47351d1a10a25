//! Reads scenarios and their manifests, and says before a run what cannot work.
//!
//! The only room of the language that reads files. It reaches no cluster.

mod documents;
pub mod editor;
mod files;
mod links;
mod manifest;
mod names;
mod objects;
mod places;
mod reach;
mod scalar;
mod soundness;
mod text;
mod url;
pub mod yaml;

use crate::diag::{Diagnostic, Place, Source};
use crate::plan::{self, Plan};
use crate::syntax;
pub use documents::{documents, line_of_path};
use files::{Cache, Files};
use places::Roots;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scenario larger than this is refused (bytes).
const MAX_SCENARIO: u64 = 64 << 20;

/// A plan that can be run, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub plan: Plan,
    pub warnings: Vec<Diagnostic>,
}

/// How much was read without a mistake, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Checked {
    pub scenarios: usize,
    pub steps: usize,
    pub warnings: Vec<Diagnostic>,
}

/// Reads scenario files (a folder stands for the `.egress` files in it), with all their manifests.
///
/// # Errors
/// Everything that is wrong with any of them, warnings included, in the order of files and lines.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Vec<Diagnostic>> {
    let mut scenarios = vec![];
    let warnings = each(paths, &mut |scenario| scenarios.push(scenario))?;
    Ok(Loaded { plan: Plan { scenarios }, warnings })
}

/// As [`load`], but keeps no plan: its memory is that of the files and one scenario.
///
/// # Errors
/// As those of [`load`].
pub fn only(paths: &[PathBuf]) -> Result<Checked, Vec<Diagnostic>> {
    let (mut scenarios, mut steps) = (0, 0);
    let warnings = each(paths, &mut |scenario| {
        scenarios += 1;
        steps += scenario.steps.len();
    })?;
    Ok(Checked { scenarios, steps, warnings })
}

fn each(paths: &[PathBuf], keep: &mut dyn FnMut(plan::Scenario)) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let mut found = vec![];
    let cache = Cache::default();
    let mut paths: Vec<PathBuf> = paths.iter().flat_map(|p| scenario_files(p, &mut found)).collect();
    let mut seen = HashSet::new();
    paths.retain(|p| seen.insert(p.clone()));
    for path in paths {
        match text::read(&path, MAX_SCENARIO) {
            Ok(text) => {
                let source = Arc::new(Source { name: path.display().to_string(), text });
                found.extend(file(&source, &path, &cache, keep));
            }
            Err(why) => found.push(Diagnostic::error("E0310", format!("cannot read {}: {why}", path.display()))),
        }
    }
    dedup(&mut found);
    if found.iter().any(Diagnostic::is_error) {
        return Err(found);
    }
    Ok(found)
}

/// Reads one scenario whose text is at hand (an editor's buffer); `path` says where manifests are found.
pub fn source(source: &Arc<Source>, path: &Path) -> (Vec<plan::Scenario>, Vec<Diagnostic>) {
    editor::source_beside(source, path, &editor::Unsaved::new())
}

/// Everything found in one file; its scenarios go to `keep`.
fn file(source: &Arc<Source>, path: &Path, cache: &Cache, keep: &mut dyn FnMut(plan::Scenario)) -> Vec<Diagnostic> {
    let parsed = syntax::parse(source);
    let files = Files::new(Roots::of(path), cache);
    let ambient = files.ambient();
    let closed = reach::is_closed(&ambient);
    let mut judge = Judge { source, cache, ambient: &ambient, closed, linked: HashSet::new(), found: vec![], keep };
    let built = plan::build(&parsed, &files, &mut judge);
    let judged = judge.found;
    let mut found = parsed.errors;
    found.extend(built);
    // Doubts about a scenario that was not read whole would blame the mistake twice.
    let wrong = found.iter().any(Diagnostic::is_error);
    if wrong {
        found.retain(|d| d.is_error() || matches!(d.code, "W0235" | "W0238"));
    }
    found.extend(judged.into_iter().filter(|(of, _)| !wrong || *of != Of::Soundness).map(|(_, d)| d));
    // By the scenario's lines; what stands in manifests alone comes first.
    found.sort_by_key(|d| d.labels.iter().find(|l| Arc::ptr_eq(&l.place.source, source)).map(|l| l.place.span.start));
    found
}

/// Judges each scenario as it is built.
struct Judge<'a> {
    source: &'a Arc<Source>,
    cache: &'a Cache,
    ambient: &'a [plan::ManifestObject],
    /// Its mesh config lets out what is registered alone.
    closed: bool,
    /// Scenarios often apply the same objects: what is wrong with those is found once.
    linked: HashSet<u64>,
    found: Vec<(Of, Diagnostic)>,
    keep: &'a mut dyn FnMut(plan::Scenario),
}

/// What a finding of the judge is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Objects,
    /// Whether the scenario shows what it says.
    Soundness,
}

impl plan::Taker for Judge<'_> {
    fn take(&mut self, scenario: plan::Scenario, routes: Vec<(String, Place)>) {
        let objects = applied(&scenario);
        let refused = refused(&scenario, self.source, self.cache);
        let sound = !refused.iter().any(Diagnostic::is_error);
        if sound {
            self.add(Of::Soundness, soundness::check(&scenario, &objects, self.ambient));
            self.add(Of::Soundness, names::check(&scenario, &objects, self.ambient));
            self.add(Of::Soundness, url::check(&scenario));
            self.add(Of::Soundness, reach::check(&scenario, self.ambient, self.closed));
        }
        if !objects.is_empty() && self.linked.insert(identity(&objects, &scenario.namespace)) {
            // What an API server refuses is linked to nothing: that is not told too.
            let wrong: Vec<&plan::ManifestObject> = objects
                .iter()
                .filter(|o| refused.iter().filter(|d| d.is_error()).any(|d| within(&d.labels[0].place, &o.place)))
                .collect();
            let links = links::links_beside(&objects, self.ambient, &scenario.namespace);
            let links = links.into_iter().filter(|link| sound || !links::is_blamed(link, &wrong));
            self.add(Of::Objects, links);
        }
        self.add(Of::Objects, refused);
        for (name, place) in routes {
            self.add(Of::Objects, soundness::route(&name, &place, &objects, self.ambient, &scenario.namespace));
        }
        (self.keep)(scenario);
    }
}

impl Judge<'_> {
    fn add(&mut self, of: Of, found: impl IntoIterator<Item = Diagnostic>) {
        self.found.extend(found.into_iter().map(|d| (of, d)));
    }
}

/// What a target has before any scenario of this path runs: the objects of `manifests/base/`.
pub fn ambient(path: &Path) -> Vec<plan::ManifestObject> {
    Files::new(Roots::of(path), &Cache::default()).ambient()
}

/// Links between manifests that cannot hold, with carets in the manifests: warnings, since a lesson
/// may break one on purpose. Objects without a namespace count as being in the default one.
pub fn manifests(objects: &[plan::ManifestObject]) -> Vec<Diagnostic> {
    links::links(objects, plan::DEFAULT_NAMESPACE)
}

/// As [`manifests`], for objects that a run applied: `ambient` is what else the target has, and objects
/// without a namespace are in `namespace`.
pub fn manifests_beside(
    objects: &[plan::ManifestObject],
    ambient: &[plan::ManifestObject],
    namespace: &str,
) -> Vec<Diagnostic> {
    links::links_beside(objects, ambient, namespace)
}

/// What an API server would refuse of a scenario's manifests, with the line that applies it. A lesson may expect that.
fn refused(scenario: &plan::Scenario, source: &Arc<Source>, cache: &Cache) -> Vec<Diagnostic> {
    let mut found = vec![];
    for (index, step) in scenario.steps.iter().enumerate() {
        let plan::StepKind::Apply(objects) = &step.kind else { continue };
        let expected = scenario.steps.get(index + 1).is_some_and(|next| next.text.starts_with("expect rejected"));
        for object in objects.iter().filter(|_| !expected) {
            for diagnostic in cache.judged(object) {
                let inside = Arc::ptr_eq(&object.place.source, source);
                found.push(if inside { diagnostic } else { diagnostic.at(step.place.clone(), "applied here") });
            }
        }
    }
    found
}

/// Where a word stands in a step; the step, where it is not written so.
fn narrow(step: &Place, word: &str) -> Place {
    let text = &step.source.text[step.span.clone()];
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let whole = text.match_indices(word).find(|(at, _)| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    });
    match whole {
        Some((at, _)) if !word.is_empty() => {
            let start = step.span.start + at;
            Place { source: step.source.clone(), span: start..start + word.len() }
        }
        _ => step.clone(),
    }
}

fn within(inner: &Place, outer: &Place) -> bool {
    inner.source.name == outer.source.name && outer.span.start <= inner.span.start && inner.span.start <= outer.span.end
}

/// What tells one list of objects from another: what was read once is shared.
fn identity(objects: &[plan::ManifestObject], namespace: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    for object in objects {
        Arc::as_ptr(&object.spans).hash(&mut hasher);
    }
    hasher.finish()
}

/// Everything that a scenario applies, in order.
fn applied(scenario: &plan::Scenario) -> Vec<plan::ManifestObject> {
    let objects = scenario.steps.iter().filter_map(|s| match &s.kind {
        plan::StepKind::Apply(objects) => Some(objects.as_slice()),
        _ => None,
    });
    objects.flatten().cloned().collect()
}

/// The scenario files that a path of the command line stands for.
fn scenario_files(path: &Path, found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let read =
        std::fs::read_dir(path).map(|entries| entries.filter_map(Result::ok).map(|e| e.path()).collect::<Vec<_>>());
    let mut files = read.unwrap_or_default();
    files.retain(|p| p.extension().is_some_and(|e| e == "egress") && p.is_file());
    files.sort();
    if files.is_empty() {
        let d = Diagnostic::error("E0310", format!("no scenario in {}", path.display()));
        found.push(d.help("scenario files end in .egress"));
    }
    files
}

/// The same finding twice (a line repeated by `for`, a manifest used by two scenarios) is told once.
fn dedup(found: &mut Vec<Diagnostic>) {
    let mut seen = HashSet::new();
    found.retain(|d| {
        let place = d.labels.first().map(|l| (l.place.source.name.clone(), l.place.span.start, l.place.span.end));
        seen.insert((d.code, d.title.clone(), place))
    });
}
