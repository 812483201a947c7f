# SPDX-License-Identifier: Apache-2.0
"""Who may use a listener: certificates by name, passwords, tokens, users behind a unix socket; on
HTTP/1, HTTP/2 and gRPC; what a reload changes; and which configurations do not start."""
import base64
import http.client
import os
import pathlib
import pwd
import signal
import socket
import ssl
import subprocess
import time
import unittest

from harness import DaemonTest, free_port, http_request, wait_for
from test_otlp_grpc import Call, framed
from test_otlp_http import A1

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"
PROTOBUF = {"Content-Type": "application/x-protobuf"}

# "alice" has the password "wonderland": bcrypt, cost 5.
ALICE_LINE = "alice:$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW"
TOKEN = "s3cr3t-token-of-the-collector"


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def sha512_crypt(password, salt):
    return subprocess.run(["openssl", "passwd", "-6", "-salt", salt, password], check=True,
                          capture_output=True, text=True).stdout.strip()


class AuthTest(DaemonTest):
    section = "receiver.otlp_http"

    def file(self, name, text, mode=0o600):
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def users(self):
        self.slow = f"carol:{sha512_crypt('caramel', 'saltsalt')}\n"
        return self.file("users", f"# people\n\n{ALICE_LINE}\n{self.slow}")

    def tokens(self):
        return self.file("tokens", f"# machines\ncollector:{TOKEN}\ncollector:older-token\nother:another-token\n")

    def post(self, node, headers=None, port="http"):
        return http_request(node.ports[port], "POST", "/v1/traces", A1, {**PROTOBUF, **(headers or {})})

    # ---- headers ----

    def test_passwords(self):
        node = self.daemon({f"{self.section}.htpasswd_file": self.users()}).start()
        status, headers, _ = self.post(node)
        self.assertEqual(status, 401)
        self.assertIn("Basic realm", headers["www-authenticate"])
        self.assertEqual(self.post(node, basic("alice", "wonderland"))[0], 200)
        self.assertEqual(self.post(node, basic("carol", "caramel"))[0], 200)
        for wrong in (basic("alice", "wonderlanD"), basic("alice", ""), basic("mallory", "wonderland"),
                      bearer(TOKEN), {"Authorization": "Basic !!!"}, {"Authorization": "Negotiate abc"}):
            self.assertEqual(self.post(node, wrong)[0], 401, wrong)
            self.assertEqual(self.post(node, wrong)[0], 401, wrong)  # remembered, not hashed
        self.assertEqual(self.post(node, basic("alice", "wonderland"))[0], 200)
        self.assertEqual(http_request(node.ports["query"], "GET", "/ready")[0], 200)  # another listener
        text = node.log.read_text()
        self.assertIn("event=net.auth.refused", text)
        for secret in ("wonderland", "caramel", TOKEN, "$2b$", "$6$"):
            self.assertNotIn(secret, text)
        node.stop()

    def test_tokens_and_both(self):
        node = self.daemon({f"{self.section}.bearer_tokens_file": self.tokens(),
                            f"{self.section}.htpasswd_file": self.users()}).start()
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = peer.recv(4096).lower()
            self.assertIn(b" 401 ", answer)
            self.assertIn(b'\r\nwww-authenticate: basic realm="fermata"', answer)
            self.assertIn(b"\r\nwww-authenticate: bearer\r\n", answer)
        self.assertEqual(self.post(node, bearer(TOKEN))[0], 200)
        self.assertEqual(self.post(node, bearer("older-token"))[0], 200)
        self.assertEqual(self.post(node, {"Authorization": "bEARER  " + TOKEN})[0], 200)
        self.assertEqual(self.post(node, basic("alice", "wonderland"))[0], 200)
        self.assertEqual(self.post(node, bearer(TOKEN[:-1]))[0], 401)
        self.assertEqual(self.post(node, bearer(TOKEN + "x"))[0], 401)
        node.stop()

    def test_nothing_is_exempt(self):
        """Also /ready, /metrics and a browser's preflight are behind the listener's question."""
        node = self.daemon({"query.bearer_tokens_file": self.tokens()})
        node.start(wait=False)
        wait_for(lambda: "serve.ready" in node.log_text(), 20, "ready")
        for path in ("/ready", "/metrics", "/api/traces/00000000000000000000000000000001"):
            self.assertEqual(http_request(node.ports["query"], "GET", path)[0], 401)
        self.assertEqual(http_request(node.ports["query"], "GET", "/ready", headers=bearer(TOKEN))[0], 200)
        self.assertEqual(http_request(node.ports["query"], "GET", "/../x", headers={})[0], 401)
        node.stop()

    def test_refused_before_the_body(self):
        node = self.daemon({f"{self.section}.bearer_tokens_file": self.tokens(),
                            "limits.memory_limit": "16MiB"}).start()
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as peer:
            peer.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
                         b"Content-Length: 16000000\r\n\r\n")
            self.assertIn(b" 401 ", peer.recv(4096))
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as peer:
            peer.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                         b"Expect: 100-continue\r\n\r\n")
            self.assertIn(b" 401 ", peer.recv(4096))
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as peer:
            twice = f"Authorization: Bearer {TOKEN}\r\n" * 2
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + twice.encode() + b"\r\n")
            self.assertIn(b" 401 ", peer.recv(4096))  # two credentials are none
        node.stop()

    def grpc(self, node, headers=None):
        """The status of one export; also when the answer came before all of it was sent."""
        more = [(name.lower(), value) for name, value in (headers or {}).items()]
        return Call(node.ports["grpc"], headers=more).send(framed(A1), end=True).finish()[0]

    def test_grpc(self):
        node = self.daemon({"receiver.otlp_grpc.htpasswd_file": self.users(),
                            "receiver.otlp_grpc.bearer_tokens_file": self.tokens()}).start()
        refused = self.grpc(node)
        self.assertEqual((refused[":status"], refused["grpc-status"]), ("200", "16"))
        self.assertEqual(refused["content-type"], "application/grpc")
        for headers, status in ((basic("alice", "wonderland"), "0"), (basic("alice", "wonderland"), "0"),
                                (bearer(TOKEN), "0"), (basic("alice", "x"), "16"), (bearer("x"), "16")):
            self.assertEqual(self.grpc(node, headers)["grpc-status"], status)
        node.stop()

    def test_http2(self):
        """Clients that send first and listen afterwards are told when they have sent."""
        node = self.daemon({f"{self.section}.htpasswd_file": self.users()}).start()
        body = self.directory / "body"
        for size in (len(A1), 40000, 3000000):
            body.write_bytes(A1 if size == len(A1) else b"x" * size)
            for i in range(15):
                done = subprocess.run(
                    ["curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                     "Content-Type: application/x-protobuf", "-H", "Authorization: " +
                     basic("alice", f"{i % 5}")["Authorization"], "--data-binary", f"@{body}",
                     f"http://127.0.0.1:{node.ports['http']}/v1/traces"], capture_output=True, text=True, timeout=20)
                if size <= 40000:
                    self.assertEqual((done.stdout, done.returncode), ("401", 0), done.stderr)
        self.assertEqual(self.post(node, basic("alice", "wonderland"))[0], 200)
        node.stop()

    def test_requests_that_wait_for_a_hash(self):
        """Pipelined behind it, and many connections with one new password: one hash, all answered."""
        node = self.daemon({f"{self.section}.htpasswd_file": self.users()}).start()
        authorization = basic("carol", "caramel")["Authorization"]
        text = (f"POST /v1/traces HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n"
                f"Content-Type: application/x-protobuf\r\nContent-Length: {len(A1)}\r\n\r\n").encode() + A1
        peers = [socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) for _ in range(30)]
        for peer in peers:
            peer.sendall(text * 3)
        for peer in peers:
            seen = b""
            while seen.count(b"HTTP/1.1 200") < 3:
                more = peer.recv(65536)
                self.assertTrue(more, seen)
                seen += more
            peer.close()
        gone = [socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) for _ in range(20)]
        for i, peer in enumerate(gone):  # strangers who leave while their password is looked at
            peer.sendall(text.replace(authorization.encode(), basic("carol", f"{i}")["Authorization"].encode()))
            peer.close()
        wait_for(lambda: self.post(node, basic("alice", "wonderland"))[0] == 200, 10, "room in the queue")
        node.stop()

    def test_a_flood_of_wrong_passwords_meets_a_bound(self):
        users = self.file("slow", "dora:$2b$10$abcdefghijklmnopqrstuu" + "A" * 31 + "\n" + ALICE_LINE + "\n")
        node = self.daemon({f"{self.section}.htpasswd_file": users}).start()
        self.assertEqual(self.post(node, basic("alice", "wonderland"))[0], 200)  # remembered from here on
        peers = []
        for i in range(100):
            peer = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=20)
            word = basic("dora", f"wrong {i}")["Authorization"]
            peer.sendall(f"POST /v1/traces HTTP/1.1\r\nHost: a\r\nAuthorization: {word}\r\n"
                         f"Content-Length: 0\r\n\r\n".encode())
            peers.append(peer)
        begin = time.monotonic()
        self.assertEqual(self.post(node, basic("alice", "wonderland"))[0], 200)
        self.assertLess(time.monotonic() - begin, 1)
        statuses = [peer.recv(4096).split()[1] for peer in peers]
        for peer in peers:
            peer.close()
        self.assertGreaterEqual(statuses.count(b"503"), 50, statuses)
        self.assertGreaterEqual(statuses.count(b"401"), 10, statuses)
        self.assertEqual(statuses.count(b"503") + statuses.count(b"401"), 100)
        node.stop()

    # ---- files ----

    def test_reload(self):
        users, tokens = self.users(), self.tokens()
        node = self.daemon({f"{self.section}.htpasswd_file": users,
                            f"{self.section}.bearer_tokens_file": tokens}).start()
        connection = http.client.HTTPConnection("127.0.0.1", node.ports["http"], timeout=10)

        def status(headers):
            connection.request("POST", "/v1/traces", A1, {**PROTOBUF, **headers})
            response = connection.getresponse()
            response.read()
            return response.status

        self.assertEqual(status(basic("alice", "wonderland")), 200)
        self.assertEqual(status(bearer(TOKEN)), 200)
        self.file("users", self.slow)
        self.file("tokens", "fresh:brand-new-token\n")
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: status(bearer("brand-new-token")) == 200, 10, "the new token")
        self.assertEqual(status(bearer(TOKEN)), 401)
        self.assertEqual(status(basic("alice", "wonderland")), 401)  # also forgotten
        self.assertEqual(status(basic("carol", "caramel")), 200)
        self.file("users", "dave:plain text\n")  # refused; what was in use stays
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "listener.reload" in node.log_text(), 10, "the complaint")
        self.assertIn("users:1", node.log_text())
        self.assertEqual(status(basic("carol", "caramel")), 200)
        connection.close()
        node.stop()

    def refused_start(self, settings, *words):
        node = self.daemon(settings, f"refused-{free_port()}")
        node.start(wait=False)
        self.assertEqual(node.process.wait(20), 78, node.log_text())
        for word in words:
            self.assertIn(word, node.log_text())

    def test_files_that_are_refused(self):
        key = f"{self.section}.htpasswd_file"
        for line in ("dave:secret", "dave:$apr1$abcdefgh$aaaaaaaaaaaaaaaaaaaaa1", "dave:$1$abcdefgh$aaaaaaaaaaaaaaaaaaaaa1",
                     "dave:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "dave:abJnggxhB/yWI", "dave", "dave:"):
            self.refused_start({key: self.file("bad", f"# x\n{ALICE_LINE}\n{line}\n")}, "htpasswd_file", "bad:3")
        self.refused_start({key: self.file("bad", f"{ALICE_LINE}\n{ALICE_LINE}\n")}, "bad:2", "same user")
        self.refused_start({key: self.file("bad", "# nobody\n")}, "htpasswd_file", "nobody")
        self.refused_start({key: str(self.directory / "nowhere")}, "htpasswd_file", "nowhere")
        tokens = f"{self.section}.bearer_tokens_file"
        self.refused_start({tokens: self.file("bad", "a:good-token\nno-colon\n")}, "bearer_tokens_file", "bad:2")
        self.assertNotIn("no-colon", self.daemons[-1].log_text())

    def test_readable_secrets_are_warned_about(self):
        node = self.daemon({f"{self.section}.bearer_tokens_file": self.file("open", "a:token\n", 0o644)}).start()
        self.assertIn("event=net.secret.readable", node.log.read_text())
        node.stop()

    # ---- certificates ----

    def authority(self):
        keys = self.directory / "keys"
        keys.mkdir(exist_ok=True)

        def run(*command):
            subprocess.run(command, check=True, cwd=keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        run("openssl", "req", "-x509", *curve, "-days", "2", "-subj", "/CN=client CA", "-keyout", "ca.key", "-out",
            "ca.pem")
        people = {"dns": ("/CN=whoever", "DNS:web.apps.example"), "deep": ("/CN=x", "DNS:a.web.apps.example"),
                  "spiffe": ("/CN=y", "URI:spiffe://example/ns/shop"), "cn": ("/CN=batch-job", ""),
                  "trick": ("/CN=batch-job", "DNS:evil.example")}
        for name, (subject, names) in people.items():
            run("openssl", "req", *curve, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
            (keys / f"{name}.ext").write_text(f"subjectAltName={names}\n" if names else "")
            run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return keys

    def tls_settings(self, keys, **more):
        return {f"{self.section}.tls_cert_file": str(FIXTURES / "server.pem"),
                f"{self.section}.tls_key_file": str(FIXTURES / "server.key"),
                f"{self.section}.tls_client_ca_file": str(keys / "ca.pem"),
                **{f"{self.section}.{key}": value for key, value in more.items()}}

    def tls_post(self, node, keys, name, headers=None):
        """The status, or None if the handshake or the connection was refused."""
        context = ssl.create_default_context(cafile=str(FIXTURES / "ca.pem"))
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if name:
            context.load_cert_chain(str(keys / f"{name}.pem"), str(keys / f"{name}.key"))
        connection = http.client.HTTPSConnection("localhost", node.ports["http"], context=context, timeout=10)
        try:
            connection.request("POST", "/v1/traces", A1, {**PROTOBUF, **(headers or {})})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def test_certificates_by_name(self):
        keys = self.authority()
        names = "*.apps.example spiffe://example/ns/shop batch-job"
        node = self.daemon(self.tls_settings(keys, tls_client_allowed_names=names)).start()
        for name in ("dns", "spiffe", "cn"):
            self.assertEqual(self.tls_post(node, keys, name), 200, name)
        for name in ("deep", "trick", None):
            self.assertIsNone(self.tls_post(node, keys, name), name)
        self.assertIn("tls_client_allowed_names", node.log.read_text())
        node.stop()
        node = self.daemon(self.tls_settings(keys), "any").start()
        for name in ("dns", "deep", "trick", "cn"):
            self.assertEqual(self.tls_post(node, keys, name), 200, name)
        self.assertIsNone(self.tls_post(node, keys, None))
        node.stop()

    def test_certificate_and_header(self):
        keys = self.authority()
        node = self.daemon(self.tls_settings(keys, bearer_tokens_file=self.tokens())).start()
        self.assertEqual(self.tls_post(node, keys, "dns"), 401)
        self.assertEqual(self.tls_post(node, keys, "dns", bearer(TOKEN)), 200)
        self.assertIsNone(self.tls_post(node, keys, None, bearer(TOKEN)))
        node.stop()

    def test_sessions_are_resumed(self):
        settings = {key: value for key, value in self.tls_settings(self.directory).items() if "client_ca" not in key}
        node = self.daemon(settings).start()
        context = ssl.create_default_context(cafile=str(FIXTURES / "ca.pem"))
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        session, reused = None, []
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    secure.recv(100)
                    reused.append(secure.session_reused)
                    session = secure.session
        self.assertEqual(reused, [False, True])
        node.stop()

    # ---- unix sockets ----

    def unix_status(self, path, user=None):
        """From a child that is another user, if one is named."""
        child = os.fork()
        if child == 0:
            code = 99
            try:
                if user:
                    os.setgroups([])
                    os.setgid(pwd.getpwnam(user).pw_gid)
                    os.setuid(pwd.getpwnam(user).pw_uid)
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.settimeout(10)
                    peer.connect(path)
                    peer.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
                    code = 4 if b" 404 " in peer.recv(4096) else 1
            except PermissionError:
                code = 13
            except OSError:
                code = 1
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def test_unix_users_and_mode(self):
        os.chmod(self.directory, 0o755)
        path = str(self.directory / "otlp.sock")
        me = pwd.getpwuid(os.getuid()).pw_name
        settings = {f"{self.section}.endpoint": f"unix:{path}", f"{self.section}.unix_mode": "0666",
                    f"{self.section}.unix_allowed_users": f"{me} 65533"}
        node = self.daemon(settings).start()
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o666)
        self.assertEqual(self.unix_status(path), 4)
        if os.getuid() == 0:
            self.assertEqual(self.unix_status(path, "nobody"), 1)
            self.assertIn("unix_allowed_users", node.log.read_text())
        node.kill()  # leaves the socket behind
        node = self.daemon({**settings, f"{self.section}.unix_mode": "0600",
                            f"{self.section}.unix_allowed_users": ""}).start()
        self.assertEqual(self.unix_status(path), 4)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        if os.getuid() == 0:
            self.assertEqual(self.unix_status(path, "nobody"), 13)
        node.stop()
        self.refused_start({**settings, f"{self.section}.unix_allowed_users": "no-such-user-here"},
                           "unix_allowed_users", "no-such-user-here")

    # ---- off loopback ----

    def test_off_loopback(self):
        tokens = self.tokens()
        open_to_all = {f"{self.section}.endpoint": f"0.0.0.0:{free_port()}"}
        tls = {f"{self.section}.tls_cert_file": str(FIXTURES / "server.pem"),
               f"{self.section}.tls_key_file": str(FIXTURES / "server.key")}
        with_tokens = {f"{self.section}.bearer_tokens_file": tokens}
        self.refused_start(open_to_all, "asks nobody", "auth = none")
        self.refused_start({**open_to_all, **tls}, "asks nobody", "auth = none")
        self.refused_start({**open_to_all, **with_tokens}, "no TLS", "tls_cert_file")
        self.refused_start({**open_to_all, **with_tokens, f"{self.section}.auth": "none"}, "both auth = none")
        self.refused_start({"receiver.jaeger_thrift_compact.endpoint": f"0.0.0.0:{free_port()}"}, "auth = none")
        for settings in ({**tls, **with_tokens}, {f"{self.section}.auth": "none"}):
            node = self.daemon({**open_to_all, **settings}, f"open-{len(settings)}")
            node.start()
            node.stop()

    def test_tls_13_alone(self):
        modern = subprocess.run(["pkg-config", "--atleast-version=3.6", "mbedtls"]).returncode == 0
        settings = {f"{self.section}.tls_cert_file": str(FIXTURES / "server.pem"),
                    f"{self.section}.tls_key_file": str(FIXTURES / "server.key"),
                    f"{self.section}.tls_min_version": "1.3"}
        if not modern:
            self.refused_start(settings, "tls_min_version", "mbedtls 2")
            return
        node = self.daemon(settings).start()
        context = ssl.create_default_context(cafile=str(FIXTURES / "ca.pem"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as plain:
            with self.assertRaises((ssl.SSLError, OSError)):
                context.wrap_socket(plain, server_hostname="localhost")
        node.stop()


if __name__ == "__main__":
    unittest.main()
