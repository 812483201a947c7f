# SPDX-License-Identifier: Apache-2.0
"""Blocks to S3 through everything that a bucket and a network do: each test ends with the bucket
holding every block whole, byte for byte, and with a server that saw nothing forbidden."""
import pathlib
import unittest

from harness import run_tool, wait_for
from s3_case import S3Case
from s3_server import make_certificates


class S3Test(S3Case):
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
        self.assertLess(daemon.metric("fermata_clock_offset_seconds"), -10000)
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
        wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 1, 10, "its answer")
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
