//! HTTPS: a server of a private authority, and clients that show certificates of it.

use std::path::{Path, PathBuf};

use longhaul_common::server::ServerAccess;
use longhaul_coordinator::web::TlsFiles;
use longhaul_proto::ResultPart;
use longhaul_proto::results_client::ResultsClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tonic::Code;

use crate::world::{Setup, Shelf, World, mirror, repository, run, token};

struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        std::fs::write(folder.join("ca.pem"), issuer.pem()).expect("written");
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key of a common name.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let (cert, key_path) = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&cert, certificate.pem()).expect("written");
        std::fs::write(&key_path, key.serialize_pem()).expect("written");
        (cert, key_path)
    }
}

#[tokio::test]
async fn certificates_name_workers_over_grpc_and_git() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let (cert, key) = ours.issue("server");
    let store = folder.path().join("store.git");
    let commits = repository(&store, &[10_000]);
    let shelf = Shelf {
        stores: [("one".to_owned(), store)].into(),
        assigned: [("one".to_owned(), "w1".to_owned())].into(),
        ..Shelf::default()
    };
    let access =
        format!("{}[[certificate]]\nname = \"w1\"\nroles = [\"work\"]\n", token("alice", "\"read\"", "reading"));
    let tls = TlsFiles { cert, key, client_ca: Some(ours.ca()) };
    let world = World::start(Setup { shelf, access: Some(access), tls: Some(tls), ..Setup::default() }).await;
    let as_client = |(cert, key): (PathBuf, PathBuf)| ServerAccess {
        ca: Some(ours.ca()),
        cert: Some(cert),
        key: Some(key),
        ..world.access(None)
    };
    let try_all = async |access: &ServerAccess, name: &str| {
        let git = mirror(&folder.path().join(name), access);
        let fetched = run(&git, &["fetch", "--quiet", &access.at("git/one.git"), &commits[0].to_string()]).await;
        let connection = access.connect().expect("a connection");
        let called = ResultsClient::new(connection).deliver(tokio_stream::empty::<ResultPart>()).await;
        (fetched, called.expect_err("nothing was sent").code())
    };
    // Let in: told that the stream is empty.
    let (fetched, code) = try_all(&as_client(ours.issue("w1")), "w1").await;
    assert_eq!((fetched, code), (Ok(String::new()), Code::Aborted));
    // Of the right authority, and not listed.
    let (fetched, code) = try_all(&as_client(ours.issue("w2")), "w2").await;
    assert_eq!((fetched.is_err(), code), (true, Code::Unauthenticated));
    // Listed, and of another authority: not even a handshake.
    let (fetched, code) = try_all(&as_client(theirs.issue("w1")), "w1-forged").await;
    assert!(fetched.is_err() && code != Code::Aborted && code != Code::PermissionDenied, "{code:?}");
    // A token serves as well, and a certificate does not mend a wrong one.
    let reader = ServerAccess { ca: Some(ours.ca()), token: Some("reading".to_owned()), ..world.access(None) };
    let (fetched, code) = try_all(&reader, "reader").await;
    assert_eq!((fetched, code), (Ok(String::new()), Code::PermissionDenied));
    let wrong = ServerAccess { token: Some("wrong".to_owned()), ..as_client(ours.issue("w1")) };
    assert_eq!(try_all(&wrong, "wrong").await.1, Code::Unauthenticated);
    // A client that trusts another authority does not speak to this server.
    let elsewhere = ServerAccess { ca: Some(theirs.ca()), ..reader };
    assert!(try_all(&elsewhere, "elsewhere").await.0.is_err());
}
