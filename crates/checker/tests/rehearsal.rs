//! The judge is proven: an honest system is clean for many seeds, and every planted bug is caught.

use tidewire_checker::rehearsal::{Bug, is_caught, run, table, verdict};

#[test]
fn an_honest_system_is_clean() {
    let mut owed = 0;
    let (mut repeats, mut excused, mut merged, mut gaps) = (0, 0, 0, 0);
    for seed in 0..1_000 {
        let verdict = verdict(&run(seed, None));
        let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
        assert!(verdict.is_clean(), "seed {seed}:\n{}", findings.join("\n"));
        repeats += verdict.repeats;
        excused += verdict.excused;
        merged += verdict.merged;
        gaps += verdict.declared_gaps;
        assert!(verdict.owed > 1_000, "seed {seed} owes {}", verdict.owed);
        owed += verdict.owed;
    }
    println!(
        "{owed} owed, {repeats} repeats, {excused} excused, {merged} merged, {gaps} declared gaps"
    );
    assert!(repeats > 0 && excused > 0 && merged > 0 && gaps > 0);
    // A judge that excuses everything finds nothing.
    assert!(excused * 2 < owed);
}

#[test]
fn every_planted_bug_is_caught() {
    let (table, holds) = table(10, 20);
    println!("{table}");
    assert!(holds, "\n{table}");
    assert!(Bug::ALL.len() >= 15);
}

#[test]
fn a_seed_gives_the_same_run() {
    let bug = Some(Bug::DropsOne);
    let once = |seed| format!("{:?}", verdict(&run(seed, bug)));
    assert_eq!(once(7), once(7));
    assert_ne!(once(7), once(8));
    assert!(is_caught(Bug::DropsOne, &verdict(&run(7, bug))));
}
