# SPDX-License-Identifier: Apache-2.0
"""Uploads and exports through an HTTP proxy: every byte goes that way, TLS is with the other side, and
a proxy that refuses or says nonsense is an outage like any other."""
import base64
import pathlib
import re
import socket
import threading
import unittest

from cloud_case import CloudCase
from harness import DaemonTest, request, span, wait_for
from s3_case import S3Case
from s3_server import make_certificates

KEYS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"
SENT = "fermata_exporter_sent_spans_total"
DROPPED = "fermata_spans_dropped_total"


class Proxy:
    """Understands CONNECT, and POST of a whole URL; with secret only for who knows that."""

    def __init__(self, secret=None):
        self.asked, self.seen, self.refusal, self.secret = [], b"", None, secret
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer:
            head = b""
            while b"\r\n\r\n" not in head:
                more = peer.recv(1024)
                if not more:
                    return
                head += more
            self.asked.append(head.split(b"\r\n")[0].decode())
            head, _, body = head.partition(b"\r\n\r\n")
            is_whole = not head.startswith(b"CONNECT ")
            if is_whole:
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                while len(body) < int(length[1]):
                    body += peer.recv(65536)
            if self.refusal:
                peer.sendall(self.refusal)
                return
            given = re.search(r"(?i)\r\nproxy-authorization: *Basic (\S+)", head.decode())
            if self.secret and (not given or base64.b64decode(given[1]) != self.secret):
                peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if is_whole:
                self.forward(peer, head, body)
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                for part in (b"HTTP/1.1 200 Connection", b" established\r\nVia: x\r\n", b"\r\n"):
                    peer.sendall(part)  # an answer may come in pieces
                there = threading.Thread(target=self.copy, args=(peer, server), daemon=True)
                there.start()
                self.copy(server, peer)
                there.join(5)

    def forward(self, peer, head, body):
        """One request of a whole URL; the connection ends with its answer."""
        lines = head.split(b"\r\n")
        self.seen += head + body
        host, _, path = lines[0].split()[1].removeprefix(b"http://").partition(b"/")
        lines = [line for line in lines[1:] if not line.lower().startswith(b"proxy-")]
        name, _, port = host.decode().rpartition(":")
        with socket.create_connection((name, int(port))) as server:
            server.sendall(b"\r\n".join([b"POST /" + path + b" HTTP/1.1", *lines, b"Connection: close", b"", body]))
            while data := server.recv(65536):
                peer.sendall(data)

    def copy(self, source, target):
        try:
            while data := source.recv(65536):
                self.seen = (self.seen + data)[-(1 << 20):]
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class ProxyTest(S3Case):
    def proxy(self):
        proxy = Proxy()
        self.addCleanup(proxy.listener.close)
        return proxy

    def uploads(self, proxy, settings=None):
        daemon = self.s3_daemon({"upload.s3.proxy": f"127.0.0.1:{proxy.port}", **(settings or {})}).start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        return daemon

    def test_plain(self):
        self.server()
        proxy = self.proxy()
        self.uploads(proxy).stop()
        self.assertEqual(set(proxy.asked), {f"CONNECT 127.0.0.1:{self.s3.port} HTTP/1.1"})
        self.assertIn(b"AWS4-HMAC-SHA256", proxy.seen)

    def test_tls(self):
        folder = self.directory / "tls"
        folder.mkdir()
        tls = make_certificates(str(folder))
        self.server(tls=tls)
        proxy = self.proxy()
        self.uploads(proxy, {"upload.s3.tls_ca_file": tls["ca"]}).stop()
        self.assertEqual(set(proxy.asked), {f"CONNECT localhost:{self.s3.port} HTTP/1.1"})
        self.assertNotIn(b"AWS4-HMAC-SHA256", proxy.seen)

    def test_a_proxy_that_refuses(self):
        self.server()
        proxy = self.proxy()
        for refusal, text in ((b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
                              (b"HTTP/1.1 200 ok\r\n\r\nearly", "200 ok"), (b"no\r\n\r\n", "said: no"),
                              (b"x" * 5000, "too long"), (b"HTTP/1.1 20", "closed by the server")):
            proxy.refusal = refusal
            daemon = self.s3_daemon({"upload.s3.proxy": f"http://127.0.0.1:{proxy.port}"},
                                    f"node{len(self.daemons)}").start()
            self.make_block(daemon)
            wait_for(lambda d=daemon, t=text: t in d.log.read_text(), 20, text)
            self.assertEqual(self.s3.log, [])
            proxy.refusal = None
            self.wait_uploaded(daemon)
            daemon.stop()
            self.s3.log.clear()

    def test_a_proxy_that_wants_to_know_who_asks(self):
        self.server()
        proxy = self.proxy()
        proxy.secret = b"edge:s3cret"
        secret = self.directory / "proxy"
        secret.write_text("edge:s3cret\n")
        daemon = self.uploads(proxy, {"upload.s3.proxy_auth_file": secret})
        self.assertNotIn("s3cret", daemon.log.read_text())
        self.assertNotIn(b"roxy-", proxy.seen)  # for the proxy, not for the bucket
        daemon.stop()


class CloudProxyTest(CloudCase):
    def check(self, daemon, proxy):
        daemon.start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon)
        daemon.stop()
        port = self.cloud.url.rpartition(":")[2]
        self.assertEqual(set(proxy.asked), {f"CONNECT 127.0.0.1:{port} HTTP/1.1"})

    def settings(self, kind, proxy):
        (self.directory / "proxy").write_text("edge:s3cret\n")
        self.addCleanup(proxy.listener.close)
        return {f"upload.{kind}.proxy": f"127.0.0.1:{proxy.port}",
                f"upload.{kind}.proxy_auth_file": self.directory / "proxy"}

    def test_azure(self):
        self.azure()
        proxy = Proxy(b"edge:s3cret")
        self.check(self.azure_daemon("workload_identity", self.settings("azure", proxy)), proxy)

    def test_gcs(self):
        self.gcs()
        proxy = Proxy(b"edge:s3cret")
        self.check(self.gcs_daemon(settings=self.settings("gcs", proxy)), proxy)
        self.assertEqual(self.cloud.asked, ["service account"])

    def test_a_metadata_server_is_asked_directly(self):
        self.gcs()
        proxy = Proxy(b"edge:s3cret")
        daemon = self.gcs_daemon("metadata", self.settings("gcs", proxy)).start()
        proxy.refusal = b"HTTP/1.1 503 no\r\n\r\n"
        self.make_block(daemon)
        wait_for(lambda: self.cloud.asked and proxy.asked, 20, "a token and a try")
        self.assertEqual(self.cloud.objects, {})
        proxy.refusal = None
        self.wait_uploaded(daemon)
        daemon.stop()


