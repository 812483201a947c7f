# SPDX-License-Identifier: Apache-2.0
"""Rows of OTLP: gRPC (G) and HTTP (H)."""
import gzip
import json
import socket
import subprocess
import zlib

import h2.config
import h2.connection
import h2.events
import h2.settings

from conformance import attributes, kind_of, packed, parent_of, show, status_of, times_of, trace_of, zstd
from harness import http_request, request, span, wait_for
from test_otlp_grpc import (A1, EXPORT, SERVICE, TRACE, UNKNOWN, Call, PaddedCall, field, fixed32, fixed64,
                            framed, make_request, make_span, string_attribute, varint)

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
GZIP = (("grpc-encoding", "gzip"),)
OK, BAD = "grpc 0", "grpc 3"


def store(n, row, *fields, **keywords):
    """One span with those fields; what was answered, the span, its resource."""
    trace = trace_of(row)
    said = n.grpc(make_request(make_span(bytes.fromhex(trace), *fields), **keywords))
    found, resource, _ = n.one(trace)
    return said, found, resource


def g1(n):
    headers, body, reset = Call(n.ports["grpc"]).send(framed(A1), end=True).finish()
    found = n.one(TRACE)[0]
    return (f"{n.say_grpc(headers, body, reset)}, message {body.hex()}, kind {kind_of(found)}, "
            f"flags {found.get('flags')}")


def g7(n):
    headers, _, _ = Call(n.ports["grpc"], headers=(("grpc-encoding", "br"),)).send(framed(A1, 1), end=True).finish()
    return f"grpc {headers['grpc-status']}, grpc-accept-encoding {headers.get('grpc-accept-encoding')}"


def g10(n):
    bomb = gzip.compress(bytes(64 << 20))
    headers, _, _ = Call(n.ports["grpc"], headers=GZIP).send(framed(bomb, 1), end=True).finish()
    return f"grpc {headers['grpc-status']}, RetryInfo {'grpc-status-details-bin' in headers}"


def g12(n):
    said = []
    for size in (1 << 20, (1 << 20) + 1):
        fill = size - 5 - len(A1) - 2 - 3
        said.append(n.grpc(A1 + varint(100 << 3 | 2) + varint(fill) + bytes(fill)))
    return "; ".join(said)


def g14(n):
    return n.say_grpc(*PaddedCall(n.ports["grpc"]).send(framed(A1), end=True).finish())


def g19(n):
    return "; ".join(n.grpc(b"", path=f"/opentelemetry.proto.collector.{signal}/Export")
                     for signal in ("metrics.v1.MetricsService", "logs.v1.LogsService"))


def g22(n):
    said = [n.grpc(A1, headers=(("grpc-timeout", text),)) for text in ("99999999H", "12x", "123456789S")]
    shortest = n.grpc(A1, headers=(("grpc-timeout", "1n"),))
    return "; ".join([f"{'0 or 4' if shortest in ('grpc 0', 'grpc 4') else shortest}", *said])


def g24(n):
    return ", ".join(sorted({n.grpc(A1[:cut]) for cut in range(3, len(A1))}))


def g25(n):
    trace = trace_of("G25")
    one = make_span(bytes.fromhex(trace), UNKNOWN, field(9, string_attribute(b"k", b"v") + UNKNOWN),
                    field(11, field(2, b"e") + UNKNOWN), field(15, field(3, 1) + UNKNOWN))
    scope = field(1, field(1, b"scope") + UNKNOWN) + field(2, one) + UNKNOWN
    return f"{n.grpc(field(1, SERVICE + field(2, scope) + UNKNOWN) + UNKNOWN)}, {n.count(trace)}"


