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
mod unused;
mod virtual_service;

pub(super) use host::{matches as host_matches, without_namespace};
pub(super) use index::{Index, Object, legs, place};

use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use crate::plan::ManifestObject;

/// Whether a link may be missing only because an object was refused: it stands in that object, or in what would have
/// defined the other end.
pub fn is_blamed(link: &Diagnostic, refused: &[&ManifestObject]) -> bool {
    let ends: &[&str] = match link.code {
        "W0321" => &["DestinationRule", "ServiceEntry"],
        "W0322" | "W0323" | "W0339" => &["ServiceEntry", "Service"],
        "W0320" | "W0324" | "W0325" | "W0326" | "W0327" | "W0328" | "W0329" | "W0330" | "W0332" | "W0333" | "W0334"
        | "W0336" | "W0337" | "W0345" => &["Gateway", "VirtualService", "DestinationRule"],
        _ => &["Gateway", "VirtualService", "DestinationRule", "ServiceEntry", "Service"],
    };
    refused.iter().any(|object| {
        let kind = object.identity.kind.as_str();
        // One whose kind is misspelt, too.
        ends.iter().any(|end| *end == kind || nearest(kind, [*end]).is_some())
            || link.labels.iter().any(|label| {
                label.place.source.name == object.place.source.name
                    && object.place.span.start <= label.place.span.start
                    && label.place.span.start <= object.place.span.end
            })
    })
}

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
    unused::check(&index, namespace, &mut found);
    analysis::add(objects, ambient, namespace, &mut found);
    found
}
