//! When a session may say that it starts.

use tidewire_checker::{Ledger, Mode, Rules, Subscription, Transcript, judge};

const RESUMED: &str = r#"{"statusCode":200,"statusText":"","message":"session resumed"}"#;
const STARTS: &str = r#"{"statusCode":410,"statusText":"","message":"session starts now"}"#;

/// Findings of a client whose connections began, ended, and were told this first.
fn needless_gaps(connections: &[(u64, u64, Option<&str>)]) -> u64 {
    let mut transcript =
        Transcript::new("s", Mode::Session, vec![Subscription::of_type("acme", "Voyage")]);
    for &(opened, closed, word) in connections {
        transcript.connected(opened, 0, None);
        transcript.starts(0, tidewire_checker::Start::Session);
        if let Some(word) = word {
            transcript.text(opened, word);
        }
        transcript.closed(closed, None);
    }
    let rules = Rules { proof_grace: 10, sessions_may_be_lost: false, ..Rules::default() };
    let verdict = judge(&Ledger::new(), &[transcript], &rules);
    verdict.needless_gaps
}

#[test]
fn a_start_may_be_told_until_it_can_be_proven() {
    let check = |connections: &[(u64, u64, Option<&str>)], expected: u64| {
        assert_eq!(needless_gaps(connections), expected, "{connections:?}");
    };
    check(&[(0, 100, Some(STARTS)), (200, 300, Some(RESUMED))], 0);
    check(&[(0, 100, Some(STARTS)), (200, 300, Some(STARTS))], 1);
    check(&[(0, 10, Some(STARTS)), (200, 300, Some(STARTS))], 0);
    check(&[(0, 10, Some(STARTS)), (20, 30, Some(STARTS)), (40, 50, Some(STARTS))], 0);
    check(&[(0, 10, Some(STARTS)), (20, 31, Some(STARTS)), (40, 50, Some(STARTS))], 1);
    // One that was never told anything proves nothing.
    check(&[(0, 10, Some(STARTS)), (20, 90, None), (100, 110, Some(STARTS))], 0);
    check(&[(0, 10, Some(STARTS)), (20, 21, Some(RESUMED)), (30, 40, Some(STARTS))], 1);
}
