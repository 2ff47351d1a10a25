//! New scenarios from patterns: a scenario and its manifests as text. Does no I/O.

mod host;

pub use host::{Host, Refused};

/// What a new scenario shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Through the egress gateway by SNI; TLS stays the app's.
    Passthrough,
    /// The same, wrapped in mesh mTLS up to the gateway.
    Mutual,
    /// Plain HTTP in the app; the gateway begins TLS.
    Origination,
    /// Blocked until a ServiceEntry registers it.
    Block,
    /// A Sidecar narrows what proxies see; the host stays.
    Scope,
}

/// A file to write, its path relative to the working folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub text: String,
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("templates/", $name))
    };
}

impl Pattern {
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Passthrough => "passthrough",
            Pattern::Mutual => "mutual",
            Pattern::Origination => "origination",
            Pattern::Block => "block",
            Pattern::Scope => "scope",
        }
    }

    fn scenario(self) -> &'static str {
        match self {
            Pattern::Passthrough => template!("passthrough.egress"),
            Pattern::Mutual => template!("mutual.egress"),
            Pattern::Origination => template!("origination.egress"),
            Pattern::Block => template!("block.egress"),
            Pattern::Scope => template!("scope.egress"),
        }
    }

    /// File names and texts.
    fn manifests(self) -> &'static [(&'static str, &'static str)] {
        const ENTRY: (&str, &str) = ("serviceentry.yaml", template!("serviceentry.yaml"));
        match self {
            Pattern::Passthrough => &[
                ENTRY,
                ("gateway.yaml", template!("passthrough-gateway.yaml")),
                ("destinationrule.yaml", template!("passthrough-destinationrule.yaml")),
                ("virtualservice.yaml", template!("passthrough-virtualservice.yaml")),
            ],
            Pattern::Mutual => &[
                ENTRY,
                ("gateway.yaml", template!("mutual-gateway.yaml")),
                ("destinationrule.yaml", template!("mutual-destinationrule.yaml")),
                ("virtualservice.yaml", template!("mutual-virtualservice.yaml")),
            ],
            Pattern::Origination => &[
                ("serviceentry.yaml", template!("origination-serviceentry.yaml")),
                ("gateway.yaml", template!("origination-gateway.yaml")),
                ("destinationrule.yaml", template!("origination-destinationrule.yaml")),
                ("virtualservice.yaml", template!("origination-virtualservice.yaml")),
            ],
            Pattern::Block => &[ENTRY],
            Pattern::Scope => &[ENTRY, ("sidecar.yaml", template!("sidecar.yaml"))],
        }
    }
}

/// The folder of a new scenario's manifests; the scenario stands beside it under the same name.
pub fn folder(pattern: Pattern, host: &Host) -> String {
    format!("{}-{}", pattern.name(), host.slug())
}

/// The scenario, then its manifests. They stand in a folder of their own beside the scenario: a new `manifests/` there
/// would hide the one above from every other scenario.
pub fn scaffold(pattern: Pattern, host: &Host, namespace: &str) -> Vec<File> {
    let folder = folder(pattern, host);
    let fill = |template: &str| {
        let filled = template.replace("{{host}}", &host.shown).replace("{{dns}}", &host.dns);
        filled.replace("{{name}}", &host.slug()).replace("{{namespace}}", namespace).replace("{{folder}}", &folder)
    };
    let mut files = vec![File { path: format!("{folder}.egress"), text: fill(pattern.scenario()) }];
    let manifests = pattern.manifests().iter();
    files.extend(manifests.map(|(name, text)| File { path: format!("{folder}/{name}"), text: fill(text) }));
    files
}
