# SPDX-License-Identifier: Apache-2.0
"""Rows of the benchmark that ask: searches, metrics, tags, values and traces over a million spans in
blocks, each with its time and with the memory that answering it took.

Questions are asked as Grafana does: over one connection, for the last hour.  With TEMPO=FILE in the
environment that Tempo (3.x, monolithic) is asked the same over the daemon's own bucket.
"""
import collections
import contextlib
import http.client
import json
import math
import os
import pathlib
import random
import shutil
import time
import urllib.parse

from harness import run_tool, wait_for
from protocols import Node, verdict
from tempo import Tempo

SPANS = int(os.environ.get("BENCH_SPANS", "1000000"))
SEED = 42
WARM, RUNS, COLD_RUNS, LOOKUPS = 2, 15, 5, 200
ROW_SECONDS = 5  # a question that is slower than this in all has fewer runs
ASK_SECONDS = 8  # until it counts as not answered, and is not asked again
HOUR = 3600
STEP = 15  # seconds, of metrics
RATIO_GOAL = 0.2  # of Tempo's median

NEEDLE = "a user of whom the corpus knows one or a few traces"
SEARCHES = [
    '{resource.service.name="cart"}',
    "{span.http.response.status_code>=500}",
    '{duration>500ms && name=~"GET.*"}',  # the corpus knows no longer ones
    NEEDLE,
    '{name="nothing like it"}',
    '{resource.service.name="frontend"} >> {status=error}',
    "{} | count()>3",
]
METRICS = [
    "{} | rate() by (resource.service.name)",
    "{} | quantile_over_time(duration,.5,.9) by (resource.service.name)",
]
VALUES = ["resource.service.name", "name", "span.http.route"]

# What is asked: kind of row, name, path without the range, what to count in the answer.
Question = collections.namedtuple("Question", "kind name path query count")
Times = collections.namedtuple("Times", "p50 p99 runs found extra peak")


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def search(text):
    return Question("search", text, "/api/search", {"q": text, "limit": 20, "spss": 3},
                    lambda answer: f"{len(answer['traces'])} traces")


def spans_of(answer):
    total = sum(float(sample.get("value", 0)) for series in answer["series"] for sample in series["samples"])
    return f"{total * STEP:.0f} spans"


def metrics(text):
    count = spans_of if "rate()" in text else lambda answer: f"{len(answer['series'])} series"
    return Question("metrics", text, "/api/metrics/query_range", {"q": text, "step": f"{STEP}s"}, count)


def tags():
    return Question("tags", "tags", "/api/v2/search/tags", {},
                    lambda answer: f"{sum(len(s.get('tags', ())) for s in answer['scopes'])} tags")


def values_of(name):
    return Question("tags", f"values of {name}", f"/api/v2/search/tag/{name}/values", {},
                    lambda answer: f"{len(answer['tagValues'])} values")


