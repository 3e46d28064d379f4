//! `longhaul config show`: what is set, and by whom.

use crate::args::{ConfigArgs, ConfigVerb};
use crate::context::Context;
use crate::exit::Exit;
use crate::run::json_line;
use crate::settings::{Setting, config_path};

/// Prints every setting. A token itself is no setting and never shown.
pub fn config(context: &Context, args: &ConfigArgs) -> anyhow::Result<Exit> {
    let ConfigVerb::Show { origin } = args.verb;
    let all = context.settings.all();
    if context.json {
        let value =
            |setting: &Setting| serde_json::json!({"value": setting.value, "origin": setting.origin.to_string()});
        let object: serde_json::Map<String, serde_json::Value> =
            all.iter().map(|setting| (setting.name.to_owned(), value(setting))).collect();
        json_line(&object);
        return Ok(Exit::Done);
    }
    for setting in all {
        if origin {
            println!("{} = {:?}  # {}", setting.name, setting.value, setting.origin);
        } else if !setting.value.is_empty() {
            println!("{} = {:?}", setting.name, setting.value);
        }
    }
    if let Some(path) = config_path().filter(|path| !path.exists()) {
        eprintln!("there is no configuration file; it would be {}", path.display());
    }
    Ok(Exit::Done)
}
