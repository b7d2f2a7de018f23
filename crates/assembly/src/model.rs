//! Section `model`.

use std::collections::HashMap;
use std::sync::Arc;

use tidewire_config::{Settings, UnknownTypes as Configured};
use tidewire_event::Tenant;
use tidewire_model::{Model, UnknownTypes};
use tidewire_router::SelfLinks;

use crate::start::StartError;

/// The data model: the file that is configured, else the sample model.
///
/// # Errors
/// Everything that is wrong with the file.
pub(crate) fn load_model(settings: &Settings) -> Result<Arc<Model>, StartError> {
    let model = match &settings.model.file {
        None => Model::vms(),
        Some(path) => {
            let wrong = |text: String| {
                StartError::Values(vec![format!("model.file: {}: {text}", path.display())])
            };
            let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
            Model::parse(&text).map_err(|errors| wrong(errors.to_string()))?
        }
    };
    Ok(Arc::new(match settings.model.unknown_types {
        Configured::Accept => model.with_unknown_types(UnknownTypes::Accept),
        Configured::Refuse => model,
    }))
}

/// Where `self` links start; `public_url` is this deployment's own.
///
/// # Errors
/// A tenant's name that cannot be one.
pub fn self_links(settings: &Settings, public_url: &str) -> Result<Arc<SelfLinks>, StartError> {
    let mut tenants = HashMap::new();
    for (name, base) in &settings.model.self_base_urls {
        let tenant = Tenant::new(name)
            .map_err(|e| StartError::Values(vec![format!("model.self_base_urls.{name}: {e}")]))?;
        tenants.insert(tenant, base.clone());
    }
    let default = settings.model.self_base_url.as_deref().unwrap_or(public_url);
    Ok(Arc::new(SelfLinks::new(default, tenants)))
}
