use bytes::Bytes;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn record(text: &str) -> NewRecord {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    NewRecord { key: bytes.clone(), header: None, timestamp_ms: Some(1), payload: Some(bytes) }
}

fn texts(records: &[NewRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.key.to_vec()).unwrap()).collect()
}

fn copies(batch: &Batch) -> Vec<NewRecord> {
    batch.records().map(|r| record(std::str::from_utf8(r.payload.unwrap()).unwrap())).collect()
}

/// Polls until there is a batch; what came before it.
fn next(stage: &mut MemoryStage) -> (Vec<StageEvent>, Batch) {
    let mut events = Vec::new();
    loop {
        match stage.poll(DEADLINE).unwrap() {
            StageEvent::Batch(batch) => return (events, batch),
            event => events.push(event),
        }
    }
}

#[test]
fn a_batch_is_handed_out_until_it_is_committed() {
    let log = MemoryLog::new(1);
    let mut stage = log.stage(BatchLimits::default());
    for text in ["a", "b"] {
        log.write(Partition(0), record(text)).unwrap();
    }
    let (events, first) = next(&mut stage);
    assert!(matches!(
        events[..],
        [
            StageEvent::Assigned { next: NextOffset(0), from: StartedFrom::Beginning, .. },
            StageEvent::Reading { next: NextOffset(0), .. }
        ]
    ));
    let (_, again) = next(&mut stage);
    assert_eq!((first.len(), again.len()), (2, 2));
    assert_eq!(stage.commit(&first, &[]), Err(StageError::Stale));
    let refused = StageError::Refused { output: 0, reason: crate::WriteError::TooLarge };
    log.fail_next(refused.clone());
    assert_eq!(stage.commit(&again, &copies(&again)), Err(refused));
    stage.commit(&again, &copies(&again)).unwrap();
    assert_eq!(stage.commit(&again, &[]), Err(StageError::Stale));
    assert_eq!(texts(&log.outputs()), ["a", "b"]);
    assert!(log.drained_within(Duration::ZERO));

    log.write(Partition(0), record("c")).unwrap();
    let (_, batch) = next(&mut stage);
    log.fail_next(StageError::Aborted("no".to_owned()));
    assert!(stage.commit(&batch, &copies(&batch)).unwrap_err().is_transient());
    drop(stage);
    let mut stage = log.stage(BatchLimits::default());
    let (_, batch) = next(&mut stage);
    stage.commit(&batch, &copies(&batch)).unwrap();
    assert_eq!(
        (texts(&log.outputs()), log.commits()),
        (vec!["a".into(), "b".into(), "c".into()], 2)
    );
}

#[test]
fn partitions_are_shared_and_an_open_batch_is_fenced() {
    let log = MemoryLog::new(2);
    for partition in [0, 1] {
        log.write(Partition(partition), record(&partition.to_string())).unwrap();
    }
    let mut one = log.stage(BatchLimits::default());
    let (_, batch) = next(&mut one);
    assert_eq!(batch.len(), 2);
    let mut other = log.stage(BatchLimits::default());
    assert!(matches!(one.commit(&batch, &[]), Err(StageError::Fenced(_))));
    for stage in [&mut one, &mut other] {
        let (_, batch) = next(stage);
        assert_eq!(batch.segments().len(), 1);
        stage.commit(&batch, &copies(&batch)).unwrap();
    }
    assert_eq!(texts(&log.outputs_within(2, DEADLINE)), ["0", "1"]);
}

#[test]
fn limits_hold_and_holes_and_losses_are_passed() {
    let log = MemoryLog::new(1);
    let mut stage = log.stage(BatchLimits { records: 2, ..BatchLimits::default() });
    for text in ["a", "b", "c"] {
        log.write(Partition(0), record(text)).unwrap();
    }
    log.skip(Partition(0));
    for expected in [vec!["a", "b"], vec!["c"]] {
        let (_, batch) = next(&mut stage);
        assert_eq!(texts(&copies(&batch)), expected);
        stage.commit(&batch, &[]).unwrap();
    }
    assert_eq!(log.committed(Partition(0)), Some(NextOffset(4)));
    for text in ["d", "e"] {
        log.write(Partition(0), record(text)).unwrap();
    }
    log.trim(Partition(0), Offset(5));
    let (events, batch) = next(&mut stage);
    let gap = |event: &StageEvent| {
        matches!(event, StageEvent::Gap { next: NextOffset(5), reason: GapReason::Retention, .. })
    };
    assert!(events.iter().any(gap));
    assert_eq!(texts(&copies(&batch)), ["e"]);
}

#[test]
fn a_mark_says_where_reading_begins_anew() {
    let log = MemoryLog::new(1);
    let mut stage = log.stage(BatchLimits::default());
    for text in ["a", "b", "c"] {
        log.write(Partition(0), record(text)).unwrap();
    }
    let mark = |next: i64, note: &str| Mark {
        partition: Partition(0),
        at: Position::at(NextOffset(next)),
        note: note.to_owned(),
    };
    let (_, batch) = next(&mut stage);
    assert_eq!(stage.empty_batch().map(|batch| batch.serial()), None, "one is handed out");
    stage.commit_at(&batch, &[record("x")], &[mark(1, "a is done")]).unwrap();
    // Reading goes on all the same.
    log.write(Partition(0), record("d")).unwrap();
    let (_, batch) = next(&mut stage);
    assert_eq!(texts(&copies(&batch)), ["d"]);
    stage.commit_at(&batch, &[], &[mark(1, "a and d are done")]).unwrap();
    drop(stage);

    let mut stage = log.stage(BatchLimits::default());
    let (events, batch) = next(&mut stage);
    let note = events.iter().find_map(|event| match event {
        StageEvent::Reading { next, note, .. } => Some((next.0, note.as_str())),
        _ => None,
    });
    assert_eq!(note, Some((1, "a and d are done")));
    assert_eq!(texts(&copies(&batch)), ["b", "c", "d"]);
    stage.commit(&batch, &[]).unwrap();
    let empty = stage.empty_batch().unwrap();
    assert!(empty.is_empty());
    stage.commit_at(&empty, &[record("y")], &[mark(4, "")]).unwrap();
    assert_eq!(texts(&log.outputs()), ["x", "y"]);
    assert_eq!(log.committed(Partition(0)), Some(NextOffset(4)));
}
