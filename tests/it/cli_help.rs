//! `docs/reference/cli.md` is what the binary says of itself.

use std::fmt::Write as _;
use std::process::Command;

use crate::pages::check_generated;

/// What the binary answers, without a terminal and without an environment.
fn told(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_counterfoil")).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The commands that the help lists.
fn commands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    let names = listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

#[test]
fn generated_command_line_is_that_of_the_binary() {
    let help = told(&["--help"]);
    let commands = commands(&help);
    assert!(commands.contains(&"serve"), "{help}");
    let mut page = "# Command line\n\nWhat `counterfoil --help` and the help of each command say.\n\
        This page is made from the binary; `UPDATE=1 cargo test --test it generated` rewrites it.\n\
        What a command reads from the environment is in [config.md](config.md).\n"
        .to_owned();
    write!(page, "\n## counterfoil\n\n```text\n{help}```\n").unwrap();
    for command in commands {
        let help = told(&[command, "--help"]);
        assert!(help.contains("\nExample"), "`counterfoil {command} --help` has no example: add it with `after_help`");
        write!(page, "\n## counterfoil {command}\n\n```text\n{help}```\n").unwrap();
    }
    check_generated("docs/reference/cli.md", &page);
}

#[test]
fn a_mistake_on_the_command_line_is_status_2_and_says_what_to_do() {
    for arguments in [&["sreve"][..], &["serve", "--listen", "here"], &["token"], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_counterfoil")).args(arguments).env_clear().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("Usage: counterfoil") || said.contains("--help"), "{arguments:?}: {said}");
    }
}
