# SPDX-License-Identifier: Apache-2.0
"""Questions to a bucket on S3: the engine that reads files reads ranges, a needle costs little, and
whatever the bucket does ends in an answer or an error, never in silence."""
import gzip
import json
import os
import pathlib
import subprocess
import threading
import time
import unittest
import urllib.parse

from harness import FERMATA, DaemonTest, http_request, request, run_tool, span, wait_for
from s3_server import S3Server, make_certificates

BLOCKS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "blocks"
GOLDEN = json.loads((BLOCKS / "golden.json").read_text())
WINDOW = ("--start", GOLDEN["range"]["start"], "--end", GOLDEN["range"]["end"])
TENANT = "v4-by-tempo"


class BucketTest(DaemonTest):
    def server(self, **options):
        s3 = S3Server(**options)
        s3.page = 1000
        s3.__enter__()
        self.addCleanup(s3.__exit__)
        self.s3 = s3
        return s3

    def fill(self, tenant=TENANT, source=None):
        """Copies the blocks of a tenant's directory; returns the names of their data."""
        lead = self.s3.prefix + "/" if self.s3.prefix else ""
        root = (source or BLOCKS) / tenant
        for path in sorted(root.rglob("*")):
            if path.is_file():
                self.s3.put(f"{lead}{tenant}/{path.relative_to(root)}", path.read_bytes())
        return self.s3.keys("data.parquet")

    def environment(self, **more):
        access, secret = next(iter(self.s3.credentials.items()))
        plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return {**plain, "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_REGION": self.s3.region, "AWS_ENDPOINT_URL_S3": self.s3.url, **more}

    def ask(self, *words, check=0, tenant=TENANT, environment=None, bucket=None):
        name = bucket or f"s3://{self.s3.bucket}/{self.s3.prefix}"
        result = run_tool("query", *words, "--bucket", name, "--tenant", tenant, "--json", check=check,
                          env=environment or self.environment())
        return json.loads(result.stdout) if check == 0 else result


