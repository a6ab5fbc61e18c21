#!/usr/bin/env bash
# Shows ReelMill from end to end, on this machine and in a temporary folder: it starts a server on a free port, makes a
# clip, uploads it with a watermark, and prints the result. However the script ends, it stops the server and removes the
# folder.
#
#   deploy/demo.sh [BINARY]            BINARY: bin/reelmill
#   KEEP=1 deploy/demo.sh [BINARY]     leaves the server running until Ctrl-C, to play the video
set -o errexit -o nounset -o pipefail

binary=$(realpath -- "${1:-bin/reelmill}")
server=

say() { printf '==> %s\n' "$*" >&2; }

# stop stops the server: SIGTERM first, SIGKILL after 20 seconds.
stop() {
    [ -n "$server" ] || return 0
    kill -TERM "$server" 2>/dev/null || true
    for _ in {1..200}; do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM # finish the short clean-up in any case
    stop
    if [ "$status" -ne 0 ] && [ "$status" -ne 130 ] && [ "$status" -ne 143 ] && [ -s "$work/serve.log" ]; then
        say 'the demo failed; the end of the server log:'
        tail -n 30 "$work/serve.log" >&2
    fi
    rm -rf -- "$work"
    exit "$status"
}

work=$(mktemp -d)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export TMPDIR=$work
for name in "${!REELMILL_@}"; do unset "$name"; done # the demo is the same on every machine

say 'make a clip: 20 s, 1280x720, with audio'
ffmpeg -nostdin -v error \
    -f lavfi -i testsrc2=size=1280x720:rate=30:duration=20 \
    -f lavfi -i sine=frequency=440:sample_rate=48000:duration=20 \
    -c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac "$work/demo.mp4"

say 'start a server on a free port'
mkfifo "$work/stdout"
"$binary" serve --data "$work/data" --listen 127.0.0.1:0 >"$work/stdout" 2>"$work/serve.log" </dev/null &
server=$!
exec 3<"$work/stdout"
if ! read -r -t 60 ready <&3 || ! [[ $ready =~ \"url\":\ *\"([^\"]+)\" ]]; then
    say 'the server did not become ready'
    exit 1
fi
url=${BASH_REMATCH[1]}

say "upload it to $url with a watermark, and wait until it is ready"
"$binary" upload "$work/demo.mp4" --server "$url" --watermark text:ReelMill --wait=ready --timeline

if [ -n "${KEEP:-}" ]; then
    say 'open the play URL; Ctrl-C stops the server'
    wait "$server"
fi
say 'done; stopping the server. To run your own, in two terminals:'
say "  ${1:-bin/reelmill} serve"
say "  ${1:-bin/reelmill} upload FILE --wait=ready"
