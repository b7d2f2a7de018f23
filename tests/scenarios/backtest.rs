//! `tidewire script backtest` over a real log: partitions, transactions, times, retention, limits, a terminal.

use std::time::Instant;

use rdkafka::producer::Producer as _;
use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::service::binary;
use tidewire_wire::frame::event_time;

use crate::support::backtest::{ALWAYS, Bed, PATIENCE, Put, SLOW, Said, ago_ms};
use crate::support::log::cut_off;
use crate::support::terminal::{self, Plan, Terminal};

const TENANT: &str = "acme";
/// Whose changes, without a token.
const OPERATOR: [&str; 2] = ["--tenant", TENANT];
/// Ctrl-C.
const STOP: &str = "\x03";

fn put(partition: i32, speed: u64, time_ms: i64) -> Put<'static> {
    Put { tenant: TENANT, partition, speed, time_ms, bytes: 0 }
}

/// Runs it for the tenant; gives the ids and how often the script was run.
fn found(bed: &Bed, file: &std::path::Path, more: &[&str]) -> (Vec<String>, Said) {
    let said = bed.done(file, &[&OPERATOR, more].concat());
    (said.ids(), said)
}

/// Several partitions in which transactions left holes; what was aborted, and what is not committed yet, never
/// shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_committed_is_run() {
    let Some(bed) = Bed::start(3) else { return };
    let now = ago_ms(1);
    let (plain, writer) = (bed.producer(None), bed.producer(Some("holes")));
    let mut owed = Vec::new();
    for round in 0..6 {
        writer.begin_transaction().unwrap();
        let mut ids = Vec::new();
        for partition in 0..3 {
            for speed in 0..20 {
                ids.push(bed.put(&writer, put(partition, speed, now)).await);
            }
        }
        // The last of all is aborted, so that the log ends in a hole.
        if round % 2 == 0 {
            writer.commit_transaction(PATIENCE).unwrap();
            owed.extend(ids);
        } else {
            writer.abort_transaction(PATIENCE).unwrap();
        }
        // Partition 2 holds nothing but transactions.
        for partition in 0..2 {
            if round < 5 {
                owed.push(bed.put(&plain, put(partition, 99, now)).await);
            }
        }
    }
    let file = bed.script(ALWAYS);
    owed.sort_unstable();
    let check = |since: &str| {
        let (mut ids, said) = found(&bed, &file, &["--since", since]);
        ids.sort_unstable();
        assert_eq!(ids, owed, "{since}: {}", said.err);
        let runs = format!("fired {0} times in {0} runs over {0} records", owed.len());
        assert!(said.err.contains(&runs), "{since}: {}", said.err);
    };
    check("start");
    check("1h");
    // A transaction that is open holds back what is behind it in its partition, as for every reader.
    let open = bed.producer(Some("open"));
    open.begin_transaction().unwrap();
    bed.put(&open, put(0, 1, now)).await;
    let behind = bed.put(&plain, put(0, 2, now)).await;
    check("start");
    open.commit_transaction(PATIENCE).unwrap();
    let (ids, _) = found(&bed, &file, &["--since", "start"]);
    assert_eq!((ids.len(), ids.contains(&behind)), (owed.len() + 2, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_found_by_time_in_each_partition() {
    let Some(bed) = Bed::start(2) else { return };
    let producer = bed.producer(None);
    let mut ids = Vec::new();
    // A later record that is older: the log is in the order of its offsets.
    for (partition, minutes) in [(0, 180), (0, 60), (0, 150), (0, 30), (1, 170), (1, 20)] {
        ids.push(bed.put(&producer, put(partition, 1, ago_ms(minutes))).await);
    }
    let file = bed.script(ALWAYS);
    let at = |minutes| event_time(ago_ms(minutes)).to_string();
    let check = |more: &[&str], expected: &[usize], records: u64| {
        let (found, said) = found(&bed, &file, more);
        let expected: Vec<&String> = expected.iter().map(|index| &ids[*index]).collect();
        assert!(found.iter().eq(expected.iter().copied()), "{more:?}: {found:?} {}", said.err);
        let (hits, read) = (expected.len(), format!("over {records} records\n"));
        let runs = format!("fired {hits} times in {hits} runs {read}");
        assert!(said.err.contains(&runs), "{more:?}: {}", said.err);
    };
    check(&["--since", "start"], &[0, 4, 2, 1, 3, 5], 6);
    // What is older than the moment is read where it stands behind something younger, and not run.
    check(&["--since", "100m"], &[1, 3, 5], 4);
    check(&["--since", &at(100)], &[1, 3, 5], 4);
    check(&["--since", "25m"], &[5], 1);
    check(&["--since", "200m"], &[0, 4, 2, 1, 3, 5], 6);
    // Younger ones are passed over before they are counted.
    check(&["--since", "start", "--until", "100m"], &[0, 4, 2], 3);
    check(&["--since", "160m", "--until", &at(50)], &[2, 1], 2);
    // Nothing lies there; nothing is so young.
    check(&["--since", "15m"], &[], 0);
    check(&["--since", "2099-01-01T00:00:00"], &[], 0);
    check(&["--since", "145m", "--until", "70m"], &[], 1);
    for wrong in [["1h", "2h"], ["1h", "1h"], ["1h", "start"], ["start", "start"]] {
        let said = bed.run(&file, &["--since", wrong[0], "--until", wrong[1]]);
        assert!(said.code == 64 && said.err.contains("--until"), "{wrong:?}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_took_is_not_missed() {
    let Some(bed) = Bed::start(1) else { return };
    let producer = bed.producer(None);
    for minutes in [180, 120] {
        bed.put(&producer, put(0, 1, ago_ms(minutes))).await;
    }
    cut_off(&bed.brokers, &bed.topic);
    let kept = bed.put(&producer, put(0, 1, ago_ms(60))).await;
    assert_eq!(kept, "0-2");
    let file = bed.script(ALWAYS);
    for since in ["start", "24h", "90m"] {
        let (ids, said) = found(&bed, &file, &["--since", since]);
        assert_eq!(ids, [kept.as_str()], "{since}: {}", said.err);
        // It was gone before: none of the range was taken meanwhile.
        assert!(said.err.ends_with("in 1 runs over 1 records\n"), "{since}: {}", said.err);
    }
    cut_off(&bed.brokers, &bed.topic);
    let (ids, said) = found(&bed, &file, &["--since", "start"]);
    assert!(ids.is_empty() && said.err.contains("over 0 records"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_told() {
    let Some(bed) = Bed::start(2) else { return };
    for partition in 0..2 {
        bed.put_many(put(partition, 0, ago_ms(1)), 5_000).await;
    }
    let rest = ": what comes later in the partition, and the partitions after it, were not read";
    let check = |body: &str, limit: [&str; 2], told: &str| {
        let range = ["--since", "start", limit[0], limit[1]];
        let (ids, said) = found(&bed, &bed.script(body), &range);
        let told = format!("; stopped by {told}{rest}");
        assert!(said.err.contains(&told), "{limit:?}: {}", said.err);
        ids.len()
    };
    let rare = "mapResultsForMessage[\"?1\"] = 1; dlpObject.daysTotal == 4999";
    assert_eq!(check(rare, ["--max-records", "5003"], "--max-records 5003"), 1);
    assert_eq!(check(ALWAYS, ["--max-matches", "7"], "--max-matches 7"), 7);
    // More CPU than there is in the time.
    let ids = check(SLOW, ["--max-time", "1s"], "--max-time 1 s");
    assert!((1..1_000).contains(&ids), "{ids} in the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_records_of_two_tenants() {
    let Some(bed) = Bed::start(3) else { return };
    const EACH: u64 = 20_000;
    for partition in 0..3 {
        for tenant in [TENANT, "other"] {
            let put = Put { tenant, ..put(partition, 0, ago_ms(1)) };
            bed.put_many(put, EACH).await;
        }
    }
    let file = bed.script(
        "mapResultsForMessage[\"?1\"] = dlpObject.daysTotal; dlpObject.daysTotal % 1000 == 0",
    );
    let began = Instant::now();
    let (ids, said) = found(&bed, &file, &["--since", "1h"]);
    let took = began.elapsed();
    assert_eq!(ids.len(), 60, "{}", said.err);
    let (records, runs) = (EACH * 6, EACH * 3);
    let told = format!("would have fired 60 times in {runs} runs over {records} records\n");
    assert!(said.err.ends_with(&told), "{}", said.err);
    println!("{records} records, {runs} runs: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_named() {
    let Some(mut bed) = Bed::start(1) else { return };
    let file = bed.script(ALWAYS);
    bed.topic = "nowhere".to_owned();
    let said = bed.run(&file, &["--since", "start"]);
    assert!(said.code == 1 && said.err.contains("there is no topic nowhere"), "{}", said.err);
    // Nobody listens there, and it does not wait for ever.
    let port = tidewire_testkit::ports::free_port().unwrap();
    bed.brokers = format!("127.0.0.1:{port}");
    let said = bed.run(&file, &["--since", "start"]);
    let told = format!("kafka at {} (kafka.brokers)", bed.brokers);
    assert!(said.code == 1 && said.err.contains(&told), "{}", said.err);
}

/// Runs a back-test on a terminal, with a script that takes its time.
fn on_terminal(
    bed: &Bed,
    more: &[&str],
    steps: &[Option<&str>],
    again: bool,
    step: impl FnMut(usize) -> &'static str,
) -> Terminal {
    let mut command = bed.arguments(&bed.script(SLOW));
    command.insert(0, binary("tidewire").unwrap().display().to_string());
    let more = OPERATOR.iter().chain(&["--since", "start"]).chain(more);
    command.extend(more.map(|&one| one.to_owned()));
    let folder = bed.folder.path().to_str().unwrap();
    Terminal::run(&Plan { command: &command, folder, steps, again }, step)
}

/// What stands on the terminal in the end, as one text: it is narrower than what is said.
fn shown(ran: &Terminal) -> String {
    ran.lines().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bar_is_drawn_over_and_goes() {
    let Some(bed) = Bed::start(1).filter(|_| terminal::is_there()) else { return };
    bed.put_many(put(0, 0, ago_ms(1)), 900).await;
    let bar = r"\[#*-*\] +\d+ %, \d+ records read, fired \d+ times";
    let ran = on_terminal(&bed, &[], &[Some(bar)], false, |_| "");
    assert_eq!(ran.code, 0, "{}", ran.raw);
    let summary =
        "tidewire script backtest: would have fired 900 times in 900 runs over 900 records";
    assert_eq!(shown(&ran), summary);
    // The bar was cleared, not only written over by something longer.
    assert!(ran.raw.contains(&format!("\x1b[K{summary}")), "{}", ran.raw);
    // Nothing of the bar is in the table.
    let rows: Vec<&str> = ran.out.lines().collect();
    assert!(rows.len() == 901 && rows[0].starts_with("ID "), "{} rows", rows.len());
    assert!(rows[1].contains("Voyage 1") && !ran.out.contains('\x1b'), "{}", rows[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_ctrl_c_ends_it_with_what_was_found() {
    let Some(bed) = Bed::start(1).filter(|_| terminal::is_there()) else { return };
    // Minutes of CPU.
    bed.put_many(put(0, 0, ago_ms(1)), 60_000).await;
    let more = ["--max-matches", "100000", "--json"];
    let ran = on_terminal(&bed, &more, &[Some("fired [1-9]")], false, |_| STOP);
    assert_eq!(ran.code, 0, "{}", ran.raw);
    let matches = ran.out.lines().count();
    assert!((1..60_000).contains(&matches), "{matches}");
    let told = format!(
        "tidewire script backtest: would have fired {matches} times in {matches} runs over {matches} records; \
         stopped: what comes later"
    );
    assert!(shown(&ran).starts_with(&told), "{}", shown(&ran));
}

/// Kafka hangs, so that the first Ctrl-C is not heard for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ctrl_c_ends_it_at_once() {
    if !terminal::is_there() {
        return;
    }
    let Some(mut kafka) = Kafka::start(1).unwrap() else { return };
    let bed = Bed::on(&kafka, 1);
    // Far more than is read ahead.
    bed.put_many(Put { bytes: 10_000, ..put(0, 0, ago_ms(1)) }, 3_000).await;
    // Until the bar stands still, since nothing comes any more.
    let steps = [Some("fired [1-9]"), None];
    let more = ["--max-matches", "100000"];
    let ran = on_terminal(&bed, &more, &steps, true, |step| match step {
        0 => {
            kafka.freeze(0).unwrap();
            ""
        }
        _ => STOP,
    });
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.raw);
    // Each that was typed is echoed; nothing else is left.
    let shown = shown(&ran).replace("^C", "");
    assert_eq!(shown.trim(), "tidewire script backtest: stopped", "{}", ran.raw);
}