class AnswersTest(BucketTest):
    def ids(self, answer):
        return [t["traceID"] for t in answer["traces"]]

    def test_as_from_files(self):
        """Every golden question: the same answer over ranges as over the same files."""
        self.server(prefix="edge/a b")
        self.s3.page = 3  # listings come in pieces
        self.fill()
        for kind in ("search", "metrics"):
            for text in list(GOLDEN[kind])[::4]:
                with self.subTest(text):
                    more = ("--limit", 100) if kind == "search" else ("--step", "30s")
                    words = (kind, text, *WINDOW, *more)
                    files = json.loads(run_tool("query", *words, "--bucket", f"dir:{BLOCKS}", "--tenant", TENANT,
                                                "--json", check=0).stdout)
                    ranges = self.ask(*words)
                    for answer in (files, ranges):
                        answer.pop("metrics", None)
                        for line in answer.get("series") or []:
                            line.pop("exemplars", None)
                    self.assertEqual(ranges, files)
        self.assertEqual(self.s3.violations, [])
        self.assertFalse([e for e in self.s3.log if e["method"] != "GET"], "a reader writes nothing")

    def test_trace_by_id(self):
        self.server()
        self.fill()
        wanted = self.ids(self.ask("search", "{}", *WINDOW, "--limit", 3))[1]
        answer = self.ask("trace", wanted)
        self.assertIn("resourceSpans", answer["trace"])
        self.s3.log.clear()
        self.ask("trace", "00000000000000000000000000000001", check=4)
        self.assertEqual(self.s3.requests(key="data.parquet"), [], "the bloom filter says no")
        self.assertTrue(any("bloom" in e["path"] for e in self.s3.log))

    def test_compacted_blocks_are_left_out(self):
        self.server()
        data = self.fill()
        for key in data:
            folder = key.rsplit("/", 1)[0]
            self.s3.put(f"{folder}/meta.compacted.json", self.s3.objects.pop(f"{folder}/meta.json"))
        self.assertEqual(self.ask("search", "{}", *WINDOW)["traces"], [])
        self.assertEqual(self.s3.requests(key="data.parquet"), [])

    def test_tempos_index(self):
        self.server()
        data = self.fill()
        metas = [json.loads(self.s3.objects[key.rsplit("/", 1)[0] + "/meta.json"]) for key in data]

        def put_index(age_s, blocks):
            made = time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(time.time() - age_s))
            index = {"meta": blocks, "compacted": [], "created_at": made}
            self.s3.put(f"{TENANT}/index.json.gz", gzip.compress(json.dumps(index).encode()))
        expected = self.ids(self.ask("search", "{}", *WINDOW))
        put_index(20, metas)
        self.s3.log.clear()
        self.assertEqual(self.ids(self.ask("search", "{}", *WINDOW)), expected)
        self.assertFalse(any("list-type" in e["query"] for e in self.s3.log), "the index is enough")
        put_index(3600, [])  # stale: lists
        self.assertEqual(self.ids(self.ask("search", "{}", *WINDOW)), expected)
        put_index(20, [])
        self.assertEqual(self.ids(self.ask("search", "{}", *WINDOW)), [])
        self.s3.put(f"{TENANT}/index.json.gz", b"\x1f\x8bnot one")
        self.assertEqual(self.ids(self.ask("search", "{}", *WINDOW)), expected)

    def test_config_and_tls(self):
        folder = self.directory / "tls"
        folder.mkdir()
        tls = make_certificates(str(folder))
        self.server(tls=tls)
        self.s3.session_token = "FwoG/token=="
        self.fill()
        access, secret = next(iter(self.s3.credentials.items()))
        for name, text in (("access", access), ("secret", secret), ("token", self.s3.session_token)):
            (self.directory / name).write_text(text + "\n")
        config = self.directory / "fermata.ini"
        config.write_text(f"[upload]\ndestination = s3\n[upload.s3]\nendpoint = {self.s3.url}\nbucket = traces\n"
                          f"path_style = true\naccess_key_file = {self.directory}/access\n"
                          f"secret_key_file = {self.directory}/secret\n"
                          f"session_token_file = {self.directory}/token\ntls_ca_file = {tls['ca']}\n")
        plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        answer = self.ask("search", "{}", *WINDOW, "--config", config, environment=plain, bucket="s3://")
        self.assertTrue(answer["traces"])
        result = self.ask("search", "{}", *WINDOW, environment=self.environment(), check=74)
        self.assertIn("certificate", result.stderr)

    def test_wrong_usage(self):
        self.server()
        plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.assertIn("AWS_ACCESS_KEY_ID", self.ask("search", "{}", check=2, environment=plain).stderr)
        self.assertIn("s3://", self.ask("search", "{}", check=2, bucket="gs://traces").stderr)
        self.assertIn("which bucket", self.ask("search", "{}", check=2, bucket="s3://").stderr)


class CostTest(BucketTest):
    """A block of some megabytes, of which a needle needs little."""

    def big_block(self):
        bucket = self.directory / "bucket"
        daemon = self.daemon({"upload.dir.path": bucket}).start()
        run_tool("emit", "--endpoint", f"127.0.0.1:{daemon.ports['http']}", "--total", 300000, check=0)
        daemon.flush()
        wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, 20, "the upload")
        daemon.stop()
        self.server()
        return self.fill("single-tenant", bucket)

    def test_needle(self):
        data = self.big_block()
        size = sum(len(self.s3.objects[key]) for key in data)
        self.assertGreater(size, 5 << 20)
        found = self.ask("search", "{ status = error }", "--limit", 1, tenant="single-tenant")["traces"][0]
        self.s3.log.clear()
        answer = self.ask("trace", found["traceID"], tenant="single-tenant")
        self.assertIn("resourceSpans", answer["trace"])
        needle = self.s3.sent("data.parquet"), len(self.s3.requests("GET", "data.parquet"))
        self.s3.log.clear()
        answer = self.ask("search", '{ name = "no such span" }', tenant="single-tenant")
        self.assertEqual(answer["traces"], [])
        search = self.s3.sent("data.parquet"), len(self.s3.requests("GET", "data.parquet"))
        print(f"{len(data)} blocks of {size} bytes: a trace read {needle[0]} bytes in {needle[1]} ranges, "
              f"a search for what is not there {search[0]} in {search[1]}", flush=True)
        self.assertLess(needle[0], size / 3)
        self.assertLess(search[0], size / 3)
        self.assertFalse(self.s3.requests("GET", "data.parquet", status=200), "whole objects")


