//! What holds the house together: checks of the layers, the generated pages and the size of files.
//!
//! `make check` runs all of them; `cargo run --release -p xtask -- <task>` runs one. A check prints
//! everything that it found, not only the first, and ends with 1.

mod docs;
mod files;
mod layers;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "\
usage: xtask <task>

  layers         refuse dependencies between crates that the rings forbid
  docs           write the generated pages of docs/reference, then check every relative link
  docs --check   the same, but refuse a page that differs instead of writing it
  files          print the median length of source files and the long ones; refuse the huge ones
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["layers"] => layers::check(),
        ["docs"] => docs::run(docs::Drift::Write),
        ["docs", "--check"] => docs::run(docs::Drift::Refuse),
        ["files"] => files::check(),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("{}: {} found", words.join(" "), problems.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{}: {error:#}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
