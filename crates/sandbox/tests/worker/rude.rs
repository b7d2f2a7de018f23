//! An engine whose scripts do to their process what they are called.

use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidewire_sandbox::{Source, Workers, WorkersError};
use tidewire_script::{
    Engine, Event, Fields, Language, Outcome, References, ScriptError, ScriptErrorKind as Kind,
};

use crate::support::{block_on, event, options, sources};

pub(crate) const ARGUMENT: &str = "rude-worker";

pub(crate) struct RudeEngine;

/// Does not return before the process is stopped.
fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

impl RudeEngine {
    fn act(source: &str, body: &[u8]) -> Result<Outcome, ScriptError> {
        let said = |message: String| {
            Ok(Outcome { fired: true, results: Vec::new(), message: Some(message) })
        };
        let (word, rest) = source.split_once(' ').unwrap_or((source, ""));
        match word {
            "say" => said(rest.to_owned()),
            "quiet" => Ok(Outcome::default()),
            "fail" => Err(ScriptError::new(Kind::Type, "failed").at(Some(1), Some(2))),
            "loop" => spin(),
            "sleep" => loop {
                std::thread::park();
            },
            "abort" => std::process::abort(),
            "panic" => panic!("on purpose"),
            "exit" =>
            {
                #[expect(clippy::disallowed_methods, reason = "it is what is tested")]
                std::process::exit(rest.parse().unwrap_or(0))
            }
            "take" => {
                let bytes = rest.parse::<usize>().unwrap() << 20;
                let mut taken = vec![1_u8; bytes];
                black_box(&mut taken);
                said(format!("took {bytes}"))
            }
            "keep" => {
                let bytes = rest.parse::<usize>().unwrap() << 20;
                black_box(vec![1_u8; bytes].leak());
                said(format!("kept {bytes}"))
            }
            "dive" => {
                #[expect(unconditional_recursion, reason = "it is what is tested")]
                fn dive(n: u64) -> u64 {
                    let room = black_box([n; 64]);
                    dive(n + 1) + room[3]
                }
                said(dive(0).to_string())
            }
            "garbage" => {
                use std::io::Write;
                let _ = std::io::stdout().write_all(&[0xff; 64]);
                said(String::new())
            }
            "env" => said(format!("{:?}", std::env::vars_os().collect::<Vec<_>>())),
            "open" => said(format!("{:?}", std::fs::File::open("/etc/hostname").is_ok())),
            "write" => {
                said(format!("{:?}", std::fs::write("/tmp/written-by-a-script", "x").is_ok()))
            }
            "connect" => said(format!("{:?}", std::net::TcpListener::bind("127.0.0.1:0").is_ok())),
            "fork" => {
                said(format!("{:?}", std::process::Command::new("/bin/true").spawn().is_ok()))
            }
            "body" => said(body.len().to_string()),
            other => Err(ScriptError::new(Kind::Compile, format!("what is {other}?"))),
        }
    }
}

impl Engine for RudeEngine {
    type Script = (String, Fields);
    type Opened = Event;

    fn compile(&mut self, source: &str) -> Result<Self::Script, ScriptError> {
        match source {
            "bad" => Err(ScriptError::new(Kind::Compile, "bad").at(Some(3), Some(4))),
            "compile-loop" => spin(),
            _ => Ok((source.to_owned(), Fields::default())),
        }
    }

    fn fields<'s>(&self, script: &'s Self::Script) -> &'s Fields {
        &script.1
    }

    fn open(&self, event: &Event, _: &Rc<dyn References>) -> Event {
        event.clone()
    }

    fn evaluate(&self, script: &Self::Script, opened: &Event) -> Result<Outcome, ScriptError> {
        Self::act(&script.0, opened.body.bytes())
    }
}

async fn pool(workers: usize) -> Workers {
    Workers::start(options(ARGUMENT, workers)).await.unwrap()
}

/// What each script came to: its message, `-` where it did not fire, or the kind of its error.
async fn run(workers: &Workers, texts: &[&str]) -> Vec<String> {
    let evaluated = workers.evaluate_sources(&event("{}"), &sources(texts)).await.unwrap();
    let words = evaluated.results.into_iter().map(|result| match result {
        Ok(outcome) if !outcome.fired => "-".to_owned(),
        Ok(outcome) => outcome.message.unwrap_or_default(),
        Err(error) => error.kind.to_string(),
    });
    words.collect()
}

pub(crate) fn results_belong_to_their_scripts() {
    block_on(async {
        let workers = pool(2).await;
        let all = ["say a", "quiet", "fail", "bad", "say b", "what", "say a"];
        let expected = ["a", "-", "type", "compile", "b", "compile", "a"];
        for _ in 0..3 {
            assert_eq!(run(&workers, &all).await, expected);
        }
        assert_eq!(run(&workers, &[]).await, Vec::<String>::new());
        let many: Vec<String> = (0..5000).map(|n| format!("say {n}")).collect();
        let texts: Vec<&str> = many.iter().map(String::as_str).collect();
        let said = run(&workers, &texts).await;
        assert!(said.iter().zip(0..).all(|(said, n)| *said == format!("{n}")));
        let error = workers.compile(&sources(&["bad"])[0]).await.unwrap().unwrap_err();
        assert_eq!((error.line, error.column), (Some(3), Some(4)));
        assert!(workers.compile(&sources(&["say a"])[0]).await.unwrap().is_ok());
        assert_eq!(workers.stats().started, 2);
    });
}

