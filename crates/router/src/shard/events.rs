//! Events: which views take one, and what is put behind whom.

use std::sync::Arc;

use tidewire_event::{OldImage, Operation, Position};
use tidewire_model::TypeDef;
use tidewire_wire::v1::GapReason;

use super::{LOGS_IN_QUEUE, Now, ShardCore, flush, words};
use crate::conflate::Plan;
use crate::event::RoutedEvent;
use crate::matching::{Role, owners_of};
use crate::view::{EventKind, OnSlow, View};

impl ShardCore {
    pub(super) fn event(&mut self, event: &Arc<RoutedEvent>, now: Now) {
        let next = event.id.offset.next();
        self.positions.advance(event.id.partition, Position { next, epoch: event.epoch });
        self.moved();
        self.replay.applied += 1;
        if self.is_silent(event) {
            return;
        }
        self.stamp += 1;
        self.encoders.begin();
        let owners = owners_of(event, &self.settings.model);
        let mut matched = std::mem::take(&mut self.matched);
        let mut was_sent = false;
        self.routes.visit(event, &owners, |view, role| matched.push((view, role)));
        for (index, role) in matched.drain(..) {
            if !self.is_wanted(index, role, event) {
                continue;
            }
            let Some(view) = self.views.get_mut(index) else { continue };
            view.stamp = self.stamp;
            if view.members.is_empty() {
                continue;
            }
            let sent = match self.encoders.body(view.encoder, event, role) {
                None => false,
                Some(body) => {
                    let framing = view.key.framing;
                    let suffix = Arc::clone(&view.suffix);
                    let start = view.log_bytes();
                    view.append(&mut self.pool, |log| {
                        framing.push_event(log, EventKind::Change, body, &suffix);
                    });
                    self.appended(index, start, 1, Some((event, role)));
                    self.note_unstamped(index);
                    true
                }
            };
            was_sent |= sent;
            if !sent {
                if event.is_first_report() {
                    self.broken.push(Arc::clone(event));
                }
                self.append_gap(index, GapReason::Unreadable, now);
            }
        }
        self.matched = matched;
        if was_sent && matches!(event.alert(), Some(Ok(alert)) if !alert.has_image) {
            self.stats.alerts_without_images += 1;
        }
        if event.look_for_owners && event.body().is_err() {
            self.owners_unknown(event, now);
        }
    }

    /// Whether a view that the routes named takes the event, which it has not taken yet.
    pub(super) fn is_wanted(&self, index: usize, role: Role, event: &RoutedEvent) -> bool {
        self.views.get(index).is_some_and(|view| {
            view.stamp != self.stamp
                && role.wanted(&view.key.definition, event.operation)
                && event.is_readable_by(&view.key.class)
        })
    }

    /// Tells the views of types above that they may have missed a change: its broken body alone knew whose
    /// it is.
    pub(super) fn owners_unknown(&mut self, event: &Arc<RoutedEvent>, now: Now) {
        let object_type = event.route.object_type.as_str();
        let above = self.settings.model.types_above(object_type);
        let concerned = |view: &View| {
            let definition = &view.key.definition;
            view.stamp != self.stamp
                && definition.tenant == event.route.tenant
                && above.iter().any(|above| definition.types.matches(above.as_str()))
                && Role::Above.wanted(definition, event.operation)
                && view.key.class.may_read(object_type)
        };
        let views: Vec<usize> =
            self.views.iter().filter(|(_, view)| concerned(view)).map(|(index, _)| index).collect();
        if !views.is_empty() && event.is_first_report() {
            self.broken.push(Arc::clone(event));
        }
        for index in views {
            self.append_gap(index, GapReason::Unreadable, now);
        }
    }

    /// Whether the model says that nobody is told of this update: only members such as remarks differ.
    pub(super) fn is_silent(&self, event: &RoutedEvent) -> bool {
        let object_type = event.route.object_type.as_str();
        let silent = self.settings.model.type_def(object_type).map_or(&[][..], TypeDef::silent);
        // The names are looked for first: an image without them is not parsed for this.
        if event.operation != Operation::Update
            || event.old_image != OldImage::Full
            || !silent.iter().any(|name| event.mentions(name))
        {
            return false;
        }
        let Ok(Some(body)) = event.body() else { return false };
        match (body.old_image(), body.new_image()) {
            (Some(old), Some(new)) => self.settings.model.is_silent_update(object_type, old, new),
            _ => false,
        }
    }

