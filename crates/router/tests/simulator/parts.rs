//! What replicas are made of: settings, definitions, field lists, rights.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use tidewire_event::{CursorKey, KeyKind, ObjectKey, Tenant, encode_cursor};
use tidewire_fields::{FieldList, FieldMask, Parsed, Scope};
use tidewire_model::Model;
use tidewire_rights::{PermissionClass, Principal, RightsOptions, TypeRights};
use tidewire_router::{SelfLinks, ShardLimits, ShardSettings, Window};
use tidewire_store::{BookWrite, SessionWrite};
use tidewire_wire::definition::{Definition, EventSet, KeySelector, TypeSelector};

pub(crate) fn cursor_key() -> CursorKey {
    static KEY: LazyLock<CursorKey> =
        LazyLock::new(|| CursorKey::derive(b"a secret of the simulator"));
    KEY.clone()
}

pub(crate) fn settings(
    model: Model,
    queue_bytes_max: usize,
    slow_grace_ms: u64,
    replay_bytes_per_second: u64,
) -> ShardSettings {
    ShardSettings {
        model: Arc::new(model),
        links: Arc::new(SelfLinks::new("https://vms.example.com/", HashMap::new())),
        limits: ShardLimits {
            queue_bytes_max,
            slow_grace_ms,
            backlog_bytes_max: 1 << 20,
            replay_bytes_per_second,
        },
        window: Arc::new(Window::new(0)),
        cursor_key: cursor_key(),
    }
}

/// A write of the book as the store takes it.
pub(crate) fn session_write(write: BookWrite) -> SessionWrite {
    let BookWrite { id, owner, fields, positions, proven, release, .. } = write;
    let position = positions.map(|at| encode_cursor(&cursor_key(), &id.tenant, &at));
    SessionWrite { id, owner, fields, position, proven, release }
}

/// The class of a principal who may read everything, or everything but `Cargo`.
pub(crate) fn class(tenant: &str, hides_cargo: bool) -> PermissionClass {
    static RIGHTS: LazyLock<TypeRights> = LazyLock::new(|| {
        let read = [(String::from("cargo"), vec![String::from("Cargo")])].into_iter().collect();
        TypeRights::new(&RightsOptions { read, ..RightsOptions::open() }).unwrap()
    });
    let role = (!hides_cargo).then(|| String::from("cargo"));
    RIGHTS.permission_class(&Principal {
        tenant: Tenant::new(tenant).unwrap(),
        id: Arc::from("user:1"),
        user_key: Some(1),
        roles: role.into_iter().collect(),
        business_units: Vec::new(),
        expires_at: i64::MAX,
        issued_at: None,
        token_id: None,
    })
}

/// Reads `tenant type events keys [main]`.
pub(crate) fn definition(text: &str) -> Definition {
    let parts: Vec<&str> = text.split(' ').collect();
    let key = |text: &str| ObjectKey::parse(text, KeyKind::Integer).unwrap();
    let keys = match parts[3] {
        "*" => KeySelector::Any,
        list => KeySelector::keys(list.split(',').map(key).collect()).unwrap(),
    };
    Definition {
        tenant: Tenant::new(parts[0]).unwrap(),
        types: TypeSelector::parse(parts[1]).unwrap(),
        events: EventSet::parse(parts[2]).unwrap(),
        keys,
        only_main_object: parts.get(4) == Some(&"main"),
        live_references: true,
    }
}

pub(crate) fn mask(model: &Model, types: &TypeSelector, list: &str) -> FieldMask {
    let Parsed::List(list) = FieldList::parse(list).unwrap() else { panic!("{list} is no list") };
    let scope = match types {
        TypeSelector::One(one) => Scope::One(one),
        TypeSelector::Any => Scope::Any,
    };
    FieldMask::compile(&list, model, scope, &|_| true).unwrap()
}
