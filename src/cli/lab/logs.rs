//! `lab logs`: what the lab's own parts had to say.

use crate::cli::{fail, interrupted, output};
use crate::lab::kept;

/// Prints the log; with `follow`, what comes to it until the lab ends.
pub async fn run(name: Option<&str>, follow: bool) -> i32 {
    let lab = match kept::find(name) {
        Ok(lab) => lab,
        Err(message) => {
            let Some((_, text)) = kept::last_words(name.unwrap_or(kept::DEFAULT_NAME)) else {
                return fail(&message, 3);
            };
            output::remarks("note", [&format!("{message}; this is the log of the last one, which ended by itself")]);
            output::print(&text);
            return 0;
        }
    };
    if follow {
        let following = tokio::task::spawn_blocking(move || lab.follow_log(output::print));
        return tokio::select! {
            followed = following => match followed {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => fail(&format!("cannot follow the log: {error}"), 3),
                Err(error) => fail(&error.to_string(), 3),
            },
            () = interrupted() => 130,
        };
    }
    let read = std::fs::read_to_string(lab.log());
    match read {
        Ok(text) => {
            output::print(&text);
            0
        }
        Err(error) => fail(&format!("cannot read {}: {error}", lab.log().display()), 3),
    }
}
