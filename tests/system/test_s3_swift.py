# SPDX-License-Identifier: Apache-2.0
"""Blocks to a real S3 server: Swift's s3api recomputes every signature, digest and length.

Each test has a bucket of its own and ends with the bucket holding every local block once, byte for
byte, as the server gives it back to a client that is not ours.
"""
import base64
import json
import os
import pathlib
import tempfile
import unittest

import swift_server
from harness import DaemonTest, request, run_tool, span, wait_for
from s3_server import make_certificates

SWIFT = None


def setUpModule():
    global SWIFT
    reason = swift_server.missing()
    if reason:
        raise unittest.SkipTest(reason)
    SWIFT = swift_server.SwiftServer()
    unittest.addModuleCleanup(SWIFT.stop)
    SWIFT.start()


class SwiftTest(DaemonTest):
    serial = 0

    def setUp(self):
        super().setUp()
        SwiftTest.serial += 1
        self.bucket = f"traces-{SwiftTest.serial}"
        self.client = SWIFT.client()
        self.access_file = self.directory / "access"
        self.secret_file = self.directory / "secret"
        self.access_file.write_text(swift_server.ACCESS + "\n")
        self.secret_file.write_text(swift_server.SECRET + "\n")

    def make_bucket(self):
        self.client.must("PUT", "/" + self.bucket)

    def s3_daemon(self, settings=None, name="node"):
        return self.daemon({
            "upload.destination": "s3",
            "upload.s3.endpoint": SWIFT.url(),
            "upload.s3.region": SWIFT.region,
            "upload.s3.bucket": self.bucket,
            "upload.s3.path_style": "true",
            "upload.s3.access_key_file": self.access_file,
            "upload.s3.secret_key_file": self.secret_file,
            "upload.request_timeout": "5s",
            "upload.retry_max_interval": "200ms",
            **(settings or {})}, name)

    def make_block(self, daemon, spans=3, attributes=None):
        found = []
        for _ in range(spans):
            SwiftTest.serial += 1
            found.append(span(f"{SwiftTest.serial:032x}", f"{SwiftTest.serial:016x}",
                              attributes=attributes))
        status, _, body = daemon.send(request(found))
        self.assertEqual(status, 200, body)
        daemon.flush()

    def wait_uploaded(self, daemon, seconds=20):
        try:
            wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, seconds,
                     "the backlog to drain")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{daemon.log_text()}") from None

    def wait_refused(self, daemon, times=2):
        try:
            wait_for(lambda: daemon.metric("fermata_upload_failures_total") >= times, 15,
                     "refused uploads")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{daemon.log_text()}") from None

    def check_bucket(self, daemon, count, prefix=""):
        """The bucket holds the daemon's blocks, count of them, whole, and nothing else."""
        expected = {}
        for block in daemon.blocks():
            for name in ("data.parquet", "meta.json", "bloom-0"):
                key = f"{prefix}single-tenant/{block.name}/{name}"
                expected[key] = (block / name).read_bytes()
        self.assertEqual(len(expected), 3 * count)
        there = self.client.objects(self.bucket)
        self.assertEqual(sorted(there), sorted(expected))
        for key, content in expected.items():
            self.assertTrue(there[key] == content, f"{key} differs")
            if key.endswith("/meta.json"):
                self.assertEqual(json.loads(there[key])["blockID"], key.split("/")[-2])
        return there

    # ---- the good day ----

    def test_blocks_arrive_whole(self):
        for prefix in ("", "edge/a b+c=d~é"):
            with self.subTest(prefix=prefix):
                self.bucket += "-x"
                self.make_bucket()
                daemon = self.s3_daemon({"upload.s3.prefix": prefix},
                                        "with" if prefix else "without").start()
                self.make_block(daemon)
                self.wait_uploaded(daemon)
                self.assertEqual(daemon.metric("fermata_blocks_total", 'state="uploaded"'), 1)
                self.assertEqual(daemon.metric("fermata_upload_failures_total"), 0)
                there = self.check_bucket(daemon, 1, prefix + "/" if prefix else "")
                copy = self.directory / f"copy{len(prefix)}" / daemon.blocks()[0].name
                copy.mkdir(parents=True)
                for key, content in there.items():
                    (copy / key.rsplit("/", 1)[1]).write_bytes(content)
                run_tool("block", "verify", copy, check=0)
                daemon.stop()

    def test_multipart(self):
        """A block above the limit of one request goes in parts and is one object again."""
        self.make_bucket()
        daemon = self.s3_daemon({
            "upload.multipart_size": "20MiB", "block.max_block_bytes": "512MiB",
            "block.memory_limit": "1GiB", "limits.max_attribute_bytes": "256KiB",
            "limits.memory_limit": "256MiB", "upload.request_timeout": "20s"}).start()
        for _ in range(7):
            found = []
            for _ in range(60):  # random base64 gives the compressor a quarter and no more
                SwiftTest.serial += 1
                noise = [base64.b64encode(os.urandom(90_000)).decode() for _ in range(2)]
                item = span(f"{SwiftTest.serial:032x}", f"{SwiftTest.serial:016x}",
                            attributes={"noise": noise[0]})
                item["events"] = [{  # a column of its own: pages have a limit
                    "timeUnixNano": item["startTimeUnixNano"], "name": "noise",
                    "attributes": [{"key": "noise", "value": {"stringValue": noise[1]}}]}]
                found.append(item)
            status, _, body = daemon.send(request(found))
            self.assertEqual(status, 200, body)
        daemon.flush()
        self.wait_uploaded(daemon, 60)
        block, = daemon.blocks()
        _, headers, _ = self.client.must(
            "HEAD", f"/{self.bucket}/single-tenant/{block.name}/data.parquet")
        self.assertRegex(headers["etag"], r'^"[0-9a-f]{32}-4"$')
        self.check_bucket(daemon, 1)
        daemon.stop()

    # ---- keys and buckets that are wrong at first ----

    def test_wrong_secret_then_right(self):
        self.make_bucket()
        self.secret_file.write_text("guess")
        daemon = self.s3_daemon().start()
        self.make_block(daemon)
        self.wait_refused(daemon)
        self.assertEqual(self.client.keys(self.bucket), [])
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.assertEqual(daemon.metric("fermata_blocks_total", 'state="uploaded"'), 0)
        self.assertEqual(len(daemon.blocks()), 1)
        self.assertIn("SignatureDoesNotMatch", daemon.log_text())
        self.secret_file.write_text(swift_server.SECRET)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 1)
        daemon.stop()

    def test_bucket_created_later(self):
        daemon = self.s3_daemon().start()
        self.make_block(daemon)
        self.wait_refused(daemon)
        self.assertIsNone(self.client.keys(self.bucket))
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.assertIn("NoSuchBucket", daemon.log_text())
        self.make_bucket()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 1)
        daemon.stop()

    # ---- outages ----

    def test_outages_and_kills(self):
        self.make_bucket()
        daemon = self.s3_daemon().start()
        SWIFT.kill_proxy()
        try:
            for _ in range(4):
                self.make_block(daemon)
            self.wait_refused(daemon)
            daemon.kill()
            daemon.start()
            self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 4)
        finally:
            SWIFT.start_proxy()
        wait_for(lambda: self.client.keys(self.bucket), 15, "a first object")
        self.freeze_with_work(daemon)
        SWIFT.kill_proxy()
        SWIFT.start_proxy()
        self.freeze_with_work(daemon)
        daemon.kill()
        SWIFT.thaw_proxy()
        daemon.start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 9)
        daemon.stop()

    def freeze_with_work(self, daemon):
        """Returns while requests are under way that the server has not answered."""
        SWIFT.freeze_proxy()
        for _ in range(2):
            self.make_block(daemon)
        wait_for(lambda: daemon.metric("fermata_upload_active_blocks") > 0, 15, "an upload")

    # ---- TLS ----

    def test_https_and_a_stranger_as_authority(self):
        self.make_bucket()
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        stranger = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        tls, other = make_certificates(str(folder)), make_certificates(str(stranger))
        SWIFT.add_proxy("https", tls)
        self.addCleanup(SWIFT.kill_proxy, "https")
        SWIFT.wait_proxy("https")
        ca_file = self.directory / "ca.crt"
        ca_file.write_bytes(pathlib.Path(other["ca"]).read_bytes())
        daemon = self.s3_daemon({"upload.s3.endpoint": SWIFT.url("https"),
                                 "upload.s3.tls_ca_file": ca_file}).start()
        self.make_block(daemon)
        self.wait_refused(daemon)
        self.assertEqual(self.client.keys(self.bucket), [])
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.assertRegex(daemon.log_text(), "(?i)certificate")
        daemon.stop()
        ca_file.write_bytes(pathlib.Path(tls["ca"]).read_bytes())
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, 1)
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
