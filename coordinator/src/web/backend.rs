//! What the server needs of the jobs behind it.

use std::path::PathBuf;

use futures::future::BoxFuture;
use longhaul_common::JobId;
use longhaul_proto::{Ack, Introduction};

use crate::hub::{Hub, HubError, Identity, IntroduceError};
use crate::results::Delivery;

/// The jobs behind a server. The hub is one; the server's own tests bring another.
pub trait Backend: Send + Sync + 'static {
    /// The bare store of a job, where the caller may read it now. Blocks on files.
    fn store_for(&self, who: &Identity, job: &JobId) -> Option<PathBuf>;

    /// Takes a result in; answers when it is durable.
    fn deliver(&self, who: Identity, delivery: Delivery) -> BoxFuture<'static, Result<Ack, HubError>>;

    /// Takes a worker's word for how its own service is reached.
    fn introduce(&self, who: &Identity, introduction: Introduction) -> Result<(), IntroduceError>;

    /// Whether it can serve, or why not.
    fn ready(&self) -> Result<(), String>;

    /// A result was turned away before it was whole: there is no room for it on the disk.
    fn out_of_room(&self);
}

impl Backend for Hub {
    fn store_for(&self, who: &Identity, job: &JobId) -> Option<PathBuf> {
        Hub::store_for(self, who, job)
    }

    fn deliver(&self, who: Identity, delivery: Delivery) -> BoxFuture<'static, Result<Ack, HubError>> {
        let hub = self.clone();
        Box::pin(async move { Hub::deliver(&hub, &who, delivery).await })
    }

    fn introduce(&self, who: &Identity, introduction: Introduction) -> Result<(), IntroduceError> {
        Hub::introduce(self, who, introduction)
    }

    fn ready(&self) -> Result<(), String> {
        Hub::ready(self)
    }

    fn out_of_room(&self) {
        self.inner.site.room.refused();
    }
}
