//! The walk-throughs in `examples/`: each is run against a real service, and says what its `.out` file says.
//!
//! What differs from run to run is replaced first: ids, instants, tokens. `UPDATE=1` writes the files anew.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::demo::{counterfoil, folder};

/// A service that ends with its test.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn start(data_dir: &Path, options: &[&str]) -> Self {
        let mut child = counterfoil("serve", data_dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.split_whitespace().find(|word| word.starts_with("http://"));
        let address = address.unwrap_or_else(|| panic!("no address in `{line}`")).to_owned();
        Self { child, address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let id = self.child.id().to_string();
        // SIGTERM, so that the private Postgres is stopped, too.
        let told = Command::new("kill").arg(&id).status().is_ok_and(|status| status.success());
        if !told {
            let _gone_already = self.child.kill();
        }
        let _ended = self.child.wait();
    }
}

/// Replaces what differs: whatever looks like an id, an instant or a signed token, and the seconds until a reset.
fn normalised(text: &str) -> String {
    let of_time = |line: &str| line.starts_with("\"window_s\":");
    let timeless = |line: &str| if of_time(line) { "\"window_s\":<seconds>,\n".to_owned() } else { line.to_owned() };
    let text: String = text.split_inclusive('\n').map(timeless).collect();
    let ends_a_word = |c: char| matches!(c, '"' | ' ' | ',' | '/' | '\n');
    text.split_inclusive(ends_a_word)
        .map(|part| {
            let word = part.trim_end_matches(ends_a_word);
            let name = if uuid::Uuid::try_parse(word).is_ok() {
                "<id>"
            } else if chrono::DateTime::parse_from_rfc3339(word).is_ok() {
                "<instant>"
            } else if word.starts_with("eyJ") {
                "<token>"
            } else {
                word
            };
            name.to_owned() + part.strip_prefix(word).unwrap_or_default()
        })
        .collect()
}

fn check(served: &Served, data_dir: &Path, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let output = Command::new("sh")
        .arg(folder.join(format!("{name}.sh")))
        .env("ADDRESS", &served.address)
        .env("COUNTERFOIL", env!("CARGO_BIN_EXE_counterfoil"))
        .env("DATA_DIR", data_dir)
        .output()
        .expect("sh runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    let said = normalised(&String::from_utf8_lossy(&output.stdout));
    let expected = folder.join(format!("{name}.out"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&expected, &said).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&expected).expect("the walk-through has an .out file");
    assert_eq!(said, expected, "{name} says something else; UPDATE=1 writes it anew");
}

#[test]
fn every_walk_through_says_what_its_file_says() {
    let folder = folder();
    let books = folder.path().join("books");
    let served = Served::start(&books, &[]);
    for name in ["tour", "refusals"] {
        check(&served, &books, name);
    }
}
