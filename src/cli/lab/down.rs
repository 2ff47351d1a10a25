//! `lab down`.

use crate::cli::{fail, output};
use crate::lab::kept;

/// Ends a lab, or all.
pub fn run(name: Option<&str>, all: bool) -> i32 {
    let labs = if all {
        kept::all()
    } else {
        match super::find(name) {
            Ok(lab) => vec![lab],
            Err(code) => return code,
        }
    };
    let mut code = 0;
    for lab in labs {
        let name = &lab.record.name;
        match lab.end() {
            Ok(()) => output::print(&format!("The lab \"{name}\" has ended.\n")),
            Err(error) => code = fail(&format!("the lab \"{name}\" (process {}): {error}", lab.record.process), 3),
        }
    }
    code
}