def g27(n):
    return "; ".join(n.grpc(make_request(make_span(bytes.fromhex(trace_of("G27")), b"\x30" + bad)))
                     for bad in (b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02"))


def bad_span(row, trace_id, span_id=b"\1" * 8):
    return lambda n: n.grpc(make_request(make_span(trace_id, span_id=span_id)))


def g30(n):
    good = bytes.fromhex(trace_of("G30"))
    return n.grpc(make_request(field(1, good) + field(5, b"n"), make_span(good, span_id=b"\1" * 7),
                               make_span(good, span_id=bytes(8))))


def g31(n):
    said = []
    for part, parent in enumerate((bytes(8), b"\1\2\3")):
        trace = trace_of("G31", part)
        said.append(n.grpc(make_request(make_span(bytes.fromhex(trace), field(4, parent)))) +
                    f", parent {parent_of(n.one(trace)[0])}")
    return "; ".join(said)


def g32(n):
    trace = bytes.fromhex(trace_of("G32"))
    said = n.grpc(make_request(make_span(bytes(16)), make_span(trace, span_id=b"\1" * 8),
                               make_span(trace, span_id=b"\2" * 8)))
    return f"{said}, {n.count(trace.hex())}"


def g33(n):
    nested = field(5, field(1, field(6, field(1, field(1, b"k") + field(2, field(5, field(
        1, field(1, b"deep"))))))))
    said, found, _ = store(n, "G33", field(9, field(1, b"a") + field(2, b"")),
                           field(9, field(1, b"b") + field(2, nested)),
                           field(9, field(1, b"c") + field(2, field(7, b"\0\xff"))),
                           field(9, field(1, b"d") + field(2, field(2, 0))))
    return f"{said}, {show(attributes(found))}"


def g34(n):
    deep = b""
    for _ in range(10_000):
        deep = field(5, field(1, deep))
    said, found, _ = store(n, "G34", field(9, field(1, b"deep") + field(2, deep)))
    depth = json.dumps(found["attributes"][0]).count("arrayValue")
    return f"{said}, stored with at most 64 levels: {depth <= 64}"


def g35(n):
    said, found, _ = store(n, "G35", field(9, field(1, b"k") + field(2, field(1, b"text") + field(3, 5))))
    return f"{said}, {show(attributes(found))}"


def g36(n):
    more = SERVICE + field(1, field(1, string_attribute(b"more", b"yes")))
    said, _, resource = store(n, "G36", resource=more)
    return f"{said}, resource {show(resource)}"


def g37(n):
    said, found, _ = store(n, "G37", field(9, field(3, 1) + field(2, field(8, 1))))
    return f"{said}, {show(attributes(found))}"


def g38(n):
    said, found, _ = store(n, "G38", field(5, b"a\xffb\0c"))
    return f"{said}, name {json.dumps(found['name'])}"


def g39(n):
    said, found, _ = store(n, "G39", field(6, 99), field(15, field(3, 7)))
    return f"{said}, kind {found['kind']}, status {found['status']['code']}"


def g40(n):
    a, b, c = (bytes.fromhex(trace_of("G40", part)) for part in range(3))
    said = n.grpc(make_request(make_span(a), number=1000))
    both = field(1, SERVICE + field(1000, field(2, make_span(c))) + field(2, field(2, make_span(b))))
    said += "; " + n.grpc(both)
    return f"{said}; alone {n.count(a.hex())}, beside field 2 {n.count(c.hex())}"


def protobuf_of(n, row, *fields, **keywords):
    said, _, _ = store(n, row, *fields, **keywords)
    body = http_request(n.ports["query"], "GET", f"/api/traces/{trace_of(row)}",
                        headers={"Accept": "application/protobuf"})[2]
    return said, body


def g41(n):
    said, body = protobuf_of(n, "G41", fixed32(16, 0xFFFFFFFF))
    return f"{said}, flags kept {fixed32(16, 0xFFFFFFFF) in body}"


def g42(n):
    entity = field(3, field(2, b"host") + field(3, b"host.id"))
    resource = field(1, field(1, string_attribute(b"service.name", b"svc")) + entity)
    said, body = protobuf_of(n, "G42", resource=resource)
    return f"{said}, entity_refs kept {entity in body}"


def g43(n):
    top = 0xFFFFFFFF
    fields = (field(10, top), field(12, top), field(14, top))
    said, body = protobuf_of(n, "G43", *fields)
    return f"{said}, counts kept {all(f in body for f in fields)}"


def g44(n):
    far, said = 9_223_000_000_000_000_000, []
    for part, (start, end) in enumerate(((0, 0), (2_000_000_000, 1_000_000_000), (far, far + 1))):
        trace = trace_of("G44", part)
        n.grpc(make_request(make_span(bytes.fromhex(trace), fixed64(7, start), fixed64(8, end))))
        said.append(str(times_of(n.one(trace)[0]) == (start, end)))
    return "times kept " + ", ".join(said)


def g45(n):
    text = "x" + "\u00e4" * 500_000
    said, found, _ = store(n, "G45", field(9, string_attribute(b"k", text.encode())))
    kept = found["attributes"][0]["value"]["stringValue"]
    return f"{said}, {len(kept.encode())} bytes, a prefix {text.startswith(kept)}"


def g46(n):
    connection = socket.create_connection(("127.0.0.1", n.ports["grpc"]), timeout=10)
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 3})
    streams, said = set(), []
    for _ in range(100):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", EXPORT),
                                     (":authority", "x"), ("content-type", "application/grpc"),
                                     ("te", "trailers")])
        streams.add(stream)
    connection.sendall(client.data_to_send())
    for stream in sorted(streams, reverse=True):
        client.send_data(stream, framed(A1), end_stream=True)
    connection.sendall(client.data_to_send())
    while streams:
        data = connection.recv(65536)
        if not data:
            return "the connection was closed"
        for event in client.receive_data(data):
            if isinstance(event, h2.events.TrailersReceived):
                said.append(dict(event.headers)["grpc-status"])
            elif isinstance(event, h2.events.DataReceived):
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                streams.discard(event.stream_id)
        connection.sendall(client.data_to_send())
    connection.close()
    return f"{said.count('0')} answered grpc 0"


