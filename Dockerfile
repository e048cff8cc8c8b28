# syntax=docker/dockerfile:1

# 1. The pages.
FROM node:20-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

# 2. The binary: static, since SQLite is pure Go.
FROM golang:1.26-bookworm AS build
ARG VERSION=docker
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=web /src/web/dist ./web/dist
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/lectern ./cmd/lectern

# 3. What runs: ffmpeg for legacy players, and nobody is root.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --create-home lectern
COPY --from=build /out/lectern /usr/local/bin/lectern
USER 10001
VOLUME /data
ENV LECTERN_DATA_DIR=/data
# Pages and signalling (HTTP, HTTPS), WebRTC media (UDP and TCP), TURN (UDP, TCP, TLS), RTSP, RTSP over UDP, RTMP.
EXPOSE 8080/tcp 8443/tcp 8189/udp 8189/tcp 3478/udp 3478/tcp 5349/tcp 8554/tcp 8000/udp 8001/udp 1935/tcp
HEALTHCHECK --interval=30s --timeout=3s CMD ["/usr/local/bin/lectern", "health"]
ENTRYPOINT ["/usr/local/bin/lectern"]
CMD ["serve"]
