# SPDX-License-Identifier: Apache-2.0
"""Rows of Zipkin (Z), and what holds across the protocols (X)."""
import gzip
import json
import re

import conformance_jaeger as jaeger
from conformance import attributes, be, kind_of, parent_of, show, status_of, times_of, trace_of
from test_otlp_grpc import A1, Call, framed, make_request, make_span

REPORT = "/zipkin.proto3.SpanService/Report"
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}
THRIFT = {"Content-Type": "application/x-thrift"}
START = 1_700_000_000_000_000
# One span of every field of zipkin.proto3; made with protoc.
LIST = bytes.fromhex(
    "0a6d0a105b8efff798038103d269b633813fc60c1a08eee19b7ec3c1b17420022a05676574202f3100401e18240a0600"
    "38dc0b420e0a0373766312047f00000120903f4a050a03636c69520d09f4411e18240a0600120265315a120a0b687474"
    "702e6d6574686f6412034745546801")
LIST_TRACE = bytes.fromhex("5b8efff798038103d269b633813fc60c")
# Version 1, Thrift: sr and ss of web, http.path=/a; made with Apache Thrift 0.17.
V1_THRIFT = bytes.fromhex(
    "0c000000010a000100000000000000010b0003000000036765740a000400000000000000020a00050000000000000001"
    "0f00060c000000020a000100060a24181e40000b00020000000273720c00030800017f0000010600021f900b00030000"
    "000377656200000a000100060a24181e43e80b00020000000273730c00030800017f0000010600021f900b0003000000"
    "0377656200000f00080c000000010b000100000009687474702e706174680b0002000000022f61080003000000060c00"
    "040800017f0000010600021f900b0003000000037765620000020009000a000a00060a24181e40000a000b0000000000"
    "0003e800")


def post(n, body, headers=JSON, path="/api/v2/spans", method="POST", names=()):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return n.http("zipkin", path, body, headers, method, names)


def code(n, *arguments, **keywords):
    return post(n, *arguments, **keywords)[0]


def v2(row, part=0, **fields):
    """A span of version 2; None takes a field away."""
    result = {"traceId": trace_of(row, part), "id": "00000000000000aa", "name": "get", "timestamp": START,
              "duration": 1500, "kind": "SERVER", "localEndpoint": {"serviceName": "svc"}, **fields}
    return {key: value for key, value in result.items() if value is not None}


def store(n, row, part=0, **fields):
    answer = code(n, [v2(row, part, **fields)])
    if answer != "202":
        raise AssertionError(answer)
    return n.one(trace_of(row, part))


def tagged(node, row, part=0, **tags):
    found = store(node, row, part, tags={key.replace("__", "."): value for key, value in tags.items()})[0]
    return f"{status_of(found)} {show(attributes(found))}"


def z1(n):
    span = v2("Z1", parentId="00000000000000ab", remoteEndpoint={"serviceName": "cli", "ipv4": "10.0.0.2", "port": 51234},
              localEndpoint={"serviceName": "svc", "ipv4": "127.0.0.1", "ipv6": "::1", "port": 8080},
              annotations=[{"timestamp": START + 500, "value": "e1"}], tags={"http.method": "GET"}, debug=True,
              shared=True)
    answer, body = post(n, [span])
    found, resource, _ = n.one(trace_of("Z1"))
    event = found["events"][0]
    return (f"{answer}, {len(body)} bytes, parent {parent_of(found)}, kind {kind_of(found)}, "
            f"{show(attributes(found))}, event {event['name']} at {event['timeUnixNano']}, {show(resource)}")


def z3(n):
    trace = trace_of("Z3")
    answer = code(n, LIST.replace(LIST_TRACE, bytes.fromhex(trace)), PROTOBUF)
    found, resource, _ = n.one(trace)
    return (f"{answer}, {found['name']}, kind {kind_of(found)}, {times_of(found)}, {show(attributes(found))}, "
            f"event {found['events'][0]['name']}, {show(resource)}")


def z7(n):
    old = [{"traceId": trace_of("Z7"), "id": "00000000000000aa", "name": "get", "annotations": [
        {"timestamp": START, "value": "sr", "endpoint": {"serviceName": "web"}}],
        "binaryAnnotations": [{"key": "k", "value": "v"}]}]
    answer = code(n, old)
    found, resource, _ = n.one(trace_of("Z7"))
    return f"{answer}, kind {kind_of(found)} of {resource['service.name']}"


