# SPDX-License-Identifier: Apache-2.0
"""Blocks to S3 through everything that a bucket and a network do: each test ends with the bucket
holding every block whole, byte for byte, and with a server that saw nothing forbidden."""
import json
import pathlib
import unittest

from harness import DaemonTest, request, run_tool, span, wait_for
from s3_server import S3Server, make_certificates


class S3Test(DaemonTest):
    serial = 0

    def server(self, **options):
        s3 = S3Server(**options)
        s3.__enter__()
        self.addCleanup(s3.__exit__)
        self.s3 = s3
        return s3

    def s3_daemon(self, settings=None, name="node"):
        access, secret = next(iter(self.s3.credentials.items()))
        self.access_file = self.directory / "access"
        self.secret_file = self.directory / "secret"
        self.access_file.write_text(access + "\n")
        self.secret_file.write_text(secret + "\n")
        return self.daemon({
            "upload.destination": "s3",
            "upload.s3.endpoint": self.s3.url,
            "upload.s3.bucket": self.s3.bucket,
            "upload.s3.prefix": self.s3.prefix,
            "upload.s3.path_style": "true",
            "upload.s3.access_key_file": self.access_file,
            "upload.s3.secret_key_file": self.secret_file,
            "upload.request_timeout": "2s",
            "upload.retry_max_interval": "200ms",
            **(settings or {})}, name)

    def make_block(self, daemon, spans=3, tenant=None):
        """Sends spans and cuts; returns the names of the spans."""
        names = []
        for _ in range(spans):
            S3Test.serial += 1
            names.append(f"{S3Test.serial:016x}")
            status, _, body = daemon.send(
                request([span(f"{S3Test.serial:032x}", names[-1])]), tenant)
            self.assertEqual(status, 200, body)
        daemon.flush()
        return names

    def wait_uploaded(self, daemon, seconds=20):
        def done():
            return daemon.metric("fermata_upload_pending_blocks") == 0
        try:
            wait_for(done, seconds, "the backlog to drain")
        except (AssertionError, OSError) as error:
            last = [(e["method"], e["path"][-24:], e["query"], e["status"], e["fault"])
                    for e in self.s3.log[-12:]]
            raise AssertionError(f"{error}\n{last}\n{daemon.log_text()}") from None

    def check_bucket(self, *daemons, tenants=("single-tenant",)):
        """Every local block is there, byte for byte, each passes the verifier, and no more."""
        self.assertEqual(self.s3.violations, [])
        lead = self.s3.prefix + "/" if self.s3.prefix else ""
        expected = set()
        for daemon in daemons:
            for tenant in tenants:
                for block in daemon.blocks(tenant):
                    expected.add(f"{lead}{tenant}/{block.name}")
                    for name in ("data.parquet", "meta.json", "bloom-0"):
                        there = self.s3.objects.get(f"{lead}{tenant}/{block.name}/{name}")
                        self.assertEqual(there, (block / name).read_bytes(), name)
        self.assertEqual(set(self.s3.whole_blocks()), expected)
        self.assertEqual(self.s3.uploads, {}, "dangling multipart uploads")

    def spans_in_bucket(self):
        """How many traces the blocks of the bucket claim, by their meta.json."""
        return sum(json.loads(self.s3.objects[name + "/meta.json"])["totalObjects"]
                   for name in self.s3.whole_blocks())

    # ---- the good day ----

    def test_blocks_arrive_whole(self):
        self.server(prefix="edge/a b")
        daemon = self.s3_daemon().start()
        self.make_block(daemon)
        self.make_block(daemon, tenant="other")
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, tenants=("single-tenant", "other"))
        for name in self.s3.whole_blocks():
            copy = self.directory / "copy" / pathlib.Path(name).name
            copy.mkdir(parents=True)
            for key in self.s3.keys():
                if key.startswith(name + "/"):
                    (copy / key.rsplit("/", 1)[1]).write_bytes(self.s3.objects[key])
            run_tool("block", "verify", copy, check=0)
        daemon.stop()
        count = len(self.s3.log)
        daemon.start()  # what is marked is not asked for again
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 0)
        self.assertEqual(len(self.s3.log), count)
        daemon.stop()

    def test_tls_and_session_token(self):
        folder = self.directory / "tls"
        folder.mkdir()
        tls = make_certificates(str(folder))
        self.server(tls=tls)
        self.s3.session_token = "FwoG/session+token=="
        token = self.directory / "token"
        token.write_text("expired")
        daemon = self.s3_daemon({"upload.s3.tls_ca_file": tls["ca"],
                                 "upload.s3.session_token_file": token}).start()
        self.make_block(daemon)
        wait_for(lambda: len(self.s3.requests(status=400)) >= 2, 10, "a refusal")
        token.write_text(self.s3.session_token + "\n")
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()

    # ---- bad days ----

    FAULTS = [
        ("status", {"status": 503, "code": "SlowDown"}),
        ("status", {"status": 500}),
        ("status", {"status": 403, "code": "AccessDenied", "count": 3}),
        ("status", {"status": 403, "code": "AccessDenied", "early": True}),
        ("status", {"status": 400, "code": "RequestTimeout"}),
        ("status", {"status": 409, "code": "ConditionalRequestConflict"}),
        ("status", {"status": 404, "code": "NoSuchBucket"}),
        ("status", {"status": 307, "code": "TemporaryRedirect",
                    "headers": {"Location": "http://169.254.169.254/latest"}}),
        ("drop", {}),
        ("drop_mid_body", {}),
        ("torn", {}),
        ("commit_then_drop", {}),
        ("commit_then_status", {"status": 500}),
        ("commit_then_status", {"status": 503, "code": "SlowDown"}),
        ("error_in_200", {}),
        ("commit_error_in_200", {}),
    ]

    def test_every_fault_at_every_object(self):
        self.server()
        daemon = self.s3_daemon().start()
        for action, options in self.FAULTS:
            for key in ("data.parquet", "bloom-0", "meta.json"):
                self.s3.fault(action, method="PUT", key=key, **options)
                self.make_block(daemon, 1)
                self.wait_uploaded(daemon)
        for action in ("status", "drop", "torn", "torn_body"):
            self.s3.fault(action, method="GET", key="meta.json")
            self.s3.fault(action, method="HEAD", key="data.parquet")
            self.make_block(daemon, 1)
            self.wait_uploaded(daemon)
        self.assertTrue(all(fault.count == 0 for fault in self.s3.faults
                            if not fault.options.get("early")))
        self.check_bucket(daemon)
        daemon.stop()

    def test_a_body_that_stalls(self):
        self.server()
        daemon = self.s3_daemon().start()
        self.s3.fault("stall_mid_body", method="PUT", key="data.parquet", seconds=4)
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()

    def test_without_conditional_writes(self):
        for manner in ("501", "ignore"):
            self.server()
            self.s3.conditional = manner
            daemon = self.s3_daemon(name=manner).start()
            for _ in range(2):
                self.make_block(daemon)
                self.wait_uploaded(daemon)
                self.s3.fault("commit_then_drop", method="PUT", key="meta.json")
            self.check_bucket(daemon)
            self.assertEqual(len(self.s3.requests(status=501)), 1 if manner == "501" else 0)
            daemon.stop()

    def test_clock_and_region(self):
        self.server(region="eu-north-1")
        self.s3.clock_offset_s = -3 * 3600
        daemon = self.s3_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(daemon.metric("fermata_upload_failures_total"), 0)
        self.assertLess(daemon.metric("fermata_upload_clock_offset_seconds"), -10000)
        daemon.stop()

    def test_rotated_credentials(self):
        self.server()
        daemon = self.s3_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.s3.credentials = {"AKIASECOND": "another/secret"}
        self.make_block(daemon)
        wait_for(lambda: daemon.metric("fermata_upload_failures_total") > 0, 10, "a failure")
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.access_file.write_text("AKIASECOND")
        self.secret_file.write_text("another/secret")
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()

    def test_a_name_that_is_taken_is_left_alone(self):
        self.server()
        self.s3.bucket_exists = False
        daemon = self.s3_daemon().start()
        self.make_block(daemon)
        block = daemon.blocks()[0]
        foreign = f"single-tenant/{block.name}/meta.json"
        self.s3.objects[foreign] = b'{"blockID":"somebody else\'s"}'
        self.s3.bucket_exists = True
        wait_for(lambda: daemon.metric("fermata_upload_conflicting_blocks") == 1, 10, "the alarm")
        self.assertEqual(list(self.s3.objects), [foreign])
        self.assertTrue((block / "data.parquet").exists())
        self.make_block(daemon)  # and it holds up nobody else
        wait_for(lambda: len(self.s3.whole_blocks()) == 2, 10, "the next block")
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 1)
        self.assertEqual(self.s3.violations, [])
        daemon.stop()

    # ---- outages and restarts ----

    def test_outage_with_kills(self):
        self.server()
        outage = {"status": 503, "code": "ServiceUnavailable", "count": 1000000}
        self.s3.fault("status", **outage)
        daemon = self.s3_daemon().start()
        sent = 0
        for _ in range(3):
            for _ in range(4):
                sent += len(self.make_block(daemon, 2))
            daemon.kill()
            daemon.start()
        self.assertEqual(self.s3.whole_blocks(), [])
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 12)
        self.s3.faults.clear()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.spans_in_bucket(), sent)
        daemon.stop()

    def test_killed_in_the_middle_of_every_object(self):
        self.server()
        daemon = self.s3_daemon().start()
        sent = 0
        for key in ("data.parquet", "bloom-0", "meta.json"):
            for action in ("delay", "commit_then_drop"):
                count = len(self.s3.requests(method="PUT", key=key))
                self.s3.fault(action, method="PUT", key=key, seconds=0.3)
                sent += len(self.make_block(daemon, 2))
                wait_for(lambda k=key, c=count: len(self.s3.requests(method="PUT", key=k)) > c,
                         10, "the put")
                daemon.kill()
                daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.spans_in_bucket(), sent)
        daemon.stop()

    def test_stops_at_once_while_the_bucket_hangs(self):
        self.server()
        self.s3.fault("delay", seconds=20, count=10)
        daemon = self.s3_daemon({"upload.request_timeout": "30s"}).start()
        self.make_block(daemon)
        wait_for(lambda: self.s3.log, 10, "a request")
        daemon.stop(seconds=5)
        self.s3.faults.clear()
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
