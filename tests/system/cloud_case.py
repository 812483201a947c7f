# SPDX-License-Identifier: Apache-2.0
"""What tests of uploads to Azure and Google share."""
import base64
import json
import os

from harness import TOP, DaemonTest, request, span, wait_for
from cloud_server import AzureServer, GcsServer


class CloudCase(DaemonTest):
    serial = 0

    def start(self, server):
        server.__enter__()
        self.addCleanup(server.__exit__)
        self.cloud = server
        return server

    def azure(self, **options):
        return self.start(AzureServer(**options))

    def gcs(self, **options):
        return self.start(GcsServer(**options))

    def azure_daemon(self, auth="shared_key", settings=None, name="node"):
        self.cloud.auth = auth if auth in ("shared_key", "sas") else "bearer"
        self.secret = self.directory / "secret"
        secrets = {"shared_key": base64.b64encode(self.cloud.key).decode(), "sas": "?" + self.cloud.sas,
                   "workload_identity": self.cloud.federated}
        own = {"shared_key": {"account_key_file": self.secret}, "sas": {"sas_token_file": self.secret},
               "workload_identity": {"federated_token_file": self.secret, "tenant_id": "tenant",
                                     "client_id": "client", "token_endpoint": self.cloud.url},
               "managed_identity": {"token_endpoint": self.cloud.url, "client_id": "mine"}}[auth]
        if auth in secrets:
            self.secret.write_text(secrets[auth] + "\n")
        return self.cloud_daemon("azure", {
            "account": self.cloud.account, "container": self.cloud.bucket, "prefix": self.cloud.prefix,
            "endpoint": self.cloud.url, "auth": auth, **own}, settings, name)

    def gcs_daemon(self, auth="service_account", settings=None, name="node"):
        self.secret = self.directory / "account.json"
        self.secret.write_text(json.dumps({
            "type": "service_account", "client_email": self.cloud.email, "private_key_id": "key-1",
            "private_key": (TOP / "tests/golden/cloud/rfc7515-a2.pem").read_text(),
            "token_uri": self.cloud.url + "/token"}))
        own = {"service_account": {"service_account_file": self.secret},
               "metadata": {"metadata_endpoint": self.cloud.url}}[auth]
        return self.cloud_daemon("gcs", {
            "bucket": self.cloud.bucket, "prefix": self.cloud.prefix, "endpoint": self.cloud.url,
            "auth": auth, **own}, settings, name)

    def cloud_daemon(self, kind, own, settings, name):
        return self.daemon({
            "upload.destination": kind,
            **{f"upload.{kind}.{key}": value for key, value in own.items()},
            "upload.request_timeout": "5s",
            "upload.retry_max_interval": "200ms",
            "recall.enabled": "false",  # it has a token of its own
            **(settings or {})}, name)

    def make_block(self, daemon, spans=3):
        for _ in range(spans):
            CloudCase.serial += 1
            status, _, body = daemon.send(
                request([span(f"{CloudCase.serial:032x}", f"{CloudCase.serial:016x}")]))
            self.assertEqual(status, 200, body)
        daemon.flush()

    LARGE = {"block.max_block_bytes": "256MiB", "block.memory_limit": "400MiB",
             "block.compression": "snappy", "upload.multipart_size": "5MiB", "storage.merge_below": "0",
             "upload.request_timeout": "60s"}  # the server's arithmetic is slow

    def make_large_block(self, daemon, mebibytes=9):
        """Of more than three parts: the text of random bytes takes twice their space."""
        left = mebibytes << 20
        while left > 0:
            spans = []
            for _ in range(200):
                CloudCase.serial += 1
                spans.append(span(f"{CloudCase.serial:032x}", f"{CloudCase.serial:016x}",
                                  attributes={f"noise{i}": os.urandom(512).hex() for i in range(8)}))
            status, _, body = daemon.send(request(spans))
            self.assertEqual(status, 200, body)
            left -= 200 * 4096
        daemon.flush()

    def wait_uploaded(self, daemon, seconds=60):
        try:
            wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, seconds,
                     "the backlog to drain")
        except (AssertionError, OSError) as error:
            last = [(e["verb"], e["name"][-24:], e["query"][:60], e["status"], e["fault"])
                    for e in self.cloud.log[-12:]]
            raise AssertionError(f"{error}\n{last}\n{daemon.log_text()}") from None

    def check_bucket(self, *daemons, tenant="single-tenant"):
        """Every local block is there, byte for byte, and no more."""
        self.assertEqual(self.cloud.violations, [])
        lead = self.cloud.prefix + "/" if self.cloud.prefix else ""
        expected = set()
        for daemon in daemons:
            for block in daemon.blocks(tenant):
                expected.add(f"{lead}{tenant}/{block.name}")
                for name in ("data.parquet", "meta.json", "bloom-0"):
                    there = self.cloud.objects.get(f"{lead}{tenant}/{block.name}/{name}")
                    self.assertTrue(there == (block / name).read_bytes(), name)
        self.assertTrue(expected)
        self.assertEqual(set(self.cloud.whole_blocks()), expected)

    def check_faults(self, daemon, faults, verbs):
        """Each fault at each verb, and the block arrives all the same."""
        for action, options in faults:
            for verb, key in verbs:
                self.cloud.fault(action, verb, key, **options)
                self.make_block(daemon, 1)
                self.wait_uploaded(daemon)
        self.assertEqual([fault for fault in self.cloud.faults if fault["count"]], [])
        self.check_bucket(daemon)

    def check_silence(self, daemon, *secrets):
        """Nothing secret in the log or in what the daemon says about itself."""
        text = daemon.log.read_text(errors="replace")
        for secret in (*secrets, *self.cloud.tokens):
            self.assertNotIn(secret, text)
