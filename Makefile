# Lectern. `make run` and `make test` work on a fresh machine: they install what
# is missing (scripts/need.sh says what) and build what they need.

SHELL      := /bin/bash
BIN        := bin/lectern
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X main.version=$(VERSION)
GOSRC      := $(shell find . -name '*.go' -not -path './web/node_modules/*' -not -path './.git/*')
WEBSRC     := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -name '*.go')
LINT       := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.0
FUZZTIME   ?= 10s
RUNFLAGS   ?=

.PHONY: run build web test test-go test-web test-e2e bench bench-parts soak lint fuzz docker check clean tools

run: build
	@scripts/need.sh ffmpeg
	$(BIN) serve $(RUNFLAGS)

build: $(BIN)

$(BIN): $(GOSRC) go.mod go.sum config/lectern.yaml web/dist/index.html
	@scripts/need.sh go
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/lectern

web: web/dist/index.html

web/node_modules/.installed: web/package-lock.json
	@scripts/need.sh node
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.installed $(WEBSRC)
	cd web && npm run build

test: test-go test-web test-e2e
	@echo "all tests passed"

# -short leaves out nothing but the end-to-end stories, which run by themselves.
test-go: web/dist/index.html
	@scripts/need.sh go cgo ffmpeg
	go vet ./...
	go test -race -shuffle=on -timeout 20m $$(go list ./... | grep -v /test$$)

test-web: web/node_modules/.installed
	cd web && npm run check && npm run lint && npm test

test-e2e: $(BIN) test/browser/node_modules/.installed
	@scripts/need.sh ffmpeg chromium firefox aiortc gstreamer netns
	GATEWAY_BIN=$(CURDIR)/$(BIN) go test -count=1 -timeout 30m ./test

test/browser/node_modules/.installed: test/browser/package-lock.json
	@scripts/need.sh node
	cd test/browser && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Figures of this machine; BENCHFLAGS="-quick", "-only fanout,storm", "-write".
# The yardstick of the fan-out runs where its sources are found beside the
# project (or BENCH_TOOLS names their folder).
BENCHFLAGS  ?=
BENCH_TOOLS ?= $(patsubst %/gateload,%,$(firstword $(wildcard ../*/bench/gateload)))

bench: build
	@scripts/need.sh go ffmpeg
	BENCH_TOOLS=$(if $(BENCH_TOOLS),$(abspath $(BENCH_TOOLS))) GATEWAY_BIN=$(CURDIR)/$(BIN) go run ./bench $(BENCHFLAGS)

# The parts of the fan-out, one by one.
bench-parts:
	go test -run '^$$' -bench . -benchtime 1s ./stream ./stream/frame ./internal/rtc ./storage

# Viewers come and go for SOAK; nothing may grow.
SOAK ?= 30m
soak: $(BIN) test/browser/node_modules/.installed
	@scripts/need.sh ffmpeg chromium
	LECTERN_SOAK=$(SOAK) GATEWAY_BIN=$(CURDIR)/$(BIN) go test -count=1 -timeout 6h -v -run TestSoak ./test

lint:
	go run $(LINT) run ./...

fuzz:
	scripts/fuzz.sh $(FUZZTIME)

check: lint test

docker:
	docker build --build-arg VERSION=$(VERSION) -t lectern:$(VERSION) .

clean:
	rm -rf bin web/dist/assets web/dist/index.html
