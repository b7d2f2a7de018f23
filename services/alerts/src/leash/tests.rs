use super::*;
use crate::fixtures::script;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn five_runs_at_a_limit_change_nothing_and_six_put_the_tenant_alone_on_the_short_leash() {
    let mut leashes = Leashes::default();
    let (bad, other, neighbour) = (script("a", "bad"), script("a", "other"), script("b", "bad"));
    for _ in 0..5 {
        leashes.note_limit(&bad, seconds(1));
        assert!(leashes.may_be_long(&bad, seconds(1)));
    }
    leashes.note_limit(&bad, seconds(1));
    assert!(!leashes.may_be_long(&bad, seconds(1)));
    assert!(!leashes.may_be_long(&other, seconds(1)));
    assert!(leashes.may_be_long(&neighbour, seconds(1)));
    // One is forgotten after 4 s.
    assert!(!leashes.may_be_long(&bad, seconds(1)));
    assert!(leashes.may_be_long(&bad, seconds(6)));
}

#[test]
fn no_tenant_is_on_the_short_leash_for_long() {
    let mut leashes = Leashes::default();
    let bad = script("a", "bad");
    for _ in 0..1_000 {
        leashes.note_limit(&bad, seconds(1));
    }
    assert!(leashes.is_short(&bad.tenant, seconds(24)));
    assert!(!leashes.is_short(&bad.tenant, seconds(26)));
    leashes.note_limit(&script("b", "other"), seconds(100));
    assert_eq!(leashes.strikes.len(), 1, "what is long past is not kept");
}

#[test]
fn a_script_that_ended_well_after_a_long_run_keeps_the_whole_deadline() {
    let mut leashes = Leashes::default();
    let (dear, cheap, bad) = (script("a", "dear"), script("a", "cheap"), script("a", "bad"));
    let all = [Arc::clone(&dear), Arc::clone(&cheap), Arc::clone(&bad)];
    leashes.note_end(&dear, SHORT * 5);
    // A run that was long by chance says nothing of the next.
    leashes.note_end(&cheap, SHORT * 5);
    leashes.note_end(&cheap, SHORT / 5);
    assert_eq!(leashes.are_long(&all), [true, false, false]);
    for _ in 0..6 {
        leashes.note_limit(&bad, seconds(1));
    }
    assert!(leashes.may_be_long(&dear, seconds(1)));
    assert!(!leashes.may_be_long(&cheap, seconds(1)));
    leashes.note_limit(&dear, seconds(1));
    assert!(!leashes.may_be_long(&dear, seconds(1)));
    leashes.note_end(&dear, SHORT * 5);
    leashes.forget(&dear.tenant, "dear");
    assert_eq!(leashes.are_long(&all), [false; 3]);
    assert!(leashes.long.is_empty());
}
