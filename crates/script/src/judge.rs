//! Who may subscribe to a script: whoever has its role and may read its triggers' types and everything that
//! its source names, through all references. Else a script would be a way around rights.
//!
//! A script runs over every object of its types, and there are no rules for rows and single fields yet that
//! could be asked of each alert. So where reading has to be granted (`rights.default` is `deny`), hearing a
//! script has to be granted too, by its role: one without a role is for script authors alone. Where
//! everybody of a tenant reads everything, a script may go without.

use tidewire_event::ObjectType;
use tidewire_model::Model;
use tidewire_rights::{Duty, PermissionClass, Principal, RoleMap};
use tidewire_wire::error::Refusal;

use crate::{Fields, Script};

const NO_ROLE: &str = "the script names no role: it is for script authors alone, since this deployment grants \
                       what may be read (rights.default is deny)";

/// What the record alone tells. `without_role`: whether the principal may hear scripts that name no role.
///
/// # Errors
/// 403.
pub fn of_record(
    principal: &Principal,
    class: &PermissionClass,
    script: &Script,
    without_role: bool,
) -> Result<(), Refusal> {
    match script.record.role.as_deref() {
        Some(role) if !principal.has_role(role) => {
            let text = "the script is for a role that the token does not have";
            return Err(Refusal::forbidden(text));
        }
        None if !without_role => return Err(Refusal::forbidden(NO_ROLE)),
        _ => {}
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
pub fn of_fields(
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

/// Whether the principal may write scripts.
///
/// # Errors
/// 403 names the setting.
pub fn of_author(roles: &RoleMap, principal: &Principal) -> Result<(), Refusal> {
    if roles.may(Duty::ScriptAuthor, principal) {
        return Ok(());
    }
    let text = "script authors only: no role of the token is among auth.roles.script_author";
    Err(Refusal::forbidden(text))
}
