//! The control plane of a process of one job: over a unix socket in a folder only its user can
//! enter.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

use super::JobsService;
use crate::coordinator::Coordinator;
use crate::hub::{Hub, Output};

/// Serves the control plane of a coordinator, with a worker beside it, on a unix socket until `stop` is
/// cancelled.
pub async fn serve(
    coordinator: &Coordinator,
    beside: Output,
    socket: PathBuf,
    stop: CancellationToken,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let service = JobsService::new(Hub::of_one(coordinator, beside, stop.clone()));
    let listener = listen(&socket)?;
    Ok(tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service.server());
        if let Err(error) =
            server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned()).await
        {
            tracing::error!(%error, "the control plane ended");
        }
        drop(std::fs::remove_file(&socket));
    }))
}

/// A socket left by a killed process is replaced: the job's lock says that nobody serves it.
fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(socket)
}
