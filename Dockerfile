# Stage 1 builds the binary, stage 2 carries nothing but it and the certificates.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock rust-toolchain.toml ARCHITECTURE.md ./
COPY migrations migrations
COPY src src
# Nothing of it comes into the binary, but the workspace is not whole without it.
COPY clients/rust clients/rust
RUN cargo build --release --locked --bin heare-auth

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent heare-auth \
    && install -d -o heare-auth -m 0700 /data
COPY --from=build /build/target/release/heare-auth /usr/local/bin/heare-auth
USER heare-auth
ENV DATA_DIR=/data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["heare-auth", "health"]
ENTRYPOINT []
CMD ["heare-auth", "serve"]
