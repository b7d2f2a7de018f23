//! How long a run may take.

use super::*;

/// A run may use so much time by the clock that the engine was given, each anew.
#[test]
fn time_is_limited() {
    let now = Rc::new(Cell::new(Duration::ZERO));
    let clock = Rc::clone(&now);
    let limits = ScriptLimits::default();
    let step = limits.cpu_max / 5;
    let mut engine = RhaiEngine::new(
        limits,
        Rc::new(move || {
            clock.set(clock.get() + step);
            clock.get()
        }),
    );
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let event = event(Operation::Update, IMAGE, "null");
    let mut run = |source: &str| {
        let script = engine.compile(source).unwrap();
        engine.evaluate(&script, &engine.open(&event, &references))
    };
    for _ in 0..10 {
        assert!(run("true").unwrap().fired);
    }
    let error = run("let n = 0; while n < 100000 { n += 1; } true").unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (Kind::Deadline, "it took too long"));
    // Told when runs begin, it holds even the first look against that.
    let looks = |used: u32| {
        let before = now.get();
        let mut engine = RhaiEngine::new(ScriptLimits::default(), {
            let now = Rc::clone(&now);
            Rc::new(move || now.get())
        });
        engine.limit_cpu(Some(step));
        now.set(before + step * used);
        let script = engine.compile("let n = 0; while n < 100 { n += 1; } true").unwrap();
        engine.evaluate(&script, &engine.open(&event, &references)).map(|outcome| outcome.fired)
    };
    assert_eq!(looks(1), Ok(true));
    assert_eq!(looks(2).unwrap_err().kind, Kind::Deadline);
}

/// Hundreds of scripts over one change, none of which looks at the clock, take nothing from those behind.
#[test]
fn short_runs_before_hardly_count() {
    let now = Rc::new(Cell::new(Duration::ZERO));
    let clock = Rc::clone(&now);
    let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(move || clock.get()));
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let opened = engine.open(&event(Operation::Update, IMAGE, "null"), &references);
    let [short, longer] =
        ["true", "let n = 0; while n < 100 { n += 1; } true"].map(|s| engine.compile(s).unwrap());
    let most = Duration::from_millis(1);
    engine.limit_cpu(Some(most));
    for _ in 0..500 {
        assert!(engine.evaluate(&short, &opened).unwrap().fired);
        now.set(now.get() + most / 64);
    }
    assert!(engine.evaluate(&longer, &opened).unwrap().fired);
}
