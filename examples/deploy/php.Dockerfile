# syntax=docker/dockerfile:1
# Edge with PHP and an application. From the top of the checkout:
#
#   docker build -f examples/deploy/php.Dockerfile -t edge-php .
#   docker run -p 8080:8080 -p 8443:8443 -p 8443:8443/udp -v edge:/var/lib/edge edge-php
#
# For your application: FROM this image, COPY it over /app, its edge.yaml included.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/edge ./cmd/edge

FROM debian:bookworm-slim
RUN apt-get update \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		ca-certificates php-cgi php-cli php-curl php-intl php-mbstring php-xml php-zip \
	&& rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 10001 edge \
	&& useradd --system --uid 10001 --gid edge --home-dir /var/lib/edge --shell /usr/sbin/nologin edge \
	&& install -d -m 0700 -o edge -g edge /var/lib/edge
COPY --from=build /out/edge /usr/bin/edge
COPY sdk/php /usr/share/edge/php
COPY examples/deploy/app /app
WORKDIR /app
USER edge
EXPOSE 8080 8443 8443/udp
VOLUME /var/lib/edge
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["edge", "status"]
ENTRYPOINT ["edge"]
CMD ["serve"]
