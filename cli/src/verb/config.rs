//! `longhaul config show`: what is set, and by whom.

use longhaul_common::spec::{Period, Size};

use crate::args::{ConfigArgs, ConfigVerb};
use crate::context::Context;
use crate::exit::Exit;
use crate::run::json_line;
use crate::settings::{Setting, Settings, config_path};

/// Values with a form of their own are tried here, where a person looks.
fn check(settings: &Settings) -> anyhow::Result<()> {
    for number in ["worker.slots", "worker.gates", "worker.cpus", "nats.replicas"] {
        settings.parsed::<u32>(number)?;
    }
    settings.parsed::<Period>("worker.drain_timeout")?;
    for name in [
        "worker.memory",
        "worker.disk_free",
        "worker.slots_max",
        "worker.mirrors_max",
        "worker.file_max",
        "worker.address_max",
        "worker.attempt_memory",
    ] {
        settings.parsed::<Size>(name)?;
    }
    settings.parsed::<std::net::SocketAddr>("worker.listen")?;
    settings.server().map(drop)
}

/// Prints every setting. A token itself is no setting and never shown, nor is a password in an address.
pub fn config(context: &Context, args: &ConfigArgs) -> anyhow::Result<Exit> {
    let ConfigVerb::Show { origin } = args.verb;
    check(&context.settings)?;
    let all = context.settings.all();
    if context.json {
        let value =
            |setting: &Setting| serde_json::json!({"value": setting.shown(), "origin": setting.origin.to_string()});
        let object: serde_json::Map<String, serde_json::Value> =
            all.iter().map(|setting| (setting.name.to_owned(), value(setting))).collect();
        json_line(&object);
        return Ok(Exit::Done);
    }
    for setting in all {
        if origin {
            println!("{} = {:?}  # {}", setting.name, setting.shown(), setting.origin);
        } else if !setting.value.is_empty() {
            println!("{} = {:?}", setting.name, setting.shown());
        }
    }
    if let Some(path) = config_path().filter(|path| !path.exists()) {
        eprintln!("there is no configuration file; it would be {}", path.display());
    }
    Ok(Exit::Done)
}
