# The registry in an image of its own: built on BUILDER, run on BASE.
#
# Both can be replaced by any image with cargo and a C compiler, and any image with glibc and libgcc.
# With the output of `cargo vendor` in the context (vendor/ and .cargo/config.toml) nothing is
# fetched, so the build also works without a network.
ARG BUILDER=rust:1.95-bookworm
ARG BASE=debian:bookworm-slim

FROM ${BUILDER} AS build
ARG A8_BUILD_VERSION
ARG A8_BUILD_REVISION
ARG A8_BUILD_DATE
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin a8registry --target-dir /build

FROM ${BASE}
LABEL org.opencontainers.image.title="a8registry" \
      org.opencontainers.image.description="A multi-tenant service registry that speaks the Amalgam8 and Eureka protocols" \
      org.opencontainers.image.licenses="Apache-2.0"
# Whom to trust when a Eureka peer is reached by https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/release/a8registry /usr/local/bin/a8registry
# A number, so that an orchestrator can see that it is not root; no entry in /etc/passwd is needed.
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/a8registry", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/a8registry"]