class FleetTest(BucketTest):
    """Nodes that upload to one bucket, and one of them, or a third, that is asked about all."""

    def node(self, name, settings=None):
        access, secret = next(iter(self.s3.credentials.items()))
        (self.directory / "access").write_text(access + "\n")
        (self.directory / "secret").write_text(secret + "\n")
        return self.daemon({
            "upload.destination": "s3", "upload.s3.endpoint": self.s3.url, "upload.s3.bucket": self.s3.bucket,
            "upload.s3.path_style": "true", "upload.s3.access_key_file": self.directory / "access",
            "upload.s3.secret_key_file": self.directory / "secret", "upload.retry_max_interval": "200ms",
            **(settings or {})}, name).start()

    def send(self, daemon, numbers, trace=None, flush=True):
        status, _, body = daemon.send(request(
            [span(f"{trace or n:032x}", f"{n:016x}", name=f"op {n}") for n in numbers], service=f"service-{numbers[0]}"))
        self.assertEqual(status, 200, body)
        if flush:
            daemon.flush()
            wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, 20, "the upload")

    def found(self, daemon, text="{}", status=200):
        now = int(time.time())
        path = f"/api/search?q={urllib.parse.quote(text)}&start={now - 3600}&end={now + 60}&limit=100"
        got, _, body = http_request(daemon.ports["query"], "GET", path, timeout=60)
        self.assertEqual(got, status, body)
        return sorted(int(t["traceID"], 16) for t in json.loads(body)["traces"]) if status == 200 else body

    def test_both(self):
        self.server()
        one = self.node("one")
        two = self.node("two", {"query.backend": "both"})
        self.send(one, [1, 2])
        self.send(one, [101], trace=77)
        self.send(two, [3, 4])
        self.send(two, [102], trace=77)
        self.send(two, [5], flush=False)
        self.assertEqual(self.found(one), [1, 2, 77])
        self.assertEqual(self.found(two), [1, 2, 3, 4, 5, 77])
        # Pieces of one trace on two nodes are one trace; what is here and in the bucket counts once.
        self.assertEqual(self.found(two, '{ name = "op 101" } && { name = "op 102" }'), [77])
        self.assertEqual(self.found(two, "{} | count() > 1"), [77])
        self.assertEqual(two.span_ids(f"{1:032x}"), [f"{1:016x}"])
        self.assertEqual(two.span_ids(f"{77:032x}"), [f"{101:016x}", f"{102:016x}"])
        self.assertEqual(two.span_ids(f"{3:032x}"), [f"{3:016x}"])
        self.assertGreater(two.metric("fermata_bucket_requests_total"), 0)
        status, _, body = http_request(two.ports["query"], "GET", "/api/v2/search/tag/resource.service.name/values")
        self.assertEqual(status, 200)
        self.assertIn(b"service-1", body)
        # Asked again, nothing is fetched again.
        before = len(self.s3.requests("GET"))
        self.found(two)
        self.assertEqual(len(self.s3.requests("GET")), before)
        two.stop()
        two.start()
        self.assertEqual(self.found(two), [1, 2, 3, 4, 5, 77])
        self.assertGreater(two.metric("fermata_bucket_lookups_total", 'found="disk"'), 0)
        one.stop()
        two.stop()

    def test_bucket_only(self):
        self.server()
        one = self.node("one", {"query.backend": "bucket"})
        self.send(one, [1])
        self.send(one, [2], flush=False)
        self.assertEqual(self.found(one), [1])
        one.stop()

    def test_directory(self):
        bucket = self.directory / "bucket"
        one = self.daemon({"upload.dir.path": bucket}, "one").start()
        two = self.daemon({"upload.dir.path": bucket, "query.backend": "both"}, "two").start()
        self.send(one, [1, 2])
        self.send(two, [3], flush=False)
        self.assertEqual(self.found(two), [1, 2, 3])
        self.assertEqual(two.span_ids(f"{2:032x}"), [f"{2:016x}"])
        two.stop()

    def test_trouble(self):
        """The node's own traces come whatever the bucket does; what failed is counted."""
        self.server()
        one = self.node("one")
        self.send(one, [1])
        two = self.node("two", {"query.backend": "both", "query.timeout": "8s"})
        self.send(two, [2], flush=False)
        self.s3.fault("status", method="GET", status=403, code="AccessDenied", count=1000)
        self.assertEqual(self.found(two), [2])
        self.assertGreater(two.metric("fermata_query_blocks_failed_total"), 0)
        self.assertGreater(two.metric("fermata_bucket_failures_total", 'reason="denied"'), 0)
        self.s3.faults.clear()
        self.assertEqual(self.found(two), [1, 2])
        only = self.node("only", {"query.backend": "bucket", "query.timeout": "3s"})
        self.s3.fault("delay", method="GET", seconds=60, count=1000)
        begin = time.monotonic()
        self.found(only, status=504)
        self.assertLess(time.monotonic() - begin, 20)
        thread = threading.Thread(target=lambda: http_request(only.ports["query"], "GET", f"/api/v2/traces/{9:032x}"))
        thread.start()
        time.sleep(0.5)
        begin = time.monotonic()
        only.stop(seconds=30)  # not held up by a bucket that is silent
        self.assertLess(time.monotonic() - begin, 25)
        thread.join(10)

    def test_limits(self):
        self.server()
        one = self.node("one")
        for number in range(1, 5):
            self.send(one, [number])
        few = self.node("few", {"query.backend": "bucket", "query.bucket_max_blocks": "2"})
        self.assertEqual(len(self.found(few)), 2)
        little = self.node("little", {"query.backend": "bucket", "query.bucket_max_bytes": "100"})
        http = http_request(little.ports["query"], "GET", "/api/search?q=%7B%7D", timeout=60)
        self.assertNotEqual(http[0], 200)
        self.assertIn(b"bucket", http[2])