def z9(n):
    full = trace_of("Z9")
    seen = []
    for trace, stored in ((full[:16], "0" * 16 + full[:16]), (full, full), ("7", "0" * 31 + "7"),
                          ("a" * 33, None), (trace_of("Z9", 1).upper(), trace_of("Z9", 1))):
        answer = code(n, [v2("Z9", traceId=trace)])
        seen.append(f"{answer} {n.count(stored) if stored else 'refused'}")
    return ", ".join(seen)


REFUSED = "fermata_receiver_refused_spans_total"


def z10(n):
    grown = n.counted(REFUSED, lambda: post(n, [v2("Z10", id="0" * 16), v2("Z10")]), 'receiver="zipkin"')
    return f"{grown} refused, {n.count(trace_of('Z10'))}"


def resources(n, row, *spans):
    answer = code(n, [v2(row, id=f"{i + 1:016x}", **fields) for i, fields in enumerate(spans)])
    if answer != "202":
        raise AssertionError(answer)
    return [attributes(r.get("resource", {})) for r in n.resources(trace_of(row))]


def z13(n):
    found = resources(n, "Z13", *({"localEndpoint": {"serviceName": "svc", "ipv4": ip}} for ip in ("10.0.0.1", "10.0.0.2")))
    addresses = sorted(attributes(s[0])["net.host.ip"] for s in n.spans(trace_of("Z13")))
    return f"{len(found)} resource, {addresses}"


def z15(n):
    found = resources(n, "Z15", {"tags": {"k8s.pod.name": "a"}}, {"tags": {"k8s.pod.name": "b"}})
    return str(sorted(r["k8s.pod.name"] for r in found))


def z17(n):
    return "; ".join(tagged(n, "Z17", part, error=value) for part, value in enumerate(("", "true", "false", "boom")))


def event(n, row, value):
    found = store(n, row, annotations=[{"timestamp": START, "value": value}])[0]["events"][0]
    return f"{found['name']} {show(attributes(found))} {found.get('droppedAttributesCount', 0)}"


def z21(n):
    target = "ab" * 16
    found = store(n, "Z21", tags={"otlp.link.0": f"{target}|00000000000000ff|a=1|{{\"x\":1}}|2"})[0]
    link = found["links"][0]
    return f"{len(found['links'])} link, {link.get('traceState')}, {show(attributes(link))}, " \
           f"{link.get('droppedAttributesCount')}, {show(attributes(found))}"


def z22(n):
    found = store(n, "Z22", timestamp=None)[0]
    return f"{times_of(found)[0]}, {show(attributes(found))}"


def z23(n):
    seen = []
    for part, duration in enumerate((0, None, -1)):
        answer = code(n, [v2("Z23", part, duration=duration)])
        begin, end = times_of(n.one(trace_of("Z23", part))[0])
        seen.append(f"{answer} {end - begin}")
    return ", ".join(seen)


def z25(n):
    found = store(n, "Z25", remoteEndpoint={"serviceName": "db", "ipv6": "::ffff:10.0.0.9", "port": 70000})[0]
    other = store(n, "Z25", 1, remoteEndpoint={"ipv6": "2001:db8:0:0:0:0:0:1", "port": 5432})[0]
    return f"{show(attributes(found))}; {show(attributes(other))}"


def z26(n):
    trace = trace_of("Z26")
    answer = code(n, [v2("Z26", kind="CLIENT", localEndpoint={"serviceName": "front"}), v2("Z26", shared=True)])
    marks = sorted((kind_of(s), attributes(s).get("zipkin.shared", False)) for s, _, _ in n.spans(trace))
    return f"{answer}, (kind, shared): {marks}"


def retrace_v1(row):
    low = trace_of(row)[16:]
    return V1_THRIFT.replace(bytes.fromhex("0a00010000000000000001"), bytes.fromhex("0a0001" + low), 1), "0" * 16 + low


def z27(n):
    body, trace = retrace_v1("Z27")
    answer = code(n, body, THRIFT, "/api/v1/spans")
    found, resource, _ = n.one(trace)
    begin, end = times_of(found)
    return f"{answer}, kind {kind_of(found)}, {(end - begin) // 1000} us, {resource['service.name']}, " \
           f"http.path={attributes(found)['http.path']}"


