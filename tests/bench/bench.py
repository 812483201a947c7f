# SPDX-License-Identifier: Apache-2.0
"""Replays a deterministic corpus into a fresh daemon and prints what it cost.

One row per protocol and number of connections: CPU that acknowledging took, CPU until all was in
verified, replicated blocks, peak memory, bytes on disk, and trace by id afterwards.  CPU is user +
system from /proc; acknowledging is what the loop, the log's and the decoder's threads used (blocks
are built at the same time by another).  Written bytes are what the daemon caused to be written.
"""
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import forward  # noqa: E402
import mixed  # noqa: E402
import protocols  # noqa: E402
import queries  # noqa: E402
from harness import FERMATA, Daemon, http_request, run_tool, wait_for  # noqa: E402

SPANS = int(os.environ.get("BENCH_SPANS", "1000000"))
SEED = 42
LOOKUPS = 300
TICKS = os.sysconf("SC_CLK_TCK")

GOALS = [
    ("CPU per million spans, acknowledged durable", "ack_cpu", "s", 1.0),
    ("CPU per million spans in all", "all_cpu", "s", 3.5),
    ("peak RSS", "peak_rss", "MiB", 96),
    ("bytes per span in the block", "block_bytes", "B", 70),
    ("written to disk per million spans", "written", "MB", 180),
    ("trace by id, each over a new connection, p50", "p50", "ms", 2),
    ("trace by id, each over a new connection, p99", "p99", "ms", 10),
    ("trace by id, over one connection, p50", "kept_p50", "ms", 2),
    ("trace by id, over one connection, p99", "kept_p99", "ms", 10),
]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ack_seconds(pid):
    """CPU of the threads on the way from a request to its durable acknowledgement."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "comm").read_text().strip(), (task / "stat").read_text().rpartition(")")[2].split()
        if task.name == str(pid) or name.startswith(("fermata-wal", "fermata-dec")):
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def status_kib(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def written_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def trace_ids(ledger, count):
    """Random ids of acknowledged traces, from the sender's ledger."""
    with open(ledger, encoding="ascii") as lines:
        ids = sorted({line.split()[0] for line in lines})
    return random.Random(SEED).sample(ids, min(count, len(ids)))


def lookups(daemon, ids, kept):
    """Milliseconds of each lookup.  kept: over one connection, as Grafana asks; else each over its
    own, which adds the connection's making and the client's to what is measured."""
    times = []
    connection = http.client.HTTPConnection("127.0.0.1", daemon.ports["query"], timeout=20)
    for trace_id in ids:
        begin = time.perf_counter()
        connection.request("GET", f"/api/v2/traces/{trace_id}", headers={"Accept": "application/protobuf"})
        response = connection.getresponse()
        body = response.read()
        times.append((time.perf_counter() - begin) * 1000)
        if response.status != 200 or len(body) < 20:
            raise AssertionError(f"trace {trace_id} was not found")
        if not kept:
            connection.close()
    connection.close()
    return times


def start_ms():
    """Process start to /ready on an empty directory, polled every millisecond; best of five."""
    best = 1e9
    for _ in range(5):
        directory = tempfile.mkdtemp(prefix="fermata-bench-")
        daemon = Daemon(directory)
        begin = time.perf_counter()
        daemon.start(wait=False)
        while True:
            try:
                if http_request(daemon.ports["query"], "GET", "/ready", timeout=1)[0] == 200:
                    break
            except OSError:
                time.sleep(0.001)
        best = min(best, (time.perf_counter() - begin) * 1000)
        time.sleep(0.2)
        idle = status_kib(daemon.process.pid, "VmRSS") / 1024
        daemon.stop()
        shutil.rmtree(directory)
    return best, idle


