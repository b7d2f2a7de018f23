//! The sockets that are open here: for whoever lists them, and for whoever has to find those that a
//! revocation or kick concerns.
//!
//! Touched when a socket opens, closes, or changes what it wants; never on the way of an event. An entry
//! shares what the socket has anyway, so it costs about 150 bytes. Looking for the sockets of a principal
//! goes through all of them (some milliseconds for 100,000): that is rare, and an index for it would cost
//! every socket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tidewire_event::Tenant;
use tidewire_rights::{Principal, Revocation, TargetKind};
use tidewire_router::ConnectionId;
use tidewire_wire::definition::{Definition, KeySelector, TypeSelector};

use crate::plane::{Home, PlaneKind};

/// Keys of a subscription that a listing shows.
const KEYS_SHOWN: usize = 8;

/// The open sockets of this replica.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Random for each process: two replicas, or two lives of one, never share a socket's name.
    replica: Box<str>,
    sockets: Mutex<HashMap<ConnectionId, Opened>>,
}

/// What is known of an open socket.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// Who: the one of its present token.
    pub(crate) principal: Arc<Principal>,
    /// Which shard of which plane has it.
    pub(crate) home: Home,
    /// What it speaks: `vms`, `tidewire.v1` or `sse`.
    pub(crate) mode: &'static str,
    /// The name of its session.
    pub(crate) session: Option<Box<str>>,
    /// Where it comes from.
    pub(crate) address: IpAddr,
    /// Since when, in unix seconds.
    pub(crate) since: i64,
    /// What it wants; in the documented mode one without a name.
    pub(crate) subscriptions: Vec<(Option<Arc<str>>, Arc<Definition>)>,
}

/// Which sockets to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) tenant: Option<Tenant>,
    pub(crate) principal: Option<String>,
    /// Those behind this one.
    pub(crate) after: Option<ConnectionId>,
    pub(crate) limit: usize,
}

/// A page of sockets, in the order in which they were opened.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) sockets: Vec<(ConnectionId, Opened)>,
    /// How many there are on this and all further pages.
    pub(crate) total: usize,
}

impl Registry {
    /// An empty one, with a name for this process.
    pub(crate) fn new() -> Arc<Self> {
        let mut random = [0; 4];
        // Without random bytes the clock has to do: names repeat only where two replicas start in one
        // millisecond.
        let number = match getrandom::fill(&mut random) {
            Ok(()) => u32::from_be_bytes(random),
            Err(_) => u32::try_from(crate::shared::unix_ms() & 0xffff_ffff).unwrap_or(0),
        };
        Arc::new(Self { replica: format!("{number:08x}").into(), sockets: Mutex::default() })
    }

    /// The name of this process.
    pub(crate) fn replica(&self) -> &str {
        &self.replica
    }

    /// The name of a socket, unique among all replicas.
    pub(crate) fn name(&self, id: ConnectionId) -> String {
        format!("{}-{}", self.replica, id.0)
    }

    /// The socket of a name that this replica gave.
    pub(crate) fn id(&self, name: &str) -> Option<ConnectionId> {
        let number = name.strip_prefix(&*self.replica)?.strip_prefix('-')?;
        number.parse().ok().map(ConnectionId)
    }

    /// Enters a socket. It leaves with [`Registered::leave`], or when the result is dropped.
    pub(crate) fn open(self: &Arc<Self>, id: ConnectionId, socket: Opened) -> Registered {
        self.sockets.lock().insert(id, socket);
        Registered { registry: Arc::clone(self), id }
    }

    /// On whose token a socket of this tenant rests, where it is open here.
    pub(crate) fn principal(&self, id: ConnectionId, tenant: &Tenant) -> Option<Arc<Principal>> {
        let sockets = self.sockets.lock();
        let principal = sockets.get(&id).map(|socket| &socket.principal);
        principal.filter(|principal| principal.tenant == *tenant).cloned()
    }

    /// The sockets that a revocation or kick concerns.
    pub(crate) fn concerned(&self, revocation: &Revocation) -> Vec<(ConnectionId, Home)> {
        let target = &revocation.target;
        let sockets = self.sockets.lock();
        if target.kind == TargetKind::Socket {
            let found = self.id(&target.id).and_then(|id| sockets.get(&id).map(|s| (id, s)));
            let own = found.filter(|(_, socket)| socket.principal.tenant == target.tenant);
            return own.map(|(id, socket)| (id, socket.home)).into_iter().collect();
        }
        let concerned = sockets.iter().filter(|(_, s)| revocation.concerns(&s.principal));
        concerned.map(|(id, socket)| (*id, socket.home)).collect()
    }

