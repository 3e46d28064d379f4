//! The data plane of one process: the worker's results go straight to the coordinator.

use futures::future::BoxFuture;
use longhaul_coordinator::results::{self, DeliverError, Results};
use longhaul_proto::Ack;
use longhaul_worker::{Delivery, ResultSink, SinkError};

/// Hands results over by a call.
pub struct LocalSink(pub Results);

impl ResultSink for LocalSink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<Ack, SinkError>> {
        Box::pin(async move {
            let Delivery { report, pack, logs } = delivery;
            let taken = self.0.deliver(results::Delivery { report, pack, logs }).await;
            taken.map_err(|error| match error {
                DeliverError::Gone(gone) => SinkError::Unavailable(gone.to_string()),
                DeliverError::Store(cause) => SinkError::NotKept(cause),
            })
        })
    }
}
