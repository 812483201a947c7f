# SPDX-License-Identifier: Apache-2.0
"""Rows of the benchmark that compare the doors: what each protocol costs to the durable store, and
what a normal client feels of others that misbehave.

CPU is that of the loop, the log's and the decoder's threads.  Datagrams are sent at a fixed rate,
since nobody acknowledges them; what the kernel dropped is printed with them.
"""
import collections
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness import FERMATA, Daemon, run_tool, wait_for

SPANS = int(os.environ.get("BENCH_PROTOCOL_SPANS", "200000"))
RATE = 50000  # spans/s of datagrams
SEED = 42
TLS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"
FAIR_SECONDS = int(os.environ.get("BENCH_FAIR_SECONDS", "6"))
FAIR_ROUNDS = 5
FAIR_NICE = 15  # of the flooding sender: its share of this machine's cores is not the daemon's doing

# Name of the row, protocol of emit, the harness's port, TLS, goal in CPU seconds per million spans.
Row = collections.namedtuple("Row", "name protocol port tls goal")
ROWS = [
    Row("otlp_grpc", "otlp_grpc", "grpc", False, None),
    Row("otlp_http", "otlp_http", "http", False, None),
    Row("otlp_http_json", "otlp_http_json", "http", False, 4.0),
    Row("jaeger_compact, UDP", "jaeger_compact", "compact", False, 1.5),
    Row("jaeger_binary, UDP", "jaeger_binary", "binary", False, None),
    Row("jaeger_http", "jaeger_http", "jaeger_http", False, None),
    Row("jaeger_grpc", "jaeger_grpc", "jaeger_grpc", False, None),
    Row("zipkin_json", "zipkin_json", "zipkin", False, 3.0),
    Row("zipkin_proto", "zipkin_proto", "zipkin", False, None),
    Row("zipkin_v1_json", "zipkin_v1_json", "zipkin", False, None),
    Row("zipkin_thrift", "zipkin_thrift", "zipkin", False, None),
    Row("otlp_grpc, TLS", "otlp_grpc", "grpc", True, None),
    Row("otlp_http, TLS", "otlp_http", "http", True, None),
]
TLS_GOAL = 3.0  # more than without it


class Node:
    """A fresh daemon in a directory of its own, gone afterwards."""

    def __init__(self, settings=None):
        self.directory = tempfile.mkdtemp(prefix="fermata-bench-", dir=os.environ.get("BENCH_DIR"))
        self.daemon = Daemon(self.directory, settings)

    def __enter__(self):
        try:
            return self.daemon.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def __exit__(self, kind, value, trace):
        self.daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def tls_settings():
    return {f"receiver.{name}.tls_{what}_file": str(TLS / f"server.{suffix}")
            for name in ("otlp_grpc", "otlp_http") for what, suffix in (("cert", "pem"), ("key", "key"))}


def measure(row, corpus, ack_seconds):
    arguments = ["--protocol", row.protocol, "--total", SPANS, "--corpus", corpus, "--json"]
    if row.tls:
        arguments += ["--tls-ca", TLS / "ca.pem", "--tls-server-name", "localhost"]
    is_udp = row.port in ("compact", "binary")
    if is_udp:
        arguments += ["--rate", RATE]
    with Node(tls_settings() if row.tls else None) as daemon:
        before = ack_seconds(daemon.process.pid)
        sent = json.loads(run_tool("emit", "--endpoint", f"127.0.0.1:{daemon.ports[row.port]}",
                                   *arguments, check=0).stdout)

        def accepted():
            return daemon.metric("fermata_receiver_accepted_spans_total")

        wanted = sent["sent_spans"] + sent["acked_spans"]
        if is_udp:
            deadline = time.monotonic() + 3
            while accepted() < wanted and time.monotonic() < deadline:
                time.sleep(0.02)
        cpu = ack_seconds(daemon.process.pid) - before
        drops = daemon.metric("fermata_receiver_kernel_dropped_datagrams_total") if is_udp else None
        stored = accepted()
    return {"name": row.name, "goal": row.goal, "cpu": cpu * 1e6 / max(stored, 1), "stored": int(stored),
            "wanted": int(wanted), "drops": drops, "rate": sent["spans_per_second"], "bytes": sent["sent_bytes"] / wanted,
            "p50": sent["latency_p50_ms"], "p99": sent["latency_p99_ms"]}


def verdict(value, goal):
    return f"goal {goal:g}  {'reached' if value <= goal else 'MISSED'}"


