//! `lab status`.

use super::StatusForm;
use crate::cli::{fail, output};
use crate::lab::kept;
use crate::lab::kept::overview::Overview;
use unicode_width::UnicodeWidthStr;

/// Shows the lab of that name, or all that are up.
pub async fn run(name: Option<&str>, form: StatusForm) -> i32 {
    let labs = match name {
        Some(_) => match super::find(name) {
            Ok(lab) => vec![lab],
            Err(code) => return code,
        },
        None => kept::all(),
    };
    if labs.is_empty() {
        return match super::find(name) {
            Err(code) => code,
            // One came up this very moment.
            Ok(_) => 1,
        };
    }
    let mut seen = vec![];
    let mut code = 0;
    for lab in labs {
        if !lab.record.ready {
            code = fail(&format!("the lab \"{}\" is starting; its log: {}", lab.record.name, lab.log().display()), 1);
            continue;
        }
        match lab.overview().await {
            Ok(overview) => seen.push(overview),
            Err(message) => code = fail(&format!("the lab \"{}\": {message}", lab.record.name), 1),
        }
    }
    if seen.iter().any(|lab| !lab.all_ready()) {
        code = 1;
    }
    match form {
        StatusForm::Json => {
            let value = serde_json::to_value(&seen).unwrap_or_default();
            output::print(&output::document(&value, output::Format::Json));
        }
        StatusForm::Text => output::print(&seen.iter().map(text).collect::<Vec<_>>().join("\n")),
    }
    code
}

fn text(lab: &Overview) -> String {
    let how = if lab.detached { "detached" } else { "in a terminal" };
    let mut head = vec![
        ["lab".to_string(), format!("{}: up since {}, {how} (process {})", lab.name, lab.since, lab.process)],
        ["kubeconfig".into(), format!("{} (context {})", lab.kubeconfig.display(), lab.context)],
        ["API".into(), lab.server.clone()],
        ["log".into(), lab.log.display().to_string()],
    ];
    if let Some(file) = &lab.added_to {
        head.insert(2, [String::new(), format!("{} has the context too", file.display())]);
    }
    let mut rows = vec![["POD", "READY", "STATUS", "IP", "PORTS"].map(String::from)];
    rows.extend(lab.pods.iter().map(|pod| {
        let name = format!("{}/{}", pod.namespace, pod.name);
        [name, format!("{}/{}", pod.ready, pod.containers), pod.status.clone(), pod.ip.clone(), pod.ports.join(", ")]
    }));
    let mut services = vec![["SERVICE", "ADDRESS", "PORTS"].map(String::from)];
    services.extend(
        lab.services.iter().map(|s| [format!("{}/{}", s.namespace, s.name), s.address.clone(), s.ports.join(", ")]),
    );
    let mut sites = vec![["SITE", "ADDRESS"].map(String::from)];
    sites.extend(lab.sites.iter().map(|site| [site.host.clone(), site.address.clone()]));
    [columns(&head), columns(&rows), columns(&services), columns(&sites)].join("\n")
}

/// Rows as columns, three spaces apart.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += cell;
            line += &" ".repeat(width - cell.width() + 3);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
