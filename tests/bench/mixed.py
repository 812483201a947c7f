# SPDX-License-Identifier: Apache-2.0
"""Rows of the benchmark about both at once: what senders at saturation feel of people who ask."""
import http.client
import json
import os
import pathlib
import statistics
import tempfile
import threading

import queries
from harness import run_tool
from protocols import FAIR_NICE, Node, verdict

SPANS = int(os.environ.get("BENCH_SPANS", "1000000"))
SEED = 42
BEFORE = 200000  # spans in blocks before it starts
CONNECTIONS = 4
CLIENTS = 4
ROUNDS = 5
GOAL = 1.5  # times the quiet p99


class Crowd:
    """Clients that ask the searches in a loop, at a niceness: their share of the cores is not the
    daemon's doing."""

    def __init__(self, port):
        self.over = threading.Event()
        self.times, self.failures = [], []
        self.threads = [threading.Thread(target=self.ask, args=(port, i)) for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self, port, first):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FAIR_NICE)
        texts = [text for text in queries.SEARCHES if text != queries.NEEDLE]
        client = queries.Client(port)
        while not self.over.is_set():
            try:
                took = client.ask(queries.search(texts[first % len(texts)]))[0]
                if not self.over.is_set():
                    self.times.append(took)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                if not self.over.is_set():
                    self.failures.append(str(error))
                break
            first += 1
        client.close()

    def join(self):
        for thread in self.threads:
            thread.join()


def ingest(corpus, asking):
    """The sender's report, and the milliseconds of the questions asked meanwhile."""
    crowd = None
    try:
        with Node() as daemon:
            endpoint = ["--endpoint", f"127.0.0.1:{daemon.ports['http']}"]
            run_tool("emit", *endpoint, "--total", BEFORE, "--seed", SEED + 1, check=0)
            daemon.flush()
            crowd = Crowd(daemon.ports["query"]) if asking else None
            report = json.loads(run_tool("emit", *endpoint, "--connections", CONNECTIONS, "--total", SPANS,
                                         "--corpus", corpus, "--json", check=0).stdout)
            if crowd:
                crowd.over.set()
    finally:
        if crowd:  # the daemon is gone: nobody waits for an answer
            crowd.over.set()
            crowd.join()
    if crowd and crowd.failures:
        raise AssertionError(crowd.failures[0])
    return report, crowd.times if crowd else []


def print_mixed():
    """Rounds in turn, since the rest of the machine is not quiet either: one with questions is compared
    with the quiet one just before it, and the middle of these counts."""
    rounds = {"nobody asks": [], "with questions": []}
    asked = []
    with tempfile.TemporaryDirectory(prefix="fermata-corpus-", dir=os.environ.get("BENCH_DIR")) as directory:
        corpus = pathlib.Path(directory) / "corpus"
        run_tool("emit", "--write-corpus", corpus, "--total", SPANS, "--seed", SEED, check=0)
        for _ in range(ROUNDS):
            for name, reports in rounds.items():
                report, times = ingest(corpus, name == "with questions")
                reports.append(report)
                asked += times
    print(f"\n{SPANS} spans over {CONNECTIONS} connections as fast as they are acknowledged, while {CLIENTS} clients search "
          f"in a loop\n(at niceness {FAIR_NICE}, on the same cores); median of {ROUNDS} rounds")
    p99 = {name: [report["latency_p99_ms"] for report in got] for name, got in rounds.items()}
    for name, got in rounds.items():
        print(f"  {name:15s} {statistics.median(g['spans_per_second'] for g in got):8.0f} spans/s  "
              f"ack p50 {statistics.median(g['latency_p50_ms'] for g in got):6.2f} ms  p99 {statistics.median(p99[name]):6.2f} ms  "
              f"(rounds {' '.join(format(value, '.2f') for value in p99[name])})")
    ratio = statistics.median(loud / max(quiet, 1e-9) for quiet, loud in zip(*p99.values()))
    if asked:
        print(f"  {len(asked)} searches were answered meanwhile, p50 {queries.quantile(asked, 0.5):.1f} ms, "
              f"p99 {queries.quantile(asked, 0.99):.1f} ms")
    print(f"  ack p99 with questions is {ratio:.2f} times that of the quiet round before it, {verdict(ratio, GOAL)}", flush=True)
