# SPDX-License-Identifier: Apache-2.0
"""Full and failing disks: a clear, retryable refusal, nothing acknowledged lost, recovery by itself."""
import os
import pathlib
import signal
import subprocess
import unittest

from harness import DaemonTest, request, span, wait_for
from test_durability import cannot_mount


class FullDiskTest(DaemonTest):
    """A small tmpfs stands for a full disk."""

    def setUp(self):
        super().setUp()
        self.disk = self.directory / "small"
        self.disk.mkdir()
        reason = cannot_mount(loop=False)
        if reason:
            self.skipTest(reason)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(self.disk)], check=True)

    def clean_up(self):
        for daemon in self.daemons:
            daemon.kill()
        if os.path.ismount(self.disk):
            subprocess.run(["umount", str(self.disk)], check=True)
        super().clean_up()

    def small_daemon(self):
        return self.daemon({"fermata.data_dir": str(self.disk / "data"), "wal.segment_size": "1MiB",
                            "storage.min_free": "0", "upload.enabled": "false",
                            "block.max_block_bytes": "256KiB"})

    def fill(self, keep=0):
        with open(self.disk / "filler", "ab") as filler:
            room = os.statvfs(self.disk)
            filler.write(b"\0" * max(0, room.f_bavail * room.f_frsize - keep))

    def test_starts_with_no_byte_free_and_recovers(self):
        daemon = self.small_daemon().start()
        self.assertEqual(daemon.send(request([span("aa" * 16, "00000000000000aa")]))[0], 200)
        daemon.stop()
        self.fill()
        daemon.start()
        self.assertEqual(daemon.span_ids("aa" * 16), ["00000000000000aa"])
        (self.disk / "filler").unlink()

        def accepted():
            return daemon.send(request([span("bb" * 16, "00000000000000bb")]))[0] == 200
        wait_for(accepted, 60, "the daemon to accept again")
        self.assertEqual(daemon.span_ids("bb" * 16), ["00000000000000bb"])
        daemon.stop()

    def test_full_disk_refuses_retryably_and_loses_nothing(self):
        daemon = self.small_daemon().start()
        self.fill(keep=2 << 20)
        acked, refused = [], 0
        for i in range(400):
            trace_id = f"{i + 1:032x}"
            noise = os.urandom(24_000).hex()
            batch = [span(trace_id, "0000000000000001", attributes={
                f"k{n}": noise[n * 1000:n * 1000 + 1000] for n in range(48)})]
            status, headers, _ = daemon.send(request(batch))
            if status == 200:
                acked.append(trace_id)
            else:
                self.assertEqual(status, 503)
                self.assertIn("retry-after", headers)
                refused += 1
                if refused > 5:
                    break
        self.assertGreater(refused, 0, "the disk never became full")
        for trace_id in acked:
            self.assertEqual(daemon.span_ids(trace_id), ["0000000000000001"], trace_id)
        daemon.kill()
        daemon.start()
        for trace_id in acked:
            self.assertEqual(daemon.span_ids(trace_id), ["0000000000000001"], trace_id)
        daemon.stop()


class QuotaTest(DaemonTest):
    """The bucket does not answer and the quota is reached: refuse, or drop the oldest if told so."""

    def settings(self, on_full):
        (self.directory / "key").write_text("key\n")
        return {"storage.quota": "3MiB", "storage.on_full": on_full, "wal.segment_size": "64KiB",
                "block.max_block_bytes": "64KiB", "upload.destination": "s3",
                "upload.s3.endpoint": "http://127.0.0.1:9", "upload.s3.bucket": "traces", "upload.s3.path_style": "true",
                "upload.s3.access_key_file": str(self.directory / "key"),
                "upload.s3.secret_key_file": str(self.directory / "key")}

    def push(self, daemon, batches):
        statuses = []
        for i in range(batches):
            noise = os.urandom(24_000).hex()
            batch = [span(f"{i + 1:032x}", "0000000000000001", attributes={
                f"k{n}": noise[n * 1000:n * 1000 + 1000] for n in range(48)})]
            statuses.append(daemon.send(request(batch))[0])
            if i % 10 == 9:
                daemon.flush()
        return statuses

    def test_reject_is_the_default(self):
        daemon = self.daemon(self.settings("reject")).start()
        statuses = self.push(daemon, 150)
        self.assertIn(503, statuses)
        self.assertEqual(daemon.metric("fermata_blocks_total", 'state="dropped"'), 0)
        for i, status in enumerate(statuses):
            if status == 200:
                self.assertEqual(daemon.span_ids(f"{i + 1:032x}"), ["0000000000000001"], i)
        daemon.stop()

    def test_drop_oldest_goes_on_and_says_so(self):
        daemon = self.daemon(self.settings("drop_oldest")).start()
        self.push(daemon, 150)
        wait_for(lambda: daemon.send(request([span("ff" * 16, "00000000000000ff")]))[0] == 200, 20,
                 "room for new spans")
        self.assertGreater(daemon.metric("fermata_blocks_total", 'state="dropped"'), 0)
        self.assertIn("store.block_dropped", daemon.log.read_text())
        self.assertEqual(daemon.span_ids("ff" * 16), ["00000000000000ff"])
        daemon.stop()


class SyncFailureTest(DaemonTest):
    """strace makes one fdatasync fail; what was acknowledged before and after is found again."""

    def test_failed_sync_is_survived(self):
        if subprocess.run(["sh", "-c", "command -v strace"], capture_output=True).returncode:
            self.skipTest("needs strace")
        daemon = self.daemon()
        daemon.start(wrapper=["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync",
                              "-e", "inject=fdatasync:error=EIO:when=12"])
        acked = []
        for i in range(40):
            trace_id = f"{i + 1:032x}"
            if daemon.send(request([span(trace_id, "0000000000000001")]))[0] == 200:
                acked.append(trace_id)
        self.assertGreater(len(acked), 30)
        tracer = daemon.process.pid
        children = pathlib.Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
        self.assertTrue(children)
        for child in map(int, children):
            os.kill(child, signal.SIGKILL)
        daemon.process.wait(10)  # strace ends with its tracee
        daemon.process = None
        daemon.start()
        for trace_id in acked:
            self.assertEqual(daemon.span_ids(trace_id), ["0000000000000001"], trace_id)
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