    /// The sockets that are subscribed to the alerts of a script.
    pub(crate) fn subscribed_to(&self, tenant: &Tenant, code: &str) -> Vec<(ConnectionId, Opened)> {
        let wants = |socket: &Opened| {
            socket.home.plane == PlaneKind::Alerts
                && socket.principal.tenant == *tenant
                && socket.subscriptions.iter().any(|(_, d)| d.alert_script() == Some(code))
        };
        let sockets = self.sockets.lock();
        let found = sockets.iter().filter(|(_, socket)| wants(socket));
        found.map(|(id, socket)| (*id, socket.clone())).collect()
    }

    /// A page of the sockets that are wanted.
    pub(crate) fn list(&self, wanted: &Wanted) -> Page {
        let sockets = self.sockets.lock();
        let fits = |socket: &Opened| {
            let principal = &socket.principal;
            wanted.tenant.as_ref().is_none_or(|tenant| *tenant == principal.tenant)
                && wanted.principal.as_ref().is_none_or(|name| **name == *principal.id)
        };
        let found = sockets.iter().filter(|(id, s)| wanted.after < Some(**id) && fits(s));
        let mut ids: Vec<ConnectionId> = found.map(|(id, _)| *id).collect();
        let total = ids.len();
        if total > wanted.limit {
            ids.select_nth_unstable(wanted.limit);
            ids.truncate(wanted.limit);
        }
        ids.sort_unstable();
        let page = ids.into_iter().filter_map(|id| Some((id, sockets.get(&id)?.clone())));
        Page { sockets: page.collect(), total }
    }
}

/// A socket's place in the registry, until it closes or this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    id: ConnectionId,
}

impl Registered {
    /// It rests on another token from here on. Look afterwards whether that one is revoked.
    pub(crate) fn renew(&self, principal: &Arc<Principal>) {
        if let Some(socket) = self.registry.sockets.lock().get_mut(&self.id) {
            socket.principal = Arc::clone(principal);
        }
    }

    /// A subscription of this name has begun, or begun anew.
    pub(crate) fn subscribed(&self, name: &Arc<str>, definition: &Arc<Definition>) {
        if let Some(socket) = self.registry.sockets.lock().get_mut(&self.id) {
            socket.subscriptions.retain(|(known, _)| known.as_ref() != Some(name));
            socket.subscriptions.push((Some(Arc::clone(name)), Arc::clone(definition)));
        }
    }

    /// The subscription of this name has ended.
    pub(crate) fn unsubscribed(&self, name: &str) {
        if let Some(socket) = self.registry.sockets.lock().get_mut(&self.id) {
            socket.subscriptions.retain(|(known, _)| known.as_deref() != Some(name));
        }
    }
}

impl Registered {
    /// It is closing: nobody needs to find it any more.
    pub(crate) fn leave(&self) {
        let socket = self.registry.sockets.lock().remove(&self.id);
        // Freed while nobody waits for the lock.
        drop(socket);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a subscription wants, as a path shows it: `PortCall/U/7823672`.
pub(crate) fn shown(definition: &Definition) -> String {
    let types = match &definition.types {
        TypeSelector::One(one) => one.as_str(),
        TypeSelector::Any => "*",
    };
    let keys = match &definition.keys {
        KeySelector::Any => "*".to_owned(),
        KeySelector::Keys(keys) => {
            let shown: Vec<String> =
                keys.iter().take(KEYS_SHOWN).map(ToString::to_string).collect();
            let more = keys.len().saturating_sub(KEYS_SHOWN);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}{more}", shown.join(","))
        }
    };
    format!("{types}/{}/{keys}", definition.events)
}

#[cfg(test)]
mod tests {
    use tidewire_event::ObjectKey;
    use tidewire_rights::{Action, Target};
    use tidewire_router::ShardIndex;
    use tidewire_wire::definition::EventSet;

    use super::*;

    fn opened(tenant: &str, user: u64, shard: ShardIndex) -> Opened {
        let principal = Principal {
            tenant: Tenant::new(tenant).unwrap(),
            id: Principal::id_of(Some(user), "", ""),
            user_key: Some(user),
            roles: Vec::new(),
            business_units: Vec::new(),
            expires_at: 0,
            issued_at: Some(100),
            token_id: Some(format!("token-{user}")),
        };
        Opened {
            principal: Arc::new(principal),
            home: Home { plane: PlaneKind::Objects, shard },
            mode: "vms",
            session: None,
            address: IpAddr::from([127, 0, 0, 1]),
            since: 0,
            subscriptions: Vec::new(),
        }
    }

