//! What a service's refusals mean to the person: cause, next step, exit code.

use tonic::{Code, Status};

use crate::exit::{Exit, Stop};

/// A failed request in words. `url` is the server's, empty for a coordinator on this machine.
pub fn said(url: &str, status: Status) -> anyhow::Error {
    let cause = cause_of(&status);
    let (exit, text) = match status.code() {
        Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument | Code::AlreadyExists | Code::OutOfRange => {
            (Exit::Usage, status.message().to_owned())
        }
        Code::Unauthenticated => (
            Exit::Credentials,
            format!(
                "the server {url} does not know you: {cause}. Give --token-file or LONGHAUL_TOKEN, or --cert and --key; \
                 `longhaul token NAME --role submit` makes a token and its entry for the server"
            ),
        ),
        Code::PermissionDenied => {
            (Exit::Credentials, format!("not allowed: {cause}. The server's access file says who may do what"))
        }
        // What the server says itself has no cause of the transport's.
        Code::Unavailable if !url.is_empty() && std::error::Error::source(&status).is_none() => {
            (Exit::Infrastructure, format!("the server {url} cannot do it at the moment: {cause}"))
        }
        Code::Unavailable if !url.is_empty() => (
            Exit::Infrastructure,
            format!(
                "cannot reach the server {url}: {cause}. Does `longhaul serve` run there, and is the address right?"
            ),
        ),
        Code::Unimplemented => (
            Exit::Infrastructure,
            format!(
                "the other side does not know this request: it is of another version than this program ({}), or no \
                 Longhaul server; use the same version on both sides",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        _ => (Exit::Infrastructure, cause),
    };
    Stop { exit, text }.into()
}

/// Whether asking again may help: the connection broke or the server is starting, ending, or busy.
pub fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Aborted | Code::Cancelled | Code::ResourceExhausted
    )
}

/// The innermost cause: a transport's outer words say nothing.
fn cause_of(status: &Status) -> String {
    let mut deepest: Option<String> = None;
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        deepest = Some(error.to_string());
        source = error.source();
    }
    match (status.message(), deepest) {
        // The library keeps no more of it than this.
        ("tcp connect error", _) => "nothing answers there".to_owned(),
        ("", Some(cause)) => cause,
        (message, Some(cause)) if message.contains("transport error") => cause,
        (message, _) => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code_of;

    #[test]
    fn refusals_have_their_exit_code_and_a_next_step() {
        for (status, exit, wanted) in [
            (Status::not_found("no job"), Exit::Usage, "no job"),
            (Status::unauthenticated("unknown token"), Exit::Credentials, "LONGHAUL_TOKEN"),
            (Status::permission_denied("approve is not yours"), Exit::Credentials, "access file"),
            (Status::unavailable("refused"), Exit::Infrastructure, "http://far:1"),
            (Status::unimplemented(""), Exit::Infrastructure, "version"),
            (Status::internal("disk"), Exit::Infrastructure, "disk"),
        ] {
            let error = said("http://far:1", status);
            assert_eq!(code_of(&error), exit, "{error}");
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_server_is_named_with_its_cause() {
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let access = longhaul_common::server::ServerAccess { url: format!("http://{free}"), ..Default::default() };
        let mut jobs = super::super::connect::remote(&access).expect("an address");
        let error = super::super::remote_jobs(&mut jobs, &access.url).await.expect_err("nobody listens");
        let text = error.to_string();
        assert!(text.contains(&access.url) && text.contains("nothing answers"), "{text}");
    }
}
