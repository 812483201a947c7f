# SPDX-License-Identifier: Apache-2.0
"""What goes to the bucket, and when: the rate on the wire, quotas, windows, the interface, and what
`fermata status` says about it."""
import datetime
import json
import pathlib
import socket
import time

from harness import http_request, run_tool, wait_for
from s3_case import S3Case
from s3_server import make_certificates

RATE = 128 << 10
BURST = 64 << 10


def can_bind_device(name):
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        return True
    except OSError:
        return False


def hours_from_now(first, last):
    """A range of full hours, UTC, as a schedule."""
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = now + datetime.timedelta(hours=first), now + datetime.timedelta(hours=last)
    return f"{begin:%H}:00..{end:%H}:00"


class UploadLimits(S3Case):
    def status(self, daemon):
        body = http_request(daemon.ports["query"], "GET", "/status?format=json")[2]
        return json.loads(body)["upload"]

    def wire_bytes(self, daemon):
        return daemon.metric("fermata_upload_wire_bytes_total")

    def block_requests(self):
        """Not those of the recall, which no limit is about."""
        return [entry for entry in self.s3.log if "/recall/" not in entry["path"]]

    # ---- rate ----

    def check_rate(self, settings):
        daemon = self.s3_daemon({"upload.bandwidth.rate": f"{RATE}", "upload.concurrency": "2",
                                 "upload.bandwidth.burst": f"{BURST}", **settings}).start()
        begin = time.monotonic()
        self.make_large_block(daemon, requests=2, spans=400)
        samples = []

        def done():
            samples.append((time.monotonic() - begin, self.wire_bytes(daemon)))
            return daemon.metric("fermata_upload_pending_blocks") == 0
        wait_for(done, 120, "the upload")
        # Between any two looks no more than the burst and what the rate allows has gone.
        # (the first of a pair is older than it says by its own answer's time, hence the slack)
        for i, (first_s, first_bytes) in enumerate(samples):
            for last_s, last_bytes in samples[i + 1:]:
                allowed = BURST + RATE * (last_s - first_s + 0.5)
                self.assertLess(last_bytes - first_bytes, allowed)
        total = samples[-1][1]
        self.assertGreater(total, 4 * (BURST + RATE / 2))
        self.assertGreater(total, sum(len(v) for v in self.s3.objects.values()))
        self.assertGreater(daemon.metric("fermata_upload_throttled_seconds_total"),
                           (total - BURST) / RATE / 3)
        self.assertEqual(daemon.metric("fermata_upload_failures_total"), 0)
        self.check_bucket(daemon)
        daemon.stop()

    def test_rate(self):
        self.server()
        self.check_rate({})

    def test_rate_with_tls(self):
        folder = self.directory / "tls"
        folder.mkdir()
        tls = make_certificates(str(folder))
        self.server(tls=tls)
        self.check_rate({"upload.s3.tls_ca_file": tls["ca"]})

    def test_a_directory_counts_its_files(self):
        daemon = self.daemon({"upload.bandwidth.rate": "1Mbit"}).start()
        self.make_block(daemon)
        self.wait_for_upload(daemon)
        files = [p for p in (pathlib.Path(daemon.data) / "bucket").rglob("*") if p.is_file()]
        self.assertGreaterEqual(len(files), 3)
        self.assertEqual(self.wire_bytes(daemon), sum(p.stat().st_size for p in files))
        daemon.stop()

    def wait_for_upload(self, daemon):
        wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, 30, "the upload")

    # ---- windows ----

    def test_windows(self):
        self.server()
        closed = {"upload.window.later.schedule": hours_from_now(3, 5),
                  "upload.window.later.timezone": "UTC",
                  "upload.window.later.applies_to": "normal,backlog"}
        daemon = self.s3_daemon(closed).start()
        self.make_block(daemon)
        status = self.status(daemon)
        lanes = {lane["name"]: lane for lane in status["lanes"]}
        self.assertEqual([lane["open"] for lane in status["lanes"]], [True, True, False, False])
        self.assertEqual(lanes["fresh"]["blocks"], 1)
        self.assertEqual(status["uplink"]["next_change"][-7:], ":00:00Z"[-7:])
        time.sleep(1)  # for what must not happen
        self.assertEqual(self.block_requests(), [])
        text = run_tool("status", "--url", f"http://127.0.0.1:{daemon.ports['query']}",
                        check=0).stdout
        self.assertIn("closed", text)
        daemon.stop()
        daemon.settings["upload.window.now.schedule"] = "\n  Mon..Fri\n  Sat,Sun 00:00..24:00"
        daemon.settings["upload.window.now.rate"] = "10Mbit"
        daemon.start()
        self.wait_uploaded(daemon)
        self.assertEqual(self.status(daemon)["uplink"]["window"], "now")
        self.assertEqual(self.status(daemon)["uplink"]["rate_bytes_per_s"], 1250000)
        self.check_bucket(daemon)
        daemon.stop()

    def test_wrong_windows_are_named(self):
        for key, value, words in (("schedule", "25:00..26:00", "bad time"),
                                  ("schedule", "Mon..Funday", "bad weekday"),
                                  ("applies_to", "everything", "applies to")):
            settings = {"upload.window.x.schedule": "Sat"}
            settings[f"upload.window.x.{key}"] = value
            config = self.daemon(settings, name=f"{key}-{value[:2]}").write_config()
            result = run_tool("check", "--config", config)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stdout + result.stderr)

    # ---- quotas ----

    def test_quota_holds_over_a_kill(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        if now.hour == 23 and now.minute >= 55:
            self.skipTest("the day is about to end")
        self.server()
        quota = 1 << 20
        daemon = self.s3_daemon({"upload.bandwidth.daily_quota": f"{quota}",
                                 "upload.bandwidth.timezone": "UTC",
                                 "block.max_block_bytes": "256KiB"}).start()
        for _ in range(8):
            self.make_large_block(daemon, requests=1, spans=120)  # 180 KiB or so

        def used():
            return daemon.metric("fermata_upload_quota_used_bytes", 'period="day"')

        def is_spent():
            return daemon.metric("fermata_upload_active_blocks") == 0 and used() > quota / 3
        wait_for(is_spent, 30, "the quota to be used")
        pending = daemon.metric("fermata_upload_pending_blocks")
        self.assertGreater(pending, 0)
        self.assertLessEqual(used(), quota)
        before = used()
        daemon.kill()
        daemon.start()
        self.assertGreaterEqual(used(), before)
        time.sleep(1)
        sent = sum(len(value) for value in self.s3.objects.values())
        self.assertLessEqual(sent, quota)
        self.assertGreater(daemon.metric("fermata_upload_pending_blocks"), 0)
        daemon.stop()
        daemon.settings["upload.bandwidth.daily_quota"] = "100MiB"
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()

    # ---- interface ----

    def test_interface(self):
        if not can_bind_device("lo"):
            self.skipTest("this kernel wants privileges for SO_BINDTODEVICE")
        self.server()
        daemon = self.s3_daemon({"upload.interface": "nosuch0"}).start()
        self.make_block(daemon)
        wait_for(lambda: daemon.metric("fermata_upload_failures_total") >= 2, 20, "failures")
        self.assertEqual(self.block_requests(), [])
        self.assertIn("nosuch0", self.status(daemon)["problem"])
        daemon.stop()
        daemon.settings["upload.interface"] = "lo"
        daemon.start()
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()