class TroubleTest(BucketTest):
    SECONDS = 60

    def timed(self, *words, **keywords):
        begin = time.monotonic()
        answer = self.ask(*words, **keywords)
        self.assertLess(time.monotonic() - begin, self.SECONDS)
        return answer

    def search(self, **keywords):
        return self.timed("search", "{}", *WINDOW, **keywords)

    def test_denied(self):
        self.server()
        self.fill()
        result = self.search(check=74, environment=self.environment(AWS_SECRET_ACCESS_KEY="wrong"))
        self.assertIn("SignatureDoesNotMatch", result.stderr)
        self.assertLess(len(self.s3.log), 4, "no retries of what cannot help")
        self.s3.log.clear()
        self.s3.fault("status", key="data.parquet", status=403, code="AccessDenied", count=100)
        self.assertIn("AccessDenied", self.search(check=74).stderr)

    def test_no_bucket(self):
        self.server()
        self.search(check=4, bucket="s3://other-bucket")

    def test_busy_then_ok(self):
        self.server()
        self.fill()
        self.s3.fault("status", key="data.parquet", status=503, code="SlowDown", count=2)
        self.s3.fault("status", query="list-type", status=500, code="InternalError", count=1)
        self.s3.fault("torn_body", key="meta.json", count=1)
        self.s3.fault("drop", key="data.parquet", count=1, skip=2)
        self.assertTrue(self.search()["traces"])

    def test_busy_for_ever(self):
        self.server()
        self.fill()
        self.s3.fault("status", key="data.parquet", status=503, code="SlowDown", count=1000)
        self.assertIn("503", self.search(check=74).stderr)
        self.assertLess(len(self.s3.requests(key="data.parquet")), 10)

    def test_replaced(self):
        self.server()
        data = self.fill()
        old = dict(self.s3.objects)
        self.s3.objects[data[0]] = self.s3.objects[data[0]][:-1] + b"?"
        self.search(check=0)  # damaged, listed as it is: left out and said
        self.s3.objects.update(old)
        self.s3.fault("status", key="data.parquet", status=412, code="PreconditionFailed", count=100)
        result = run_tool("query", "search", "{}", *WINDOW, "--bucket", "s3://traces", "--tenant", TENANT,
                          env=self.environment(), check=0)
        self.assertIn("replaced", result.stderr)
        self.assertLess(len(self.s3.requests(key="data.parquet", status=412)), 4)

    def test_one_damaged_block(self):
        """It is left out and said; the others answer."""
        self.server()
        self.fill()
        whole = self.search()["traces"]
        meta = self.s3.keys("meta.json")[0]
        self.s3.put(meta.replace("/meta.json", "").rsplit("/", 1)[0] +
                    "/00000000-1111-2222-3333-444444444444/meta.json", b"{ not json")
        result = run_tool("query", "search", "{}", *WINDOW, "--bucket", "s3://traces", "--tenant", TENANT, "--json",
                          env=self.environment(), check=0)
        self.assertEqual(json.loads(result.stdout)["traces"], whole)
        self.assertIn("could not be read", result.stderr)

    def test_slow(self):
        self.server()
        self.fill()
        self.s3.fault("delay", key="data.parquet", seconds=2, count=1)
        self.assertTrue(self.search()["traces"])

    def test_silent(self):
        """Nothing comes, not even an end: given up after a few timeouts."""
        self.server()
        self.fill()
        self.s3.fault("delay", query="", seconds=300, count=1000)
        self.search(check=74)

    def test_nobody(self):
        self.server()
        self.search(check=74, environment=self.environment(AWS_ENDPOINT_URL_S3="http://127.0.0.1:1"))

    def test_clock_and_region(self):
        self.server(region="eu-west-7")
        self.s3.clock_offset_s = 3600
        self.fill()
        self.assertTrue(self.search(environment=self.environment(AWS_REGION="us-east-1"))["traces"])


