//! Tracing to stderr: warnings by default, more with `-v` or LONGHAUL_LOG.

use tracing_subscriber::EnvFilter;

/// Starts the subscriber.
pub fn start(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info,sled=warn",
        _ => "debug,sled=info,h2=info,hyper=info",
    };
    let filter = EnvFilter::try_from_env("LONGHAUL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::view::style::stderr().colour)
        .with_target(false)
        .init();
}
