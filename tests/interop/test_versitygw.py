# SPDX-License-Identifier: Apache-2.0
"""Blocks to versitygw, an S3 server in Go that shares nothing with the test servers of ours.

It checks signatures and honours If-None-Match.  boto3, which is not ours either, reads the
bucket back, and so do questions to it, over the ranges they need.
"""
import base64
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions

from harness import FERMATA, DaemonTest, free_port, http_request, request, run_tool, span, wait_for

VERSITYGW = pathlib.Path(os.environ.get("INTEROP", "build/interop")) / "bin" / "versitygw"
ACCESS, SECRET, REGION = "edge-writer", "correct horse/battery+staple=", "eu-west-7"


class Gateway:
    """One versitygw on loopback over a directory; may be killed and started again."""

    def __init__(self, directory):
        self.root = directory / "buckets"
        self.root.mkdir()
        self.log = directory / "versitygw.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def client(self, secret=SECRET):
        return boto3.client(
            "s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id=ACCESS,
            aws_secret_access_key=secret,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=2,
                                          read_timeout=10, s3={"addressing_style": "path"}))

    def start(self):
        # --sidecar: no extended attributes asked of whatever file system /tmp is on.
        sidecar = self.root.parent / "sidecar"
        sidecar.mkdir(exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(VERSITYGW), "--port", f"127.0.0.1:{self.port}", "--region", REGION,
                 "posix", "--sidecar", str(sidecar), str(self.root)],
                env={**os.environ, "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self.answers, 20, "versitygw")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"versitygw ended:\n{self.log.read_text()[-2000:]}")
        try:
            self.client().list_buckets()
            return True
        except botocore.exceptions.BotoCoreError:
            return False

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait(10)
        self.process = None


class Relay:
    """Between daemon and gateway.  On the first PUT of a meta.json it calls take(path) and passes
    the request on; without take it passes the request on and throws the answer away."""

    def __init__(self, port, take):
        self.port, self.take, self.seen = port, take, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.port))
                lose = threading.Event()
                for job in (self.requests, self.answers):
                    threading.Thread(target=job, args=(client, server, lose), daemon=True).start()

    def requests(self, client, server, lose):
        with contextlib.suppress(OSError):
            while piece := client.recv(65536):
                found = re.search(rb"PUT (\S+/meta\.json) ", piece)
                if found and not self.seen:
                    self.seen += 1
                    if self.take:
                        self.take(urllib.parse.unquote(found.group(1).decode()))
                    else:
                        lose.set()
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def answers(client, server, lose):
        with contextlib.suppress(OSError):
            while (piece := server.recv(65536)) and not lose.is_set():
                client.sendall(piece)
            client.shutdown(socket.SHUT_RDWR)