    fn definition(keys: u64) -> Arc<Definition> {
        let keys = (1..=keys).map(ObjectKey::Integer).collect();
        Arc::new(Definition {
            tenant: Tenant::new("acme").unwrap(),
            types: TypeSelector::parse("PortCall").unwrap(),
            events: EventSet::parse("C,U").unwrap(),
            keys: KeySelector::keys(keys).unwrap_or(KeySelector::Any),
            only_main_object: false,
            live_references: true,
        })
    }

    #[test]
    fn sockets_are_found_by_whom_a_record_concerns() {
        let registry = Registry::new();
        let place = |id, socket| registry.open(ConnectionId(id), socket);
        let one = place(1, opened("acme", 7, 0));
        let _others = (place(2, opened("acme", 8, 1)), place(3, opened("beta", 7, 0)));
        let check = |action, tenant: &str, kind, id: &str, at, expected: &[(u64, ShardIndex)]| {
            let target = Target::new(action, Tenant::new(tenant).unwrap(), kind, id).unwrap();
            let (by, reason) = (String::new(), String::new());
            let found = registry.concerned(&Revocation { target, at, until: 900, by, reason });
            let mut found: Vec<_> =
                found.into_iter().map(|(id, home)| (id.0, home.shard)).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{action:?} {tenant} {kind:?} {id} {at}");
        };
        use Action::{Kick, Revoke};
        check(Revoke, "acme", TargetKind::Token, "token-7", 0, &[(1, 0)]);
        check(Revoke, "acme", TargetKind::Principal, "user:8", 100, &[(2, 1)]);
        check(Revoke, "acme", TargetKind::Principal, "user:8", 99, &[]);
        check(Revoke, "acme", TargetKind::Tenant, "acme", 100, &[(1, 0), (2, 1)]);
        check(Kick, "beta", TargetKind::Tenant, "beta", 0, &[(3, 0)]);
        let name = registry.name(ConnectionId(2));
        check(Kick, "acme", TargetKind::Socket, &name, 0, &[(2, 1)]);
        check(Kick, "beta", TargetKind::Socket, &name, 0, &[]);
        for stranger in ["2", "-2", &name[1..], &format!("{name}x"), "zzzzzzzz-2"] {
            check(Kick, "acme", TargetKind::Socket, stranger, 0, &[]);
        }
        one.renew(&opened("acme", 9, 0).principal);
        check(Revoke, "acme", TargetKind::Token, "token-7", 0, &[]);
        check(Revoke, "acme", TargetKind::Token, "token-9", 0, &[(1, 0)]);
        drop(one);
        check(Revoke, "acme", TargetKind::Token, "token-9", 0, &[]);
    }

    #[test]
    fn pages() {
        let registry = Registry::new();
        let _places: Vec<_> =
            (1..=9).map(|id| registry.open(ConnectionId(id), opened("acme", id % 2, 0))).collect();
        let _other = registry.open(ConnectionId(10), opened("beta", 1, 0));
        let check = |wanted: Wanted, expected: &[u64], total: usize| {
            let page = registry.list(&wanted);
            let ids: Vec<u64> = page.sockets.iter().map(|(id, _)| id.0).collect();
            assert_eq!((ids.as_slice(), page.total), (expected, total), "{wanted:?}");
        };
        let acme = Tenant::new("acme").ok();
        let all = Wanted { limit: 100, ..Wanted::default() };
        check(all.clone(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10);
        let after = |after| Some(ConnectionId(after));
        check(Wanted { limit: 3, tenant: acme.clone(), ..all.clone() }, &[1, 2, 3], 9);
        check(Wanted { limit: 3, after: after(8), ..all.clone() }, &[9, 10], 2);
        check(Wanted { after: after(10), ..all.clone() }, &[], 0);
        let principal = Some("user:1".to_owned());
        check(Wanted { principal, tenant: acme, limit: 2, ..all }, &[1, 3], 5);
    }

    #[test]
    fn subscriptions_come_and_go() {
        let registry = Registry::new();
        let place = registry.open(ConnectionId(1), opened("acme", 1, 0));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for (name, keys) in [(&a, 1), (&b, 0), (&a, 10)] {
            place.subscribed(name, &definition(keys));
        }
        place.unsubscribed("c");
        place.unsubscribed("b");
        let page = registry.list(&Wanted { limit: 1, ..Wanted::default() });
        let texts: Vec<_> = page.sockets[0].1.subscriptions.iter().map(|(_, d)| shown(d)).collect();
        assert_eq!(texts, ["PortCall/CU/1,2,3,4,5,6,7,8 and 2 more"]);
        assert_eq!(shown(&definition(0)), "PortCall/CU/*");
    }
}
