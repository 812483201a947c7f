# SPDX-License-Identifier: Apache-2.0
"""Where the keys of the bucket come from: every source, renewal, and what happens when a source
fails.  The bucket takes only what the scripted services handed out."""
import os
import unittest

from harness import http_request, request, run_tool, span, wait_for
from identity_server import IdentityServer
from s3_case import S3Case

NOTHING = {name: "" for name in (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL_STS", "HOME")}


class CredentialsTest(S3Case):
    def identity(self):
        identity = IdentityServer(self.s3)
        identity.__enter__()
        self.addCleanup(identity.__exit__)
        return identity

    def keyless(self, settings=None, name="node"):
        """A daemon without key files."""
        daemon = self.s3_daemon(settings, name)
        for key in ("access_key_file", "secret_key_file"):
            del daemon.settings[f"upload.s3.{key}"]
        return daemon

    def uploads_with(self, env, settings=None, source=None, name="node"):
        """A daemon that has only this environment brings a block to the bucket."""
        daemon = self.keyless(settings, name).start(env={**NOTHING, **env})
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        if source:
            self.assertEqual(daemon.metric("fermata_credentials_in_force", f'source="{source}"'), 1)
        return daemon

    def assert_no_secrets(self, daemon, secrets):
        text = daemon.log.read_text()
        for path in ("/metrics", "/status", "/api/status/buildinfo"):
            text += http_request(daemon.ports["query"], "GET", path)[2].decode()
        for secret in secrets:
            self.assertNotIn(secret, text)

    def test_environment(self):
        self.server()
        access, secret = next(iter(self.s3.credentials.items()))
        daemon = self.uploads_with({"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret},
                                   source="environment")
        self.check_bucket(daemon)
        self.assert_no_secrets(daemon, [secret])
        daemon.stop()

    def test_shared_file_and_its_change(self):
        self.server()
        access, secret = next(iter(self.s3.credentials.items()))
        home = self.directory / "home"
        (home / ".aws").mkdir(parents=True)
        shared = home / ".aws" / "credentials"
        shared.write_text(f"[default]\naws_access_key_id = WRONG\naws_secret_access_key = w\n"
                          f"[edge]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
        daemon = self.uploads_with({"HOME": str(home), "AWS_PROFILE": "edge"}, source="shared_file")
        self.s3.credentials = {"AKIASECOND": "second/secret"}
        shared.write_text("[edge]\naws_access_key_id = AKIASECOND\naws_secret_access_key = second/secret\n")
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(daemon.metric("fermata_upload_failures_total"), 0)
        self.check_bucket(daemon)
        self.assert_no_secrets(daemon, [secret, "second/secret"])
        daemon.stop()

    def test_web_identity(self):
        self.server()
        identity = self.identity()
        token = self.directory / "token"
        token.write_text(identity.web_token + "\n")
        daemon = self.uploads_with({"AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
                                    "AWS_ROLE_ARN": identity.role,
                                    "AWS_ENDPOINT_URL_STS": identity.url}, source="web_identity")
        self.assertGreater(daemon.metric("fermata_credentials_expiry_seconds"), 3000)
        # The token is read every time: the old one is worth nothing, and neither are the old keys.
        identity.web_token = "jwt.second.sig"
        token.write_text(identity.web_token)
        self.s3.credentials.clear()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(len(identity.handed), 2)
        self.check_bucket(daemon)
        self.assert_no_secrets(daemon, identity.secrets + ["jwt.second.sig"])
        daemon.stop()

    def test_container(self):
        self.server()
        identity = self.identity()
        token = self.directory / "token"
        token.write_text(identity.container_token)
        daemon = self.uploads_with({"AWS_CONTAINER_CREDENTIALS_FULL_URI": identity.url + "/container/x?id=1",
                                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)},
                                   source="container")
        self.check_bucket(daemon)
        self.assert_no_secrets(daemon, identity.secrets + [identity.container_token])
        daemon.stop()

    def test_a_container_service_elsewhere_is_not_asked_in_the_clear(self):
        self.server()
        daemon = self.keyless().start(
            env={**NOTHING, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/keys"})
        self.make_block(daemon)
        wait_for(lambda: "https:// only" in daemon.log.read_text(), 10, "the refusal")
        self.assertEqual(self.s3.log, [])
        daemon.stop()

    def test_instance(self):
        self.server()
        identity = self.identity()
        daemon = self.uploads_with({"AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url}, source="imds")
        self.check_bucket(daemon)
        self.assertEqual([entry[0] for entry in identity.log], ["PUT", "GET", "GET"])
        self.assert_no_secrets(daemon, identity.secrets + [identity.imds_token])
        daemon.stop()

    def test_keys_are_renewed_before_they_expire(self):
        self.server()
        identity = self.identity()
        identity.life_s = 8  # asked for again at half of it
        identity.keep_old = False
        daemon = self.uploads_with({"AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url})
        wait_for(lambda: len(identity.handed) >= 2, 60, "a renewal")
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.assertEqual(daemon.metric("fermata_upload_failures_total"), 0)
        self.check_bucket(daemon)
        daemon.stop()

    def test_a_failing_source_holds_uploads_and_nothing_else(self):
        self.server()
        identity = self.identity()
        daemon = self.keyless({"upload.s3.auth": "imds", "upload.s3.imds_endpoint": identity.url})
        identity.broken = "silent"
        daemon.start(env=NOTHING)
        self.make_block(daemon)  # ingest does not wait for anybody
        wait_for(lambda: "no answer in 2 s" in daemon.log.read_text(), 20, "the deadline")
        for broken in ("garbage", 404):
            identity.broken = broken
            before = daemon.metric("fermata_credentials_looks_total", 'outcome="failed"')
            wait_for(lambda b=before: daemon.metric("fermata_credentials_looks_total", 'outcome="failed"') > b,
                     90, "another look")
            self.make_block(daemon)
        self.assertEqual(daemon.metric("fermata_upload_pending_blocks"), 3)
        self.assertEqual(self.s3.log, [])
        identity.broken = None
        self.wait_uploaded(daemon, 90)
        self.check_bucket(daemon)
        daemon.stop()

    def test_keys_stay_in_force_while_their_source_is_down(self):
        self.server()
        identity = self.identity()
        daemon = self.uploads_with({"AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url})
        identity.broken = 503
        self.s3.fault("status", status=403, code="ExpiredToken", method="PUT", key="data.parquet")
        self.make_block(daemon)  # one refusal asks for a renewal, which fails; the old keys are good
        self.wait_uploaded(daemon)
        self.assertGreaterEqual(daemon.metric("fermata_credentials_looks_total", 'outcome="failed"'), 1)
        self.assertEqual(daemon.metric("fermata_credentials_in_force"), 1)
        self.check_bucket(daemon)
        daemon.stop()

    def test_queries_have_the_same_keys(self):
        self.server()
        identity = self.identity()
        daemon = self.uploads_with({"AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url},
                                   {"query.backend": "bucket"})
        status, _, body = daemon.send(request([span("ab" * 16, "cd" * 8)]))
        self.assertEqual(status, 200, body)
        daemon.flush()
        self.wait_uploaded(daemon)
        path = "/api/v2/traces/" + "ab" * 16  # a listing of the bucket is good for 30 seconds
        wait_for(lambda: http_request(daemon.ports["query"], "GET", path)[0] == 200, 60, "the trace")
        daemon.stop()

    def test_unsigned(self):
        self.server()
        daemon = self.keyless({"upload.s3.auth": "none"}).start(env=NOTHING)
        self.make_block(daemon)
        wait_for(lambda: "no signature" in daemon.log.read_text(), 10, "the refusal")
        daemon.stop()

    def test_settings_that_do_not_fit(self):
        self.server()
        for auth, text in (("static", "access_key_file"), ("web_identity", "AWS_WEB_IDENTITY_TOKEN_FILE"),
                           ("container", "AWS_CONTAINER_CREDENTIALS_FULL_URI")):
            daemon = self.keyless({"upload.s3.auth": auth}, auth)
            daemon.start(wait=False, env=NOTHING)
            self.assertEqual(daemon.process.wait(20), 78)
            self.assertIn(text, daemon.log_text())
            daemon.process = None
        result = run_tool("check", "--set", "upload.destination=s3", "--set", "upload.s3.bucket=b",
                          "--set", "upload.s3.sse_kms_key_id=k", env={**os.environ})
        self.assertEqual(result.returncode, 78)
        self.assertIn("sse = kms", result.stdout + result.stderr)


class StorageTest(S3Case):
    def test_headers_of_what_is_put(self):
        self.server()
        daemon = self.s3_daemon({"upload.s3.sse": "kms", "upload.s3.sse_kms_key_id": "alias/edge",
                                 "upload.s3.storage_class": "STANDARD_IA",
                                 "upload.s3.tags": "team=a b\n  env=edge"}).start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        puts = self.s3.requests("PUT")
        self.assertEqual(len(puts), 3)
        for put in puts:
            self.assertEqual(put["storage"], {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "alias/edge",
                "x-amz-storage-class": "STANDARD_IA", "x-amz-tagging": "team=a%20b&env=edge"})
        self.assertTrue(all(not entry["storage"] for entry in self.s3.requests("HEAD")))
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