def g47(n):
    with socket.create_connection(("127.0.0.1", n.ports["grpc"]), timeout=10) as flood:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        for _ in range(5000):
            client.ping(b"12345678")
        try:
            flood.sendall(client.data_to_send())
            while flood.recv(65536):
                pass
        except OSError:
            pass
    return f"then {n.grpc(A1)}"


def memory(n):
    return n.daemon.metric("fermata_memory_used_bytes")


def g48(n):
    call = Call(n.ports["grpc"]).send(framed(bytes(600_000))[:500_000])
    wait_for(lambda: memory(n) >= 500_000, 10, "the body")
    call.h2.reset_stream(call.stream)
    call.flush()
    wait_for(lambda: memory(n) == 0, 10, "the budget")
    call.socket.close()
    return "memory given back"


def g49(n):
    calls = [Call(n.ports["grpc"]).send(framed(A1), end=True) for _ in range(100)]
    for call in calls:
        while not call.ended:
            call.receive()
    gone = 0
    for call in calls:
        rest = b""
        call.socket.settimeout(15)
        while chunk := call.socket.recv(4096):
            rest += chunk
        gone += b"\0\0\x08\x07\0\0\0\0\0" in rest
        call.socket.close()
    return f"{gone} of 100 told GOAWAY after idle_timeout"


def overload(n):
    """A client that holds most of the memory budget; closed by the caller."""
    holder = socket.create_connection(("127.0.0.1", n.tight.ports["http"]), timeout=10)
    holder.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                   b"Content-Length: 1000000\r\n\r\n" + bytes(900_000))
    wait_for(lambda: n.tight.metric("fermata_memory_used_bytes") > 900_000, 10, "the held bytes")
    return holder


