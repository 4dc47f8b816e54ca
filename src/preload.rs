//! What the configuration wants to be there at the start, as the broker takes it.

use fanal_actors::ports::ChangeKind;
use fanal_actors::{Class, Path, Value};

use crate::config::{Config, Declared, DeclaredClass, USER_PLACEHOLDER};

/// Everything that is declared, once for each user where a path says so; links come last, so that
/// the order of the blocks does not matter.
///
/// # Errors
/// If a value cannot be encoded.
pub fn from_config(config: &Config) -> anyhow::Result<Vec<ChangeKind>> {
    let mut nodes = Vec::new();
    let mut links = Vec::new();
    for declared in &config.preload.resources {
        let value = value(declared)?;
        let names: Vec<&str> = if declared.is_per_user() {
            config.auth.users.iter().map(|user| user.name.as_str()).collect()
        } else {
            vec![""]
        };
        for name in names {
            let path = path(&declared.path, name);
            if let Some(source) = &declared.source {
                let source = self::path(source, name);
                links.push(ChangeKind::Link { source, destination: path.clone() });
            }
            nodes.push(if declared.directory {
                ChangeKind::CreateDirectory { path }
            } else {
                ChangeKind::CreateResource {
                    path,
                    number: 0,
                    class: declared.class.map(class),
                    value: value.clone(),
                }
            });
        }
    }
    nodes.append(&mut links);
    Ok(nodes)
}

fn class(declared: DeclaredClass) -> Class {
    match declared {
        DeclaredClass::State => Class::State,
        DeclaredClass::Live => Class::Live,
        DeclaredClass::Event => Class::Event,
    }
}

fn path(pattern: &str, user: &str) -> Path {
    Path::new(pattern.split('/').map(|name| name.replace(USER_PLACEHOLDER, user)))
}

fn value(declared: &Declared) -> anyhow::Result<Value> {
    let encoded = match (&declared.value, declared.zero_bytes) {
        (Some(value), _) => rmp_serde::to_vec(value)?,
        (None, Some(count)) => {
            let zeros = vec![0; usize::try_from(count)?];
            rmp_serde::to_vec(&rmpv::Value::Binary(zeros))?
        }
        (None, None) => return Ok(Value::nil()),
    };
    Ok(Value::copy_from(&encoded))
}
