//! `completions` and `man`: made from the command line, so every subcommand is in them.

use crate::program::run;

/// The subcommands, as `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = run(&["--help"]).out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let words = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> = words.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() >= 12, "{help}");
    names
}

#[test]
fn every_shell_completes_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = run(&["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{shell}");
        for name in subcommands() {
            assert!(said.out.contains(&name), "{shell} does not complete {name}");
        }
        assert!(said.out.contains("dry-run"), "{shell} does not complete options");
    }
    assert_eq!(run(&["completions", "tcl"]).code, 2);
}

/// bash itself, asked what comes next.
#[test]
fn bash_completes() {
    let script = format!(
        "{}\nCOMP_WORDS=(egress-scn pl); COMP_CWORD=1; _egress__scn egress-scn pl egress-scn; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(egress-scn run --dr); COMP_CWORD=2; _egress__scn egress-scn --dr run; echo \"${{COMPREPLY[@]}}\"\n",
        run(&["completions", "bash"]).out
    );
    let output = std::process::Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "plan\n--dry-run\n", "{output:?}");
}

#[test]
fn every_subcommand_has_its_page() {
    let page = run(&["man"]);
    assert_eq!((page.code, page.err.as_str()), (0, ""));
    assert!(page.out.contains(".TH egress-scn 1"), "{}", page.out);
    for name in subcommands() {
        let escaped = name.replace('-', "\\-");
        assert!(page.out.contains(&format!("egress\\-scn\\-{escaped}(1)")), "the page does not name {name}");
        let own = run(&["man", &name]);
        assert_eq!(own.code, 0, "{}", own.err);
        assert!(own.out.contains(&format!(".TH egress-scn-{name} 1")), "{}", own.out);
    }
    let wrong = run(&["man", "nothing"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("there are: run, "), "{}", wrong.err);
}
