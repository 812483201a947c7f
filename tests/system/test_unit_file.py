# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts where, and what systemd says to it."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import FERMATA, TOP

EXPOSURE_MAX = 15  # of 100, as systemd-analyze counts


def install(root, prefix):
    program = FERMATA.resolve()
    subprocess.run(["make", "-s", "-C", str(TOP), "-o", str(program), f"BUILD={program.parent}",
                    f"DESTDIR={root}", f"prefix={prefix}", "install"],
                   check=True, capture_output=True, text=True)


def needs(tool):
    return unittest.skipUnless(shutil.which(tool), f"needs {tool}")


class UnitFileTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="fermata-test-")
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def files(self):
        return {str(path.relative_to(self.root)): oct(path.stat().st_mode & 0o777)
                for path in self.root.rglob("*") if path.is_file()}

    def test_install(self):
        install(self.root, "/usr")
        self.assertEqual(self.files(), {
            "etc/fermata/fermata.ini": "0o644",
            "usr/bin/fermata": "0o755",
            "usr/lib/systemd/system/fermata.service": "0o644",
            "usr/lib/sysusers.d/fermata.conf": "0o644",
            "usr/lib/tmpfiles.d/fermata.conf": "0o644",
            "usr/share/doc/fermata/local-only.conf": "0o644",
            "usr/share/man/man8/fermata.8": "0o644",
        })
        subprocess.run([self.root / "usr/bin/fermata", "check", "--config",
                        self.root / "etc/fermata/fermata.ini"], check=True, capture_output=True)

    def test_install_elsewhere_and_again(self):
        mine = self.root / "etc/fermata/fermata.ini"
        mine.parent.mkdir(parents=True)
        mine.write_text("[fermata]\nlog_level = debug\n")
        for _ in range(2):
            install(self.root, "/usr/local")
        self.assertIn("debug", mine.read_text())  # the administrator's file stays
        unit = (self.root / "usr/local/lib/systemd/system/fermata.service").read_text()
        self.assertIn("ExecStart=/usr/local/bin/fermata serve\n", unit)
        self.assertFalse((self.root / "usr/bin").exists())

    def unit(self):
        """The unit with the program as built, so that its ExecStart exists."""
        path = self.root / "fermata.service"
        text = (TOP / "systemd/fermata.service").read_text()
        path.write_text(text.replace("/usr/bin/fermata", str(FERMATA.resolve())))
        return path

    @needs("systemd-analyze")
    def test_unit_is_valid(self):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(self.unit())],
                              capture_output=True, text=True)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "fermata" in line]
        self.assertEqual(ours, [])

    @needs("systemd-analyze")
    def test_unit_is_confined(self):
        done = subprocess.run(["systemd-analyze", "security", "--no-pager", "--offline=true",
                               f"--threshold={EXPOSURE_MAX}", str(self.unit())],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @needs("systemd-sysusers")
    @needs("systemd-tmpfiles")
    def test_user_and_directories(self):
        (self.root / "etc").mkdir()
        for tool in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
            name = tool[0].replace("systemd-", "fermata.")
            done = subprocess.run([*tool, f"--root={self.root}", str(TOP / "systemd" / name)],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex((self.root / "etc/passwd").read_text(),
                         r"(?m)^fermata:.*:/var/lib/fermata:/usr/sbin/nologin$")
        self.assertTrue((self.root / "etc/fermata/conf.d").is_dir())
        self.assertEqual((self.root / "var/lib/fermata").stat().st_mode & 0o777, 0o750)


if __name__ == "__main__":
    unittest.main()
