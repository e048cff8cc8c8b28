#!/usr/bin/env bash
# Makes sure that the named tools are there, and installs what is missing with
# apt-get where that is possible. Says what it does.
#   scripts/need.sh go node ffmpeg chromium firefox cgo aiortc gstreamer netns
set -euo pipefail

updated=no
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install() { # install WHAT PACKAGE...
	local what=$1
	shift
	if ! command -v apt-get >/dev/null; then
		echo "lectern needs $what; please install it (Debian: $*)" >&2
		exit 1
	fi
	echo "lectern needs $what: installing $*"
	if [ $updated = no ]; then
		as_root apt-get update -qq
		updated=yes
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

has() { command -v "$1" >/dev/null 2>&1; }

for tool in "$@"; do
	case $tool in
	go) has go || { echo "lectern needs Go 1.26 or later: https://go.dev/dl" >&2; exit 1; } ;;
	node) { has node && has npm; } || install "Node.js 20 or later" nodejs npm ;;
	cgo) has gcc || install "a C compiler for the race detector" gcc libc6-dev ;;
	ffmpeg) { has ffmpeg && has ffprobe; } || install ffmpeg ffmpeg ;;
	chromium) has chromium || install Chromium chromium ;;
	netns) { has ip && has nft && has certutil; } || install "network namespaces and a firewall for tests" iproute2 nftables libnss3-tools ;;
	firefox) { has firefox-esr || has firefox; } || install Firefox firefox-esr ;;
	aiortc) /usr/bin/python3 -c 'import aiortc, numpy' 2>/dev/null || install aiortc python3-aiortc python3-numpy ;;
	gstreamer) has gst-launch-1.0 && gst-inspect-1.0 --exists rtmp2src && gst-inspect-1.0 --exists avdec_h264 ||
		install GStreamer gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad} gstreamer1.0-libav ;;
	*)
		echo "need.sh: unknown tool $tool" >&2
		exit 2
		;;
	esac
done
