//! `egress-scn lsp`: the language server, over standard input and output.

use super::fail;
use crate::explain::Language;
use clap::Args;
use lsp_server::Connection;

#[derive(Debug, Args)]
pub struct Lsp {
    /// What editors add when they start a server this way; it is the only way there is.
    #[arg(long, hide = true)]
    stdio: bool,
}

impl Lsp {
    pub fn run(self) -> i32 {
        let (connection, threads) = Connection::stdio();
        let served = crate::lsp::serve(&connection, Language::of_locale(&super::explain::locale()));
        drop(connection);
        match served {
            Ok(()) => match threads.join() {
                Ok(()) => 0,
                Err(error) => fail(&error.to_string(), 3),
            },
            Err(error) => fail(&error.to_string(), 3),
        }
    }
}