class FollowTest(DaemonTest):
    def follow(self, *words):
        process = subprocess.Popen([str(FERMATA), "query", "search", *map(str, words), "--follow", "--interval",
                                    "200ms"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def send(self, daemon, number, name="op"):
        status, _, body = daemon.send(request([span(f"{number:032x}", f"{number:016x}", name=name,
                                                    start=time.time_ns())]))
        self.assertEqual(status, 200, body)

    def test_new_traces_through_a_restart(self):
        daemon = self.daemon().start()
        self.send(daemon, 1)  # before it began
        time.sleep(0.1)
        process = self.follow('{ name = "op" }', "--json", "--url", f"http://127.0.0.1:{daemon.ports['query']}")
        time.sleep(0.7)
        for number in (2, 3):
            self.send(daemon, number)
        self.send(daemon, 4, name="other")
        lines = [json.loads(process.stdout.readline())["traceID"] for _ in range(2)]
        self.assertEqual(sorted(int(line, 16) for line in lines), [2, 3])
        daemon.stop()
        time.sleep(1)
        daemon.start()
        self.send(daemon, 5)
        self.assertEqual(int(json.loads(process.stdout.readline())["traceID"], 16), 5)
        time.sleep(0.7)
        process.send_signal(2)
        self.assertEqual(process.wait(10), 0)
        self.assertEqual(process.stdout.read(), "", "each once")
        self.assertIn("answered again", process.stderr.read())

    def test_for_people(self):
        daemon = self.daemon().start()
        process = self.follow("{}", "--url", f"http://127.0.0.1:{daemon.ports['query']}")
        time.sleep(0.5)
        self.send(daemon, 7, name="for people")
        self.assertIn("for people", process.stdout.readline())
        process.send_signal(2)
        self.assertEqual(process.wait(10), 0)

    def test_directory(self):
        bucket = self.directory / "bucket"
        daemon = self.daemon({"upload.dir.path": bucket}).start()
        process = self.follow("{}", "--json", "--data-dir", daemon.data)
        time.sleep(0.5)
        self.send(daemon, 9)
        self.assertEqual(int(json.loads(process.stdout.readline())["traceID"], 16), 9)

    def test_wrong_usage(self):
        run_tool("query", "metrics", "{} | rate()", "--follow", check=2)
        result = run_tool("query", "search", "{ nonsense", "--follow", "--bucket", f"dir:{BLOCKS}", "--tenant", TENANT, check=1)
        self.assertTrue(result.stderr)


if __name__ == "__main__":
    unittest.main()
