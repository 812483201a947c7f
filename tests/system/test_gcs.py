# SPDX-License-Identifier: Apache-2.0
"""Blocks to Google Cloud Storage: both ways to a token, every fault, large objects in sessions."""
import json

from cloud_case import CloudCase
from harness import run_tool, wait_for

FAULTS = [
    ("status", {"status": 503, "code": "backendError"}),
    ("status", {"status": 429, "code": "rateLimitExceeded", "headers": {"Retry-After": "1"}}),
    ("status", {"status": 403, "code": "userRateLimitExceeded"}),
    ("status", {"status": 403, "code": "forbidden", "count": 3}),
    ("status", {"status": 401, "code": "authError"}),
    ("status", {"status": 500, "code": "internalError"}),
    ("status", {"status": 404, "code": "notFound"}),
    ("drop", {}),
    ("drop_mid_body", {}),
    ("corrupt", {}),
    ("commit_then_drop", {}),
    ("commit_then_status", {"status": 502}),
]


class GcsTest(CloudCase):
    def test_service_account(self):
        self.gcs(prefix="edge/a b")
        daemon = self.gcs_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.cloud.asked, ["service account"])
        key = json.loads(self.secret.read_text())["private_key"].splitlines()
        self.check_silence(daemon, key[1], key[-2])
        daemon.stop()

    def test_clock(self):
        self.gcs()
        self.cloud.clock_offset_s = 2 * 3600
        daemon = self.gcs_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertAlmostEqual(daemon.metric("fermata_clock_offset_seconds"), 2 * 3600, delta=60)
        daemon.stop()

    def test_metadata_server(self):
        self.gcs()
        self.cloud.fault("drop", "token")
        daemon = self.gcs_daemon("metadata").start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.cloud.tokens.clear()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(self.cloud.asked, ["metadata"] * 2)
        self.assertEqual(daemon.metric("fermata_upload_repairs_total", 'kind="credentials"'), 1)
        self.check_bucket(daemon)
        self.check_silence(daemon)
        daemon.stop()

    def test_a_refresh_that_fails(self):
        """The old token serves while it lives; nobody is refused because the endpoint is down."""
        self.gcs()
        self.cloud.token_lifetime_s = 40
        daemon = self.gcs_daemon("metadata").start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.cloud.fault("status", "token", count=1000, status=500)
        # Half of its life is when a short token is asked for again; a quarter is kept in reserve.
        wait_for(lambda: daemon.metric("fermata_credentials_expiry_seconds") < 10, 60, "half a life")
        self.make_block(daemon, 1)
        self.wait_uploaded(daemon)
        self.assertEqual(self.cloud.asked, ["metadata"])
        self.assertEqual(daemon.metric("fermata_credentials_looks_total", 'outcome="failed"'), 1)
        self.check_bucket(daemon)
        daemon.stop()

    def test_every_fault_at_every_object(self):
        self.gcs()
        daemon = self.gcs_daemon().start()
        self.check_faults(daemon, FAULTS, [("put", "data.parquet"), ("put", "bloom-0"), ("put", "meta.json")])
        for action in ("status", "drop"):
            for verb, key in (("get", "meta.json"), ("head", "data.parquet")):
                self.cloud.fault(action, verb, key, status=503)
                self.make_block(daemon, 1)
                self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()

    def test_large_object_in_a_session(self):
        self.gcs()
        daemon = self.gcs_daemon(settings=self.LARGE).start()
        self.cloud.fault("drop_mid_body", "chunk", skip=2)
        self.cloud.fault("commit_then_drop", "chunk", skip=3)
        self.cloud.fault("status", "progress", status=503)
        self.make_large_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.cloud.count("begin"), 1)
        self.assertGreaterEqual(daemon.metric("fermata_upload_resumed_parts_total"), 1)
        self.assertEqual(list((daemon.data / "upload").glob("*.session")), [])
        daemon.stop()

    def test_large_object_across_a_restart(self):
        self.gcs()
        daemon = self.gcs_daemon(settings=self.LARGE).start()
        self.cloud.fault("status", "chunk", skip=3, count=1000, status=503)
        self.make_large_block(daemon)
        wait_for(lambda: self.cloud.count("chunk", 503) >= 1, 60, "a refused chunk")
        daemon.kill()
        self.cloud.faults.clear()
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.cloud.count("begin"), 1)
        size = max(len(data) for data in self.cloud.objects.values())
        self.assertEqual(self.cloud.count("chunk", 308) + self.cloud.count("chunk", 200), -(-size // (5 << 20)))
        daemon.stop()

    def test_a_session_that_is_gone(self):
        self.gcs()
        daemon = self.gcs_daemon(settings=self.LARGE).start()
        self.cloud.fault("corrupt", "chunk", skip=1)  # found out at the end
        self.cloud.fault("status", "chunk", skip=4, status=410, code="gone")
        self.make_large_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.cloud.count("begin"), 3)
        daemon.stop()

    def test_settings_that_do_not_fit(self):
        config = self.directory / "bad.ini"
        config.write_text("[upload]\ndestination = gcs\n[upload.gcs]\nendpoint = storage\n[query]\nbackend = bucket\n")
        result = run_tool("check", "--config", config)
        self.assertNotEqual(result.returncode, 0)
        text = result.stdout + result.stderr
        for part in ('"bucket"', "bad endpoint", "not destination = gcs"):
            self.assertIn(part, text)
