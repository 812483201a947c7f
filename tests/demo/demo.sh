#!/usr/bin/env bash
# make demo: the whole path on real input, in a temporary directory, on free loopback ports.
#
# The daemon runs on its embedded default (local disk, a directory as bucket); `fermata emit` sends
# realistic traces over every protocol; a block is cut, verified, replicated; a trace is asked back.
set -euo pipefail
cd "$(dirname "$0")/../.."
fermata=${1:-build}/fermata
work=$(mktemp -d "${TMPDIR:-/tmp}/fermata-demo-XXXXXX")
daemon=
finish() {
    [ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }
show() { printf '$ %s\n' "$*" | sed "s|$work|/tmp/demo|g"; "$@" 2>&1 | sed "s|$work|/tmp/demo|g"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

grpc=$(free_port) http=$(free_port) query=$(free_port)
url=http://127.0.0.1:$query

say "1. Start: local disk, a directory as bucket, nothing leaves this machine"
set --
for receiver in jaeger_thrift_compact jaeger_thrift_binary jaeger_thrift_http jaeger_grpc \
    jaeger_sampling zipkin; do
    set -- "$@" --set receiver.$receiver.endpoint=127.0.0.1:0 # whichever ports are free
done
"$fermata" serve "$@" --set fermata.data_dir="$work/data" --set storage.min_free=1MiB \
    --set receiver.otlp_grpc.endpoint=127.0.0.1:"$grpc" \
    --set receiver.otlp_http.endpoint=127.0.0.1:"$http" --set query.endpoint=127.0.0.1:"$query" \
    --set query.jaeger.endpoint=127.0.0.1:0 2>"$work/log" &
daemon=$!
for _ in $(seq 200); do
    curl -fs "$url/ready" >/dev/null 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || { cat "$work/log"; exit 1; }
    sleep 0.05
done
curl -fs "$url/ready"

# port NAME: of a receiver, from what the daemon said when it opened it
port() { sed -n "s/.*event=listener.open name=$1 endpoint=[^ ]*:\([0-9]*\).*/\1/p" "$work/log" | tail -n 1; }
# spans TRACE: how many of it the daemon answers with
spans() { curl -fs "$url/api/v2/traces/$1" | grep -o '"startTimeUnixNano"' | wc -l; }

say "2. Send 5,000 realistic spans over every protocol; an answer means they are on disk"
printf '$ fermata emit --protocol PROTOCOL --endpoint 127.0.0.1:PORT --total 5000\n\n'
printf '%-16s %-6s %-28s %s\n' protocol port spans "its largest trace, asked back"
seed=1
while read -r protocol receiver; do
    number=$(port "$receiver")
    "$fermata" emit --protocol "$protocol" --endpoint 127.0.0.1:"$number" --total 5000 --seed $seed \
        --ledger "$work/ledger.$protocol" --json >"$work/report" || { cat "$work/report"; exit 1; }
    read -r wanted id < <(cut -d ' ' -f 1 "$work/ledger.$protocol" | sort | uniq -c | sort -rn)
    for _ in $(seq 100); do # datagrams are stored a moment later
        found=$(spans "$id") && [ "$found" = "$wanted" ] && break
        sleep 0.05
    done
    sent=$(sed 's/.*"sent_spans":\([0-9]*\).*/\1/' "$work/report")
    acked=$(sed 's/.*"acked_spans":\([0-9]*\).*/\1/' "$work/report")
    [ "$sent" = 0 ] && text="$acked acknowledged" || text="$sent sent as datagrams"
    printf '%-16s %-6s %-28s %s: %s of %s spans\n' "$protocol" "$number" "$text" "$id" "$found" "$wanted"
    [ "$found" = "$wanted" ]
    seed=$((seed + 1))
done <<'TABLE'
otlp_grpc       otlp_grpc
otlp_http       otlp_http
otlp_http_json  otlp_http
jaeger_compact  jaeger_thrift_compact
jaeger_binary   jaeger_thrift_binary
jaeger_http     jaeger_thrift_http
jaeger_grpc     jaeger_grpc
zipkin_json     zipkin
zipkin_proto    zipkin
zipkin_v1_json  zipkin
zipkin_thrift   zipkin
TABLE

say "3. One trace of our own, by hand with curl"
trace=$(printf '%032x' "$(date +%s)")
now=$(date +%s)000000000
printf '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},"scopeSpans":[{"scope":{"name":"demo"},"spans":[{"traceId":"%s","spanId":"00000000000000a1","name":"POST /checkout","kind":2,"startTimeUnixNano":"%s","endTimeUnixNano":"%s"},{"traceId":"%s","spanId":"00000000000000a2","parentSpanId":"00000000000000a1","name":"charge card","kind":3,"startTimeUnixNano":"%s","endTimeUnixNano":"%s","status":{"code":2,"message":"card declined"}}]}]}]}' \
    "$trace" "$now" "$((now + 180000000))" "$trace" "$((now + 40000000))" "$((now + 170000000))" >"$work/trace.json"
curl -fsS -H 'Content-Type: application/json' --data-binary @"$work/trace.json" \
    http://127.0.0.1:"$http"/v1/traces
echo

say "4. It is there at once, from the log"
show "$fermata" query trace "$trace" --url "$url"

say "5. Cut a block, verify every page, replicate it to the bucket"
curl -fsS -X POST "$url/flush"
for _ in $(seq 200); do
    block=$(find "$work/data/bucket" -name meta.json -printf '%h\n' 2>/dev/null | head -n 1)
    [ -n "$block" ] && break
    sleep 0.05
done
(cd "$work/data/bucket" && find . -type f -printf '%10s  %P\n' | sort -k 2)
show "$fermata" block verify "$block"

say "6. The same trace, now from the block"
show "$fermata" query trace "$trace" --url "$url"

say "7. Questions in TraceQL, to the node and to the bucket alone"
show "$fermata" query search '{ resource.service.name = "checkout" } >> { status = error }' --limit 5 \
    --url "$url"
show "$fermata" query metrics '{ kind = server } | rate() by (resource.service.name) | topk(5)' --url "$url" \
    --start $((${now%000000000} - 120)) --end $((${now%000000000} + 10)) --step 10s
show "$fermata" query values resource.service.name '{ status = error }' --limit 5 --bucket dir:"$work/data/bucket"

say "8. How the node is"
show "$fermata" status --url "$url"

kill "$daemon"
wait "$daemon"
daemon=
say "Stopped; everything acknowledged was found again.  Next: README.md, \"Install as a service\""