pub(crate) fn whatever_a_script_does_its_neighbours_run() {
    block_on(async {
        let workers = pool(1).await;
        for (harm, kind) in [
            ("loop", "deadline"),
            ("compile-loop", "deadline"),
            ("sleep", "deadline"),
            ("abort", "crash"),
            ("panic", "crash"),
            ("exit 0", "crash"),
            ("exit 3", "crash"),
            ("dive", "crash"),
            ("take 40", "memory"),
            ("take 4000", "memory"),
            ("keep 33", "memory"),
        ] {
            assert_eq!(run(&workers, &[harm]).await, [kind], "{harm}");
            let texts = ["say a", harm, "say b"];
            assert_eq!(run(&workers, &texts).await, ["a", kind, "b"], "{harm}");
            let texts = [harm, harm, "say a", harm];
            assert_eq!(run(&workers, &texts).await, [kind, kind, "a", kind], "{harm}");
            assert_eq!(run(&workers, &["say a"]).await, ["a"], "{harm}");
        }
        // What stays within the limits is no harm.
        assert_eq!(run(&workers, &["take 24", "say a"]).await, ["took 25165824", "a"]);
        let error = workers.compile(&sources(&["compile-loop"])[0]).await.unwrap().unwrap_err();
        assert_eq!(error.kind, Kind::Deadline);
        // Whoever says what no worker says is not spoken with again.
        let said = run(&workers, &["say a", "garbage"]).await;
        assert!(said.iter().all(|word| word == "unavailable" || word == "a"), "{said:?}");
        assert_eq!(run(&workers, &["say a"]).await, ["a"]);
    });
}

pub(crate) fn a_killed_worker_is_nobodys_fault() {
    block_on(async {
        let workers = pool(1).await;
        for _ in 0..5 {
            let pid = workers.idle_pids()[0].to_string();
            assert!(
                std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success()
            );
            assert_eq!(run(&workers, &["say a"]).await, ["a"]);
        }
        assert_eq!(workers.stats().started, 6);
    });
}

pub(crate) fn a_worker_has_nothing() {
    block_on(async {
        let workers = pool(1).await;
        assert_eq!(run(&workers, &["env"]).await, ["[]"]);
        for door in ["open", "write", "connect", "fork"] {
            // The kernel does not count the processes of root; in production nobody is root.
            if door == "fork" && std::fs::metadata("/proc/self").unwrap().uid() == 0 {
                continue;
            }
            assert_eq!(run(&workers, &[door]).await, ["false"], "{door}");
        }
    });
}

pub(crate) fn a_dropped_call_costs_its_process_only() {
    block_on(async {
        let workers = pool(1).await;
        for _ in 0..3 {
            let (over, slow) = (event("{}"), sources(&["sleep"]));
            let call = workers.evaluate_sources(&over, &slow);
            let never = tokio::time::timeout(Duration::from_millis(20), call).await;
            assert!(never.is_err());
            assert_eq!(run(&workers, &["say a"]).await, ["a"]);
        }
        assert_eq!(workers.stats().started, 4);
    });
}

pub(crate) fn who_waits_too_long_is_refused() {
    block_on(async {
        let mut options = options(ARGUMENT, 1);
        options.waiting_max = 1;
        let workers = Workers::start(options).await.unwrap();
        let (over, slow, fast) = (event("{}"), sources(&["loop"]), sources(&["say a"]));
        let (first, second, third) = tokio::join!(
            biased;
            workers.evaluate_sources(&over, &slow),
            workers.evaluate_sources(&over, &fast),
            workers.evaluate_sources(&over, &fast),
        );
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(third, Err(WorkersError::Busy));
        workers.close();
        let call = workers.evaluate_sources(&over, &fast).await;
        assert_eq!(call, Err(WorkersError::Closed));
    });
}

pub(crate) fn a_full_worker_is_replaced() {
    block_on(async {
        let workers = pool(1).await;
        // 20 MiB stay taken: after some requests the process is taken out of use.
        assert_eq!(run(&workers, &["keep 20"]).await, ["kept 20971520"]);
        for _ in 0..200 {
            assert_eq!(run(&workers, &["say a"]).await, ["a"]);
        }
        assert_eq!(workers.stats().replaced, 1);
        assert_eq!(run(&workers, &["take 24"]).await, ["took 25165824"]);
    });
}

pub(crate) fn a_large_body_is_not_the_scripts_memory() {
    block_on(async {
        let workers = pool(1).await;
        let body = format!("{{\"new\":{{\"list\":[{}0]}}}}", "1,".repeat(1_500_000));
        let over = event(&body);
        let texts = sources(&["take 24", "body"]);
        for _ in 0..3 {
            let evaluated = workers.evaluate_sources(&over, &texts).await.unwrap();
            let said: Vec<String> =
                evaluated.results.into_iter().map(|r| r.unwrap().message.unwrap()).collect();
            assert_eq!(said, ["took 25165824".to_owned(), body.len().to_string()]);
        }
        assert_eq!(run(&workers, &["take 40"]).await, ["memory"]);
    });
}

pub(crate) fn what_cannot_start_says_so() {
    block_on(async {
        let mut wrong = options(ARGUMENT, 1);
        wrong.program = "/nowhere/at/all".into();
        assert!(Workers::start(wrong).await.is_err());
        let mut wrong = options(ARGUMENT, 1);
        wrong.program = "/bin/true".into();
        assert!(Workers::start(wrong).await.is_err());
    });
    // A source is what its text is: the same text is one script.
    let one = Source::new(Language::Rhai, Arc::from("say a"));
    assert_eq!(one.id, sources(&["say a"])[0].id);
}
