# SPDX-License-Identifier: Apache-2.0
"""Rows of the benchmark about what leaves the node: CPU of exporters, and a node that starts with ten
GiB that have not left, while neither its bucket nor its upstream can be reached."""
import json
import os
import pathlib
import shutil
import statistics
import tempfile
import time
import uuid

from harness import Daemon, free_port, http_request, run_tool, wait_for
from protocols import verdict

SPANS = int(os.environ.get("BENCH_SPANS", "1000000"))
SEED = 42
BACKLOG_BYTES = 10 << 30
ROUNDS = 3  # each with the node alone before and after
# protocol, compression, goal in CPU seconds a million spans
EXPORTS = (("http", "none", 0.5), ("grpc", "none", 0.5), ("http", "zstd", 1.2), ("grpc", "zstd", 1.2))


def cpu_seconds(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mib(pid, name="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0


class Bench:
    """Daemons in one directory that goes at the end."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="fermata-bench-", dir=os.environ.get("BENCH_DIR")))
        self.daemons = []
        return self

    def __exit__(self, *_):
        for daemon in self.daemons:
            daemon.kill()
        shutil.rmtree(self.directory)

    def node(self, name, settings=None):
        (self.directory / name).mkdir(exist_ok=True)
        daemon = Daemon(self.directory / name, {"upload.enabled": "false", **(settings or {})})
        self.daemons.append(daemon)
        return daemon


def export_cpu(corpus, settings):
    """CPU of a node that takes SPANS and, with settings, passes them on to another."""
    with Bench() as bench:
        sink = bench.node("sink").start()
        # Nothing is cut meanwhile: what is measured reads the log.
        own = {"block.max_block_duration": "1h", "block.max_block_bytes": "1GiB", "block.align": "none"}
        for key, value in settings.items():
            own[f"exporter.otlp.up.{key}"] = value
        if settings:
            port = sink.ports["grpc" if settings["protocol"] == "grpc" else "http"]
            own["exporter.otlp.up.endpoint"] = f"http://127.0.0.1:{port}"
        node = bench.node("node", own).start()
        before = cpu_seconds(node.process.pid)
        run_tool("emit", "--protocol", "otlp_http", "--endpoint", f"127.0.0.1:{node.ports['http']}",
                 "--connections", 1, "--total", SPANS, "--seed", SEED, "--corpus", corpus, "--rate", 100000, check=0)
        spans = node.metric("fermata_receiver_accepted_spans_total")
        if settings:
            wait_for(lambda: node.metric("fermata_exporter_sent_spans_total") >= spans, 120, "the exporter")
        used = cpu_seconds(node.process.pid) - before
        node.stop()
        sink.stop()
        return used * 1e6 / spans


def print_exports():
    print("\nexporters, CPU of the node per million spans beyond taking them in")
    with tempfile.TemporaryDirectory(prefix="fermata-corpus-", dir=os.environ.get("BENCH_DIR")) as directory:
        corpus = pathlib.Path(directory) / "corpus"
        run_tool("emit", "--write-corpus", corpus, "--total", SPANS, "--seed", SEED, check=0)
        extra = {row: [] for row in EXPORTS}
        for _ in range(ROUNDS):
            alone = [export_cpu(corpus, {})]
            used = [export_cpu(corpus, {"protocol": row[0], "compression": row[1]}) for row in EXPORTS]
            alone.append(export_cpu(corpus, {}))
            for row, value in zip(EXPORTS, used):
                extra[row].append(value - statistics.mean(alone))
        for (protocol, compression, goal), values in extra.items():
            middle = statistics.median(values)
            print(f"  {protocol + ', ' + compression:46s} {middle:8.2f} s    {verdict(middle, goal)}"
                  f" (rounds {' '.join(format(value, '.2f') for value in values)})", flush=True)


def clone_blocks(node, count):
    """One block becomes many: ids and places in the log of their own, the data linked."""
    source = node.blocks()[0]
    meta, local = (json.loads((source / name).read_text()) for name in ("meta.json", "local.json"))
    width = local["lastLsn"] - local["firstLsn"] + 1
    for i in range(1, count):
        name = str(uuid.uuid5(uuid.UUID(source.name), str(i)))
        target = source.parent / name
        target.mkdir()
        for path in source.iterdir():
            if path.name == "data.parquet" or path.name.startswith("bloom-"):
                os.link(path, target / path.name)
        (target / "meta.json").write_text(json.dumps({**meta, "blockID": name}))
        begin = local["firstLsn"] + i * width
        (target / "local.json").write_text(json.dumps({**local, "firstLsn": begin, "lastLsn": begin + width - 1}))


def ready_seconds(node):
    begin = time.perf_counter()
    node.start(wait=False)
    while True:
        try:
            if http_request(node.ports["query"], "GET", "/ready", timeout=1)[0] == 200:
                return time.perf_counter() - begin
        except OSError:
            time.sleep(0.005)
        if time.perf_counter() - begin > 120:
            raise AssertionError(node.log_text())


def print_backlog():
    print("\nten GiB that have not left, bucket and upstream out of reach")
    with Bench() as bench:
        away = {
            "upload.enabled": "true", "upload.destination": "s3", "upload.s3.bucket": "traces",
            "upload.s3.endpoint": f"http://127.0.0.1:{free_port()}", "upload.s3.auth": "none",
            "upload.s3.path_style": "true", "upload.control_prefix": "control",
            "exporter.otlp.up.endpoint": f"127.0.0.1:{free_port()}", "exporter.otlp.up.start": "oldest",
            "storage.scrub_interval": "0", "storage.merge_below": "0",
        }
        idle = bench.node("idle", away).start()
        time.sleep(3)
        idle_mib = rss_mib(idle.process.pid)
        idle.stop()
        node = bench.node("node", {**away, "block.max_block_bytes": "64MiB"}).start()
        run_tool("emit", "--protocol", "otlp_http", "--endpoint", f"127.0.0.1:{node.ports['http']}",
                 "--total", 250000, "--seed", SEED, check=0)
        node.flush()
        node.stop()
        blocks = sorted(node.blocks(), key=lambda block: (block / "data.parquet").stat().st_size)
        block_bytes = (blocks[-1] / "data.parquet").stat().st_size
        for extra in blocks[:-1]:
            shutil.rmtree(extra)
        count = -(-BACKLOG_BYTES // block_bytes)
        clone_blocks(node, count)
        seconds = ready_seconds(node)
        time.sleep(20)
        waiting = node.metric("fermata_upload_pending_bytes")
        extra_mib = rss_mib(node.process.pid) - idle_mib
        peak_mib = rss_mib(node.process.pid, "VmHWM") - idle_mib
        if waiting < BACKLOG_BYTES:
            raise AssertionError(f"{waiting} bytes wait, not {BACKLOG_BYTES}: {node.log_text()}")
        node.stop()
        print(f"  {f'start to ready, {count} blocks':46s} {seconds:8.2f} s    {verdict(seconds, 2)}")
        print(f"  {'RSS beyond idle, 20 s later':46s} {extra_mib:8.2f} MiB  {verdict(extra_mib, 16)}")
        print(f"  {'peak RSS beyond idle':46s} {peak_mib:8.2f} MiB", flush=True)


def print_forward():
    print_exports()
    print_backlog()
