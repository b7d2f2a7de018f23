//! The table of all metrics. A metric exists by standing here.

use super::family::{
    Counter, CounterBy, Family, Gauge, GaugeByPartition, Info, MetricDef, Seconds,
};
use super::labels::{
    BatchOutcome, CaptureOutcome, CloseCode, ControlOutcome, DisableReason, DropReason,
    FieldListOutcome, Framing, GapReason, PoisonReason, RefusalReason, ScriptFault, SessionOutcome,
    SessionWriteOutcome, StoreOperation, TokenOutcome, WorkerEnd,
};
use super::registry::{MetricsError, Registry};

macro_rules! metrics {
    ($(
        $(#[$doc:meta])*
        $group:ident ($subsystem:literal) { $( $field:ident: $family:ty = $name:literal, $help:literal; )+ }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $group { $( #[doc = $help] pub $field: $family, )+ }

            impl $group {
                /// Registers all metrics of the group.
                ///
                /// # Errors
                /// The group is registered already: share a clone instead.
                pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
                    Ok(Self { $( $field: Family::register(registry, $name, $help)?, )+ })
                }
            }
        )+

        /// Every metric there is, group by group.
        #[must_use]
        pub fn all() -> Vec<MetricDef> {
            vec![$( $( MetricDef {
                subsystem: $subsystem,
                name: $name,
                kind: <$family as Family>::KIND,
                labels: <$family as Family>::LABELS,
                label_values: <$family as Family>::label_values(),
                help: $help,
            }, )+ )+]
        }
    };
}

metrics! {
    /// What every service shows.
    CommonMetrics("common") {
        build_info: Info = "tidewire_build_info", "Always 1; its labels say which build runs.";
        ready: Gauge = "tidewire_ready", "1 while the service is ready, 0 before and in drain.";
        draining: Gauge = "tidewire_draining", "1 while the service drains.";
        kafka_available: Gauge = "tidewire_kafka_available", "1 while Kafka answers, 0 while it is away.";
        tokens: CounterBy<TokenOutcome> = "tidewire_tokens_total", "Tokens and tickets looked at.";
        http_refused: CounterBy<RefusalReason> = "tidewire_http_refused_total", "Requests refused on the internal port and by the interface for producers.";
        tasks_failed: Counter = "tidewire_tasks_failed_total", "Tasks and threads that panicked.";
    }

    /// What a gateway shows.
    GatewayMetrics("gateway") {
        connections: Gauge = "tidewire_connections", "Sockets and event streams open now.";
        connections_accepted: Counter = "tidewire_connections_accepted_total", "Sockets and event streams that began.";
        connections_refused: CounterBy<RefusalReason> = "tidewire_connections_refused_total", "Connections refused before they began.";
        connections_closed: CounterBy<CloseCode> = "tidewire_connections_closed_total", "Connections that ended, by close code.";
        subscriptions: Gauge = "tidewire_subscriptions", "Subscriptions open now.";
        views: Gauge = "tidewire_views", "Distinct combinations of definition, field list and permission class that have sockets now.";
        messages_sent: CounterBy<Framing> = "tidewire_messages_sent_total", "Messages handed to sockets.";
        bytes_sent: Counter = "tidewire_bytes_sent_total", "Bytes of messages written to sockets.";
        send_queue_bytes: Gauge = "tidewire_send_queue_bytes", "Bytes that wait for sockets which block.";
        events_received: Counter = "tidewire_events_received_total", "Records of the change topic read.";
        events_routed: Counter = "tidewire_events_routed_total", "Records that somebody here had subscribed to.";
        events_dropped: CounterBy<DropReason> = "tidewire_events_dropped_total", "Events not sent to a subscription that they match.";
        records_poison: CounterBy<PoisonReason> = "tidewire_records_poison_total", "Records that could not be used, by the part that was wrong.";
        quarantine_failed: Counter = "tidewire_quarantine_failed_total", "Poison records that could not be written to the quarantine topic.";
        gaps: CounterBy<GapReason> = "tidewire_gaps_total", "Gaps declared: changes may be missing.";
        kafka_lag_records: GaugeByPartition = "tidewire_kafka_lag_records", "Records between this replica's position and the end of the partition.";
        alerts_lag_records: GaugeByPartition = "tidewire_gateway_alerts_lag_records", "Records between this replica's position and the end of the partition of the alerts topic.";
        alerts_received: Counter = "tidewire_gateway_alerts_received_total", "Records of the alerts topic read.";
        alerts_routed: Counter = "tidewire_gateway_alerts_routed_total", "Alerts of a script that somebody here had subscribed to.";
        alerts_without_images: Counter = "tidewire_gateway_alerts_without_images_total", "Alerts sent whose record holds no image of the change: a field list gets the reference.";
        kafka_to_socket_seconds: Seconds = "tidewire_kafka_to_socket_seconds", "From a record's receipt to the write of the first socket that wanted it.";
        handshake_seconds: Seconds = "tidewire_handshake_seconds", "From the accept to the answer of an upgrade.";
        subscription_gaps: Counter = "tidewire_subscription_gaps_total", "Gaps that single subscriptions were told, beside those of the whole replica.";
        readers: Gauge = "tidewire_readers", "Subscriptions that are catching up now.";
        caught_up: Counter = "tidewire_caught_up_total", "Subscriptions that have caught up after a resume.";
        replay_records: Counter = "tidewire_replay_records_total", "Records looked at for subscriptions that catch up.";
        replay_messages: Counter = "tidewire_replay_messages_total", "Messages sent to subscriptions that catch up.";
        window_bytes: Gauge = "tidewire_window_bytes", "Bytes of the log's end that are kept in memory.";
        window_passes: Counter = "tidewire_window_passes_total", "Passes over the window for subscriptions that catch up.";
        history_reads: Counter = "tidewire_history_reads_total", "Reads of Kafka for subscriptions that are behind the window.";
        conflated: Counter = "tidewire_conflated_total", "Messages merged away for slow clients that asked for it.";
        fell_back: Counter = "tidewire_fell_back_total", "Live subscriptions that went back to catching up, since their socket's queue was full.";
        field_lists: CounterBy<FieldListOutcome> = "tidewire_field_lists_total", "Field lists that clients sent.";
        sessions: CounterBy<SessionOutcome> = "tidewire_sessions_total", "What clients that named a session got.";
        sessions_held: Gauge = "tidewire_sessions_held", "Named sessions of sockets here, also those of ended sockets that wait to be given up.";
        sessions_unwritten: Gauge = "tidewire_sessions_unwritten", "Named sessions whose last write failed.";
        session_writes: CounterBy<SessionWriteOutcome> = "tidewire_session_writes_total", "Writes of named sessions, also those that only ask whether it is still owned.";
        session_write_seconds: Seconds = "tidewire_session_write_seconds", "Calls of the store that write all sessions that are due.";
        store_available: Gauge = "tidewire_store_available", "1 while the store of sessions and tickets answers, 0 while it is away or there is none.";
        store_errors: CounterBy<StoreOperation> = "tidewire_store_errors_total", "Operations on the store that failed.";
        control_records: CounterBy<ControlOutcome> = "tidewire_control_records_total", "Records of the control topic read.";
        revocations: Gauge = "tidewire_revocations", "Revocations and kicks kept now.";
        scripts: Gauge = "tidewire_gateway_scripts", "Alert scripts that this replica knows, disabled ones included.";
    }

    /// What a capture shows.
    CaptureMetrics("capture") {
        changes: CounterBy<CaptureOutcome> = "tidewire_capture_changes_total", "Changes that producers sent.";
        write_seconds: Seconds = "tidewire_capture_write_seconds", "From a change's receipt to Kafka's acknowledgement.";
        queue_records: Gauge = "tidewire_capture_queue_records", "Changes sent to Kafka and not yet acknowledged.";
        old_image_missing: Counter = "tidewire_capture_old_image_missing_total", "Updates and deletes that came without the old image.";
    }
    /// What an alerts service shows.
    AlertsMetrics("alerts") {
        records: Counter = "tidewire_alerts_records_total", "Records of the change topic read; those that come again count again.";
        changes: Counter = "tidewire_alerts_changes_total", "Changes over which scripts were run.";
        changes_repeated: Counter = "tidewire_alerts_changes_repeated_total", "Changes published again, over which no script was run.";
        changes_late: Counter = "tidewire_alerts_changes_late_total", "Changes whose scripts take long: their tenant waits for them, nobody else does.";
        late_changes: Gauge = "tidewire_alerts_late_changes", "Late changes that wait for their scripts now.";
        late_tenants: Gauge = "tidewire_alerts_late_tenants", "Tenants with late changes now, once for each partition.";
        read_back_failed: Counter = "tidewire_alerts_read_back_failed_total", "Partitions that were begun without knowing the changes before: one published again may have fired again.";
        runs: Counter = "tidewire_alerts_runs_total", "Runs of scripts.";
        fired: Counter = "tidewire_alerts_fired_total", "Alerts that are committed.";
        script_faults: CounterBy<ScriptFault> = "tidewire_alerts_script_faults_total", "Runs of scripts that went wrong.";
        images_left_out: Counter = "tidewire_alerts_images_left_out_total", "Alerts written without the images of the change, since with them they were too large.";
        scripts: Gauge = "tidewire_alerts_scripts", "Scripts that are saved, disabled ones too.";
        scripts_disabled: Gauge = "tidewire_alerts_scripts_disabled", "Scripts that are disabled.";
        disables: CounterBy<DisableReason> = "tidewire_alerts_disables_total", "Scripts that this replica has disabled.";
        states_unwritten: Gauge = "tidewire_alerts_states_unwritten", "Scripts disabled here whose state does not stand in the control topic yet.";
        worker_ends: CounterBy<WorkerEnd> = "tidewire_alerts_worker_ends_total", "Processes that run scripts which ended.";
        evaluation_seconds: Seconds = "tidewire_alerts_evaluation_seconds", "All scripts over one change, once a process is free.";
        commit_seconds: Seconds = "tidewire_alerts_commit_seconds", "Transactions, from their begin to the end of the commit.";
        batches: CounterBy<BatchOutcome> = "tidewire_alerts_batches_total", "Batches of changes.";
        rebalances: Counter = "tidewire_alerts_rebalances_total", "Times that partitions were taken from this replica.";
        partitions: Gauge = "tidewire_alerts_partitions", "Partitions that are this replica's now.";
        lag_records: GaugeByPartition = "tidewire_alerts_lag_records", "Records between this replica's position and the end of the partition.";
        records_poison: CounterBy<PoisonReason> = "tidewire_alerts_records_poison_total", "Records that could not be used, by the part that was wrong.";
        quarantine_failed: Counter = "tidewire_alerts_quarantine_failed_total", "Poison records that could not be written to the quarantine topic.";
        gaps: CounterBy<GapReason> = "tidewire_alerts_gaps_total", "Gaps: changes over which no script was run.";
        control_records: CounterBy<ControlOutcome> = "tidewire_alerts_control_records_total", "Records of the control topic read.";
    }
}