def g50(n):
    with overload(n):
        headers, _, _ = Call(n.tight.ports["grpc"]).send(framed(A1 * 2000), end=True).finish()
    wait_for(lambda: n.tight.metric("fermata_memory_used_bytes") == 0, 10, "the budget")
    return (f"grpc {headers['grpc-status']}, details {'grpc-status-details-bin' in headers}, "
            f"google.rpc.retryinfo-bin {headers.get('google.rpc.retryinfo-bin')}")


GRPC = [
    ("G1", "one span, every id good", "grpc 0, message 0000000000, kind 2, flags 257", g1),
    ("G2", "the empty message", OK, lambda n: n.grpc(b"")),
    ("G3", "ResourceSpans without scopes, ScopeSpans without spans", "grpc 0; grpc 0",
     lambda n: "; ".join((n.grpc(b"\x0a\0"), n.grpc(b"\x0a\x02\x12\0")))),
    ("G4", "gzip", OK, lambda n: n.grpc(framed(packed("gzip", A1), 1), frame=False, headers=GZIP)),
    ("G5", "gzip of two members", OK, lambda n: n.grpc(
        framed(gzip.compress(A1[:40]) + gzip.compress(A1[40:]), 1), frame=False, headers=GZIP)),
    ("G6", "compressed flag without grpc-encoding", "grpc 13", lambda n: n.grpc(framed(A1, 1), frame=False)),
    ("G7", "grpc-encoding: br", "grpc 12, grpc-accept-encoding identity,gzip,zstd", g7),
    ("G8", "flag byte 2", "grpc 13", lambda n: n.grpc(framed(A1, 2), frame=False)),
    ("G9", "broken gzip", "grpc 13", lambda n: n.grpc(framed(b"not gzip", 1), frame=False, headers=GZIP)),
    ("G10", "gzip bomb, 64 KiB for 64 MiB", "grpc 8, RetryInfo False", g10),
    ("G11", "length prefix 0xFFFFFFFF", "grpc 8", lambda n: n.grpc(b"\0\xff\xff\xff\xff" + A1, frame=False)),
    ("G12", "a message at the limit, and one byte more", "grpc 0; grpc 8", g12),
    ("G13", "the prefix in five DATA frames with empty ones between", OK, lambda n: n.grpc(A1, pieces=1)),
    ("G14", "padding and CONTINUATION", OK, g14),
    ("G15", "the stream ends inside the message", "grpc 13", lambda n: n.grpc(framed(A1)[:-1], frame=False)),
    ("G16", "two messages in one call", "grpc 13", lambda n: n.grpc(framed(A1) * 2, frame=False)),
    ("G17", "no message at all", "grpc 13", lambda n: n.grpc(b"", end_stream=True)),
    ("G18", "an unknown method", "grpc 12", lambda n: n.grpc(b"", path="/x.y/Z")),
    ("G19", "metrics and logs services", "grpc 12; grpc 12", g19),
    ("G20", "content-type text/plain", "http 415, grpc 3", lambda n: n.grpc(A1, content_type="text/plain")),
    ("G21", "application/grpc+proto, application/grpc;x=y", "grpc 0; grpc 0", lambda n: "; ".join(
        n.grpc(A1, content_type=f"application/grpc{more}") for more in ("+proto", ";x=y"))),
    ("G22", "grpc-timeout 1n; 99999999H; 12x; 123456789S",
     "0 or 4; grpc 0; http 400, grpc 13; http 400, grpc 13", g22),
    ("G23", "random bytes", BAD, lambda n: n.grpc(b"\xff\xfe\xfd")),
    ("G24", "the message cut at every byte", BAD, g24),
    ("G25", "unknown fields of every wire type at every level", "grpc 0, 1 stored", g25),
    ("G26", "a known field with another wire type", OK, lambda n: n.grpc(field(1, field(1, 5)))),
    ("G27", "varints of 11 bytes, and over 64 bits", "grpc 3; grpc 3", g27),
    ("G28", "trace id of zeros", "grpc 0, rejected 1", bad_span("G28", bytes(16))),
    ("G29", "trace id of 8 bytes", "grpc 0, rejected 1", bad_span("G29", b"\1" * 8)),
    ("G30", "span id missing, of 7 bytes, of zeros", "grpc 0, rejected 3", g30),
    ("G31", "parent id of zeros; of 3 bytes", "grpc 0, parent none; grpc 0, parent none", g31),
    ("G32", "one bad span and two good ones", "grpc 0, rejected 1, 2 stored", g32),
    ("G33", "empty value, nested array and map, bytes, false",
     'grpc 0, {"a": null, "b": [{"k": ["deep"]}], "c": "00ff", "d": false}', g33),
    ("G34", "a value 10,000 levels deep", "grpc 0, stored with at most 64 levels: True", g34),
    ("G35", "a value given twice, text then number", 'grpc 0, {"k": 5}', g35),
    ("G36", "resource given twice", 'grpc 0, resource {"more": "yes", "service.name": "svc"}', g36),
    ("G37", "key and value by string index", 'grpc 0, {"": null}', g37),
    ("G38", "a name with a byte that is not UTF-8 and a NUL", 'grpc 0, name "a\\ufffdb\\u0000c"', g38),
    ("G39", "kind 99, status code 7", "grpc 0, kind 99, status 7", g39),
    ("G40", "scope spans in the old field 1000, alone and beside field 2",
     "grpc 0; grpc 0; alone 1 stored, beside field 2 0 stored", g40),
    ("G41", "flags 0xFFFFFFFF", "grpc 0, flags kept True", g41),
    ("G42", "entity_refs", "grpc 0, entity_refs kept True", g42),
    ("G43", "dropped counts of 2^32-1", "grpc 0, counts kept True", g43),
    ("G44", "no times; end before start; the year 2262", "times kept True, True, True", g44),
    ("G45", "a text of a megabyte", "grpc 0, 2047 bytes, a prefix True", g45),
    ("G46", "100 streams at once with windows of 3 bytes", "100 answered grpc 0", g46),
    ("G47", "5,000 PINGs at once", "then grpc 0", g47),
    ("G48", "RST_STREAM inside the body", "memory given back", g48),
    ("G49", "100 connections left idle", "100 of 100 told GOAWAY after idle_timeout", g49),
    ("G50", "the memory budget is used up",
     "grpc 14, details True, google.rpc.retryinfo-bin CgIIAQ", g50),
]


