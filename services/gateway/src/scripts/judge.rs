//! Who may subscribe to a script: whoever has its role, where it names one, and may read its triggers' types
//! and everything that its source names, through all references. Else a script would be a way around
//! rights.

use tidewire_event::ObjectType;
use tidewire_model::Model;
use tidewire_rights::{PermissionClass, Principal};
use tidewire_script::{Fields, Script};
use tidewire_wire::error::Refusal;

/// What the record alone tells.
///
/// # Errors
/// 403.
pub(super) fn of_record(
    principal: &Principal,
    class: &PermissionClass,
    script: &Script,
) -> Result<(), Refusal> {
    if let Some(role) = script.record.role.as_deref()
        && !principal.has_role(role)
    {
        return Err(Refusal::forbidden("the script is for a role that the token does not have"));
    }
    for trigger in &script.record.triggers {
        if !class.may_read(trigger.object_type.as_str()) {
            return Err(not_allowed(&trigger.object_type));
        }
    }
    Ok(())
}

/// What its source tells.
///
/// # Errors
/// 403 names the type.
pub(super) fn of_fields(
    class: &PermissionClass,
    model: &Model,
    script: &Script,
    fields: &Fields,
) -> Result<(), Refusal> {
    for trigger in &script.record.triggers {
        for (object_type, member) in fields.reads(model, &trigger.object_type) {
            if !may_read_field(class, &object_type, &member) {
                return Err(not_allowed(&object_type));
            }
        }
    }
    Ok(())
}

/// Whether a class may read a field. The one place to ask the rules of fields, once there are any: until
/// then a type's fields are as readable as the type.
fn may_read_field(class: &PermissionClass, object_type: &ObjectType, _member: &str) -> bool {
    class.may_read(object_type.as_str())
}

fn not_allowed(object_type: &ObjectType) -> Refusal {
    Refusal::forbidden(format!("the script reads type {object_type}, which is not allowed"))
}
