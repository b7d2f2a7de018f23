use super::*;
use crate::fixtures::script;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A tenth of a core, 200 ms saved up.
fn budgets() -> Budgets {
    Budgets::new(ms(100), ms(200))
}

#[test]
fn the_dearest_goes_and_the_others_go_on() {
    let mut budgets = budgets();
    let (dear, cheap) = (script("a", "dear"), script("a", "cheap"));
    let tenant = &dear.tenant;
    for _ in 0..4 {
        assert_eq!(budgets.overdrawn(tenant, ms(0)), None);
        budgets.charge(&[Arc::clone(&dear)], ms(60), ms(0));
        budgets.charge(&[Arc::clone(&cheap)], ms(1), ms(0));
    }
    assert_eq!(budgets.overdrawn(tenant, ms(0)).as_deref(), Some("dear"));
    // What the dear one had used is given back: 4 ms are used of 200.
    assert_eq!(budgets.overdrawn(tenant, ms(0)), None);
    budgets.charge(&[Arc::clone(&cheap)], ms(190), ms(0));
    assert_eq!(budgets.overdrawn(tenant, ms(0)), None);
    budgets.charge(&[cheap], ms(10), ms(0));
    assert_eq!(budgets.overdrawn(tenant, ms(0)).as_deref(), Some("cheap"));
}

#[test]
fn as_many_go_as_are_needed_and_no_neighbour_does() {
    let mut budgets = budgets();
    let tenant = script("a", "0").tenant.clone();
    for number in 0..10 {
        budgets.charge(&[script("a", &number.to_string())], ms(60), ms(0));
    }
    budgets.charge(&[script("b", "0")], ms(100), ms(0));
    let mut gone = 0;
    while budgets.overdrawn(&tenant, ms(0)).is_some() {
        gone += 1;
    }
    // 600 ms were used; with 7 gone 180 are, below the 200 that there were.
    assert_eq!(gone, 7);
    assert_eq!(budgets.overdrawn(&script("b", "0").tenant, ms(0)), None);
}

#[test]
fn the_dear_are_run_one_by_one_for_a_while() {
    let mut budgets = budgets();
    let (one, two) = (script("a", "1"), script("a", "2"));
    let tenant = one.tenant.clone();
    assert_eq!(budgets.scripts_per_call(&tenant, ms(0)), SCRIPTS_PER_CALL);
    budgets.charge(&[Arc::clone(&one), Arc::clone(&two)], ms(1), ms(0));
    assert_eq!(budgets.scripts_per_call(&tenant, ms(0)), SCRIPTS_PER_CALL);
    budgets.charge(&[one, two], ms(50), ms(10));
    assert_eq!(budgets.scripts_per_call(&tenant, ms(11)), 1);
    assert_eq!(budgets.scripts_per_call(&tenant, ms(10_011)), SCRIPTS_PER_CALL);
}

#[test]
fn what_was_used_long_ago_counts_less_and_time_pays_back() {
    let mut budgets = budgets();
    let (old, new) = (script("a", "old"), script("a", "new"));
    let tenant = old.tenant.clone();
    budgets.charge(&[old], ms(190), ms(0));
    for second in 1..20 {
        let now = Duration::from_secs(second * 2);
        budgets.charge(&[Arc::clone(&new)], ms(150), now);
        assert_eq!(budgets.overdrawn(&tenant, now), None, "{second}");
    }
    budgets.charge(&[new], ms(200), Duration::from_secs(39));
    assert_eq!(budgets.overdrawn(&tenant, Duration::from_secs(39)).as_deref(), Some("new"));
}
