//! A JWT in front of a verifier with a development secret: nothing that the fuzzer makes up is let in.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use tidewire_auth::{AuthOptions, Verifier};

static VERIFIER: LazyLock<Option<Verifier>> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("tidewire-fuzz-{}", std::process::id()));
    let made = tidewire_auth::dev_secret(&file).ok();
    let verifier = made.and_then(|_| Verifier::new(&AuthOptions::development(&file)).ok());
    let _ = std::fs::remove_file(&file);
    verifier
});

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let verifier = VERIFIER.as_ref();
    assert!(verifier.is_some(), "no verifier could be made");
    let Some(verifier) = verifier else { return };
    // A shared secret is never fetched: the answer is there at once.
    let answer =
        pin!(verifier.verify(text, 1_789_393_046)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Err(_))), "a token out of nowhere is let in: {text}");
}
