//! One TLS stack: rustls with ring.

/// Makes ring the provider of every rustls connection of this process: first thing in every
/// `main` and test harness. Later calls change nothing.
pub fn install() {
    // An error says that a provider is there already, which is all that is asked for.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
}
