//! Which token a command shows, and where it comes from.
//!
//! A token that is given is used as it is; a file is read for each connection, so that whoever renews it
//! there renews it here; without either, tokens are minted from a secret (the development secret, or the
//! one in `--secret-file`) and renewed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tidewire_auth::{
    MintClaims, Secret, SecretError, SecretText, TokenMinter, load_secret, unix_now,
};

use crate::token::DEV_SECRET_FILE;

/// For how long a minted token is good.
const TTL: Duration = Duration::from_secs(3600);
/// A minted token is replaced so long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Where the token comes from.
#[derive(clap::Args, Debug)]
pub(crate) struct BearerArgs {
    /// The token. Without it or a file, one is minted from the development secret (.tidewire/dev-secret).
    #[arg(long, env = "TIDEWIRE_TOKEN", hide_env_values = true, value_parser = secret_text)]
    pub(crate) token: Option<SecretText>,
    /// A file that holds the token, read anew for each connection. It goes before --token.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A file with the secret to mint tokens from, instead of the development secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The tenant of a minted token.
    #[arg(long, default_value = "demo")]
    pub(crate) tenant: String,
}

#[expect(clippy::unnecessary_wraps, reason = "the form that clap asks for")]
pub(crate) fn secret_text(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::new(text.trim()))
}

/// Why there is no token.
#[derive(Debug, Error)]
pub(crate) enum BearerError {
    /// The token's file.
    #[error("{}: cannot read the token", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was given is no token.
    #[error("the token has to be one line of visible characters")]
    Malformed,
    /// Nothing was given and there is nothing to mint from.
    #[error(
        "no token: give --token, --token-file or TIDEWIRE_TOKEN, or run this in the folder in which \
         'tidewire dev' runs ({DEV_SECRET_FILE})"
    )]
    None,
    /// The secret cannot be had, or does not sign.
    #[error("no token can be minted from the secret")]
    Secret(#[from] SecretError),
    /// The secret there is not for development.
    #[error("{DEV_SECRET_FILE} is not a development secret")]
    NotDevelopment,
}

/// Gives tokens.
#[derive(Debug)]
pub(crate) enum Bearer {
    /// As given.
    Given(SecretText),
    /// From a file.
    File(PathBuf),
    /// Made here.
    Minted(Minted),
}

/// Mints tokens and remembers the last one.
#[derive(Debug)]
pub(crate) struct Minted {
    secret: Secret,
    tenant: String,
    roles: Vec<String>,
    last: Option<(SecretText, i64)>,
}

impl Bearer {
    /// As the arguments say. A minted token gets `roles`.
    pub(crate) fn new(args: &BearerArgs, roles: &[&str]) -> Result<Self, BearerError> {
        if let Some(path) = &args.token_file {
            return Ok(Self::File(path.clone()));
        }
        if let Some(token) = &args.token {
            return Ok(Self::Given(checked(token.clone())?));
        }
        let secret = match &args.secret_file {
            Some(path) => load_secret(path)?,
            None => development_secret()?,
        };
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Ok(Self::Minted(Minted { secret, tenant: args.tenant.clone(), roles, last: None }))
    }

    /// A token that is good now, as far as this side can know.
    pub(crate) fn token(&mut self) -> Result<SecretText, BearerError> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(path) => {
                let read = fs::read_to_string(&*path);
                let text =
                    read.map_err(|source| BearerError::File { path: path.clone(), source })?;
                checked(SecretText::new(text.trim()))
            }
            Self::Minted(minted) => minted.token(unix_now()),
        }
    }

    /// Whether a new token can be had once the last one is over.
    pub(crate) fn renews(&self) -> bool {
        !matches!(self, Self::Given(_))
    }

    /// Forgets the last minted token: the server said that its time is over.
    pub(crate) fn forget(&mut self) {
        if let Self::Minted(minted) = self {
            minted.last = None;
        }
    }

    /// In how long a connection that shows the last token should be replaced by one with a new token.
    pub(crate) fn renew_in(&self) -> Option<Duration> {
        let Self::Minted(Minted { last: Some((_, renew_at)), .. }) = self else { return None };
        Some(Duration::from_secs(u64::try_from(renew_at - unix_now()).unwrap_or(0)))
    }
}

impl Minted {
    fn token(&mut self, now: i64) -> Result<SecretText, BearerError> {
        if let Some((token, renew_at)) = &self.last
            && now < *renew_at
        {
            return Ok(token.clone());
        }
        let mut claims = MintClaims::new(&self.tenant, now);
        claims.roles.clone_from(&self.roles);
        claims.ttl_seconds = seconds(TTL);
        let token = SecretText::new(&TokenMinter::mint(&self.secret, &claims)?);
        self.last = Some((token.clone(), now + seconds(TTL - RENEW_BEFORE)));
        Ok(token)
    }
}

fn development_secret() -> Result<Secret, BearerError> {
    let path = Path::new(DEV_SECRET_FILE);
    if !path.exists() {
        return Err(BearerError::None);
    }
    let secret = load_secret(path)?;
    secret.is_development().then_some(secret).ok_or(BearerError::NotDevelopment)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Only what may stand in a header, so that a bad file is told here and not by a library.
fn checked(token: SecretText) -> Result<SecretText, BearerError> {
    let text = token.expose();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BearerError::Malformed);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(token: Option<&str>, token_file: Option<PathBuf>) -> BearerArgs {
        BearerArgs {
            token: token.map(SecretText::new),
            token_file,
            secret_file: None,
            tenant: "demo".into(),
        }
    }

    #[test]
    fn a_file_is_read_each_time_and_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut bearer = Bearer::new(&args(Some("given"), Some(path.clone())), &[]).unwrap();
        assert!(matches!(bearer.token(), Err(BearerError::File { .. })));
        for text in ["one\n", " two "] {
            fs::write(&path, text).unwrap();
            assert_eq!(bearer.token().unwrap().expose(), text.trim());
        }
        fs::write(&path, "two words").unwrap();
        assert!(matches!(bearer.token(), Err(BearerError::Malformed)));
    }

    #[test]
    fn a_given_token_is_not_shown_and_not_renewed() {
        let args = args(Some("s3cret"), None);
        assert!(!format!("{args:?}").contains("s3cret"));
        let mut bearer = Bearer::new(&args, &[]).unwrap();
        assert_eq!(bearer.token().unwrap().expose(), "s3cret");
        assert!(!bearer.renews());
        assert_eq!(bearer.renew_in(), None);
    }

    #[test]
    fn a_secret_of_ones_own_signs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let args = BearerArgs { secret_file: Some(path.clone()), ..args(None, None) };
        assert!(matches!(Bearer::new(&args, &[]), Err(BearerError::Secret(_))));
        fs::write(&path, "a secret that is long enough for HS256\n").unwrap();
        let mut bearer = Bearer::new(&args, &["producer"]).unwrap();
        assert_eq!(bearer.token().unwrap().expose().split('.').count(), 3);
        assert!(bearer.renews());
    }

    #[test]
    fn a_minted_token_is_kept_until_shortly_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let secret = tidewire_auth::dev_secret(&folder.path().join("secret")).unwrap();
        let mut minted = Minted { secret, tenant: "demo".into(), roles: vec![], last: None };
        let first = minted.token(1_000).unwrap();
        assert_eq!(minted.token(1_000 + 3_299).unwrap(), first);
        assert_ne!(minted.token(1_000 + 3_300).unwrap(), first);
    }
}