def z28(n):
    body, trace = retrace_v1("Z28")
    answer = code(n, b"\x0b" + body[1:], THRIFT, "/api/v1/spans")
    return f"{answer}, {n.count(trace)}"


def v1(row, part=0, values=(), binary=(), **fields):
    return {"traceId": trace_of(row, part), "id": "00000000000000aa", "name": "get", "annotations": [
        {"timestamp": START + offset, "value": value, "endpoint": {"serviceName": service}}
        for value, offset, service in values], "binaryAnnotations": list(binary), **fields}


def z29(n):
    answer = code(n, [v1("Z29", values=(("cs", 0, "front"), ("sr", 100, "back"), ("ss", 200, "back"), ("cr", 300, "front")))],
                  path="/api/v1/spans")
    found = sorted((r["service.name"], kind_of(s), attributes(s).get("zipkin.shared", False))
                   for s, r, _ in n.spans(trace_of("Z29")))
    return f"{answer}, {found}"


def z30(n):
    code(n, [v1("Z30", values=(("cs", 0, "front"), ("cr", 300, "front")), binary=[
        {"key": "sa", "value": True, "endpoint": {"serviceName": "db"}}])], path="/api/v1/spans")
    return attributes(n.one(trace_of("Z30"))[0]).get("peer.service")


def z31(n):
    low = trace_of("Z31")[16:]
    binary = jaeger.text(1, "n") + jaeger.text(2, b"\xff\xff") + jaeger.i32(3, 2)
    body = (b"\x0c" + be(4, 1) + jaeger.i64(1, int(low, 16)) + jaeger.text(3, "get") + jaeger.i64(4, 2) +
            jaeger.structs(8, [binary]) + jaeger.i64(10, START) + b"\0")
    answer = code(n, body, THRIFT, "/api/v1/spans")
    return f"{answer}, {show(attributes(n.one('0' * 16 + low)[0]).get('n'))}"


def z32(n):
    health, body = post(n, b"", {}, "/health", "GET")
    return f"{code(n, b'', {}, '/api/v1/spans', 'GET')}; {health} {body.decode()}"


def z33(n):
    trace = trace_of("Z33")
    headers, body, reset = Call(n.ports["zipkin"], path=REPORT).send(
        framed(LIST.replace(LIST_TRACE, bytes.fromhex(trace))), end=True).finish()
    return f"{n.say_grpc(headers, body, reset)}, message {body.hex()}, {n.count(trace)}"


def z34(n):
    good = json.dumps([v2("Z34")]).encode()
    return ", ".join(code(n, body) for body in (
        b"\xef\xbb\xbf" + good, good[:-1] + b",]", good.replace(b"1500", b"NaN")))


def z35(n):
    spans = [v2("Z35", id=f"{i + 1:016x}", tags={"fill": "x" * 1000}) for i in range(400)]
    large = json.dumps(spans * 3).encode()
    return f"{code(n, spans)}, {code(n, large)}"


