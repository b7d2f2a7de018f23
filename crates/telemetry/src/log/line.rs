//! Puts a line together.

use std::fmt;

use tracing::field::Visit;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::fields::Fields;

/// Formats events, and the fields of spans, in one of the two formats.
#[derive(Clone, Copy)]
pub(super) struct Line(pub(super) LogFormat);

impl<'w> FormatFields<'w> for Line {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut collected = Fields::new(self.0);
        fields.record(&mut collected as &mut dyn Visit);
        writer.write_str(&collected.others)
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::new(self.0);
        event.record(&mut fields);
        let metadata = event.metadata();
        let (level, target, message) = (metadata.level(), metadata.target(), &fields.message);
        match self.0 {
            LogFormat::Json => {
                writer.write_str("{\"time\":\"")?;
                SystemTime.format_time(&mut writer)?;
                write!(writer, "\",\"level\":\"{level}\",\"target\":\"{target}\"")?;
                write!(writer, ",\"message\":\"{message}\"")?;
            }
            LogFormat::Text => {
                SystemTime.format_time(&mut writer)?;
                write!(writer, " {level:>5} {target}: {message}")?;
            }
        }
        writer.write_str(&fields.others)?;
        // The innermost span first: where JSON repeats a name, readers that keep the first keep the
        // nearest.
        for span in context.event_scope().into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<FormattedFields<N>>() {
                writer.write_str(of_span)?;
            }
        }
        writer.write_str(if self.0 == LogFormat::Json { "}\n" } else { "\n" })
    }
}
