//! NATS in operator mode over TLS: a worker that has nothing but its `.creds`.

use std::path::{Path, PathBuf};

use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus as _, Link, Subject};
use longhaul_tests::certs::{Authority, secret};
use longhaul_tests::nats::NatsServer;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::rig::{config, say, soon, taken, w1};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 for URLs, without padding, as in every JWT.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, at| number << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        let digits = (0..=group.len()).map(|at| char::from(DIGITS[(number >> (18 - 6 * at)) as usize & 63]));
        text.extend(digits);
    }
    text
}

/// What `by` says of `of`, signed.
fn jwt(by: &KeyPair, of: &KeyPair, nats: &Value) -> String {
    let head = base64(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = json!({
        "jti": of.public_key(), "iat": 1_700_000_000, "iss": by.public_key(), "sub": of.public_key(),
        "name": "test", "nats": nats,
    });
    let signed = format!("{head}.{}", base64(claims.to_string().as_bytes()));
    let signature = by.sign(signed.as_bytes()).expect("it has a seed");
    format!("{signed}.{}", base64(&signature))
}

/// An account without limits, but for JetStream's room.
fn account(operator: &KeyPair, account: &KeyPair, room: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": room, "disk_storage": room, "streams": room, "consumer": room,
    });
    jwt(operator, account, &json!({"type": "account", "version": 2, "limits": limits}))
}

/// The file a user is given.
fn creds(folder: &Path, name: &str, account: &KeyPair) -> PathBuf {
    let user = KeyPair::new_user();
    let limits = json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
    let (jwt, seed) = (jwt(account, &user, &limits), user.seed().expect("it has one"));
    let path = folder.join(format!("{name}.creds"));
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    secret(&path, &text).expect("written");
    path
}

#[test]
fn base64_is_the_standards() {
    for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(&[0xfb, 0xff]), "-_8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_over_tls_open_the_bus_and_foreign_ones_do_not() {
    longhaul_common::tls::install();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path()).expect("an authority");
    let pair = authority.server("nats", &["127.0.0.1"]).expect("a certificate");
    let (operator, system, ours, theirs) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let text = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, timeout: 5 }}\noperator: {}\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload: {{\n  {}: {}\n  {}: {}\n}}\n",
        pair.cert,
        pair.key,
        jwt(&operator, &operator, &json!({"type": "operator", "version": 2})),
        system.public_key(),
        system.public_key(),
        account(&operator, &system, 0),
        ours.public_key(),
        account(&operator, &ours, -1),
    );
    let Some(server) = NatsServer::for_test(|| NatsServer::configured(&text)) else { return };
    let connect = async |role: NatsRole, creds: PathBuf| {
        let mut settings = config(&server.url().replacen("nats://", "tls://", 1), role);
        settings.ca = Some(authority.ca());
        settings.creds = Some(creds);
        NatsBus::connect(settings).await.expect("the settings are right")
    };
    let coordinator = connect(NatsRole::Coordinator, creds(folder.path(), "serve", &ours)).await;
    soon("the streams stand", coordinator.subscribed()).await;
    let mut presences = coordinator.subscribe(&Subject::presences());
    soon("the coordinator listens", coordinator.subscribed()).await;
    let worker = connect(w1(), creds(folder.path(), "w1", &ours)).await;
    let mut assigned = worker.subscribe(&Subject::worker("w1"));
    soon("the worker listens", worker.subscribed()).await;
    say(&worker, &Subject::presence("w1"), "here");
    say(&coordinator, &Subject::worker("w1"), "work");
    assert_eq!((taken(&mut presences).await, taken(&mut assigned).await), ("here".to_owned(), "work".to_owned()));
    assert_eq!((coordinator.link(), worker.link()), (Link::Up, Link::Up));
    // An account that the operator never signed for.
    let stranger = connect(w1(), creds(folder.path(), "stranger", &theirs)).await;
    let cause = soon("it is refused", async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            looks.tick().await;
            if let Link::Down { cause } = stranger.link()
                && cause.contains("authorization")
            {
                return cause;
            }
        }
    })
    .await;
    assert!(cause.contains("check the credentials"), "{cause}");
}
