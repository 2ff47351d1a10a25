//! `egress-scn doctor`: can this machine run the lab?

use clap::Args;

#[derive(Debug, Args)]
pub struct Doctor {}

impl Doctor {
    #[allow(clippy::print_stdout)]
    pub fn run(self) -> i32 {
        #[cfg(target_os = "linux")]
        {
            match crate::lab::server::check_machine() {
                Ok(()) => {
                    println!("✓ this machine can run the lab");
                    0
                }
                Err(reasons) => {
                    println!("✗ this machine cannot run the lab\n{reasons}");
                    3
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        super::fail("the lab runs on Linux only; give a cluster with --context NAME", 3)
    }
}
