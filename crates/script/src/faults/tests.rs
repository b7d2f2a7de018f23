use super::*;
use crate::ScriptErrorKind;
use crate::stored::tests::script;

#[test]
fn faults_in_a_row_disable() {
    let mut faults = Faults::new(3);
    let (one, other) = (script("acme", "a", 1), script("other", "a", 1));
    let error = ScriptError::new(ScriptErrorKind::Deadline, "too long");
    assert_eq!(faults.note(&one, None), FaultVerdict::Fine);
    assert_eq!(faults.note(&one, Some(&error)), FaultVerdict::Counted(1));
    assert_eq!(faults.note(&other, Some(&error)), FaultVerdict::Counted(1));
    assert_eq!(faults.note(&one, Some(&error)), FaultVerdict::Counted(2));
    assert_eq!(faults.note(&one, Some(&error)), FaultVerdict::Disable);
    assert_eq!(faults.note(&one, Some(&error)), FaultVerdict::Disable);
    assert_eq!(faults.len(), 2);
    // A new version starts anew, and so does one that ran well.
    let next = script("acme", "a", 2);
    assert_eq!(faults.note(&next, Some(&error)), FaultVerdict::Counted(1));
    assert_eq!(faults.note(&next, None), FaultVerdict::Fine);
    assert_eq!(faults.note(&next, Some(&error)), FaultVerdict::Counted(1));
    faults.forget(&next.tenant, "a");
    assert_eq!(faults.note(&next, Some(&error)), FaultVerdict::Counted(1));
    faults.forget(&next.tenant, "a");
    faults.forget(&other.tenant, "a");
    assert!(faults.is_empty());
}

#[test]
fn what_is_not_its_fault_is_not_counted() {
    let mut faults = Faults::new(1);
    let one = script("acme", "a", 1);
    let nobody = ScriptError::new(ScriptErrorKind::Unavailable, "no worker");
    for _ in 0..10 {
        assert_eq!(faults.note(&one, Some(&nobody)), FaultVerdict::Fine);
    }
    assert!(faults.is_empty());
    for kind in [
        ScriptErrorKind::Compile,
        ScriptErrorKind::Type,
        ScriptErrorKind::Runtime,
        ScriptErrorKind::Operations,
        ScriptErrorKind::Size,
        ScriptErrorKind::Memory,
        ScriptErrorKind::Crash,
        ScriptErrorKind::Message,
    ] {
        let error = ScriptError::new(kind, "x");
        assert_eq!(faults.note(&one, Some(&error)), FaultVerdict::Disable, "{kind}");
        faults.forget(&one.tenant, "a");
    }
}
