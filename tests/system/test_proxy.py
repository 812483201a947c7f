# SPDX-License-Identifier: Apache-2.0
"""Uploads through an HTTP proxy: every byte goes that way, TLS is with the bucket, and a proxy that
refuses or says nonsense is an outage like any other."""
import socket
import threading
import unittest

from harness import wait_for
from s3_case import S3Case
from s3_server import make_certificates


class Proxy:
    """Understands CONNECT and nothing else."""

    def __init__(self):
        self.asked, self.seen, self.refusal = [], b"", None
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
            if self.refusal:
                peer.sendall(self.refusal)
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                for part in (b"HTTP/1.1 200 Connection", b" established\r\nVia: x\r\n", b"\r\n"):
                    peer.sendall(part)  # an answer may come in pieces
                there = threading.Thread(target=self.copy, args=(peer, server), daemon=True)
                there.start()
                self.copy(server, peer)
                there.join(5)

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


if __name__ == "__main__":
    unittest.main()