# ---- HTTP ----

def post(n, body, headers=None, path="/v1/traces", method="POST", show_headers=("Content-Type",)):
    return n.http("http", path, body, headers, method, show_headers)


def said(n, *arguments, **keywords):
    text, answer = post(n, *arguments, **keywords)
    return f"{text}, {answer.decode(errors='replace')}" if len(answer) < 60 else text


def code(n, *arguments, **keywords):
    return post(n, *arguments, show_headers=(), **keywords)[0]


def codes(n, *requests):
    return ", ".join(code(n, *r) if isinstance(r, tuple) else code(n, r) for r in requests)


def json_span(row, part=0, **fields):
    return span(trace_of(row, part), "00000000000000aa", **fields)


def json_body(*spans):
    return json.dumps(request(list(spans))).encode()


def h8(n):
    seen = []
    for body, headers in ((A1, PROTOBUF), (json_body(json_span("H8")), JSON)):
        for name, data in (("gzip", gzip.compress(body)), ("zstd", zstd(body)), ("deflate", zlib.compress(body)),
                           ("br", body)):
            seen.append(code(n, data, {**headers, "Content-Encoding": name}))
    return ", ".join(seen)


def status_line(answer):
    return answer.split(b"\r\n")[0].decode() if answer else "closed"


def h10(n):
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in A1)
    return status_line(n.raw("http", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf"
                             b"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks +
                             b"0\r\nX-Trailer: 1\r\n\r\n"))