ZIPKIN = [
    ("Z1", "version 2 JSON with every field",
     '202, 0 bytes, parent 00000000000000ab, kind 2, {"http.method": "GET", "net.host.ip": "::1", '
     '"net.host.port": 8080, "net.peer.ip": "10.0.0.2", "net.peer.port": 51234, "peer.service": "cli", '
     '"zipkin.shared": true}, event e1 at 1700000000000500000, {"service.name": "svc"}', z1),
    ("Z2", "[]; an empty body", "202, 202", lambda n: f"{code(n, [])}, {code(n, b'')}"),
    ("Z3", "protobuf",
     '202, get /, kind 2, (1700000000000000000, 1700000000001500000), {"http.method": "GET", '
     '"net.host.ip": "127.0.0.1", "net.host.port": 8080, "peer.service": "cli", "zipkin.shared": true}, event e1, '
     '{"service.name": "svc"}', z3),
    ("Z4", "gzip; broken gzip", "202, 400", lambda n: ", ".join(code(
        n, body, {**JSON, "Content-Encoding": "gzip"}) for body in (gzip.compress(b"[]"), b"[]x"))),
    ("Z5", "no Content-Type; text/plain; application/json; charset=utf-8", "202, 202, 202", lambda n: ", ".join(
        code(n, [v2("Z5")], h) for h in ({}, {"Content-Type": "text/plain"},
                                         {"Content-Type": "application/json; charset=utf-8"}))),
    ("Z6", "application/x-protobuf; foo=bar", "202", lambda n: code(n, LIST, {"Content-Type": "application/x-protobuf; foo=bar"})),
    ("Z7", "version 1 JSON to /api/v2/spans", "202, kind 2 of web", z7),
    ("Z8", "an object instead of a list", "400", lambda n: code(n, v2("Z8"))),
    ("Z9", "trace ids of 16, 32, 1 and 33 digits; in capitals",
     "202 1 stored, 202 1 stored, 202 1 stored, 202 refused, 202 1 stored", z9),
    ("Z10", "a span id of zeros beside a good span", "1 refused, 1 stored", z10),
    ("Z11", "parentId equal to id", "parent none",
     lambda n: f"parent {parent_of(store(n, 'Z11', parentId='00000000000000aa')[0])}"),
    ("Z12", "two local services", "['a', 'b']", lambda n: str(sorted(r["service.name"] for r in resources(
        n, "Z12", *({"localEndpoint": {"serviceName": s}} for s in "ab"))))),
    ("Z13", "one service on two addresses", "1 resource, ['10.0.0.1', '10.0.0.2']", z13),
    ("Z14", "no localEndpoint", "{}", lambda n: show(store(n, "Z14", localEndpoint=None)[1])),
    ("Z15", "k8s.pod.name differs inside one service", "['a', 'b']", z15),
    ("Z16", "no kind, span.kind=internal", "kind 1, {}", lambda n: (lambda s: f"kind {kind_of(s)}, {show(attributes(s))}")(
        store(n, "Z16", kind=None, tags={"span.kind": "internal"})[0])),
    ("Z17", 'error: "", true, false, boom',
     'ERROR {}; ERROR {}; UNSET {"error": "false"}; ERROR boom {"error": "boom"}', z17),
    ("Z18", "otel.status_code=ERROR", "ERROR {}", lambda n: tagged(n, "Z18", otel__status_code="ERROR")),
    ("Z19", 'annotation a|{"x":1}|2', 'a {"x": 1} 2', lambda n: event(n, "Z19", 'a|{"x":1}|2')),
    ("Z20", "annotation a|b|c", "a|b|c {} 0", lambda n: event(n, "Z20", "a|b|c")),
    ("Z21", "otlp.link.0", '1 link, a=1, {"x": 1}, 2, {}', z21),
    ("Z22", "no timestamp", '0, {"otel.zipkin.absentField.startTime": true}', z22),
    ("Z23", "duration 0, absent, -1", "202 0, 202 0, 202 0", z23),
    ("Z24", "tags 5, true, null", 'UNSET {"b": "true", "n": "5"}', lambda n: tagged(n, "Z24", n=5, b=True, x=None)),
    ("Z25", "remote: IPv4 in IPv6 with port 70000; IPv6",
     '{"net.peer.ip": "10.0.0.9", "peer.service": "db"}; {"net.peer.ip": "2001:db8::1", "net.peer.port": 5432}', z25),
    ("Z26", "client and shared server under one id", "202, (kind, shared): [(2, True), (3, False)]", z26),
    ("Z27", "version 1 Thrift", "202, kind 2, 1000 us, web, http.path=/a", z27),
    ("Z28", "version 1 Thrift, element type 0x0b", "202, 1 stored", z28),
    ("Z29", "version 1: cs, sr, ss, cr in one span", "202, [('back', 2, True), ('front', 3, False)]", z29),
    ("Z30", "version 1: sa", "db", z30),
    ("Z31", "version 1 Thrift: I16 of -1", "202, -1", z31),
    ("Z32", "GET /api/v1/spans; GET /health", '405; 200 {"status":"UP"}', z32),
    ("Z33", "gRPC Report", "grpc 0, message 0000000000, 1 stored", z33),
    ("Z34", "byte order mark; trailing comma; NaN", "202, 400, 400", z34),
    ("Z35", "450 KB of JSON; 1.3 MB with a limit of 1 MiB", "202, 413", z35),
    ("Z36", "X-B3-Flags: 1, b3: 0", "202", lambda n: code(n, [v2("Z36")], {**JSON, "X-B3-Flags": "1", "b3": "0"})),
    ("Z37", "zipkin with transport-http for Node.js", "interop: test_legacy_clients",
     lambda n: "interop: test_legacy_clients"),
]


