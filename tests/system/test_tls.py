# SPDX-License-Identifier: Apache-2.0
"""TLS on the OTLP and query ports: ALPN, client certificates, reload without a dropped connection.

The certificates are the fixtures of tests/golden/tls (localhost, one CA, one stranger)."""
import http.client
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest
import warnings

from harness import FERMATA, DaemonTest, free_port, http_request, request, run_tool, span, wait_for
from s3_server import make_certificates
from test_otlp_http import A1, TRACE

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"


class TlsTest(DaemonTest):
    def start(self, client_ca=False):
        self.keys = self.directory / "keys"
        self.keys.mkdir()
        for name in ("server.pem", "server.key"):
            shutil.copy(FIXTURES / name, self.keys / name)
        settings = {}
        for section in ("receiver.otlp_http", "receiver.otlp_grpc"):
            settings[f"{section}.tls_cert_file"] = str(self.keys / "server.pem")
            settings[f"{section}.tls_key_file"] = str(self.keys / "server.key")
            if client_ca:
                settings[f"{section}.tls_client_ca_file"] = str(FIXTURES / "ca.pem")
        return self.daemon(settings).start()

    def context(self, client=None):
        context = ssl.create_default_context(cafile=str(FIXTURES / "ca.pem"))
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if client:
            context.load_cert_chain(str(FIXTURES / f"{client}.pem"), str(FIXTURES / f"{client}.key"))
        return context

    def post(self, node, context):
        connection = http.client.HTTPSConnection("localhost", node.ports["http"], context=context, timeout=10)
        try:
            connection.request("POST", "/v1/traces", A1, {"Content-Type": "application/x-protobuf"})
            return connection.getresponse().status
        finally:
            connection.close()

    def test_https_and_grpc(self):
        node = self.start()
        self.assertEqual(self.post(node, self.context()), 200)
        body = self.directory / "grpc.bin"
        body.write_bytes(b"\0" + len(A1).to_bytes(4, "big") + A1)
        done = subprocess.run(
            ["curl", "-sS", "--http2", "--cacert", str(FIXTURES / "ca.pem"), "-D", "-", "-o", "/dev/null", "-H",
             "Content-Type: application/grpc", "-H", "TE: trailers", "--data-binary", f"@{body}",
             f"https://localhost:{node.ports['grpc']}/opentelemetry.proto.collector.trace.v1.TraceService/Export"],
            capture_output=True, text=True, timeout=20)
        self.assertIn("HTTP/2 200", done.stdout, done.stderr)
        self.assertIn("grpc-status: 0", done.stdout)
        self.assertEqual(node.span_ids(TRACE), ["eee19b7ec3c1b174"])
        node.stop()

    def test_versions(self):
        """TLS 1.3 with mbedtls 3.6 (Debian 13), 1.2 with 2.28 (Debian 12), nothing older."""
        modern = subprocess.run(["pkg-config", "--atleast-version=3.6", "mbedtls"]).returncode == 0
        node = self.start()
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
            with self.context().wrap_socket(plain, server_hostname="localhost") as secure:
                self.assertEqual(secure.version(), "TLSv1.3" if modern else "TLSv1.2")
        old = self.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, OSError)):
            with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
                old.wrap_socket(plain, server_hostname="localhost")
        node.stop()

    def test_plain_text_on_a_tls_port_is_closed(self):
        node = self.start()
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
            plain.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(plain.recv(100)[:9] in (b"", b"HTTP/1.1 "), True)
        self.assertEqual(self.post(node, self.context()), 200)
        node.stop()

    def test_client_certificates(self):
        node = self.start(client_ca=True)
        self.assertEqual(self.post(node, self.context("client")), 200)
        for stranger in (None, "other"):
            with self.assertRaises((ssl.SSLError, OSError, http.client.HTTPException)):
                self.post(node, self.context(stranger))
        node.stop()

    def served(self, node):
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.getpeercert(binary_form=True)

    def test_reload_serves_the_new_certificate_and_keeps_connections(self):
        node = self.start()
        old = self.served(node)
        connection = http.client.HTTPSConnection("localhost", node.ports["http"], context=self.context(), timeout=10)
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().read()[:7], b"fermata")
        fresh = make_certificates(self.directory)
        shutil.copy(fresh["cert"], self.keys / "server.pem")
        shutil.copy(fresh["key"], self.keys / "server.key")
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.served(node) != old, 10, "the new certificate")
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        (self.keys / "server.pem").write_text("broken\n")
        node.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        self.assertNotEqual(self.served(node), old)
        node.stop()

    def test_handshakes_during_reloads(self):
        """Some finish, some hang up in the middle; the configuration changes under all of them."""
        node = self.start()
        counts, failures, deadline = [0] * 4, [], time.monotonic() + 3

        def shake(index):
            context = self.context()
            while time.monotonic() < deadline and not failures:
                try:
                    with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
                        if index % 2:
                            context.wrap_socket(plain, server_hostname="localhost").close()
                        else:
                            plain.sendall(self.hello)
                            time.sleep(0.002 * (counts[index] % 5))
                    counts[index] += 1
                except OSError as error:
                    failures.append(error)

        outgoing = ssl.MemoryBIO()
        half = self.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, half.do_handshake)
        self.hello = outgoing.read()
        threads = [threading.Thread(target=shake, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        while time.monotonic() < deadline:
            node.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
            begin = time.monotonic()
            self.assertEqual(http_request(node.ports["query"], "GET", "/ready")[0], 200)
            self.assertLess(time.monotonic() - begin, 1)
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertTrue(all(count > 5 for count in counts), counts)
        node.stop()


class ProcessTest(DaemonTest):
    def notify_socket(self):
        path = self.directory / "notify"
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(str(path))
        receiver.settimeout(10)
        self.addCleanup(receiver.close)
        return receiver, {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}

    def test_service_manager_is_told(self):
        receiver, environment = self.notify_socket()
        node = self.daemon().start(env=environment)
        seen = ""
        while "WATCHDOG=1" not in seen or "STATUS=ready" not in seen:
            seen += receiver.recv(4096).decode() + "\n"
        self.assertIn("READY=1", seen)
        node.process.send_signal(signal.SIGHUP)
        while "RELOADING=1" not in seen:
            seen += receiver.recv(4096).decode() + "\n"
        node.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in seen:
            seen += receiver.recv(4096).decode() + "\n"
        self.assertEqual(node.process.wait(10), 0)

    def test_stop_under_load_is_quick_and_clean(self):
        node = self.daemon().start()
        sender = subprocess.Popen([str(FERMATA), "emit", "--endpoint",
                                   f"127.0.0.1:{node.ports['http']}", "--connections", "4", "--duration", "5s",
                                   "--give-up", "1s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        begin = time.monotonic()
        node.stop(expect=0, seconds=10)
        self.assertLess(time.monotonic() - begin, 10)
        sender.wait(20)

    def test_port_in_use_is_said_and_exits_69(self):
        node = self.daemon().start()
        other = self.daemon({"receiver.otlp_http.endpoint": f"127.0.0.1:{node.ports['http']}"}, "other")
        other.start(wait=False)
        self.assertEqual(other.process.wait(10), 69)
        self.assertIn("otlp_http", other.log_text())
        node.stop()

    def test_listener_off_loopback_is_refused(self):
        node = self.daemon({"receiver.otlp_http.endpoint": f"0.0.0.0:{free_port()}"})
        node.start(wait=False)
        self.assertEqual(node.process.wait(10), 78)
        self.assertIn("auth", node.log_text())

    def test_mistakes_are_all_named_with_a_cure(self):
        config = self.directory / "bad.ini"
        config.write_text("[upload.s3]\nacess_key_file = /x\n[wal]\nsync = often\n[nosuch]\na = 1\n")
        done = run_tool("check", "--config", config)
        self.assertEqual(done.returncode, 78)
        text = done.stdout + done.stderr
        self.assertIn('bad.ini:2', text)
        self.assertIn('did you mean "access_key_file"', text)
        self.assertIn("bad.ini:4", text)
        self.assertIn("group", text)
        self.assertIn("bad.ini:5", text)

    def test_unix_socket_listener(self):
        path = self.directory / "otlp.sock"
        node = self.daemon({"receiver.otlp_http.endpoint": f"unix:{path}"}).start()
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("POST", "/v1/traces", A1, {"Content-Type": "application/x-protobuf"})
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        node.stop()
        node.start()  # the socket left behind is no obstacle
        node.stop()

    def test_verbs_have_documented_exit_codes(self):
        port = free_port()
        run_tool("status", "--url", f"http://127.0.0.1:{port}", check=3)
        run_tool("nosuch", check=2)
        run_tool("--help", check=0)
        node = self.daemon().start()
        url = f"http://127.0.0.1:{node.ports['query']}"
        run_tool("status", "--url", url, check=0)
        run_tool("query", "trace", "ab" * 16, "--url", url, check=4)
        node.send(request([span("ab" * 16, "00000000000000aa", name="hello")]))
        shown = run_tool("query", "trace", "ab" * 16, "--url", url, check=0).stdout
        self.assertIn("hello", shown)
        node.flush()
        node.stop()
        block = node.blocks()[0]
        run_tool("block", "verify", block, check=0)
        run_tool("wal", "inspect", node.data / "wal", check=0)
        shown = run_tool("query", "trace", "ab" * 16, "--data-dir", node.data, check=0).stdout
        self.assertIn("hello", shown)
        damaged = bytearray((block / "data.parquet").read_bytes())
        damaged[40] ^= 1  # in the body of the first page
        (block / "data.parquet").write_bytes(damaged)
        done = run_tool("block", "verify", block, check=65)
        self.assertIn("page", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
