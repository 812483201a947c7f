# SPDX-License-Identifier: Apache-2.0
"""Nothing acknowledged is lost: kill -9 under load, and real power cuts of a real file system.

The power cut is the file system's own shutdown ioctl without a log flush: what was not synced is
gone after the next mount, as when the plug is pulled.  It needs root and a loop device.
"""
import fcntl
import os
import random
import shutil
import struct
import subprocess
import threading
import time
import unittest

from harness import DaemonTest, request, span

KILL_ROUNDS = int(os.environ.get("KILL_ROUNDS", "50"))
POWER_ROUNDS = int(os.environ.get("POWER_ROUNDS", "20"))
FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32), the same for ext4 and XFS
SHUTDOWN_NOLOGFLUSH = struct.pack("I", 2)


class Load:
    """Threads that send batches, one trace each, and remember the batches that were acknowledged."""

    def __init__(self, daemon, seed, threads=4, spans=20):
        self.daemon, self.spans = daemon, spans
        self.acked, self.lock, self.stopping = [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(random.Random(seed * 100 + i),))
                        for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)

    def run(self, chance):
        while not self.stopping.is_set():
            trace_id = f"{chance.getrandbits(128) | 1:032x}"
            batch = [span(trace_id, f"{i + 1:016x}", name=f"op-{chance.randrange(50)}",
                          attributes={"n": i, "text": "x" * chance.randrange(200)})
                     for i in range(self.spans)]
            try:
                status, _, body = self.daemon.send(request(batch, f"svc-{chance.randrange(9)}"))
            except Exception:  # the daemon died under us
                continue
            if status == 200 and body == b"{}":
                with self.lock:
                    self.acked.append((time.monotonic(), trace_id))

    def acked_before(self, moment=float("inf")):
        return [trace_id for when, trace_id in self.acked if when < moment]

    def check_all_found(self, case, daemon, traces):
        expected = [f"{i + 1:016x}" for i in range(self.spans)]
        for trace_id in traces:
            case.assertEqual(daemon.span_ids(trace_id), expected, f"trace {trace_id}")


class KillTest(DaemonTest):
    def test_kill_under_load(self):
        chance = random.Random(4711)
        daemon = self.daemon({"block.max_block_bytes": "64KiB", "wal.segment_size": "1MiB"}).start()
        everything = []
        for round_number in range(KILL_ROUNDS):
            with Load(daemon, round_number) as load:
                time.sleep(0.05 + chance.random() * 0.25)
                if chance.random() < 0.3:
                    try:
                        daemon.flush()
                    except Exception:
                        pass
                daemon.kill()
                load.stopping.set()
            acked = load.acked_before()
            self.assertTrue(acked, "the round sent nothing")
            everything += acked
            daemon.start()
            load.check_all_found(self, daemon, acked)
        load.check_all_found(self, daemon, random.Random(1).sample(everything, min(500, len(everything))))
        daemon.stop()
        print(f"kill -9: {KILL_ROUNDS} rounds, {len(everything) * load.spans} acknowledged spans, "
              "none lost", flush=True)


def cannot_mount(loop=True):
    """Why no file system can be mounted here, with or without a loop device; None if it can."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("mount", "umount", *(("mkfs.ext4", "losetup") if loop else ())):
        if not shutil.which(tool):
            return f"needs {tool}"
    if loop:
        free = subprocess.run(["losetup", "-f"], capture_output=True, text=True).stdout.strip()
        if not os.path.exists(free):  # a chroot may name one that its /dev does not have
            return "needs a loop device"
    return None


class PowerCutTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.image, self.mount_point = self.directory / "disk.img", self.directory / "disk"
        self.mount_point.mkdir()
        reason = cannot_mount()
        if reason:
            self.skipTest(reason)
        with open(self.image, "wb") as image:
            image.truncate(512 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.mount()
        self.addCleanup(self.unmount)

    def clean_up(self):
        for daemon in self.daemons:
            daemon.kill()
        self.unmount()
        super().clean_up()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount_point)], check=True)

    def unmount(self):
        if os.path.ismount(self.mount_point):
            subprocess.run(["umount", str(self.mount_point)], check=True)

    def cut_power(self):
        """Returns the moment from which nothing counts as acknowledged.

        With the plug pulled no answer leaves the machine any more; here the process lives on.  A
        sync that is under way when ext4 is shut down may still return success although its extents
        were not converted, and only such an answer could arrive after this moment.
        """
        moment = time.monotonic()
        handle = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, FS_IOC_SHUTDOWN, SHUTDOWN_NOLOGFLUSH)
        finally:
            os.close(handle)
        return moment

    def test_power_cut_under_load(self):
        chance = random.Random(815)
        daemon = self.daemon({"fermata.data_dir": str(self.mount_point / "data"),
                              "block.max_block_bytes": "64KiB", "wal.segment_size": "1MiB"}).start()
        count = 0
        for round_number in range(POWER_ROUNDS):
            with Load(daemon, 1000 + round_number) as load:
                time.sleep(0.1 + chance.random() * 0.4)
                if chance.random() < 0.3:
                    threading.Thread(target=self.quiet_flush, args=(daemon,)).start()
                    time.sleep(chance.random() * 0.05)
                cut_at = self.cut_power()
                load.stopping.set()
            daemon.kill()
            self.unmount()
            self.mount()
            daemon.start()
            acked = load.acked_before(cut_at)
            self.assertTrue(acked, "the round sent nothing")
            load.check_all_found(self, daemon, acked)
            count += len(acked) * load.spans
        daemon.stop()
        print(f"power cut (ext4): {POWER_ROUNDS} rounds, {count} acknowledged spans, none lost",
              flush=True)

    @staticmethod
    def quiet_flush(daemon):
        try:
            daemon.flush()
        except Exception:  # the disk is gone: that is the point
            pass


if __name__ == "__main__":
    unittest.main()
