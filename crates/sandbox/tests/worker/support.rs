//! Events, sources and pools.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation};
use tidewire_sandbox::{Source, WorkerOptions};
use tidewire_script::{Event, Language};

pub(crate) fn event(body: &str) -> Event {
    Event {
        object_type: ObjectType::new("PortCall").unwrap(),
        operation: Operation::Update,
        body: Arc::new(Body::parse(Bytes::from(body.to_owned()), BodyLimits::default()).unwrap()),
        changed_by: Some(42),
    }
}

pub(crate) fn sources(texts: &[&str]) -> Vec<Source> {
    texts.iter().map(|text| Source::new(Language::Rhai, Arc::from(*text))).collect()
}

pub(crate) fn options(argument: &str, workers: usize) -> WorkerOptions {
    WorkerOptions::of(std::env::current_exe().unwrap(), vec![argument.into()], workers)
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}