class ExportProxyTest(DaemonTest):
    def proxy(self, secret=b"edge:s3cret"):
        proxy = Proxy(secret)
        self.addCleanup(proxy.listener.close)
        (self.directory / "proxy").write_text("edge:s3cret\n")
        return proxy

    def node(self, proxy, settings, name="node"):
        own = {"batch_timeout": "100ms", "retry_initial_interval": "50ms", "retry_max_interval": "300ms",
               "proxy": f"127.0.0.1:{proxy.port}", "proxy_auth_file": self.directory / "proxy", **settings}
        return self.daemon({f"exporter.otlp.a.{key}": value for key, value in own.items()}, name)

    def send(self, node, number):
        self.assertEqual(node.send(request([span(f"{number + 1:032x}", "1" * 16)]))[0], 200)

    def check(self, upstream, proxy, settings, asked):
        node = self.node(proxy, settings).start()
        for number in range(3):
            self.send(node, number)
            wait_for(lambda n=number: node.metric(SENT) == n + 1, 20, f"span {number}")
        self.assertEqual(set(proxy.asked), {asked})
        self.assertNotIn("s3cret", node.log.read_text())
        for number in range(3):
            self.assertEqual(upstream.span_ids(f"{number + 1:032x}"), ["1" * 16])
        self.assertEqual(node.metric("fermata_exporter_failures_total"), 0)
        node.stop()
        upstream.stop()

    def secure(self):
        return self.daemon({f"receiver.{name}.{key}": str(KEYS / file) for name in ("otlp_http", "otlp_grpc")
                            for key, file in (("tls_cert_file", "server.pem"), ("tls_key_file", "server.key"))},
                           "upstream").start()

    def test_grpc_in_the_clear(self):
        upstream, proxy = self.daemon(name="upstream").start(), self.proxy()
        port = upstream.ports["grpc"]
        self.check(upstream, proxy, {"endpoint": f"127.0.0.1:{port}"}, f"CONNECT 127.0.0.1:{port} HTTP/1.1")

    def test_grpc_over_tls(self):
        upstream, proxy = self.secure(), self.proxy()
        port = upstream.ports["grpc"]
        self.check(upstream, proxy, {"endpoint": f"https://localhost:{port}", "tls_ca_file": KEYS / "ca.pem"},
                   f"CONNECT localhost:{port} HTTP/1.1")
        self.assertNotIn(b"user-agent", proxy.seen.lower())

    def test_http_over_tls(self):
        upstream, proxy = self.secure(), self.proxy()
        port = upstream.ports["http"]
        self.check(upstream, proxy, {"endpoint": f"https://localhost:{port}", "tls_ca_file": KEYS / "ca.pem",
                                     "protocol": "http"}, f"CONNECT localhost:{port} HTTP/1.1")
        self.assertNotIn(b"user-agent", proxy.seen.lower())

    def test_http_in_the_clear(self):
        upstream, proxy = self.daemon(name="upstream").start(), self.proxy()
        url = f"http://127.0.0.1:{upstream.ports['http']}"
        self.check(upstream, proxy, {"endpoint": url, "protocol": "http", "compression": "none"},
                   f"POST {url}/v1/traces HTTP/1.1")

    def test_a_unix_socket_is_not_behind_a_proxy(self):
        path = self.directory / "otlp.sock"
        self.daemon({"receiver.otlp_grpc.endpoint": f"unix:{path}"}, "upstream").start()
        proxy = self.proxy()
        node = self.node(proxy, {"endpoint": f"unix:{path}"}).start()
        self.send(node, 0)
        wait_for(lambda: node.metric(SENT) == 1, 20, "the span")
        self.assertEqual(proxy.asked, [])

    def test_a_proxy_that_refuses(self):
        """Nothing is lost, whatever it says, until it lets through."""
        upstream = self.daemon(name="upstream").start()
        for number, (protocol, port) in enumerate((("http", "http"), ("grpc", "grpc")), 1):
            with self.subTest(protocol=protocol):
                proxy = self.proxy()
                secret = self.directory / "proxy"
                secret.write_text("edge:wrong\n")
                node = self.node(proxy, {"endpoint": f"http://127.0.0.1:{upstream.ports[port]}",
                                         "protocol": protocol}, protocol).start()
                self.send(node, number - 1)
                wait_for(lambda n=node: "407" in n.log.read_text(), 20, "the refusal")
                for text in ("no colon", "", "a:b\nc"):  # no line to be sent: nothing is asked
                    secret.write_text(text)
                    seen = len(node.log.read_text())
                    wait_for(lambda n=node, s=seen: "not one line" in n.log.read_text()[s:], 20, "the file's fault")
                secret.write_text("edge:s3cret")
                for refusal in (b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n", b"x" * 5000, b"HTTP/1.1 20"):
                    proxy.refusal = refusal
                    before = node.metric("fermata_exporter_failures_total")
                    wait_for(lambda n=node, b=before: n.metric("fermata_exporter_failures_total") > b + 1, 20, refusal)
                self.assertEqual(node.metric(SENT), 0)
                proxy.refusal = None
                wait_for(lambda n=node: n.metric(SENT) == 1, 20, "the span")
                self.assertEqual(node.metric(DROPPED), 0)
                self.assertEqual(upstream.span_ids(f"{number:032x}"), ["1" * 16])
                node.kill()


if __name__ == "__main__":
    unittest.main()
