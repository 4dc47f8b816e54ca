//! The directory actor: the one writer of the tree and of the links.
//!
//! It runs on a thread of its own. A change is made under the lock of the structure, which takes
//! microseconds, and answered when the supervisor has it on disk. Listings are written on another
//! thread, from a clone of the tree that costs nothing, so that a long one holds up other listings
//! only.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, ArbiterHandle, Context, Handler, Message};

use crate::access::{Allowance, Counted, View};
use crate::guard::guarded;
use crate::metrics::Posted;
use crate::periodic::each;
use crate::ports::{Change, ChangeKind};
use crate::protocol::{Class, Path, Refusal, Rnum, Value};
use crate::resource::{Busy, Entry};
use crate::settings::Sync;
use crate::shared::{Shared, Structure};
use crate::state::{Ack, AckGuard, Found, Link, Reply, Responder, Tree};
use crate::supervisor::{Append, Supervisor};
use crate::verbs::link::Linked;
use crate::verbs::{Structural, create, delete, link, list, mkdir, post, unlink};

/// See the module's text.
pub struct Directory {
    shared: Arc<Shared>,
    supervisor: Addr<Supervisor>,
    /// The last change that was sent to the supervisor.
    sent: u64,
    /// The thread that writes listings.
    lister: ArbiterHandle,
    /// Resources by number whose makers may have a bounded number of them.
    counted: HashMap<u64, Counted>,
}

/// What a request to make a resource says beside its path and value.
struct Made {
    class: Option<Class>,
    maker: Option<Arc<Allowance>>,
}

/// A structural request of a session. A session has at most one in flight.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Task {
    /// What to do.
    pub structural: Structural,
    /// Whom to answer.
    pub responder: Responder,
    /// When it was sent.
    pub posted: Posted,
}

impl Directory {
    /// Over this structure, journaling through this supervisor, listing on this thread.
    pub fn new(shared: Arc<Shared>, supervisor: Addr<Supervisor>, lister: ArbiterHandle) -> Self {
        Directory { shared, supervisor, sent: 0, lister, counted: HashMap::new() }
    }

    fn carry_out(&mut self, structural: Structural, responder: Responder) {
        match structural {
            Structural::Post { path, value, class, maker } => {
                self.post(path, value, Made { class, maker }, responder);
            }
            Structural::Create { path, class, maker } => {
                self.create(path, Made { class, maker }, responder);
            }
            Structural::Mkdir { path } => self.mkdir(path, responder),
            Structural::Delete { path } => self.delete(path, responder),
            Structural::List { path, non_recursive, view } => {
                self.list(path, non_recursive, view, responder);
            }
            Structural::Link { destination, source } => self.link(destination, source, responder),
            Structural::Unlink { destination, source } => {
                self.unlink(destination, source, responder);
            }
        }
    }

    /// Makes a change under the lock of the structure, and numbers it.
    fn change<T>(
        &self,
        apply: impl FnOnce(&mut Structure) -> Result<(T, ChangeKind), Refusal>,
    ) -> Result<(T, Change), Refusal> {
        if !self.shared.unsaved.has_room() {
            self.shared.counters.changes_refused.add(1);
            return Err(Refusal::new(
                Rnum::InsufficientStorage,
                "the disk cannot be written, and no more changes can wait for it",
            ));
        }
        let mut structure = self.shared.structure.write();
        let (outcome, kind) = apply(&mut structure)?;
        structure.sequence += 1;
        Ok((outcome, Change { sequence: structure.sequence, kind }))
    }