class VersitygwTest(DaemonTest):
    serial = 0

    def setUp(self):
        super().setUp()
        self.gateway = Gateway(self.directory)
        self.addCleanup(self.gateway.kill)
        self.gateway.start()
        self.client = self.gateway.client()
        self.client.create_bucket(Bucket="traces")
        self.access_file = self.directory / "access"
        self.secret_file = self.directory / "secret"
        self.access_file.write_text(ACCESS + "\n")
        self.secret_file.write_text(SECRET + "\n")

    def s3_daemon(self, settings=None, name="node"):
        return self.daemon({
            "upload.destination": "s3",
            "upload.s3.endpoint": self.gateway.url,
            "upload.s3.region": REGION,
            "upload.s3.bucket": "traces",
            "upload.s3.prefix": "edge/a b",
            "upload.s3.path_style": "true",
            "upload.s3.access_key_file": self.access_file,
            "upload.s3.secret_key_file": self.secret_file,
            "upload.request_timeout": "3s",
            "upload.retry_max_interval": "200ms",
            **(settings or {})}, name).start()

    def make_block(self, daemon, tenant=None):
        VersitygwTest.serial += 1
        number = VersitygwTest.serial
        status, _, body = daemon.send(request([span(f"{number:032x}", f"{number:016x}")]), tenant)
        self.assertEqual(status, 200, body)
        daemon.flush()

    def wait_metric(self, daemon, name, condition, seconds=20):
        try:
            wait_for(lambda: condition(daemon.metric(name)), seconds, name)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{daemon.log_text()}") from None

    def wait_uploaded(self, daemon):
        self.wait_metric(daemon, "fermata_upload_pending_blocks", lambda n: n == 0)

    def objects(self):
        """Key to bytes of everything in the bucket but the control space."""
        items = [item for page in self.client.get_paginator("list_objects_v2").paginate(Bucket="traces")
                 for item in page.get("Contents", []) if not item["Key"].startswith("fermata-control/")]
        return {item["Key"]: self.client.get_object(Bucket="traces", Key=item["Key"])["Body"].read() for item in items}

    def check_bucket(self, daemon, count, tenants=("single-tenant",)):
        """The bucket holds the daemon's blocks, count of them, byte for byte, and nothing else."""
        expected = {f"edge/a b/{tenant}/{block.name}/{name}": (block / name).read_bytes()
                    for tenant in tenants for block in daemon.blocks(tenant)
                    for name in ("data.parquet", "meta.json", "bloom-0")}
        self.assertEqual(len(expected), 3 * count)
        there = self.objects()
        self.assertEqual(sorted(there), sorted(expected))
        self.assertEqual([key for key in there if there[key] != expected[key]], [])
        return there

    def test_an_outage_of_minutes_under_load(self):
        """The server goes and comes back while spans come in; in the end every span is accounted for, and
        as many are in the bucket as the ledger says."""
        daemon = self.s3_daemon({"block.max_block_duration": "5s", "upload.retry_max_interval": "2s",
                                 "upload.concurrency": "4", "storage.merge_below": "0"})
        total, rate = 300000, 2500
        sender = subprocess.Popen(
            [str(FERMATA), "emit", "--protocol", "otlp_http", "--endpoint", f"127.0.0.1:{daemon.ports['http']}",
             "--total", str(total), "--rate", str(rate), "--json"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(sender.kill)
        self.wait_metric(daemon, "fermata_upload_blocks_total", lambda n: n >= 1, 60)
        self.gateway.kill()
        outage = time.monotonic()
        self.wait_metric(daemon, "fermata_upload_failures_total", lambda n: n >= 1, 60)
        while time.monotonic() - outage < 90:
            self.assertEqual(json.loads(run_tool("status", "--json", "--url", self.query(daemon)).stdout)
                             ["ledger"]["balanced"], True)
            time.sleep(3)
        self.assertGreater(daemon.metric("fermata_blocks_waiting"), 5)
        self.gateway.start()
        sent = json.loads(sender.communicate(timeout=120)[0])
        self.assertEqual((sent["failed_spans"], sent["unknown_spans"]), (0, 0), sent)
        daemon.flush()
        self.wait_metric(daemon, "fermata_blocks_waiting", lambda n: n == 0, 120)
        ledger = json.loads(run_tool("status", "--json", "--url", self.query(daemon)).stdout)["ledger"]
        self.assertTrue(ledger["balanced"])
        self.assertEqual(ledger["received"], ledger["stored"] + sum(ledger["rejected"].values()))
        self.assertEqual(ledger["stored"], ledger["uploaded"] + sum(ledger["dropped"].values()))
        self.assertEqual(ledger["stored"], sent["acked_spans"])
        there = self.objects()
        spans = 0
        for key, content in there.items():
            block = self.directory / "copy" / pathlib.Path(key).parent.name
            block.mkdir(parents=True, exist_ok=True)
            (block / pathlib.Path(key).name).write_bytes(content)
        for block in (self.directory / "copy").iterdir():
            spans += int(re.search(r"(\d+) spans", run_tool("block", "verify", block, check=0).stdout)[1])
        self.assertEqual(spans, ledger["uploaded"])
        daemon.stop()

    @staticmethod
    def query(daemon):
        return f"http://127.0.0.1:{daemon.ports['query']}"

    def test_blocks_arrive_whole(self):
        daemon = self.s3_daemon()
        for tenant in (None, None, "other", None):
            self.make_block(daemon, tenant)
        self.wait_uploaded(daemon)
        there = self.check_bucket(daemon, 4, ("single-tenant", "other"))
        self.assertEqual(daemon.metric("fermata_upload_failures_total"), 0)
        copy = self.directory / "copy" / daemon.blocks()[0].name
        copy.mkdir(parents=True)
        for key, content in there.items():
            if f"/{copy.name}/" in key:
                (copy / key.rsplit("/", 1)[1]).write_bytes(content)
        run_tool("block", "verify", copy, check=0)
        daemon.stop()

    def test_multipart(self):
        """A block above the limit of one request goes in parts and is one object again."""
        daemon = self.s3_daemon({
            "upload.multipart_size": "20MiB", "upload.request_timeout": "20s",
            "block.max_block_bytes": "512MiB", "block.memory_limit": "1GiB",
            "limits.max_attribute_bytes": "256KiB", "limits.memory_limit": "256MiB"})
        for _ in range(7):
            found = []
            for _ in range(60):  # random base64 gives the compressor a quarter and no more
                VersitygwTest.serial += 1
                noise = [base64.b64encode(os.urandom(90_000)).decode() for _ in range(2)]
                item = span(f"{VersitygwTest.serial:032x}", f"{VersitygwTest.serial:016x}",
                            attributes={"noise": noise[0]})
                item["events"] = [{  # a column of its own: pages have a limit
                    "timeUnixNano": item["startTimeUnixNano"], "name": "noise",
                    "attributes": [{"key": "noise", "value": {"stringValue": noise[1]}}]}]
                found.append(item)
            status, _, body = daemon.send(request(found))
            self.assertEqual(status, 200, body)
        daemon.flush()
        self.wait_metric(daemon, "fermata_upload_pending_blocks", lambda n: n == 0, 60)
        there = self.check_bucket(daemon, 1)
        key = next(key for key in there if key.endswith("/data.parquet"))
        self.assertRegex(self.client.head_object(Bucket="traces", Key=key)["ETag"],
                         r'^"[0-9a-f]{32}-4"$')
        daemon.stop()

    def test_wrong_secret_then_right(self):
        self.secret_file.write_text("guess")
        daemon = self.s3_daemon()
        self.make_block(daemon)
        self.wait_metric(daemon, "fermata_upload_failures_total", lambda n: n >= 2)
        self.assertEqual(self.objects(), {})
        self.assertIn("SignatureDoesNotMatch", daemon.log_text())
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.secret_file.write_text(SECRET)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 1)
        daemon.stop()

    def upload_traces(self):
        """Three blocks of three traces each, of a node that is gone then; the traces' numbers."""
        daemon = self.s3_daemon()
        for first in (11, 21, 31):
            status, _, body = daemon.send(request(
                [span(f"{n:032x}", f"{n:016x}", name=f"op {n}") for n in range(first, first + 3)]))
            self.assertEqual(status, 200, body)
            daemon.flush()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 3)
        daemon.stop()
        return sorted(first + n for first in (11, 21, 31) for n in range(3))

    def ask(self, *words, check=0, secret=SECRET):
        """A question of the tool to the bucket."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        result = run_tool(
            "query", *words, "--bucket", "s3://traces/edge/a b", "--tenant", "single-tenant", "--json", check=check,
            env={**plain, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": secret,
                 "AWS_REGION": REGION, "AWS_ENDPOINT_URL_S3": self.gateway.url})
        return json.loads(result.stdout) if check == 0 else result

    @staticmethod
    def numbers(answer):
        return sorted(int(trace["traceID"], 16) for trace in answer["traces"])

    def test_questions_of_the_tool(self):
        expected = self.upload_traces()
        now = int(time.time())
        window = ("--start", now - 3600, "--end", now + 60, "--limit", 100)
        self.assertEqual(self.numbers(self.ask("search", "{}", *window)), expected)
        self.assertEqual(self.numbers(self.ask("search", '{ name = "op 22" }', *window)), [22])
        self.assertEqual(self.numbers(self.ask("search", '{ name = "op 9" }', *window)), [])
        for number in (11, 33):
            text = json.dumps(self.ask("trace", f"{number:032x}"))
            self.assertIn(f'"op {number}"', text)
            self.assertEqual(text.count('"op '), 1)
        self.ask("trace", f"{99:032x}", check=4)
        refused = self.ask("search", "{}", *window, check=74, secret="guess")
        self.assertIn("SignatureDoesNotMatch", refused.stderr)

    def test_questions_of_a_daemon(self):
        """A node that has nothing itself answers from the bucket."""
        expected = self.upload_traces()
        reader = self.s3_daemon({"query.backend": "bucket"}, "reader")
        now = int(time.time())

        def found(text):
            path = f"/api/search?q={urllib.parse.quote(text)}&start={now - 3600}&end={now + 60}&limit=100"
            status, _, body = http_request(reader.ports["query"], "GET", path, timeout=60)
            self.assertEqual(status, 200, body)
            return self.numbers(json.loads(body))
        self.assertEqual(reader.blocks(), [])
        self.assertEqual(found("{}"), expected)
        self.assertEqual(found('{ name = "op 22" }'), [22])
        for number in (11, 33):
            self.assertEqual(reader.span_ids(f"{number:032x}"), [f"{number:016x}"])
        self.assertEqual(reader.span_ids(f"{99:032x}"), [])
        self.assertEqual(reader.metric("fermata_query_blocks_failed_total"), 0)
        self.assertGreater(reader.metric("fermata_bucket_requests_total"), 0)
        reader.stop()

    def test_a_name_that_is_taken_is_left_alone(self):
        foreign = b'{"blockID":"of somebody else"}'
        keys = []

        def take(path):  # after our look at the bucket, before our write
            keys.append(path.partition("/traces/")[2])
            self.client.put_object(Bucket="traces", Key=keys[0], Body=foreign)

        relay = Relay(self.gateway.port, take)
        self.addCleanup(relay.close)
        daemon = self.s3_daemon({"upload.s3.endpoint": relay.url})
        self.make_block(daemon)
        self.wait_metric(daemon, "fermata_upload_conflicting_blocks", lambda n: n == 1)
        self.assertEqual(self.objects()[keys[0]], foreign)
        self.make_block(daemon)  # and it holds up nobody else
        wait_for(lambda: sum(key.endswith("/meta.json") for key in self.objects()) == 2, 20,
                 "the next block")
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.assertEqual(self.objects()[keys[0]], foreign)
        daemon.stop()

    def test_an_answer_that_is_lost(self):
        """Written, but we are not told: the second attempt meets its own block, which is success."""
        relay = Relay(self.gateway.port, None)
        self.addCleanup(relay.close)
        daemon = self.s3_daemon({"upload.s3.endpoint": relay.url})
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(relay.seen, 1)
        self.check_bucket(daemon, 1)
        self.assertEqual(daemon.metric("fermata_upload_conflicting_blocks"), 0)
        daemon.stop()

    def test_outage_and_kills(self):
        daemon = self.s3_daemon()
        self.make_block(daemon)
        self.gateway.kill()
        for _ in range(3):
            self.make_block(daemon)
        daemon.kill()
        daemon.start()
        self.wait_metric(daemon, "fermata_upload_failures_total", lambda n: n >= 1)
        self.gateway.start()
        self.gateway.freeze()
        self.make_block(daemon)
        self.wait_metric(daemon, "fermata_upload_active_blocks", lambda n: n > 0)
        daemon.kill()
        self.gateway.kill()
        self.gateway.start()
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 5)
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
