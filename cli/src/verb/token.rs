//! `longhaul token`: a new secret for one caller, and what the server keeps of it.
//!
//! The server's file holds a hash only: who reads it can be nobody.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;
use longhaul_common::WorkerName;
use sha2::{Digest as _, Sha256};

use crate::args::{RoleName, TokenArgs};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::run::json_line;

/// Random bytes of a token: nobody guesses 256 bits.
const SECRET_BYTES: usize = 32;

/// Makes a token and prints it with its entry.
pub fn token(context: &Context, args: &TokenArgs) -> anyhow::Result<Exit> {
    let mut roles = args.roles.clone();
    roles.sort_unstable();
    roles.dedup();
    let names: Vec<&str> = roles.iter().map(|&role| word(role)).collect();
    // A worker's identity is its name on the bus, so one rule holds for all names.
    let name: WorkerName = args.name.parse().map_err(Stop::usage)?;
    let token = secret()?;
    let entry = entry(name.as_str(), &names, &sha256(token.as_bytes()));
    if let Some(path) = &args.out {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot make the file {}", path.display()))?;
        file.write_all(format!("{token}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let shown = if args.out.is_some() { None } else { Some(token) };
    if context.json {
        json_line(&serde_json::json!({"name": name.as_str(), "roles": names, "token": shown, "entry": entry}));
        return Ok(Exit::Done);
    }
    eprintln!("# add this to the server's access file:");
    print!("{entry}");
    match shown {
        Some(token) => {
            eprintln!("# and give this to {name}, in a file for --token-file or as LONGHAUL_TOKEN; it is shown once:");
            println!("{token}");
        }
        None => eprintln!("# the token itself is in the file, readable by you alone"),
    }
    Ok(Exit::Done)
}

fn word(role: RoleName) -> &'static str {
    match role {
        RoleName::Read => "read",
        RoleName::Submit => "submit",
        RoleName::Approve => "approve",
        RoleName::Work => "work",
    }
}

fn entry(name: &str, roles: &[&str], hash: &str) -> String {
    let roles: Vec<String> = roles.iter().map(|role| format!("{role:?}")).collect();
    format!("[[token]]\nname = {name:?}\nroles = [{}]\nsha256 = {hash:?}\n", roles.join(", "))
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    let mut source = std::fs::File::open("/dev/urandom").context("cannot open the source of randomness")?;
    source.read_exact(&mut bytes).context("cannot read random bytes")?;
    Ok(format!("lh_{}", hex(&bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_standards() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn the_entry_is_toml_and_holds_no_token() {
        let (one, two) = (secret().expect("random"), secret().expect("random"));
        assert!(one != two && one.len() == 67, "{one}");
        let text = entry("w1", &["read", "work"], &sha256(one.as_bytes()));
        let table: toml::Table = text.parse().expect("TOML");
        let first = &table["token"][0];
        assert_eq!((first["name"].as_str(), first["roles"].as_array().map(Vec::len)), (Some("w1"), Some(2)));
        assert!(!text.contains(&one[3..]));
    }
}
