# SPDX-License-Identifier: Apache-2.0
"""Blocks to Azure Blob Storage: every way to be allowed, every fault, large blobs in blocks."""
import base64

from cloud_case import CloudCase
from harness import run_tool, wait_for
from s3_server import make_certificates

FAULTS = [
    ("status", {"status": 503, "code": "ServerBusy", "headers": {"Retry-After": "1"}}),
    ("status", {"status": 429, "code": "TooManyRequests"}),
    ("status", {"status": 500, "code": "OperationTimedOut"}),
    ("status", {"status": 403, "code": "AuthorizationFailure", "count": 3}),
    ("status", {"status": 404, "code": "ContainerNotFound"}),
    ("status", {"status": 400, "code": "Md5Mismatch"}),
    ("drop", {}),
    ("drop_mid_body", {}),
    ("corrupt", {}),
    ("commit_then_drop", {}),
    ("commit_then_status", {"status": 500, "code": "InternalError"}),
]


class AzureTest(CloudCase):
    def test_shared_key(self):
        self.azure(prefix="edge/a b")
        daemon = self.azure_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(self.cloud.count("put", 403), 0)
        self.check_silence(daemon, base64.b64encode(self.cloud.key).decode())
        daemon.stop()
        count = len(self.cloud.log)
        daemon.start()  # what is marked is not asked for again
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 0)
        self.assertEqual(len(self.cloud.log), count)
        daemon.stop()

    def test_a_new_shared_key(self):
        self.azure()
        daemon = self.azure_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.cloud.key = b"another key"
        self.make_block(daemon)
        wait_for(lambda: daemon.metric("fermata_upload_requests_total", 'outcome="auth"') >= 1, 20, "a refusal")
        self.secret.write_text(base64.b64encode(self.cloud.key).decode())
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()

    def test_clock(self):
        self.azure()
        self.cloud.clock_offset_s = -3 * 3600
        daemon = self.azure_daemon().start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(daemon.metric("fermata_upload_repairs_total", 'kind="clock"'), 1)
        self.assertAlmostEqual(daemon.metric("fermata_clock_offset_seconds"), -3 * 3600, delta=60)
        daemon.stop()

    def test_shared_access_signature(self):
        self.azure()
        daemon = self.azure_daemon("sas").start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.cloud.sas += "2"
        self.secret.write_text(self.cloud.sas)
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.check_silence(daemon, "c2ln")
        daemon.stop()

    def test_workload_identity(self):
        self.azure()
        daemon = self.azure_daemon("workload_identity").start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(self.cloud.asked, ["workload"])
        # The kubelet writes a new assertion, and the service forgets the old tokens.
        self.cloud.federated = "federated.assertion.two"
        self.secret.write_text(self.cloud.federated)
        self.cloud.tokens.clear()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(self.cloud.asked, ["workload"] * 2)
        self.check_bucket(daemon)
        self.check_silence(daemon, self.cloud.federated)
        daemon.stop()

    def test_managed_identity(self):
        self.azure()
        self.cloud.fault("status", "token", status=410, count=2)  # not up yet
        daemon = self.azure_daemon("managed_identity").start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(self.cloud.asked, ["managed mine"])
        self.assertEqual(daemon.metric("fermata_credentials_looks_total", 'outcome="failed"'), 2)
        self.assertGreater(daemon.metric("fermata_credentials_expiry_seconds"), 3000)
        self.check_bucket(daemon)
        daemon.stop()

    def test_tls(self):
        """The bucket and the token's endpoint are who the authority says, or nothing is sent."""
        folder = self.directory / "tls"
        folder.mkdir()
        tls = make_certificates(str(folder))
        self.azure(tls=tls)
        daemon = self.azure_daemon("workload_identity", {"upload.azure.tls_ca_file": tls["ca"]}).start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()
        self.cloud.log.clear()
        stranger = self.azure_daemon("workload_identity", name="stranger").start()
        self.make_block(stranger)
        wait_for(lambda: stranger.metric("fermata_upload_requests_total", 'outcome="auth"') >= 1, 20, "a refusal")
        self.assertEqual(self.cloud.log, [])
        stranger.stop()

    def test_tokens_end(self):
        self.azure()
        self.cloud.token_lifetime_s = 2
        daemon = self.azure_daemon("managed_identity").start()
        for count in (1, 2, 3):
            self.make_block(daemon)
            self.wait_uploaded(daemon)
            token = list(self.cloud.tokens)[-1]
            wait_for(lambda: daemon.metric("fermata_credentials_expiry_seconds") == 0, 20, f"the end of {token}")
            self.assertGreaterEqual(len(self.cloud.asked), count)
        self.check_bucket(daemon)
        self.assertEqual(daemon.metric("fermata_upload_repairs_total", 'kind="credentials"'), 0)
        daemon.stop()

    def test_every_fault_at_every_object(self):
        self.azure()
        daemon = self.azure_daemon().start()
        self.check_faults(daemon, FAULTS, [("put", "data.parquet"), ("put", "bloom-0"), ("put", "meta.json")])
        for action in ("status", "drop"):
            for verb, key in (("get", "meta.json"), ("head", "data.parquet")):
                self.cloud.fault(action, verb, key, status=503, code="ServerBusy")
                self.make_block(daemon, 1)
                self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertGreaterEqual(daemon.metric("fermata_upload_requests_total", 'outcome="slow_down"'), 3)
        daemon.stop()

    def test_large_blob_in_blocks(self):
        self.azure()
        daemon = self.azure_daemon(settings=self.LARGE).start()
        # The third block is cut off twice, and so is the commit: what arrived is not sent again.
        self.cloud.fault("drop_mid_body", "block", skip=2)
        self.cloud.fault("corrupt", "block", skip=2)
        self.cloud.fault("commit_then_drop", "commit")
        self.make_large_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertGreaterEqual(daemon.metric("fermata_upload_resumed_parts_total"), 2)
        sent = self.cloud.count("block", 201)
        size = max(len(data) for data in self.cloud.objects.values())
        self.assertGreater(size, 15 << 20)
        self.assertEqual(sent, -(-size // (5 << 20)))
        daemon.stop()

    def test_large_blob_across_a_restart(self):
        self.azure()
        daemon = self.azure_daemon(settings=self.LARGE).start()
        self.cloud.fault("status", "block", skip=3, count=1000, status=503, code="ServerBusy")
        self.make_large_block(daemon)
        wait_for(lambda: self.cloud.count("block", 503) >= 1, 60, "a refused block")
        daemon.kill()
        self.cloud.faults.clear()
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        self.assertEqual(daemon.metric("fermata_upload_resumed_parts_total"), 3)
        daemon.stop()

    def test_settings_that_do_not_fit(self):
        config = self.directory / "bad.ini"
        config.write_text("[upload]\ndestination = azure\n[query]\nbackend = both\n")
        result = run_tool("check", "--config", config)
        self.assertNotEqual(result.returncode, 0)
        text = result.stdout + result.stderr
        for part in ("account", "container", "account_key_file", "not destination = azure"):
            self.assertIn(part, text)