# ---- across the protocols ----

def x3(n):
    """A body that is all structure: what it makes the daemon hold stays within the budget."""
    body = json.dumps([{}] * 300_000).encode()[:1 << 20]
    body = body[:body.rindex(b"{}") + 2] + b"]"
    before = n.daemon.metric("process_resident_memory_bytes")
    answer = code(n, body)
    grown = n.daemon.metric("process_resident_memory_bytes") - before
    return f"{answer}, at most 40 times the body {grown < 40 * len(body)}"


def x4(n):
    """One bad span through each door: one count each, with a reason and its receiver."""
    bad = json.dumps([v2("X4", id="0" * 16)]).encode()
    doors = (
        ("otlp_grpc", lambda: n.grpc(make_request(make_span(bytes(16))))),
        ("otlp_http", lambda: n.http("http", "/v1/traces", make_request(make_span(bytes(16))), PROTOBUF)),
        ("jaeger_thrift_compact", lambda: n.datagrams("jaeger_thrift_compact", jaeger.retrace(
            jaeger.COMPACT, "X4")[0].replace(b"\x16\x03\x16\0\x18\x02op", b"\x16\0\x16\0\x18\x02op"))),
        ("jaeger_thrift_binary", lambda: n.datagrams("jaeger_thrift_binary", jaeger.emit(
            jaeger.batch(jaeger.thrift_span(trace_of("X4"), span=0))))),
        ("jaeger_thrift_http", lambda: n.http("jaeger_thrift_http", "/api/traces", jaeger.batch(
            jaeger.thrift_span(trace_of("X4"), span=0)), THRIFT)),
        ("jaeger_grpc", lambda: n.grpc(jaeger.pb_batch(jaeger.pb_span(trace_of("X4"), bytes(8))),
                                       door="jaeger_grpc", path=jaeger.POST_SPANS)),
        ("zipkin", lambda: post(n, bad)),
    )
    seen = []
    for name, send in doors:
        total = n.daemon.metric(REFUSED)
        grown = n.counted(REFUSED, send, f'receiver="{name}",reason="invalid_')
        seen.append(f"{name} {grown}/{int(n.daemon.metric(REFUSED) - total)}")
    return ", ".join(seen)


def x5(n):
    """Each door serves the next request after a malformed one, on the same connection."""
    seen = []
    for door, path, bad, good, headers, want in (
            ("http", "/v1/traces", b"\xff\xff", A1, PROTOBUF, 200),
            ("jaeger_thrift_http", "/api/traces", b"\xff\xff", jaeger.BATCH, THRIFT, 202),
            ("zipkin", "/api/v2/spans", b"{", b"[]", JSON, 202)):
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n"
        kind = headers["Content-Type"].encode()
        answer = n.raw(door, head % (path.encode(), kind, len(bad), b"") + bad +
                       head % (path.encode(), kind, len(good), b"Connection: close\r\n") + good)
        seen.append(f"{door} {b' '.join(re.findall(rb'HTTP/1.1 ([0-9]{3})', answer)).decode()}")
    return ", ".join(seen)


INVARIANTS = [
    ("X1", "OTLP that is valid comes back with every field",
     "test: unit otlp_pb (checks and rewrites), block roundtrip (through a block)",
     lambda n: "test: unit otlp_pb (checks and rewrites), block roundtrip (through a block)"),
    ("X2", "one trace through every door", "test: test_every_door", lambda n: "test: test_every_door"),
    ("X3", "a megabyte of empty objects, more spans than a request may have",
     "413, at most 40 times the body True", x3),
    ("X4", "one bad span through each door: growth of its counter and of all",
     "otlp_grpc 1/1, otlp_http 1/1, jaeger_thrift_compact 1/1, jaeger_thrift_binary 1/1, "
     "jaeger_thrift_http 1/1, jaeger_grpc 1/1, zipkin 1/1", x4),
    ("X5", "a malformed request, then a good one on the same connection",
     "http 400 200, jaeger_thrift_http 400 202, zipkin 400 202", x5),
    ("X6", "nothing is stored that Tempo would refuse", "test: unit otlp_pb; by hand against Tempo 3.0.3",
     lambda n: "test: unit otlp_pb; by hand against Tempo 3.0.3"),
]
