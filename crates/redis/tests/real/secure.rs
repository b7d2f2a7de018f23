//! TLS with an authority of one's own, and a user who may do what the reference page lists and no more.

use std::fs;

use tidewire_redis::{ACL_COMMANDS, ACL_COMMANDS_CLUSTER, ACL_COMMANDS_SENTINEL, RedisOptions};
use tidewire_store::{StoreError, StoreStatus, contract};
use tidewire_testkit::redis::{Redis, RedisOptions as ServerOptions, RedisUser};

use crate::plain::Standalone;
use crate::{At, Connected, options, session};

const PASSWORD: &str = "s3cret, with a comma";

fn server(tls: bool, rules: &str) -> Option<Redis> {
    // The program does this; in a test process another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let password = "s3cret-word".to_owned();
    let user = RedisUser { name: "tidewire".into(), password, rules: rules.to_owned() };
    let options = ServerOptions { tls, user: Some(user), ..ServerOptions::default() };
    let redis = Redis::start_with(&options).unwrap()?;
    fs::write(redis.folder().join("password"), "s3cret-word\n").unwrap();
    fs::write(redis.folder().join("wrong"), PASSWORD).unwrap();
    Some(redis)
}

fn login(redis: &Redis) -> RedisOptions {
    RedisOptions {
        username: Some("tidewire".into()),
        password_file: Some(redis.folder().join("password")),
        ca_file: Some(redis.ca_file()).filter(|_| redis.url().starts_with("rediss:")),
        ..options(redis.url())
    }
}

#[tokio::test]
async fn keeps_the_contract_over_tls_with_the_documented_rights() {
    let Some(redis) = server(true, &format!("~tw:* {ACL_COMMANDS}")) else { return };
    let connected = Connected::to(login(&redis)).await;
    contract::all(&Standalone(&connected, &redis)).await;
    assert_eq!(connected.store.health().errors, 0);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(redis) = server(false, &format!("~tw:* {ACL_COMMANDS}")) else { return };
    let file = redis.folder().join("wrong");
    let mut connected =
        Connected::start(RedisOptions { password_file: Some(file.clone()), ..login(&redis) });
    connected.says("authentication").await;
    assert!(!connected.store.available());
    assert!(!format!("{:?}", connected.store.health()).contains(PASSWORD));
    // Mended in the file, without a restart.
    fs::copy(redis.folder().join("password"), file).unwrap();
    connected.becomes(true).await;
}

#[tokio::test]
async fn a_missing_file_is_told_by_its_option() {
    let Some(redis) = server(true, &format!("~tw:* {ACL_COMMANDS}")) else { return };
    let nowhere = Some(redis.folder().join("nowhere"));
    let options = RedisOptions { password_file: nowhere.clone(), ..login(&redis) };
    Connected::start(options).says("redis.password_file: ").await;
    let options = RedisOptions { ca_file: nowhere, ..login(&redis) };
    Connected::start(options).says("redis.ca_file: ").await;
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let Some(redis) = server(true, &format!("~tw:* {ACL_COMMANDS}")) else { return };
    let connected = Connected::start(RedisOptions { ca_file: None, ..login(&redis) });
    connected.says("certificate").await;
    assert!(!connected.store.available());
}

#[tokio::test]
async fn a_missing_right_is_a_refusal() {
    let Some(redis) = server(false, "~tw:* +ping") else { return };
    let connected = Connected::to(login(&redis)).await;
    let refused = At(&connected.store, session("acme", "main")).claim(1).await;
    assert_eq!(refused, Err(StoreError::Refused("NOPERM".into())));
    assert_eq!(connected.store.health().errors, 1);
}

#[test]
fn the_reference_page_lists_the_rights_that_are_tested() {
    let page = include_str!("../../../../docs/reference/redis.md");
    for commands in [ACL_COMMANDS, ACL_COMMANDS_CLUSTER, ACL_COMMANDS_SENTINEL] {
        assert!(page.contains(commands), "{commands}");
    }
}
