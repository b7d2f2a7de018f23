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
        [StageEvent::Assigned { next: NextOffset(0), from: StartedFrom::Beginning, .. }]
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
