# nats-server for where no registry is reached; elsewhere use the official image (nats:2.15-alpine).
# The context holds the static binary that deploy/nats/install.sh installs.
FROM scratch
COPY nats-server /nats-server
USER 10001:10001
ENTRYPOINT ["/nats-server"]
