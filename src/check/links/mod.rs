//! Links between manifests that cannot hold, seen without a cluster: a subset nobody defines, a
//! `tls` leg behind a server that terminates TLS, a gateway that does not exist. Carets stand in
//! the manifests. The rules follow what istiod 1.30 does with such objects.
//!
//! All are warnings: a lesson may break a link on purpose.

mod analysis;
mod destination;
mod destination_rule;
mod gateway;
mod host;
mod index;
mod origination;
mod selector;
mod service_port;
mod virtual_service;

pub(super) use host::{matches as host_matches, without_namespace};
pub(super) use index::{Index, Object, legs, place};

use crate::diag::Diagnostic;
use crate::plan::ManifestObject;

/// Every link among the objects that cannot hold. An object whose manifest names no namespace
/// counts as being in `namespace`.
pub fn links(objects: &[ManifestObject], namespace: &str) -> Vec<Diagnostic> {
    links_beside(objects, &[], namespace)
}

/// As [`links`]; the objects of `ambient` are known to be there, and are not judged themselves.
pub fn links_beside(objects: &[ManifestObject], ambient: &[ManifestObject], namespace: &str) -> Vec<Diagnostic> {
    let index = Index::new(objects, ambient, namespace);
    let mut found = vec![];
    gateway::check(&index, &mut found);
    virtual_service::check(&index, &mut found);
    destination::check(&index, &mut found);
    origination::check(&index, &mut found);
    selector::check(&index, &mut found);
    destination_rule::check(&index, namespace, &mut found);
    service_port::check(&index, &mut found);
    analysis::add(objects, ambient, namespace, &mut found);
    found
}