def print_rows(corpus, ack_seconds):
    print(f"\nevery protocol, {SPANS} spans, one connection; datagrams at {RATE} spans/s")
    print("protocol              bytes/span  spans/s  ack p50  ack p99  CPU ack/million")
    rows = {}
    for row in ROWS:
        got = rows[row.name] = measure(row, corpus, ack_seconds)
        latency = f"{got['p50']:6.2f} ms {got['p99']:5.1f} ms" if got["drops"] is None else " " * 18
        notes = []
        if row.goal:
            notes.append(verdict(got["cpu"], row.goal))
        if row.tls:
            plain = rows[row.protocol]["cpu"]
            notes.append(f"TLS adds {got['cpu'] - plain:.2f} s, " + verdict(got["cpu"] - plain, TLS_GOAL))
        if got["drops"] is not None:
            notes.append(f"kernel dropped {got['drops']:.0f} datagrams")
        if got["stored"] != got["wanted"]:
            notes.append(f"ONLY {got['stored']} OF {got['wanted']} STORED")
        print(f"{row.name:20s} {got['bytes']:11.0f} {got['rate']:8.0f} {latency} {got['cpu']:10.2f} s      "
              + "; ".join(notes), flush=True)


# ---- a normal client among others ----

class Crowd:
    """Connections that sit there: idle ones, and bodies that trickle a byte a second."""

    def __init__(self, port, idle, slow):
        head = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100000\r\n\r\n"
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(idle + slow)]
        self.slow = self.sockets[idle:]
        for s in self.slow:
            s.sendall(head)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.trickle)
        self.thread.start()

    def trickle(self):
        while not self.over.wait(1):
            for s in self.slow:
                try:
                    s.send(b"\n")
                except OSError:
                    pass  # the daemon had enough of it

    def close(self):
        self.over.set()
        self.thread.join()
        for s in self.sockets:
            s.close()


def normal_client(daemon):
    """50 requests a second of 100 spans each."""
    return json.loads(run_tool(
        "emit", "--endpoint", f"127.0.0.1:{daemon.ports['http']}", "--tenant", "quiet", "--batch", 100, "--rate", 5000,
        "--duration", f"{FAIR_SECONDS}s", "--seed", SEED, "--json", check=0).stdout)


def flood(daemon, corpus):
    return subprocess.Popen(
        ["nice", "-n", str(FAIR_NICE), str(FERMATA), "emit", "--endpoint", f"127.0.0.1:{daemon.ports['http']}", "--tenant",
         "flood", "--connections", "16", "--corpus", str(corpus), "--duration", f"{FAIR_SECONDS + 30}s", "--json"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def among_others(daemon, corpus):
    crowd, flooding = None, None
    try:
        crowd = Crowd(daemon.ports["http"], 1000, 100)
        flooding = flood(daemon, corpus)
        wait_for(lambda: daemon.metric("fermata_listener_connections", 'listener="otlp_http"') >= 1100, 20, "the crowd")
        return normal_client(daemon)
    finally:
        if flooding:
            flooding.kill()
            flooding.wait()
        if crowd:
            crowd.close()


def print_fairness(corpus):
    """Rounds in turn, since the rest of the machine is not quiet either; the middle one counts."""
    settings = {"limits.max_connections": 4096, "tenants.rate_spans": 20000, "storage.min_free": "1MiB"}
    rounds = {"alone": [], "among the others": []}
    with Node(settings) as daemon:
        for _ in range(FAIR_ROUNDS):
            rounds["alone"].append(normal_client(daemon))
            rounds["among the others"].append(among_others(daemon, corpus))
    print(f"\na client of 50 requests/s with 100 spans each; the others: 1,000 idle connections, 100 slow bodies, one "
          f"flooding tenant\n(16 connections, rate limit 20,000 spans/s; its sender runs on the same cores, at niceness "
          f"{FAIR_NICE}); median of {FAIR_ROUNDS} rounds")
    p99 = {}
    for name, got in rounds.items():
        p99[name] = statistics.median(g["latency_p99_ms"] for g in got)
        print(f"  {name:18s} {sum(g['acked_requests'] for g in got):5d} requests  "
              f"ack p50 {statistics.median(g['latency_p50_ms'] for g in got):6.2f} ms  p99 {p99[name]:6.2f} ms  "
              f"(rounds {' '.join(format(g['latency_p99_ms'], '.2f') for g in got)})  "
              f"refused {sum(g['rejected_spans'] + g['failed_spans'] for g in got)}")
    ratio = p99["among the others"] / max(p99["alone"], 1e-9)
    print(f"  p99 among the others is {ratio:.1f} times the quiet one, {verdict(ratio, 2)}", flush=True)