    /// Answers a refusal at once, and a change when it is as durable as the settings want it.
    fn conclude(
        &mut self,
        outcome: Result<((), Change), Refusal>,
        responder: Responder,
        reply: Reply,
    ) {
        match outcome {
            Err(refusal) => responder.answer(refusal),
            Ok(((), change)) => self.journal(change, AckGuard::new(responder, lost()), reply),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a session has one structural request in flight")]
    fn journal(&mut self, change: Change, ack: Ack, reply: Reply) {
        self.shared.unsaved.note_change();
        let change = match self.shared.settings.sync {
            Sync::All | Sync::Structure => change,
            Sync::Interval => match self.shared.unsaved.add_change(change, self.sent) {
                Ok(()) => return ack.amend(reply),
                Err(change) => change,
            },
        };
        self.sent = change.sequence;
        let metrics = &self.shared.metrics;
        let posted = metrics.post(&metrics.supervisor);
        self.supervisor.do_send(Append { change, ack, reply, posted });
    }

    /// A new resource, if there is room for its value, and the value that is saved with it.
    fn new_entry(
        &self,
        path: &Path,
        class: Option<Class>,
        value: &Value,
    ) -> Option<(Arc<Entry>, Value)> {
        let class = self.shared.class(path, class);
        let first = if class == Class::Event { Value::nil() } else { value.clone() };
        let room = self.shared.values.exchange(0, first.size_bytes() as u64);
        if !room {
            self.shared.counters.values_refused.add(1);
            return None;
        }
        let saved = if class == Class::State { first.clone() } else { Value::nil() };
        Some((Entry::new(self.shared.next_resource(), first, class), saved))
    }

    fn make(
        &mut self,
        path: Path,
        Made { class, maker }: Made,
        value: &Value,
        apply: impl FnOnce(
            &mut Tree<Arc<Entry>>,
            &Path,
            usize,
            &mut dyn FnMut() -> Option<Arc<Entry>>,
        ) -> Result<(), Refusal>,
    ) -> Result<((), Change), Refusal> {
        let nodes_max = self.shared.settings.nodes_max.get();
        let mut counted = None;
        let outcome = self.change(|structure| {
            if let Some(maker) = &maker {
                counted = maker.make();
                // What cannot be made for another reason is refused for that.
                if counted.is_none() && matches!(structure.tree.find(path.names()), Found::Missing)
                {
                    return Err(self.too_many_made(maker));
                }
            }
            let mut made = None;
            let mut make = || {
                let (entry, saved) = self.new_entry(&path, class, value)?;
                made = Some((entry.number(), saved));
                Some(entry)
            };
            apply(&mut structure.tree, &path, nodes_max, &mut make)?;
            let (number, value) = made.unwrap_or_else(|| (0, Value::nil()));
            Ok((number, ChangeKind::CreateResource { path, number, class, value }))
        });
        outcome.map(|(number, change)| {
            self.counted.extend(counted.map(|counted| (number, counted)));
            ((), change)
        })
    }

    fn too_many_made(&self, maker: &Allowance) -> Refusal {
        self.shared.counters.quota_resources.add(1);
        let max = maker.allowed.resources_max;
        let text = format!("this user has made {max} resources, and may have no more");
        Refusal::new(Rnum::TooManyRequests, text)
    }

    fn post(&mut self, path: Path, value: Value, made: Made, responder: Responder) {
        if let Some(entry) = self.shared.resource(&path) {
            // Another session made it between the look of this one and now.
            let outcome = entry.put_in_place(&self.shared, value, responder);
            if let Err(Busy { responder, .. }) = outcome {
                responder.answer(Refusal::new(
                    Rnum::InternalServerError,
                    "the resource has more requests waiting than mailbox.resource; try again",
                ));
            }
            return;
        }
        let outcome = self.make(path, made, &value, |tree, path, nodes_max, make| {
            post::apply(tree, path, nodes_max, make)
        });
        self.conclude(outcome, responder, Reply::of(Rnum::Created));
    }

    fn create(&mut self, path: Path, made: Made, responder: Responder) {
        let value = Value::nil();
        let outcome = self.make(path, made, &value, |tree, path, nodes_max, make| {
            create::apply(tree, path, nodes_max, make)
        });
        self.conclude(outcome, responder, Reply::of(Rnum::Created));
    }

    fn mkdir(&mut self, path: Path, responder: Responder) {
        let nodes_max = self.shared.settings.nodes_max.get();
        let outcome = self.change(|structure| {
            mkdir::apply(&mut structure.tree, &path, nodes_max)?;
            Ok(((), ChangeKind::CreateDirectory { path }))
        });
        self.conclude(outcome, responder, Reply::of(Rnum::Created));
    }

    fn delete(&mut self, path: Path, responder: Responder) {
        let outcome = self.change(|structure| {
            let node = delete::apply(&mut structure.tree, &path)?;
            Ok((node, ChangeKind::Delete { path }))
        });
        let (node, change) = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => return responder.answer(refusal),
        };
        // The rest takes as long as there are resources, so the lock is not held meanwhile.
        let (entries, nodes) = delete::what_went(&node);
        let linked: Vec<u64> = {
            let graph = &self.shared.structure.read().graph;
            entries.iter().map(|entry| entry.number()).filter(|n| graph.contains(*n)).collect()
        };
        {
            let mut structure = self.shared.structure.write();
            structure.tree.uncount(nodes, entries.len());
            for number in linked {
                structure.graph.remove_all(number);
            }
        }
        let ack = AckGuard::new(responder, lost());
        for entry in entries {
            self.counted.remove(&entry.number());
            entry.end(&self.shared, Some(Arc::clone(&ack)));
        }
        self.journal(change, ack, Reply::of(Rnum::Ok));
    }

    fn list(&self, path: Path, non_recursive: bool, view: Option<View>, responder: Responder) {
        let tree = self.shared.structure.read().tree.clone();
        let bytes_max = self.shared.settings.list_bytes_max.get();
        let shared = Arc::clone(&self.shared);
        // If the thread is gone, the responder answers 500 as it is dropped.
        let _sent = self.lister.spawn_fn(move || {
            guarded(&shared.counters, "lister", || {
                match list::apply(&tree, &path, non_recursive, view.as_ref(), bytes_max) {
                    Ok(listing) => responder.answer(Reply::value(listing)),
                    Err(refusal) => responder.answer(refusal),
                }
            });
        });
    }

    fn link(&mut self, destination: Path, source: Path, responder: Responder) {
        let links_max = self.shared.settings.links_max.get();
        let outcome = self.change(|structure| {
            let Structure { tree, graph, .. } = structure;
            let linked = link::apply(tree, graph, &destination, &source, links_max)?;
            let linked = linked.ok_or_else(|| {
                // Not a failure, but nothing that is to be journaled either.
                Refusal::new(Rnum::Ok, "this link was there already")
            })?;
            Ok((linked, ChangeKind::Link { source, destination }))
        });
        let outcome = outcome.map(|(Linked { source, destination, ring }, change)| {
            source.add_link(Arc::new(Link { ring, destination }));
            ((), change)
        });
        self.conclude(outcome, responder, Reply::of(Rnum::Ok));
    }

    fn unlink(&mut self, destination: Path, source: Path, responder: Responder) {
        let outcome = self.change(|structure| {
            let Structure { tree, graph, .. } = structure;
            if let Some(source) = unlink::apply(tree, graph, &destination, &source)? {
                source.note_linked(false);
            }
            Ok(((), ChangeKind::Unlink { source, destination }))
        });
        self.conclude(outcome, responder, Reply::of(Rnum::Ok));
    }
}

/// The answer to a change if nobody says that it is durable.
fn lost() -> Refusal {
    Refusal::new(
        Rnum::InternalServerError,
        "the change was made, but it is not on disk; the broker tries to save it",
    )
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.shared.settings.mailbox_directory);
        // An actor rests after one to two of these.
        each(
            self,
            context,
            |directory| directory.shared.settings.resource_idle_timeout.get() / 2,
            |directory, _| {
                let shared = &directory.shared;
                guarded(&shared.counters, "directory", || shared.rest_idle_resources());
            },
        );
    }
}

impl Handler<Task> for Directory {
    type Result = ();

    fn handle(&mut self, task: Task, _: &mut Self::Context) {
        let Task { structural, responder, posted } = task;
        let shared = Arc::clone(&self.shared);
        shared.metrics.take(&shared.metrics.directory, posted);
        guarded(&shared.counters, "directory", || self.carry_out(structural, responder));
    }
}
