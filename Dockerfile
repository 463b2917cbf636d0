# Stage 1 builds the binary and lays the image out; stage 2 is that and nothing else: no shell, no package manager.
# scripts/build and scripts/image run without Docker, too.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
ARG SOURCE_DATE_EPOCH
ARG COMMIT
RUN scripts/image /image "$(scripts/build)"

FROM scratch
COPY --from=build /image/root /
# The one folder that the service may write to, for those who keep keys in a file.
COPY --from=build --chown=10001:10001 /image/owned /
USER 10001:10001
ENV PATH=/usr/local/bin DATA_DIR=/data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["heare-auth", "health"]
ENTRYPOINT []
CMD ["heare-auth", "serve"]