def measure(protocol, connections, corpus):
    directory = tempfile.mkdtemp(prefix="fermata-bench-", dir=os.environ.get("BENCH_DIR"))
    daemon = Daemon(directory)
    daemon.start()
    pid = daemon.process.pid
    port = daemon.ports["grpc" if "grpc" in protocol else "http"]
    base_cpu, base_ack, base_written = cpu_seconds(pid), ack_seconds(pid), written_bytes(pid)
    ledger = pathlib.Path(directory) / "ledger"
    begin = time.perf_counter()
    sent = json.loads(run_tool(
        "emit", "--protocol", protocol, "--endpoint", f"127.0.0.1:{port}", "--connections", connections,
        "--total", SPANS, "--seed", SEED, "--corpus", corpus, "--ledger", ledger, "--json", check=0).stdout)
    seconds = time.perf_counter() - begin
    spans = daemon.metric("fermata_receiver_accepted_spans_total")
    ack_cpu = ack_seconds(pid) - base_ack
    daemon.flush()
    wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, 120, "replication")
    all_cpu, written = cpu_seconds(pid) - base_cpu, written_bytes(pid) - base_written
    blocks = daemon.blocks()
    size = sum((b / "data.parquet").stat().st_size for b in blocks)
    peak = status_kib(pid, "VmHWM") / 1024
    ids = trace_ids(ledger, 2 * LOOKUPS)
    times, kept_times = lookups(daemon, ids[::2], False), lookups(daemon, ids[1::2], True)
    daemon.stop()
    shutil.rmtree(directory)
    scale = 1e6 / spans
    return {
        "protocol": protocol, "connections": connections, "spans": int(spans), "blocks": len(blocks),
        "ack_cpu": ack_cpu * scale, "all_cpu": all_cpu * scale, "peak_rss": peak,
        "block_bytes": size / spans, "written": written * scale / 1e6,
        "rate": spans / seconds, "ack_p50": sent["latency_p50_ms"], "ack_p99": sent["latency_p99_ms"],
        "p50": quantile(times, 0.5), "p99": quantile(times, 0.99),
        "kept_p50": quantile(kept_times, 0.5), "kept_p99": quantile(kept_times, 0.99),
    }


def print_node():
    with tempfile.TemporaryDirectory(prefix="fermata-corpus-", dir=os.environ.get("BENCH_DIR")) as directory:
        corpus = pathlib.Path(directory) / "corpus"
        run_tool("emit", "--write-corpus", corpus, "--total", SPANS, "--seed", SEED, check=0)
        print(f"corpus: {SPANS} spans, {corpus.stat().st_size / SPANS:.1f} bytes of protobuf each; "
              f"{os.cpu_count()} cores; wal.sync = group\n")
        ready, idle = start_ms()
        print("protocol        conns  spans/s  ack p50  ack p99  CPU ack  CPU all  peak RSS  "
              "B/span  written  by id p50  p99  kept p50  p99")
        rows = []
        for protocol in ("otlp_http", "otlp_grpc"):
            for connections in (1, 4):
                row = measure(protocol, connections, corpus)
                rows.append(row)
                print("{protocol:14s} {connections:6d} {rate:8.0f} {ack_p50:6.2f} ms {ack_p99:5.1f} ms "
                      "{ack_cpu:6.2f} s {all_cpu:6.2f} s {peak_rss:5.0f} MiB {block_bytes:7.1f} {written:5.0f} MB "
                      "{p50:7.2f} ms {p99:5.2f} ms {kept_p50:5.2f} ms {kept_p99:5.2f} ms".format(**row), flush=True)
    print("\nworst of the rows against the goals")
    for text, key, unit, goal in GOALS:
        worst = max(row[key] for row in rows)
        print(f"  {text:46s} {worst:8.2f} {unit:4s} goal {goal:g}  {'reached' if worst <= goal else 'MISSED'}")
    print(f"  {'idle RSS':46s} {idle:8.2f} MiB  goal 8  {'reached' if idle <= 8 else 'MISSED'}")
    print(f"  {'process start to ready, empty directory':46s} {ready:8.2f} ms   goal 50  "
          f"{'reached' if ready <= 50 else 'MISSED'}")


def print_sampling():
    """CPU to judge sealed blocks; beside the program, where its tests are built."""
    print("\ntail sampling, per million spans (goal: judged 0.2 s)", flush=True)
    subprocess.run([FERMATA.parent / "tests" / "bench" / "bench_sample", str(SPANS)], check=True)


def main(parts):
    if not parts or "node" in parts:
        print_node()
    if not parts or "queries" in parts:
        queries.print_queries()
    if not parts or "mixed" in parts:
        mixed.print_mixed()
    if not parts or "sampling" in parts:
        print_sampling()
    if not parts or "forward" in parts:
        forward.print_forward()
    if parts and not {"protocols", "fairness"} & set(parts):
        return
    with tempfile.TemporaryDirectory(prefix="fermata-corpus-", dir=os.environ.get("BENCH_DIR")) as directory:
        corpus = pathlib.Path(directory) / "corpus"
        run_tool("emit", "--write-corpus", corpus, "--total", protocols.SPANS, "--seed", SEED, check=0)
        if not parts or "protocols" in parts:
            protocols.print_rows(corpus, ack_seconds)
        if not parts or "fairness" in parts:
            protocols.print_fairness(corpus)


if __name__ == "__main__":
    main(sys.argv[1:])
