# SPDX-License-Identifier: Apache-2.0
"""What tests of uploads to S3 share: the scripted server, a daemon that uploads there, and what the
bucket must hold in the end."""
import base64
import json
import os

from harness import DaemonTest, request, span, wait_for
from s3_server import S3Server


class S3Case(DaemonTest):
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
            S3Case.serial += 1
            names.append(f"{S3Case.serial:016x}")
            status, _, body = daemon.send(
                request([span(f"{S3Case.serial:032x}", names[-1])]), tenant)
            self.assertEqual(status, 200, body)
        daemon.flush()
        return names

    def make_large_block(self, daemon, requests=15, spans=1000):
        """Of more than 20 MiB: four parts of the least size that S3 knows, and one that is short.
        What is in the spans cannot be compressed below that."""
        for _ in range(requests):
            batch = []
            for _ in range(spans):
                S3Case.serial += 1
                noise = base64.b64encode(os.urandom(1500)).decode()
                batch.append(span(f"{S3Case.serial:032x}", f"{S3Case.serial:016x}",
                                  attributes={"noise": noise}))
            status, _, body = daemon.send(request(batch))
            self.assertEqual(status, 200, body)
        daemon.flush()

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
