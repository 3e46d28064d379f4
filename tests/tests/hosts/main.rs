//! Several hosts: a cluster of NATS, a coordinator and workers, each at its own address, while
//! wires are cut, hosts stop and servers are rolled. Needs root, iproute2 and nats-server; where
//! one is missing the tests say so and pass, except under CI.

mod cluster;
mod fleet;
mod net;
mod rolling;
