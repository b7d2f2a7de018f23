//! `tidewire sessions` and `tidewire revoke`: the admin API of gateways, from a terminal.
//!
//! A gateway lists the sockets that it holds itself, so `--gateway` may be given once for each; what is
//! kicked or revoked, all replicas learn from the one that is asked.

mod client;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidewire_auth::SecretText;
use tidewire_runtime::Exit;

use crate::http::secret_text;
use crate::table;
use crate::token::ttl;
use client::Gateways;

/// Which gateways, and as whom.
#[derive(Args, Debug)]
pub(crate) struct Access {
    /// A gateway; may be given more than once. On its public port a token with the admin role is needed;
    /// on an internal port of loopback none.
    #[arg(long = "gateway", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    gateways: Vec<String>,
    /// The tenant to act on, where the token does not say it: on an internal port, or when it is minted.
    #[arg(long)]
    tenant: Option<String>,
    /// The token. Without it or a file, one is minted from the development secret, if there is one.
    #[arg(long, env = "TIDEWIRE_TOKEN", hide_env_values = true, value_parser = secret_text)]
    token: Option<SecretText>,
    /// A file that holds the token. It goes before --token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with the secret to mint a token from, instead of the development secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// JSON, one object a line, instead of a table.
    #[arg(long)]
    json: bool,
}

/// `tidewire sessions`.
#[derive(Subcommand, Debug)]
pub(crate) enum Sessions {
    /// Lists the open sockets.
    List {
        #[command(flatten)]
        access: Access,
        /// Only those of this principal, such as `user:7`.
        #[arg(long)]
        principal: Option<String>,
        /// Shows no more of each gateway.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Closes sockets, which may come back at once.
    Kick {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        whom: Whom,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Whom to kick.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// One socket, by the id that the list shows.
    socket: Option<String>,
    /// All sockets of a principal, such as `user:7`.
    #[arg(long)]
    principal: Option<String>,
    /// All sockets that rest on the token of this id (`jti`).
    #[arg(long)]
    token_id: Option<String>,
    /// All sockets of the tenant.
    #[arg(long)]
    all: bool,
}

/// `tidewire revoke`.
#[derive(Subcommand, Debug)]
pub(crate) enum Revoke {
    /// Refuses one token.
    Token(Order),
    /// Refuses all tokens of a principal that were issued until now.
    Principal(Order),
    /// Refuses the token on which an open socket rests; its id is what the list shows.
    Socket(Order),
    /// Refuses all tokens of the tenant that were issued until now.
    Tenant {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        terms: Terms,
    },
    /// Lists the revocations in force.
    List {
        #[command(flatten)]
        access: Access,
    },
    /// Takes a revocation back.
    Lift {
        #[command(flatten)]
        access: Access,
        /// `token`, `principal` or `tenant`.
        kind: String,
        /// The id, as it was revoked.
        id: String,
    },
}

/// One revocation.
#[derive(Args, Debug)]
pub(crate) struct Order {
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    terms: Terms,
    /// The id of the token (`jti`), of the principal (`user:7`) or of the socket.
    id: String,
}

/// For how long, and why.
#[derive(Args, Debug)]
pub(crate) struct Terms {
    /// How long it holds: at least as long as the longest token lives that it means.
    #[arg(long = "for", default_value = "24h", value_parser = ttl)]
    time: Duration,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    reason: String,
}

pub(crate) fn sessions(command: Sessions) -> ExitCode {
    end(
        "sessions",
        match command {
            Sessions::List { access, principal, limit } => {
                list(&access, principal.as_deref(), limit)
            }
            Sessions::Kick { access, whom, reason } => kick(&access, whom, &reason),
        },
    )
}

pub(crate) fn revoke(command: Revoke) -> ExitCode {
    end(
        "revoke",
        match command {
            Revoke::Token(order) => put("token", &order.access, Some(order.id), &order.terms),
            Revoke::Principal(order) => {
                put("principal", &order.access, Some(order.id), &order.terms)
            }
            Revoke::Socket(order) => put("socket", &order.access, Some(order.id), &order.terms),
            Revoke::Tenant { access, terms } => put("tenant", &access, None, &terms),
            Revoke::List { access } => revocations(&access),
            Revoke::Lift { access, kind, id } => lift(&access, &kind, &id),
        },
    )
}

fn end(command: &str, outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Clean.into(),
        Err(e) => {
            eprintln!("tidewire {command}: {e:#}");
            Exit::StartFailed.into()
        }
    }
}

fn list(access: &Access, principal: Option<&str>, limit: u32) -> Result<()> {
    let gateways = Gateways::new(access)?;
    let mut found = Vec::new();
    for gateway in gateways.all() {
        let filter: Vec<_> = principal.map(|name| ("principal", name)).into_iter().collect();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut listed, total) = gateways.pages(gateway, "sessions", &filter, limit)?;
        if listed.len() < total {
            eprintln!("tidewire sessions: {gateway}: {} of {total} are shown", listed.len());
        }
        found.append(&mut listed);
    }
    let columns = ["id", "tenant", "principal", "mode", "session", "since", "address"];
    table::print(access.json, &found, &columns, Some("subscriptions"))
}

fn revocations(access: &Access) -> Result<()> {
    let gateways = Gateways::new(access)?;
    let first = gateways.first()?;
    let (found, _) = gateways.pages(first, "revocations", &[], usize::MAX)?;
    let columns = ["tenant", "kind", "id", "at", "until", "by", "reason"];
    table::print(access.json, &found, &columns, None)
}

fn kick(access: &Access, whom: Whom, reason: &str) -> Result<()> {
    let (kind, id) = match whom {
        Whom { socket: Some(id), .. } => ("socket", Some(id)),
        Whom { principal: Some(id), .. } => ("principal", Some(id)),
        Whom { token_id: Some(id), .. } => ("token", Some(id)),
        Whom { all: true, .. } => ("tenant", None),
        Whom { .. } => bail!("name whom to kick"),
    };
    let gateways = Gateways::new(access)?;
    let order = gateways.order(kind, id, reason);
    let done = gateways.post("kicks", kind == "socket", &order)?;
    told(access, "kicked", &done)
}

fn put(kind: &str, access: &Access, id: Option<String>, terms: &Terms) -> Result<()> {
    let gateways = Gateways::new(access)?;
    let mut order = gateways.order(kind, id, &terms.reason);
    if let Some(members) = order.as_object_mut() {
        members.insert("seconds".to_owned(), json!(terms.time.as_secs()));
    }
    let done = gateways.post("revocations", kind == "socket", &order)?;
    told(access, "revoked", &done)
}

fn lift(access: &Access, kind: &str, id: &str) -> Result<()> {
    let gateways = Gateways::new(access)?;
    let done = gateways.delete(kind, id)?;
    if access.json {
        println!("{done}");
    } else {
        println!("lifted");
    }
    Ok(())
}

/// Says what was done, as the gateway wrote it down.
fn told(access: &Access, word: &str, done: &Value) -> Result<()> {
    if access.json {
        println!("{done}");
        return Ok(());
    }
    let text = |name: &str| table::cell(done.get(name).unwrap_or(&Value::Null));
    let until = match word {
        "revoked" => format!(" until {} UTC", text("until")),
        _ => String::new(),
    };
    let whom = match text("kind").as_str() {
        "tenant" => format!("all of tenant {}", text("tenant")),
        kind => format!("{kind} {} of tenant {}", text("id"), text("tenant")),
    };
    println!("{word}: {whom}{until}");
    Ok(())
}
