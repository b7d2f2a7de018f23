//! `tidewire token`: prints one token and a line break, nothing else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tidewire_auth::{
    MintClaims, Secret, SecretError, TokenMinter, dev_secret, load_secret, unix_now,
};
use tidewire_runtime::Exit;

/// Where `tidewire dev` keeps its secret, below the folder in which it runs.
pub(crate) const DEV_SECRET_FILE: &str = ".tidewire/dev-secret";

/// Who the token speaks for.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The tenant.
    #[arg(long)]
    tenant: String,
    /// The key of the user.
    #[arg(long)]
    user: u64,
    /// A role; may be given more than once. `producer` may post changes, `admin` may administer.
    #[arg(long = "role")]
    roles: Vec<String>,
    /// How long it is good: `90s`, `15m`, `1h`, `7d`.
    #[arg(long, default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    /// The secret to sign with, instead of the development secret (made on first use).
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// The issuer.
    #[arg(long, default_value = tidewire_auth::DEV_ISSUER)]
    issuer: String,
    /// The audience.
    #[arg(long, default_value = tidewire_auth::DEV_AUDIENCE)]
    audience: String,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match mint(args) {
        Ok(token) => {
            println!("{token}");
            Exit::Clean.into()
        }
        Err(e) => {
            eprintln!("tidewire token: {}", e);
            Exit::StartFailed.into()
        }
    }
}

fn mint(args: &Args) -> Result<String, SecretError> {
    let secret: Secret = match &args.secret_file {
        Some(path) => load_secret(path)?,
        None => dev_secret(DEV_SECRET_FILE.as_ref())?,
    };
    let mut claims = MintClaims::new(&args.tenant, unix_now());
    claims.user = Some(args.user);
    claims.roles.clone_from(&args.roles);
    claims.ttl_seconds = i64::try_from(args.ttl.as_secs()).unwrap_or(i64::MAX);
    claims.issuer.clone_from(&args.issuer);
    claims.audience.clone_from(&args.audience);
    TokenMinter::mint(&secret, &claims)
}

/// Reads a duration in whole seconds, minutes, hours or days.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 90s, 15m, 1h or 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    match count.checked_mul(unit) {
        Some(seconds @ 1..=315_360_000) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?} is not between 1s and 3650d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(ttl(text).ok(), expected.map(Duration::from_secs), "{text:?}");
        };
        check("90s", Some(90));
        check("15m", Some(900));
        check("1h", Some(3_600));
        check("7d", Some(604_800));
        for bad in
            ["", "1", "h", "1w", "-1h", "1.5h", "0s", "99999999999999999999d", "3651d", "1 h"]
        {
            check(bad, None);
        }
    }
}
