# SPDX-License-Identifier: Apache-2.0
"""Blocks to Azurite and to fake-gcs-server, which share nothing with the test servers of ours.

Azurite checks signatures, hashes and conditions.  The services' own Python libraries read the
buckets back, whole blocks of them: what Tempo would find.
"""
import base64
import datetime
import os
import pathlib
import subprocess

import azure.core.exceptions
import azure.storage.blob
import google.api_core.exceptions
import google.auth.credentials
import google.cloud.storage

from harness import DaemonTest, free_port, request, run_tool, span, wait_for

WORK = pathlib.Path(os.environ.get("INTEROP", "build/interop"))
ACCOUNT = "edgewriter"
KEY = base64.b64encode(b"correct horse battery staple, in Azurite").decode()


class Server:
    def __init__(self, directory):
        self.root = directory / "server"
        self.root.mkdir()
        self.log = directory / "server.log"
        self.port = free_port()
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), env={**os.environ, **self.environment()},
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self.answers, 60, "the server")

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log.read_text()[-2000:]}")

    def environment(self):
        return {}

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(10)
        self.process = None


class Azurite(Server):
    def command(self):
        return ["node", str(WORK / "node_modules/.bin/azurite-blob"), "--blobPort", str(self.port),
                "--location", str(self.root), "--disableTelemetry", "--silent"]

    def environment(self):
        return {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def container(self):
        return azure.storage.blob.BlobServiceClient(
            self.url, KEY, retry_total=0, api_version="2021-12-02").get_container_client("traces")

    def answers(self):
        self.check_alive()
        try:
            self.container().create_container()
        except azure.core.exceptions.ResourceExistsError:
            pass
        except azure.core.exceptions.AzureError:
            return False
        return True

    def read_all(self):
        container = self.container()
        return {blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()}

    def signature(self):
        begin = datetime.datetime.now(datetime.timezone.utc)
        return azure.storage.blob.generate_container_sas(
            ACCOUNT, "traces", account_key=KEY,
            permission=azure.storage.blob.ContainerSasPermissions(read=True, write=True, create=True, list=True),
            start=begin - datetime.timedelta(minutes=5), expiry=begin + datetime.timedelta(hours=1))


class FakeGcs(Server):
    def command(self):
        return [str(WORK / "bin/fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port),
                "-external-url", self.url, "-filesystem-root", str(self.root), "-log-level", "error"]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self):
        return google.cloud.storage.Client(project="edge", client_options={"api_endpoint": self.url},
                                           credentials=google.auth.credentials.AnonymousCredentials())

    def answers(self):
        self.check_alive()
        try:
            self.client().create_bucket("traces", retry=None, timeout=2)
        except google.api_core.exceptions.Conflict:
            pass
        except (OSError, google.api_core.exceptions.GoogleAPIError):
            return False
        return True

    def read_all(self):
        return {blob.name: blob.download_as_bytes() for blob in self.client().list_blobs("traces")}


class CloudsTest(DaemonTest):
    serial = 0

    def serve(self, kind):
        self.server = kind(self.directory)
        self.addCleanup(self.server.stop)
        self.server.start()

    def cloud_daemon(self, kind, own):
        return self.daemon({
            "upload.destination": kind,
            **{f"upload.{kind}.{key}": value for key, value in own.items()},
            "upload.request_timeout": "10s", "upload.retry_max_interval": "1s", "upload.multipart_size": "5MiB",
            "block.max_block_bytes": "256MiB", "block.memory_limit": "400MiB", "block.compression": "snappy",
            "storage.merge_below": "0"})

    def azure_daemon(self, auth="shared_key"):
        secret = self.directory / "secret"
        secret.write_text(KEY if auth == "shared_key" else self.server.signature())
        name = "account_key_file" if auth == "shared_key" else "sas_token_file"
        return self.cloud_daemon("azure", {"account": ACCOUNT, "container": "traces", "prefix": "edge/a b",
                                           "endpoint": self.server.url, "auth": auth, name: secret})

    def make_block(self, daemon, mebibytes=0):
        left = mebibytes << 20
        while left >= 0:
            spans = []
            for _ in range(200):
                CloudsTest.serial += 1
                noise = {f"noise{i}": os.urandom(512).hex() for i in range(8)} if mebibytes else {}
                spans.append(span(f"{CloudsTest.serial:032x}", f"{CloudsTest.serial:016x}", attributes=noise))
            self.assertEqual(daemon.send(request(spans))[0], 200)
            left -= 200 * 4096
        daemon.flush()

    def check(self, daemon, blocks):
        wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, 90, "the uploads")
        there = self.server.read_all()
        own = daemon.blocks()
        self.assertEqual(len(own), blocks)
        self.assertEqual({name for name in there if name.endswith("/meta.json")},
                         {f"edge/a b/single-tenant/{block.name}/meta.json" for block in own})
        for block in own:
            copy = self.directory / "copy" / block.name
            copy.mkdir(parents=True)
            for name, data in there.items():
                if f"/{block.name}/" in name:
                    (copy / name.rsplit("/", 1)[1]).write_bytes(data)
            run_tool("block", "verify", copy, check=0)
            self.assertTrue((copy / "data.parquet").read_bytes() == (block / "data.parquet").read_bytes())
        return max(map(len, there.values()))

    def check_dialect(self, daemon):
        """No answer that only a person could mend: each side understands the other."""
        for outcome in ("refused", "unsupported", "conflict", "auth"):
            self.assertEqual(daemon.metric("fermata_upload_requests_total", f'outcome="{outcome}"'), 0, outcome)

    def test_azurite_shared_key(self):
        self.serve(Azurite)
        daemon = self.azure_daemon().start()
        self.make_block(daemon)
        self.make_block(daemon, 8)
        self.assertGreater(self.check(daemon, 2), 15 << 20)
        self.check_dialect(daemon)
        daemon.stop()

    def test_azurite_access_signature(self):
        self.serve(Azurite)
        daemon = self.azure_daemon("sas").start()
        self.make_block(daemon)
        self.check(daemon, 1)
        self.check_dialect(daemon)
        daemon.stop()

    def test_azurite_wrong_key(self):
        self.serve(Azurite)
        daemon = self.azure_daemon().start()
        (self.directory / "secret").write_text(base64.b64encode(b"another").decode())
        self.make_block(daemon)
        wait_for(lambda: daemon.metric("fermata_upload_requests_total", 'outcome="auth"') >= 1, 30, "a refusal")
        self.assertEqual(self.server.read_all(), {})
        (self.directory / "secret").write_text(KEY)
        self.check(daemon, 1)
        daemon.stop()

    def test_azurite_dies_and_comes_back(self):
        self.serve(Azurite)
        daemon = self.azure_daemon().start()
        self.make_block(daemon)
        self.server.stop()
        self.make_block(daemon, 8)
        wait_for(lambda: daemon.metric("fermata_upload_failures_total") >= 1, 30, "a failure")
        daemon.kill()
        self.server.start()
        daemon.start()
        self.check(daemon, 2)
        daemon.stop()

    def test_fake_gcs_server(self):
        self.serve(FakeGcs)
        daemon = self.cloud_daemon("gcs", {"bucket": "traces", "prefix": "edge/a b", "endpoint": self.server.url,
                                           "auth": "none"}).start()
        self.make_block(daemon)
        self.make_block(daemon, 8)
        self.assertGreater(self.check(daemon, 2), 15 << 20)
        self.check_dialect(daemon)
        daemon.stop()
