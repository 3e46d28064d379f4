//! A guarded fleet: an authority, tokens, an access file, and a NATS that knows each member by its
//! own key, held to what `deploy/nats/accounts.conf.example` allows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nkeys::KeyPair;

use crate::World;
use crate::certs::{Authority, Pair, secret};

/// Roles of a worker.
const WORK: &[&str] = &["work"];

/// How a worker proves to the server who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    Token,
    Certificate,
}

/// Somebody with a token.
#[derive(Clone, Debug)]
pub struct Person {
    /// The token itself.
    pub token: String,
    /// A file that holds it.
    pub file: PathBuf,
}

/// Everything secret of a fleet, in files of the world's folder.
pub struct Guard {
    folder: PathBuf,
    authority: Authority,
    server: Pair,
    access: String,
    people: BTreeMap<String, Person>,
    members: BTreeMap<String, (Proof, KeyPair)>,
}

impl Guard {
    /// An authority, a server of 127.0.0.1, and the coordinator's key.
    pub fn new(world: &World) -> anyhow::Result<Self> {
        let folder = world.folder().join("guard");
        let authority = Authority::new(&folder)?;
        let server = authority.server("server", &["127.0.0.1"])?;
        let (people, members) = (BTreeMap::new(), BTreeMap::new());
        let mut guard = Self { folder, authority, server, access: String::new(), people, members };
        guard.member("serve", Proof::Certificate)?;
        Ok(guard)
    }

    fn member(&mut self, name: &str, proof: Proof) -> anyhow::Result<()> {
        let key = KeyPair::new_user();
        secret(&self.seed_file(name), &key.seed()?)?;
        self.members.insert(name.to_owned(), (proof, key));
        Ok(())
    }

    /// A token of a caller with these roles.
    pub fn person(&mut self, world: &World, name: &str, roles: &[&str]) -> anyhow::Result<Person> {
        let file = self.folder.join(format!("{name}.token"));
        let mut arguments = vec!["token".to_owned(), name.to_owned(), "--out".to_owned(), file.display().to_string()];
        arguments.extend(roles.iter().flat_map(|role| ["--role".to_owned(), (*role).to_owned()]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.access.push_str(&world.expect(0, &arguments).stdout);
        self.write_access()?;
        let token = std::fs::read_to_string(&file)?.trim().to_owned();
        let person = Person { token, file };
        self.people.insert(name.to_owned(), person.clone());
        Ok(person)
    }

    /// A worker that shows a token, with a key of its own on NATS.
    pub fn worker_by_token(&mut self, world: &World, name: &str) -> anyhow::Result<Person> {
        self.member(name, Proof::Token)?;
        self.person(world, name, WORK)
    }

    /// A worker that shows a certificate of its name, with a key of its own on NATS.
    pub fn worker_by_certificate(&mut self, name: &str) -> anyhow::Result<Pair> {
        self.member(name, Proof::Certificate)?;
        self.access.push_str(&format!("[[certificate]]\nname = {name:?}\nroles = [\"work\"]\n"));
        self.write_access()?;
        self.authority.client(name)
    }

    /// A certificate of our authority for a name that may be in no access file.
    pub fn certificate(&self, name: &str) -> anyhow::Result<Pair> {
        self.authority.client(name)
    }

    fn write_access(&self) -> anyhow::Result<()> {
        std::fs::write(self.access_file(), &self.access).context("the access file")
    }

    /// What everyone trusts.
    pub fn ca(&self) -> PathBuf {
        self.authority.ca()
    }

    /// The server's certificate and key.
    pub fn server(&self) -> &Pair {
        &self.server
    }

    /// Who may do what.
    pub fn access_file(&self) -> PathBuf {
        self.folder.join("access.toml")
    }

    /// The seed of a member's key on NATS.
    pub fn seed_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.nkey"))
    }

    /// The seed itself.
    pub fn seed(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.members.get(name).context("a member")?.1.seed()?)
    }

    /// NATS with TLS and the accounts of the example, one worker's entry for each worker.
    pub fn nats_config(&self) -> anyhow::Result<String> {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/accounts.conf.example");
        let example = std::fs::read_to_string(example)?;
        let (before, rest) = example.split_once("      {\n        nkey: $W1_NKEY").context("an entry of w1")?;
        let (entry, after) = rest.split_once("\n      }\n").context("its end")?;
        let coordinator = &self.members.get("serve").context("the coordinator")?.1;
        let mut text = format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, timeout: 5 }}\n{}",
            self.server.cert,
            self.server.key,
            before.replace("$COORDINATOR_NKEY", &coordinator.public_key())
        );
        for (name, (_, key)) in self.members.iter().filter(|(name, _)| *name != "serve") {
            let own = entry.replace(".w1", &format!(".{name}"));
            text.push_str(&format!("      {{\n        nkey: {}{own}\n      }}\n", key.public_key()));
        }
        text.push_str(after);
        Ok(text)
    }

    pub(super) fn arguments_of(&self, member: &str) -> Vec<String> {
        let shown = |path: PathBuf| path.display().to_string();
        let mut all =
            vec!["--nats-ca".to_owned(), shown(self.ca()), "--nats-nkey".to_owned(), shown(self.seed_file(member))];
        if member == "serve" {
            let files = [
                ("--tls-cert", self.server.cert.clone()),
                ("--tls-key", self.server.key.clone()),
                ("--client-ca", self.ca()),
                ("--access", self.access_file()),
            ];
            all.extend(files.into_iter().flat_map(|(flag, path)| [flag.to_owned(), shown(path)]));
            return all;
        }
        all.extend(["--ca".to_owned(), shown(self.ca())]);
        match self.members.get(member).map(|(proof, _)| *proof) {
            Some(Proof::Certificate) => {
                let file = |kind: &str| shown(self.folder.join(format!("{member}.{kind}.pem")));
                all.extend(["--cert".to_owned(), file("cert"), "--key".to_owned(), file("key")]);
            }
            Some(Proof::Token) | None => {
                let file = self.folder.join(format!("{member}.token"));
                all.extend(["--token-file".to_owned(), shown(file)]);
            }
        }
        all
    }
}
