//! `egress-scn`: see the library's documentation.

#[cfg(target_os = "linux")]
use egress_scn::lab;

fn main() {
    // The lab's process must leave for its namespaces before any thread exists, so before anything else.
    #[cfg(target_os = "linux")]
    if let Some(code) = lab::server::main_if_asked() {
        std::process::exit(code);
    }
    std::process::exit(egress_scn::cli::main());
}