    /// Tells the live subscriptions of a view that changes may be missing.
    pub(super) fn append_gap(&mut self, index: usize, reason: GapReason, now: Now) {
        let Some(view) = self.views.get_mut(index).filter(|v| !v.members.is_empty()) else {
            return;
        };
        let start = view.log_bytes();
        let mut frames = Vec::new();
        words::push_gap(&mut frames, &view.key, reason, now);
        view.append(&mut self.pool, |log| log.extend_from_slice(&frames));
        self.appended(index, start, 1, None);
    }

    /// Accounts for what stands in a view's log from `start` on: `messages` of them, or an event.
    pub(super) fn appended(
        &mut self,
        index: usize,
        start: usize,
        messages: u64,
        event: Option<(&Arc<RoutedEvent>, Role)>,
    ) {
        let Some(view) = self.views.get_mut(index) else { return };
        if !view.is_long && view.log_bytes() > self.settings.limits.queue_bytes_max / LOGS_IN_QUEUE
        {
            view.is_long = true;
            self.long_views += 1;
        }
        let frames = view.tail(start);
        self.stats.backlog_bytes += frames.len();
        let members = view.members.len();
        self.stats.count(view.key.framing, messages * members as u64);
        let shared: Option<Arc<[u8]>> = (!view.queued.is_empty()).then(|| Arc::from(frames));
        if !view.dirty {
            view.dirty = true;
            if members > flush::SMALL_VIEW_MEMBERS {
                self.dirty_large.push_back(index);
            } else {
                self.dirty_small.push_back(index);
            }
        }
        let Some(frames) = shared else { return };
        let bytes_max = self.settings.limits.queue_bytes_max;
        for &index in &view.queued {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let Some(connection) = self.connections.get_mut(lane.connection) else { continue };
            let told = (&mut self.stats, &mut self.over);
            let conflates = lane.on_slow == OnSlow::Conflate;
            let slot = lane.connection;
            match event {
                Some((event, role)) if conflates => {
                    let (object_type, key) = (&event.route.object_type, &event.key);
                    let operation = event.operation;
                    let mut merged = 0;
                    let encoders = &mut self.encoders;
                    let (key_of_view, encoder) = (&view.key, view.encoder);
                    let suffix = &view.suffix;
                    connection.push(slot, bytes_max, told, |queue| {
                        match queue.plan(index, object_type, key, operation) {
                            Plan::Append => {
                                let (object_type, key) = (object_type.clone(), key.clone());
                                queue.push_event(
                                    index,
                                    object_type,
                                    key,
                                    operation,
                                    frames.clone(),
                                );
                            }
                            Plan::Replace(as_operation) => {
                                let frame = if as_operation == operation {
                                    Some(Arc::clone(&frames))
                                } else {
                                    let mut body = Vec::new();
                                    let done = encoders.body_as(
                                        encoder,
                                        event,
                                        role,
                                        as_operation,
                                        &mut body,
                                    );
                                    let mut frame = Vec::new();
                                    let kind = EventKind::Change;
                                    key_of_view.framing.push_event(&mut frame, kind, &body, suffix);
                                    done.then(|| Arc::from(frame))
                                };
                                let frame = frame.unwrap_or_else(|| Arc::clone(&frames));
                                queue.take_out(index, object_type, key);
                                let (object_type, key) = (object_type.clone(), key.clone());
                                queue.push_event(index, object_type, key, as_operation, frame);
                                merged = 1;
                            }
                            Plan::Cancel => {
                                queue.take_out(index, object_type, key);
                                merged = 2;
                            }
                        }
                    });
                    lane.conflated += merged;
                    self.stats.conflated += merged;
                }
                // Frames move to the end of a conflating queue: a cursor in it would claim too much.
                None if conflates && messages == 0 => {}
                // Who fetches anew at a gap may find what was created before it: its delete must not cancel that.
                None if conflates => connection.push(slot, bytes_max, told, |queue| {
                    queue.keep_in_place(index);
                    queue.push(frames.clone());
                }),
                _ => connection.push(slot, bytes_max, told, |queue| queue.push(frames.clone())),
            }
        }
    }
}
