//! Which part of the change topic a back-test reads.

use std::time::Duration;

use tidewire_capture::instant;
use tidewire_kafka::{KafkaError, KafkaOptions, stretches};
use tidewire_log::Stretch;

use crate::token::ttl;

/// A moment, as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long before now.
    Ago(Duration),
    /// Milliseconds since the Unix epoch.
    At(i64),
    /// Before everything that the topic keeps.
    Start,
}

impl Moment {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "start" {
            return Ok(Self::Start);
        }
        if let Ok(ago) = ttl(text) {
            return Ok(Self::Ago(ago));
        }
        instant::parse(text).map(Self::At).map_err(|_| {
            format!(
                "{text:?} is neither a duration (24h), nor a time (2026-09-14T13:37:26), nor start"
            )
        })
    }

    /// In milliseconds since the Unix epoch.
    pub(super) fn at(self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Some(now_ms.saturating_sub(ago).max(0))
            }
            Self::At(ms) => Some(ms),
            Self::Start => None,
        }
    }
}

/// The offsets between two moments. Blocks.
pub(super) fn between(
    kafka: &KafkaOptions,
    topic: &str,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
) -> Result<Vec<Stretch>, KafkaError> {
    let mut found = stretches(kafka, topic, since_ms)?;
    if until_ms.is_some() {
        // What begins then is what is no longer asked for.
        let later = stretches(kafka, topic, until_ms)?;
        for stretch in &mut found {
            let end = later.iter().find(|later| later.partition == stretch.partition);
            if let Some(end) = end {
                stretch.to = end.from.clamp(stretch.from, stretch.to);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |text: &str, expected: Option<Option<i64>>| {
            let moment = Moment::parse(text).ok();
            assert_eq!(moment.map(|moment| moment.at(1_789_393_046_000)), expected, "{text:?}");
        };
        check("24h", Some(Some(1_789_306_646_000)));
        check("90s", Some(Some(1_789_392_956_000)));
        check("3650d", Some(Some(1_474_033_046_000)));
        check("2026-09-14T13:37:26", Some(Some(1_789_393_046_000)));
        check("2026-09-14T15:37:26+02:00", Some(Some(1_789_393_046_000)));
        check("start", Some(None));
        for bad in ["", "yesterday", "24", "0s", "2026-09-14", "-1h"] {
            check(bad, None);
        }
    }
}
