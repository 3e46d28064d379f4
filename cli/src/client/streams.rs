//! Answers only a server or a running coordinator has: logs, diffs, live output, report, proof.

use longhaul_proto as pb;
use tonic::Streaming;

use super::Client;

impl Client {
    /// Logs of a subtask's attempts, or of gates.
    pub async fn logs(&self, subtask: &str, attempt: u64) -> anyhow::Result<Streaming<pb::LogChunk>> {
        let request = pb::LogsRequest { job: self.job().to_string(), subtask: subtask.to_owned(), attempt };
        self.running()?.logs(request).await.map(tonic::Response::into_inner).map_err(|status| self.said(status))
    }

    /// A patch, or its files and line counts.
    pub async fn diff(&self, subtask: &str, stat: bool) -> anyhow::Result<Streaming<pb::DiffChunk>> {
        let request = pb::DiffRequest { job: self.job().to_string(), subtask: subtask.to_owned(), stat };
        self.running()?.diff(request).await.map(tonic::Response::into_inner).map_err(|status| self.said(status))
    }

    /// Live output of what runs for a subtask.
    pub async fn attach(&self, subtask: &str) -> anyhow::Result<Streaming<pb::TraceLine>> {
        let request = pb::AttachRequest { job: self.job().to_string(), subtask: subtask.to_owned() };
        self.running()?.attach(request).await.map(tonic::Response::into_inner).map_err(|status| self.said(status))
    }

    /// Everything the report is made of.
    pub async fn report(&self) -> anyhow::Result<pb::JobReport> {
        let request = pb::ReportRequest { job: self.job().to_string() };
        self.running()?.report(request).await.map(tonic::Response::into_inner).map_err(|status| self.said(status))
    }

    /// The proof of the job's branch.
    pub async fn verify(&self) -> anyhow::Result<pb::VerifyReply> {
        let request = pb::VerifyRequest { job: self.job().to_string() };
        self.running()?.verify(request).await.map(tonic::Response::into_inner).map_err(|status| self.said(status))
    }

    /// The next message of a stream; `None` at its end.
    pub async fn next<T>(&self, stream: &mut Streaming<T>) -> anyhow::Result<Option<T>> {
        stream.message().await.map_err(|status| self.said(status))
    }
}
