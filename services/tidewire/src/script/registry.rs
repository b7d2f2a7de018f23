//! `put`, `list`, `show`, `delete`: the registry of a gateway.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use tidewire_auth::SecretText;
use tidewire_event::percent_encode;

use super::file::ScriptFile;
use super::{Failed, saved};
use crate::http::{Bearer, BearerArgs, HttpClient, Refused};
use crate::table;

/// The registry's path on the public port.
const PATH: &str = "/ws/rest/DLPAlertScript";
/// The role that a minted token gets.
const AUTHOR: &str = "script-author";
/// The status of a code that is taken.
const CONFLICT: u16 = 409;

/// Which gateway, and as whom.
#[derive(clap::Args, Debug)]
pub(crate) struct Access {
    /// The gateway.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    bearer: BearerArgs,
}

/// `tidewire script put`.
#[derive(clap::Args, Debug)]
pub(crate) struct Put {
    /// The record (`x.json`), or the source beside it (`x.rhai`).
    file: PathBuf,
    #[command(flatten)]
    access: Access,
    /// Refuse to replace a script that has the code.
    #[arg(long)]
    create_only: bool,
    /// Print the script as it was saved, as JSON.
    #[arg(long)]
    json: bool,
}

/// `tidewire script list`.
#[derive(clap::Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    access: Access,
    /// JSON, one script a line, instead of a table.
    #[arg(long)]
    json: bool,
}

/// `tidewire script show` and `delete`.
#[derive(clap::Args, Debug)]
pub(crate) struct One {
    /// The script's code, or its key.
    code: String,
    #[command(flatten)]
    access: Access,
    /// Print the answer as JSON; what `show` prints so can be changed and put again.
    #[arg(long)]
    json: bool,
}

pub(super) fn put(args: &Put) -> Result<(), Failed> {
    let file = ScriptFile::read(&args.file)?;
    let registry = Registry::new(&args.access)?;
    let record = Value::Object(file.record.members());
    let created = registry.ask("POST", "", Some(&record));
    let (word, answer) = match created {
        Err(error) if !args.create_only && status(&error) == Some(CONFLICT) => {
            ("replaced", registry.ask("PUT", &one(&file.record.code), Some(&record)))
        }
        created => ("created", created),
    };
    let script = answer.map_err(|error| match error.downcast_ref::<Refused>() {
        Some(Refused { status: 400, message }) => Failed::Script(file.refused(message)),
        _ => Failed::Other(error.context(args.file.display().to_string())),
    })?;
    if args.json {
        println!("{script}");
    } else {
        let text = |name: &str| table::cell(script.get(name).unwrap_or(&Value::Null));
        println!("{word} {}, version {}", text("code"), text("version"));
    }
    Ok(())
}

pub(super) fn list(args: &List) -> Result<(), Failed> {
    let scripts = Registry::new(&args.access)?.all()?;
    let rows: Vec<Value> =
        if args.json { scripts } else { scripts.iter().map(saved::row).collect() };
    Ok(table::print(args.json, &rows, &saved::COLUMNS, None)?)
}

pub(super) fn show(args: &One) -> Result<(), Failed> {
    let script = Registry::new(&args.access)?.ask("GET", &one(&args.code), None)?;
    if args.json {
        println!("{script:#}");
    } else {
        print!("{}", saved::page(&script));
    }
    Ok(())
}

pub(super) fn delete(args: &One) -> Result<(), Failed> {
    let answer = Registry::new(&args.access)?.ask("DELETE", &one(&args.code), None)?;
    if args.json {
        println!("{answer}");
    } else {
        println!("deleted {}", table::cell(answer.get("deleted").unwrap_or(&Value::Null)));
    }
    Ok(())
}

/// What stands behind [`PATH`] for one script.
fn one(code: &str) -> String {
    format!("/{}", percent_encode(code))
}

fn status(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refused>().map(|refused| refused.status)
}

struct Registry {
    url: String,
    token: SecretText,
}

impl Registry {
    fn new(access: &Access) -> Result<Self, Failed> {
        let token = Bearer::new(&access.bearer, &[AUTHOR]).and_then(|mut bearer| bearer.token());
        let token = token.context("no token")?;
        Ok(Self { url: access.url.clone(), token })
    }

    fn ask(&self, method: &str, behind: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let client = HttpClient::new(&self.url, &format!("{PATH}{behind}"))?;
        client.ask(method, Some(&self.token), body)
    }

    /// All pages.
    fn all(&self) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let answer = self.ask("GET", &format!("?limit=1000{after}"), None)?;
            let scripts = answer.get("scripts").and_then(Value::as_array);
            let scripts = scripts.ok_or_else(|| {
                anyhow!("{} gave an answer without 'scripts': is it a gateway?", self.url)
            })?;
            found.extend(scripts.iter().cloned());
            match answer.get("next").and_then(Value::as_str) {
                Some(next) if !scripts.is_empty() => {
                    after = format!("&after={}", percent_encode(next));
                }
                _ => return Ok(found),
            }
        }
    }
}
