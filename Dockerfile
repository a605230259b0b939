# syntax=docker/dockerfile:1
# The service on a Postgres of your own: set DATABASE_URL. It runs as an unprivileged user and writes only to /data.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# Dependencies in a layer of their own: they change less often than the code.
RUN mkdir -p src tests/it \
    && echo 'fn main() {}' > src/main.rs && touch src/lib.rs tests/it/main.rs \
    && cargo build --release --locked --bin counterfoil \
    && rm -rf src tests
COPY migrations migrations
COPY data data
COPY docs/reference docs/reference
COPY src src
# The files are older than the stand-ins above; cargo goes by their time.
RUN find src -name '*.rs' -exec touch {} + \
    && mkdir -p tests/it && touch tests/it/main.rs \
    && cargo build --release --locked --bin counterfoil \
    && strip target/release/counterfoil

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin counterfoil \
    && install -d -m 0700 -o counterfoil -g counterfoil /data
COPY --from=build /src/target/release/counterfoil /usr/local/bin/counterfoil
COPY LICENSE /usr/share/doc/counterfoil/LICENSE
COPY data/prices/LICENSE-genai-prices data/factors/LICENSE.codecarbon data/factors/ecologits/LICENSE /usr/share/doc/counterfoil/data/
USER counterfoil
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["counterfoil"]
# Keys are made in /data/keys on first start. DATABASE_URL names the Postgres: the image has none, and fetches none.
CMD ["serve", "--listen", "0.0.0.0:8080", "--keys-dir", "/data/keys", "--fetch-postgres", "never"]
