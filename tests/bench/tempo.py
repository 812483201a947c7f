# SPDX-License-Identifier: Apache-2.0
"""A Tempo to compare with: one process over a directory as bucket, on loopback, gone afterwards."""
import os
import re
import shutil
import subprocess
import tempfile

from harness import free_port, http_request, wait_for

CONFIG = """\
target: all
server: {{http_listen_address: 127.0.0.1, http_listen_port: {http}, grpc_listen_address: 127.0.0.1,
  grpc_listen_port: {grpc}, log_level: warn}}
usage_report: {{reporting_enabled: false}}
memberlist: {{bind_addr: [127.0.0.1], bind_port: {gossip}}}
distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{otlp}"}}}}}}}}}}
query_frontend:
  query_end_cutoff: 0s
  search: {{query_backend_after: 1s}}
  metrics: {{query_backend_after: 1s}}
overrides: {{defaults: {{compaction: {{compaction_disabled: true}}}}}}
storage:
  trace:
    backend: local
    blocklist_poll: 5s
    local: {{path: {bucket}}}
    wal: {{path: {work}/wal}}
live_store: {{shutdown_marker_dir: {work}/marker}}
backend_scheduler: {{local_work_path: {work}/scheduler}}
"""
READY_SECONDS = 90


class Tempo:
    def __init__(self, binary, bucket):
        self.binary = binary
        self.bucket = bucket
        self.work = tempfile.mkdtemp(prefix="fermata-tempo-", dir=os.environ.get("BENCH_DIR"))
        self.port = free_port()
        self.process = None

    def __enter__(self):
        config = os.path.join(self.work, "tempo.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(http=self.port, grpc=free_port(), gossip=free_port(), otlp=free_port(),
                                     bucket=self.bucket, work=self.work))
        try:
            with open(self.log_path(), "wb") as log:
                self.process = subprocess.Popen([self.binary, f"-config.file={config}"],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_for(self.is_ready, READY_SECONDS, f"Tempo to be ready, its log: {self.log_path()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        if self.process:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.work, ignore_errors=True)

    def log_path(self):
        return os.path.join(self.work, "log")

    def is_ready(self):
        if self.process.poll() is not None:
            with open(self.log_path(), encoding="utf-8", errors="replace") as log:
                raise AssertionError(f"Tempo exited with {self.process.returncode}:\n{log.read()[-2000:]}")
        try:
            return http_request(self.port, "GET", "/ready", timeout=2)[0] == 200
        except OSError:
            return False

    def wait_for_blocks(self, count):
        def seen():
            text = http_request(self.port, "GET", "/metrics")[2].decode()
            found = re.search(r"^tempodb_blocklist_length\{[^}]*\} ([0-9.e+]+)$", text, re.M)
            return found and float(found.group(1)) >= count
        wait_for(seen, READY_SECONDS, f"Tempo to see {count} blocks")

    def version(self):
        said = subprocess.run([self.binary, "-version"], capture_output=True, text=True, timeout=20).stdout
        found = re.search(r"version ([^\s,]+)", said)
        return f"Tempo {found.group(1)}" if found and found.group(1) else "Tempo"