class Client:
    """One kept connection to one server."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_SECONDS)

    def get(self, path, accept="application/json"):
        """Milliseconds and the body; infinitely many without an answer."""
        begin = time.perf_counter()
        try:
            self.connection.request("GET", path, headers={"Accept": accept})
            response = self.connection.getresponse()
            body = response.read()
        except TimeoutError:
            self.connection.close()  # the next one makes a new one
            return math.inf, b""
        took = (time.perf_counter() - begin) * 1000
        if response.status != 200:
            raise AssertionError(f"GET {path}: {response.status} {body[:200]}")
        return took, body

    def ask(self, question):
        now = int(time.time())
        query = urllib.parse.urlencode({**question.query, "start": now - HOUR, "end": now})
        took, body = self.get(f"{question.path}?{query}")
        return took, question.count(json.loads(body)) if body else "no answer"

    def close(self):
        self.connection.close()


class Memory:
    """Peak of a process's resident pages, from a moment of one's choice."""

    def __init__(self, pid):
        self.process = pathlib.Path(f"/proc/{pid}")
        self.before = 0

    def status_mib(self, name):
        for line in (self.process / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def begin(self):
        (self.process / "clear_refs").write_text("5")
        self.before = self.status_mib("VmRSS")

    def peak(self):
        return self.status_mib("VmHWM")


def repeated(once, memory, warm, runs):
    """once() gives milliseconds and what was found; memory is of the process that answers, or None."""
    times, found, extra, peak = [], "", 0.0, 0.0
    deadline = time.monotonic() + ROW_SECONDS
    for i in range(warm + runs):
        if memory:
            memory.begin()
        took, found = once()
        if memory:
            peak = max(peak, memory.peak())
            extra = max(extra, memory.peak() - memory.before)
        if i >= warm or took == math.inf:
            times.append(took)
        if took == math.inf or (times and time.monotonic() > deadline):
            break
    return Times(quantile(times, 0.5), quantile(times, 0.99), len(times), found, extra, peak)


def drop_files(directory):
    """Out of the page cache.  What somebody has mapped stays."""
    for path in directory.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


# ---- who is asked ----

class Fermata:
    def __init__(self, daemon):
        self.daemon = daemon
        self.client = Client(daemon.ports["query"])
        self.memory = Memory(daemon.process.pid)
        self.idle = 0.0  # resident before the first question

    def restart(self):
        self.client.close()
        self.daemon.stop()
        drop_files(self.daemon.data)
        self.daemon.start()
        time.sleep(0.2)  # what it does by itself at the start is not the question's
        self.client = Client(self.daemon.ports["query"])
        self.memory = Memory(self.daemon.process.pid)
        self.idle = self.memory.status_mib("VmRSS")

    def ask(self, question):
        return repeated(lambda: self.client.ask(question), self.memory, WARM, RUNS)

    def ask_cold(self, question):
        def once():
            self.restart()
            self.memory.begin()
            got = self.client.ask(question)
            peaks.append((self.memory.peak(), self.memory.peak() - self.memory.before))
            return got
        peaks = []
        times = repeated(once, None, 0, COLD_RUNS)
        return times._replace(peak=max(p for p, _ in peaks), extra=max(e for _, e in peaks))


class Peer:
    """Tempo, asked the same."""

    def __init__(self, tempo, bucket):
        self.client = Client(tempo.port)
        self.bucket = bucket
        self.memory = None

    def ask(self, question):
        return repeated(lambda: self.client.ask(question), None, WARM, RUNS)

    def ask_cold(self, question):
        """It runs on, which is to its advantage: only its files are cold."""
        def once():
            drop_files(self.bucket)
            return self.client.ask(question)
        return repeated(once, None, 0, COLD_RUNS)


def ask_traces(who, ids):
    left = iter(ids)

    def once():
        took, body = who.client.get(f"/api/v2/traces/{next(left)}", "application/protobuf")
        if took < math.inf and len(body) < 20:
            raise AssertionError("a trace was not found")
        return took, f"{len(ids)} ids"
    return repeated(once, who.memory, 0, len(ids))


# ---- the rows ----

def fill(daemon, ledger):
    """The corpus of the data path, five minutes old, in blocks that are in the bucket, too."""
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 300))
    run_tool("emit", "--endpoint", f"127.0.0.1:{daemon.ports['http']}", "--total", SPANS, "--seed", SEED,
             "--start", start, "--ledger", ledger, "--json", check=0)
    stored = daemon.metric("fermata_receiver_accepted_spans_total")
    daemon.flush()
    wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, 120, "replication")
    return int(stored)


def trace_ids(ledger):
    with open(ledger, encoding="ascii") as lines:
        ids = sorted({line.split(maxsplit=1)[0] for line in lines})
    return random.Random(SEED).sample(ids, min(LOOKUPS, len(ids)))


def needle(daemon, ids):
    """The user of one of the traces: one in 50,000."""
    for trace_id in ids:
        for resource in daemon.trace(trace_id)["trace"]["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    for attribute in span.get("attributes", ()):
                        if attribute["key"] == "app.user.id":
                            return '{span.app.user.id="%s"}' % attribute["value"]["stringValue"]
    raise AssertionError("nobody has an app.user.id")


def ask_all(who, searches, ids):
    """Yields the kind of row, its name and its times.  The cold ones first: they begin anew."""
    for text in METRICS:
        yield "metrics, cold", f"{text}, cold", who.ask_cold(metrics(text))
    if isinstance(who, Fermata):
        who.restart()
    for question in [*map(search, searches), *map(metrics, METRICS), tags(), *map(values_of, VALUES)]:
        yield question.kind, question.name, who.ask(question)
    yield "trace", "trace by id", ask_traces(who, ids)


GOALS_MS = {"search": 10, "metrics, cold": 50, "tags": 2, "trace": 2}  # of the median


def in_ms(value):
    return f"{value:8.2f} ms" if value < math.inf else f"{f'> {ASK_SECONDS} s':>11s}"


def print_row(kind, name, got, peer):
    line = f"{name:71s} {got.found:>14s} {in_ms(got.p50)} {in_ms(got.p99)} {got.extra:6.1f} MiB"
    notes = []
    if peer:
        line += f"  {in_ms(peer.p50)} {in_ms(peer.p99)} {peer.p50 / got.p50:7.1f}"
        if peer.found != got.found:
            notes.append(f"Tempo: {peer.found}")
    if kind in GOALS_MS:
        notes.append(verdict(got.p50, GOALS_MS[kind]))
    if got.runs < (COLD_RUNS if kind == "metrics, cold" else RUNS):
        notes.append(f"runs: {got.runs}")
    print(line + "  " + "; ".join(notes), flush=True)


def print_goals(rows, peers, idle):
    def worst(kind, field="p50"):
        return max(getattr(got, field) for k, _, got in rows if k == kind)

    goals = [
        ("searches, the slowest, p50", worst("search"), "ms", 10),
        ("metrics over all spans, cold, the slower, p50", worst("metrics, cold"), "ms", 50),
        ("tags and values, the slowest, p50", worst("tags"), "ms", 2),
        ("trace by id, p50", worst("trace"), "ms", 2),
        ("trace by id, p99", worst("trace", "p99"), "ms", 10),
        ("peak RSS over that before the question", max(got.extra for _, _, got in rows), "MiB", 32),
    ]
    if peers:
        ratio = max(got.p50 / peers[name].p50 for kind, name, got in rows if kind == "search")
        goals.insert(1, ("searches, the worst of Tempo's p50", ratio, "", RATIO_GOAL))
    print("\nquestions against the goals")
    for text, value, unit, goal in goals:
        print(f"  {text:46s} {value:8.2f} {unit:4s} {verdict(value, goal)}")
    kept = max(got.peak for kind, _, got in rows if kind != "metrics, cold") - idle
    print(f"  {'peak RSS over that before the first one':46s} {kept:8.2f} MiB  with all that is kept between questions")


def ask_tempo(bucket, block_count, searches, ids):
    binary = os.environ.get("TEMPO")
    if not binary:
        return {}, ""
    with Tempo(binary, bucket) as tempo:
        tempo.wait_for_blocks(block_count)
        who = Peer(tempo, bucket)
        rows = {name: times for _, name, times in ask_all(who, searches, ids)}
        return rows, f"; {tempo.version()}, {Memory(tempo.process.pid).peak():.0f} MiB at its peak"


def print_queries():
    with Node() as daemon, contextlib.ExitStack() as stack:
        ledger = pathlib.Path(daemon.directory) / "ledger"
        stored = fill(daemon, ledger)
        blocks, ids = daemon.blocks(), trace_ids(ledger)
        searches = [needle(daemon, ids) if text == NEEDLE else text for text in SEARCHES]
        bucket = daemon.directory / "bucket-of-tempo"  # a copy: what Tempo writes is not the daemon's
        if os.environ.get("TEMPO"):
            shutil.copytree(daemon.data / "bucket", bucket)
        peers, about = ask_tempo(bucket, len(blocks), searches, ids)
        print(f"\nquestions over {stored} spans in {len(blocks)} blocks, the last hour, warm, {RUNS} runs (their p99 is the "
              f"slowest);\ncold: after a restart, files out of the page cache, {COLD_RUNS} runs{about}")
        print(f"{'question':71s} {'found':>14s} {'p50':>11s} {'p99':>11s}  extra RSS"
              + ("    Tempo p50         p99   times" if peers else ""))
        who = Fermata(daemon)
        stack.callback(lambda: who.client.close())
        rows = []
        for kind, name, got in ask_all(who, searches, ids):
            rows.append((kind, name, got))
            print_row(kind, name, got, peers.get(name))
    print_goals(rows, peers, who.idle)
