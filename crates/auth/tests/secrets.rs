//! The development secret, minted tokens, tickets and grants.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;

use tidewire_auth::{
    AuthOptions, DEV_SECRET_MARKER, MintClaims, Principal, SecretError, Ticket, TokenError,
    TokenMinter, Verifier, decode_grant, dev_secret, encode_grant, load_secret,
};

const NOW: i64 = 1_800_000_000;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_development_secret_is_made_once_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/secret");
    let first = dev_secret(&path).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(&path).unwrap();
    let hex = text.strip_prefix(DEV_SECRET_MARKER).unwrap().trim_end();
    assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(first.key(), hex.as_bytes());
    assert_eq!(dev_secret(&path).unwrap().key(), first.key());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    assert!(!format!("{first:?}").contains(hex));
    let other = dev_secret(&folder.path().join("other")).unwrap();
    assert_ne!(other.key(), first.key());

    for open in [0o640, 0o604, 0o644, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let error = dev_secret(&path).unwrap_err();
        assert!(matches!(error, SecretError::Readable { .. }));
        let fix = format!("chmod 600 {}", path.display());
        assert!(error.to_string().contains(&fix), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(dev_secret(&path).is_ok());
}

#[test]
fn processes_that_start_together_get_the_same_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x/secret");
    let barrier = Barrier::new(8);
    let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let one = || {
            barrier.wait();
            dev_secret(&path).unwrap().key().to_vec()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn secret_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let check = |content: &[u8], expected: Option<&str>| {
        fs::write(&path, content).unwrap();
        let got = load_secret(&path).ok();
        let got = got.map(|secret| String::from_utf8(secret.key().to_vec()).unwrap());
        assert_eq!(got.as_deref(), expected, "{:?}", String::from_utf8_lossy(content));
    };
    let good = "0123456789abcdef0123456789abcdef";
    check(good.as_bytes(), Some(good));
    check(format!(" {good}\r\n").as_bytes(), Some(good));
    check(b"", None);
    check(&good.as_bytes()[1..], None);
    check(format!("{good}\n{good}").as_bytes(), None);
    check(&[0xff; 40], None);
    check("x".repeat(4097).as_bytes(), None);
    assert!(dev_secret(&path).is_err(), "not a development secret");
    assert!(load_secret(&folder.path().join("missing")).is_err());
    assert!(load_secret(folder.path()).is_err());
}

#[tokio::test]
async fn a_minted_token_works_in_dev_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let secret = dev_secret(&path).unwrap();
    let verifier = Verifier::new(&AuthOptions::development(&path)).unwrap();
    let mut claims = MintClaims::new("demo", NOW);
    claims.user = Some(41);
    claims.roles = vec!["producer".to_owned(), "admin".to_owned()];
    let token = TokenMinter::mint(&secret, &claims).unwrap();
    let principal = verifier.verify(&token, NOW).await.unwrap();
    assert_eq!((principal.tenant.as_str(), &*principal.id), ("demo", "user:41"));
    assert_eq!(principal.roles, ["admin", "producer"]);
    assert_eq!(principal.expires_at, NOW + 3600);
    assert!(verifier.roles().may_produce(&principal));
    assert_ne!(token, TokenMinter::mint(&secret, &claims).unwrap());
    claims.user = None;
    let service = verifier.verify(&TokenMinter::mint(&secret, &claims).unwrap(), NOW).await;
    assert_eq!(&*service.unwrap().id, "sub:tidewire-dev|tidewire");
    claims.ttl_seconds = -60;
    let late = verifier.verify(&TokenMinter::mint(&secret, &claims).unwrap(), NOW).await;
    assert_eq!(late, Err(TokenError::Expired));

    let mut outside = AuthOptions::development(&path);
    outside.development_secret_allowed = false;
    let problems = Verifier::new(&outside).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("development secret"), "{}", problems[0]);
}

#[test]
fn tickets_are_random_and_known_by_hash() {
    let ticket = Ticket::new().unwrap();
    let text = ticket.text.expose();
    assert!(Ticket::is_ticket(text));
    assert_eq!(ticket.hash, Ticket::hash_of(text));
    assert_ne!(Ticket::new().unwrap().hash, ticket.hash);
    assert!(!format!("{ticket:?}").contains(text));
    let hex: String = Ticket::hash_of("abc").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    for other in [
        "",
        "tkt_",
        "-",
        "eyJ.x.y",
        &text[..46],
        &format!("{text}A"),
        &text.replace("tkt_", "TKT_"),
    ] {
        assert!(!Ticket::is_ticket(other), "{other}");
    }
}

#[test]
fn a_grant_comes_back_as_it_was() {
    let mut principal = Principal {
        tenant: tidewire_event::Tenant::new("acme/é").unwrap(),
        id: Principal::id_of(None, "https://id", "s\"x"),
        user_key: None,
        roles: vec!["a".to_owned(), "b c".to_owned()],
        business_units: vec!["12".to_owned()],
        expires_at: NOW,
        issued_at: Some(7),
        token_id: Some("t".to_owned()),
    };
    assert_eq!(decode_grant(&encode_grant(&principal)).unwrap(), principal);
    principal.user_key = Some((1 << 53) - 1);
    principal.token_id = None;
    let json = encode_grant(&principal);
    assert_eq!(decode_grant(&json).unwrap(), principal);
    for bad in [
        "",
        "{}",
        "null",
        &json[..json.len() - 1],
        &json.replace("\"v\":1", "\"v\":2"),
        &json.replace("acme/é", ""),
        &json.replace("\"roles\"", "\"rolls\""),
    ] {
        assert!(decode_grant(bad).is_err(), "{bad}");
    }
}