def h11(n):
    with socket.create_connection(("127.0.0.1", n.ports["http"]), timeout=5) as s:
        s.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                  b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(A1))
        first = status_line(s.recv(100))
        s.sendall(A1)
        return f"{first}; {status_line(s.recv(1000))}"


def h12(n):
    answer = n.raw("http", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n12345")
    return f"{status_line(answer)}, closed {b'connection: close' in answer.lower()}"


def head(n, extra, body=b""):
    return n.raw("http", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n" +
                 extra + b"\r\n" + body)


def curl(n, *options, door="http", path="/v1/traces"):
    body = n.daemon.directory / "a1.bin"
    body.write_bytes(A1)
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", *options, "-H",
                           "Content-Type: application/x-protobuf", "--data-binary", f"@{body}",
                           f"http://127.0.0.1:{n.ports[door]}{path}"], capture_output=True, text=True)
    return done.stdout + done.stderr


def h17(n):
    one = (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
           b"Content-Length: %d\r\n%s\r\n")
    answer = n.raw("http", one % (len(A1), b"") + A1 + one % (3, b"Connection: close\r\n") + b"abc")
    return "; ".join(line.decode() for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 "))


def h18(n):
    with socket.create_connection(("127.0.0.1", n.ports["http"]), timeout=10) as s:
        s.sendall(b"POST /v1/traces HTTP/1.1\r\nHost:")
        answer = b""
        while chunk := s.recv(1000):  # until the daemon closes, or this times out
            answer += chunk
        return status_line(answer) + ", closed"


def h19(n):
    answer = n.raw("http", b"POST /v1/traces HTTP/1.0\r\nContent-Type: application/x-protobuf\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(A1) + A1)
    return f"{status_line(answer)}, closed {b'connection: close' in answer.lower()}"


def h23(n):
    seen = []
    for body in (b"[]", b'"x"', b"{"):
        text, answer = post(n, body, JSON)
        seen.append(f"{text}, code {json.loads(answer)['code']}")
    return "; ".join(sorted(set(seen)))


def h24(n):
    trace = trace_of("H24")
    body = {"resource_spans": [{"scope_spans": [{"spans": [{
        "trace_id": trace, "span_id": "00000000000000aa", "start_time_unix_nano": "5",
        "end_time_unix_nano": "6"}]}]}]}
    return f"{code(n, json.dumps(body).encode(), JSON)}, {n.count(trace)}"


def h25(n):
    trace = trace_of("H25")
    upper = json_body(span(trace.upper(), "AAAAAAAAAAAAAAAA"))
    coded = json_body(span("W47/95gDgQPSabYzgT/GDA==", "7uGbfsPBsXQ="))
    answer = post(n, coded, JSON)[1]
    return (f"{code(n, upper, JSON)}, {n.count(trace)}; "
            f"rejected {json.loads(answer)['partialSuccess']['rejectedSpans']}")


def h26(n):
    said_ = code(n, json_body({**json_span("H26"), "kind": "SPAN_KIND_SERVER"}), JSON)
    return f"{said_}, kind {kind_of(n.one(trace_of('H26'))[0])}"


def h27(n):
    seen = []
    for part, text in enumerate(("1544712660000000000", '"1544712660000000000"', "1.54471266e18")):
        body = json_body({**json_span("H27", part), "startTimeUnixNano": "@"}).replace(b'"@"', text.encode())
        seen.append(f"{code(n, body, JSON)} {times_of(n.one(trace_of('H27', part))[0])[0]}")
    return ", ".join(seen)


def values(n, row, *texts):
    seen = []
    for part, (kind, text) in enumerate(texts):
        body = json_body({**json_span(row, part), "attributes": [{"key": "k", "value": {kind: "@"}}]})
        answer = code(n, body.replace(b'"@"', text.encode()), JSON)
        seen.append(f"{answer} {show(attributes(n.one(trace_of(row, part))[0]).get('k'))}")
    return ", ".join(seen)


def h32(n):
    names = ("traceState", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano", "endTimeUnixNano",
             "droppedAttributesCount", "events", "droppedEventsCount", "links", "droppedLinksCount", "status",
             "attributes")
    answer = code(n, json_body({**json_span("H32"), **dict.fromkeys(names)}), JSON)
    return f"{answer}, {n.count(trace_of('H32'))}"


def h33(n):
    one = json_span("H33")
    body = json.dumps(request([{**one, "name": "@"}])).replace('"@"', r'"\u0000\ud83d\ude00\ud800x"').encode()
    return f"{code(n, body, JSON)}, name {json.dumps(n.one(trace_of('H33'))[0]['name'])}"


def h36(n):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    seen = [post(n, b"", {"Origin": origin, **asked}, method="OPTIONS",
                 show_headers=("Access-Control-Allow-Origin",))[0]
            for origin in ("https://app.example", "https://evil.example")]
    return "; ".join(seen)


def h38(n):
    with overload(n):
        status, headers, answer = http_request(n.tight.ports["http"], "POST", "/v1/traces", A1 * 2000, PROTOBUF)
    wait_for(lambda: n.tight.metric("fermata_memory_used_bytes") == 0, 10, "the budget")
    return f"{status}, Retry-After {headers.get('retry-after')}"


HTTP = [
    ("H1", "one span as protobuf", "200, Content-Type: application/x-protobuf, ", lambda n: said(n, A1, PROTOBUF)),
    ("H2", "one span as JSON", "200, Content-Type: application/json, {}",
     lambda n: said(n, json_body(json_span("H2")), JSON)),
    ("H3", "Content-Type: Application/JSON; charset=utf-8", "200, Content-Type: application/json, {}",
     lambda n: said(n, b"{}", {"Content-Type": "Application/JSON; charset=utf-8"})),
    ("H4", "no Content-Type; text/plain", "415, 415", lambda n: codes(n, (A1, {}), (A1, {"Content-Type": "text/plain"}))),
    ("H5", "GET", "405, Allow: POST", lambda n: post(n, b"", {}, method="GET", show_headers=("Allow",))[0]),
    ("H6", "/v1/trace, /v1/traces/, /", "200, 200, 200",
     lambda n: codes(n, *((A1, PROTOBUF, path) for path in ("/v1/trace", "/v1/traces/", "/")))),
    ("H7", "/v2/none", "404", lambda n: code(n, A1, PROTOBUF, "/v2/none")),
    ("H8", "gzip, zstd, deflate, br: protobuf, then JSON", "200, 200, 200, 400, 200, 200, 200, 400", h8),
    ("H9", "Content-Encoding: gzip on a plain body", "400",
     lambda n: code(n, A1, {**PROTOBUF, "Content-Encoding": "gzip"})),
    ("H10", "chunks of one byte with extensions, trailers", "HTTP/1.1 200 OK", h10),
    ("H11", "Expect: 100-continue", "HTTP/1.1 100 Continue; HTTP/1.1 200 OK", h11),
    ("H12", "Content-Length and Transfer-Encoding together", "HTTP/1.1 400 Bad Request, closed True", h12),
    ("H13", "Content-Length over the limit, no body sent", "HTTP/1.1 413 Content Too Large",
     lambda n: status_line(head(n, b"Content-Length: 99999999\r\n"))),
    ("H14", "HTTP/2 with prior knowledge", "200 2", lambda n: curl(n, "--http2-prior-knowledge")),
    ("H15", "Upgrade: h2c", "200 1.1", lambda n: curl(n, "--http2")),
    ("H16", "gRPC on the HTTP port, HTTP/1.1 on the gRPC port", "grpc 0; 200 1.1",
     lambda n: f"{n.grpc(A1, door='http')}; {curl(n, '--http1.1', door='grpc')}"),
    ("H17", "two requests in one write", "HTTP/1.1 200 OK; HTTP/1.1 400 Bad Request", h17),
    ("H18", "half a head and then nothing", "HTTP/1.1 408 Request Timeout, closed", h18),
    ("H19", "HTTP/1.0", "HTTP/1.1 200 OK, closed True", h19),
    ("H20", "empty protobuf body", "200", lambda n: code(n, b"", PROTOBUF)),
    ("H21", "empty JSON body", "400", lambda n: code(n, b"", JSON)),
    ("H22", '{} and {"resourceSpans":[]}', "200, 200",
     lambda n: codes(n, (b"{}", JSON), (b'{"resourceSpans":[]}', JSON))),
    ("H23", '[], "x", {', "400, Content-Type: application/json, code 3", h23),
    ("H24", "snake_case keys", "200, 1 stored", h24),
    ("H25", "ids in capitals; in base64", "200, 1 stored; rejected 1", h25),
    ("H26", '"kind":"SPAN_KIND_SERVER"', "200, kind 2", h26),
    ("H27", "times as number, text, with exponent",
     "200 1544712660000000000, 200 1544712660000000000, 200 1544712660000000000", h27),
    ("H28", "intValue: largest, smallest, 1e400, abc",
     "200 9223372036854775807, 200 -9223372036854775808, 200 null, 200 null",
     lambda n: values(n, "H28", ("intValue", '"9223372036854775807"'), ("intValue", "-9223372036854775808"),
                      ("intValue", "1e400"), ("intValue", '"abc"'))),
    ("H29", "doubleValue NaN, -Infinity", '200 "NaN", 200 "-Infinity"',
     lambda n: values(n, "H29", ("doubleValue", '"NaN"'), ("doubleValue", '"-Infinity"'))),
    ("H30", "bytesValue: standard, URL-safe, unpadded", '200 "fbff", 200 "fbff", 200 "00ff"',
     lambda n: values(n, "H30", ("bytesValue", '"+/8="'), ("bytesValue", '"-_8="'), ("bytesValue", '"AP8"'))),
    ("H31", "unknown keys everywhere", "200", lambda n: code(n, json.dumps({"x": {"y": [1, {"z": None}]}, **request(
        [{**json_span("H31"), "more": {"deep": [[]]}}])}).encode(), JSON)),
    ("H32", "null for every field", "200, 1 stored", h32),
    ("H33", "NUL, a surrogate pair, half of one", '200, name "\\u0000\\ud83d\\ude00\\ufffdx"', h33),
    ("H34", "JSON 10,000 levels deep", "400", lambda n: code(n, b'{"x":' * 10000 + b"1" + b"}" * 10000, JSON)),
    ("H35", "one bad span, as JSON", '"1"', lambda n: json.dumps(json.loads(post(n, json_body(
        span("00" * 16, "00000000000000aa")), JSON)[1])["partialSuccess"]["rejectedSpans"])),
    ("H36", "preflight of an allowed origin, of another one",
     "204, Access-Control-Allow-Origin: https://app.example; 405, Access-Control-Allow-Origin: -", h36),
    ("H37", "POST with an allowed Origin", "200, Access-Control-Allow-Origin: https://app.example",
     lambda n: post(n, b"{}", {**JSON, "Origin": "https://app.example"},
                    show_headers=("Access-Control-Allow-Origin",))[0]),
    ("H38", "the memory budget is used up", "503, Retry-After 1", h38),
    ("H39", "Accept: */*; none", "200, 200", lambda n: codes(n, (A1, {**PROTOBUF, "Accept": "*/*"}), (A1, PROTOBUF))),
    ("H40", "GET /", "200, with a body", lambda n: "{}, {} a body".format(
        *(lambda r: (r[0], "with" if r[1] else "without"))(post(n, b"", {}, "/", "GET", ())))),
    ("H41", "absolute-form target", "HTTP/1.1 200 OK", lambda n: status_line(n.raw(
        "http", b"POST http://h:4318/v1/traces HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: "
        b"application/x-protobuf\r\nContent-Length: %d\r\n\r\n" % len(A1) + A1))),
]
