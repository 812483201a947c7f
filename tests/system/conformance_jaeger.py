# SPDX-License-Identifier: Apache-2.0
"""Rows of Jaeger (J): datagrams, Thrift over HTTP, gRPC, sampling."""
import json
import struct

from conformance import attributes, be, kind_of, parent_of, show, status_of, times_of, trace_of
from test_otlp_grpc import Call, field, framed, varint

POST_SPANS = "/jaeger.api_v2.CollectorService/PostSpans"
SAMPLING = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"
THRIFT = {"Content-Type": "application/x-thrift"}
GOLDEN_TRACE = "00000000000000000102030405060708"
# The same batch in every form: process svc with hostname=h1, one span "op" with a reference, tags and a
# log.  Made with Apache Thrift 0.17 and protoc.
COMPACT = bytes.fromhex(
    "82810009656d697442617463681c1c1803737663191c1808686f73746e616d651500180268310000191c16909cb0d080"
    "c181820216001603160018026f70191c150016909cb0d080c18182021600160a001502168080f2818389850616b81719"
    "3c18056572726f7215043100180164150227000000000000f83f0018016e1506460500191c16e887f28183898506191c"
    "18056576656e741500180265310000000000")
BATCH = bytes.fromhex(
    "0c00010b0001000000037376630f00020c000000010b000100000008686f73746e616d65080002000000000b00030000"
    "0002683100000f00020c000000010a000101020304050607080a000200000000000000000a0003fffffffffffffffe0a"
    "000400000000000000000b0005000000026f700f00060c00000001080001000000000a000201020304050607080a0003"
    "00000000000000000a0004000000000000000500080007000000010a000800060a24181e40000a000900000000000005"
    "dc0f000a0c000000030b0001000000056572726f720800020000000202000501000b0001000000016408000200000001"
    "0400043ff8000000000000000b0001000000016e080002000000030a0006fffffffffffffffd000f000b0c000000010a"
    "000100060a24181e41f40f00020c000000010b0001000000056576656e74080002000000000b00030000000265310000"
    "0000")
BINARY = bytes.fromhex("8001000400000009656d69744261746368000000000c0001") + BATCH + b"\0"
PROTOBUF = bytes.fromhex(
    "0a8f010a760a10000000000000000001020304050607081208fffffffffffffffe1a026f70221c0a1000000000000000"
    "00010203040506070812080000000000000005280132060880e2cfaa063a0410e0c65b420b0a056572726f7210012001"
    "4a190a0a0880e2cfaa0610a0c21e120b0a056576656e741a02653112150a03737663120e0a08686f73746e616d651a02"
    "6831")
GOLDEN = ("parent 0000000000000005, ERROR, {\"d\": 1.5, \"n\": -3}, event e1, "
          "{\"host.name\": \"h1\", \"service.name\": \"svc\"}, 0 links")


def settings(directory):
    """A strategies file for the sampling rows."""
    path = directory / "strategies.json"
    path.write_text(json.dumps({
        "service_strategies": [
            {"service": "a", "type": "probabilistic", "param": 0.25, "operation_strategies": [
                {"operation": "GET /", "type": "probabilistic", "param": 0.125}]},
            {"service": "b", "type": "ratelimiting", "param": 7}],
        "default_strategy": {"type": "probabilistic", "param": 0.5}}))
    return {"receiver.jaeger_sampling.strategies_file": str(path)}


# ---- Thrift, binary ----

def text(identifier, value):
    value = value.encode() if isinstance(value, str) else value
    return b"\x0b" + be(2, identifier) + be(4, len(value)) + value


def i32(identifier, value):
    return b"\x08" + be(2, identifier) + be(4, value)


def i64(identifier, value):
    return b"\x0a" + be(2, identifier) + struct.pack(">Q", value & (1 << 64) - 1)


def structs(identifier, items):
    return b"\x0f" + be(2, identifier) + b"\x0c" + be(4, len(items)) + b"".join(item + b"\0" for item in items)


def tag(key, value, kind=None):
    """All value fields that the type does not use stay away; kind says otherwise."""
    if isinstance(value, bool):
        return text(1, key) + i32(2, 2) + b"\x02" + be(2, 5) + bytes([value])
    if isinstance(value, int):
        return text(1, key) + i32(2, 3) + i64(6, value)
    if isinstance(value, float):
        return text(1, key) + i32(2, 1) + b"\x04" + be(2, 4) + struct.pack(">d", value)
    if isinstance(value, bytes):
        return text(1, key) + i32(2, 4) + text(7, value)
    return text(1, key) + i32(2, kind or 0) + text(3, value)


def tag_with_all_fields(key, kind, value):
    """As Node's encoder writes them: every optional field is there."""
    fields = {3: b"", 4: 0.0, 5: False, 6: 0, 7: b""}
    fields[{0: 3, 1: 4, 2: 5, 3: 6, 4: 7}[kind]] = value
    return (text(1, key) + i32(2, kind) + text(3, fields[3]) + b"\x04" + be(2, 4) + struct.pack(">d", fields[4]) +
            b"\x02" + be(2, 5) + bytes([fields[5]]) + i64(6, fields[6]) + text(7, fields[7]))


def reference(kind, trace, span):
    return i32(1, kind) + i64(2, int(trace[16:], 16)) + i64(3, int(trace[:16], 16)) + i64(4, span)


def thrift_span(trace, span=0xAA, parent=0, tags=(), references=(), start=1_700_000_000_000_000, duration=5,
                name="op", flags=1):
    return (i64(1, int(trace[16:], 16)) + i64(2, int(trace[:16], 16)) + i64(3, span) + i64(4, parent) +
            text(5, name) + (structs(6, references) if references else b"") + i32(7, flags) + i64(8, start) +
            i64(9, duration) + (structs(10, tags) if tags else b""))


def batch(*spans, process_tags=(), service="svc"):
    process = text(1, service) + (structs(2, process_tags) if process_tags else b"")
    return b"\x0c" + be(2, 1) + process + b"\0" + structs(2, spans) + b"\0"


def emit(body, name="emitBatch", kind=4, sequence=0, argument=b"\x0c"):
    return (struct.pack(">HBB", 0x8001, 0, kind) + be(4, len(name)) + name.encode() + be(4, sequence) +
            argument + be(2, 1) + body + b"\0")


# ---- what the rows do ----

def post(n, body, headers=THRIFT, path="/api/traces", method="POST", names=()):
    return n.http("jaeger_thrift_http", path, body, headers, method, names)


def code(n, *arguments, **keywords):
    return post(n, *arguments, **keywords)[0]


def store(n, row, part=0, process_tags=(), **fields):
    """One span through 14268: (span, resource attributes, scope)."""
    trace = trace_of(row, part)
    answer = code(n, batch(thrift_span(trace, **fields), process_tags=process_tags))
    if answer != "202":
        raise AssertionError(answer)
    return n.one(trace)


def describe(found, resource):
    events = ", ".join(f"event {e.get('name')}" for e in found.get("events", []))
    return (f"parent {parent_of(found)}, {status_of(found)}, {show(attributes(found))}, {events}, {show(resource)}, "
            f"{len(found.get('links', []))} links")


def retrace(data, row, part=0):
    """The golden batch under a trace id of the row's own (low half; the high half stays zero)."""
    low = trace_of(row, part)[16:]
    raw, old = int(low, 16), 0x0102030405060708

    def zigzag(value):
        value = value - (1 << 64) if value >> 63 else value
        return varint((value << 1 ^ value >> 63) & (1 << 64) - 1)
    return (data.replace(zigzag(old), zigzag(raw)).replace(bytes.fromhex("0102030405060708"), bytes.fromhex(low)),
            "0" * 16 + low)


def golden(n, row, door, data):
    payload, trace = retrace(data, row)
    n.datagrams(door, payload)
    found, resource, _ = n.one(trace, wait=1)
    return describe(found, resource)


def j5(n):
    datagram = emit(batch(thrift_span(trace_of("J5"))), sequence=77)
    n.datagrams("jaeger_thrift_binary", datagram)
    annotation = i64(1, 1_700_000_000_000_000) + text(2, "sr") + b"\x0c" + be(2, 3) + text(3, "web") + b"\0"
    v1 = (i64(1, int(trace_of("J5", 1)[16:], 16)) + text(3, "get") + i64(4, 2) + structs(6, [annotation]) +
          i64(10, 1_700_000_000_000_000) + i64(11, 1000))
    n.datagrams("jaeger_thrift_binary",
                emit(b"\x0c" + be(4, 1) + v1 + b"\0", name="emitZipkinBatch", argument=b"\x0f"))
    one = n.one("0" * 16 + trace_of("J5", 1)[16:], wait=1)
    return f"{n.count(trace_of('J5'), 1)}; kind {kind_of(one[0])} of {one[1]['service.name']}"


DROPPED = "fermata_receiver_dropped_datagrams_total"


def dropped(n, *payloads, door="jaeger_thrift_compact"):
    grown = 0
    for payload in payloads:
        grown += n.counted(DROPPED, lambda p=payload: n.datagrams(door, p))
    return f"{grown} of {len(payloads)} dropped and counted"


def j7(n):
    seen = dropped(n, *(COMPACT[:cut] for cut in range(1, len(COMPACT), 9)))
    return f"{seen}; then {golden(n, 'J7', 'jaeger_thrift_compact', COMPACT) == GOLDEN}"


def j9(n):
    seen = []
    for part, size in enumerate((65_000, 65_507)):
        trace = trace_of("J9", part)
        base = len(emit(batch(thrift_span(trace, tags=[tag("fill", "")]))))
        n.datagrams("jaeger_thrift_binary", emit(batch(thrift_span(trace, tags=[tag("fill", "x" * (size - base))]))))
        seen.append(n.count(trace, 1))
    return ", ".join(seen)


def j11(n):
    tags = [tag_with_all_fields("s", 0, b"v"), tag_with_all_fields("d", 1, 2.5), tag_with_all_fields("b", 2, True),
            tag_with_all_fields("l", 3, 7), tag_with_all_fields("y", 4, b"\xff")]
    trace = trace_of("J11")
    n.datagrams("jaeger_thrift_binary", emit(batch(thrift_span(trace, tags=tags))))
    return show(attributes(n.one(trace, wait=1)[0]))


def grpc(n, message, door="jaeger_grpc", path=POST_SPANS):
    return n.grpc(message, door=door, path=path)


def pb_span(trace, span=b"\xaa" * 8, *fields):
    return field(1, bytes.fromhex(trace)) + field(2, span) + field(3, b"op") + b"".join(fields)


def pb_batch(*spans, service=b"svc"):
    return field(1, b"".join(field(1, s) for s in spans) + field(2, field(1, service)))


def j18(n):
    payload, trace = retrace(PROTOBUF, "J18")
    answer = grpc(n, payload)
    found, resource, _ = n.one(trace)
    return f"{answer}, {describe(found, resource)}"


def j19(n):
    trace = trace_of("J19")
    own = pb_span(trace, b"\xbb" * 8, field(10, field(1, b"other")))
    answer = grpc(n, pb_batch(pb_span(trace), own))
    return f"{answer}, services {sorted(r['service.name'] for _, r, _ in n.spans(trace))}"


def j20(n):
    trace = "0" * 16 + trace_of("J20")[16:]
    return f"{grpc(n, pb_batch(pb_span(trace[16:])))}, {n.count(trace)}"


def j21(n):
    trace = trace_of("J21")
    grown = n.counted("fermata_receiver_refused_spans_total", lambda: None)
    before = n.daemon.metric("fermata_receiver_refused_spans_total", 'receiver="jaeger_grpc"')
    answer = grpc(n, pb_batch(pb_span("0102030405"), pb_span(trace)))
    after = n.daemon.metric("fermata_receiver_refused_spans_total", 'receiver="jaeger_grpc"')
    return f"{answer}, {int(after - before) + grown} refused, {n.count(trace)}"


def references(n, row, parent, *refs):
    trace = trace_of(row)
    made = [reference(kind, trace if own else "ab" * 16, span) for kind, own, span in refs]
    found = store(n, row, parent=parent, references=made)[0]
    links = [f"{attributes(link).get('opentracing.ref_type')}" for link in found.get("links", [])]
    return f"parent {parent_of(found)}, links {links}"


def outcome(n, row, part=0, **fields):
    found = store(n, row, part, **fields)[0]
    return f"{status_of(found)}, {show(attributes(found))}"


def j28(n):
    seen = []
    for part, kind in enumerate(("client", "server", "internal")):
        found = store(n, "J28", part, tags=[tag("span.kind", kind), tag("http.status_code", 404)])[0]
        seen.append(f"{kind} {status_of(found)} {show(attributes(found))}")
    return "; ".join(seen)


def j31(n):
    found, _, scope = store(n, "J31", tags=[tag("otel.scope.name", "lib"), tag("otel.scope.version", "1"),
                                            tag("w3c.tracestate", "a=1")])
    return f"scope {scope.get('name')} {scope.get('version')}, trace_state {found.get('traceState')}, " \
           f"{show(attributes(found))}"


def j34(n):
    seen = []
    for part, (start, duration) in enumerate(((1_700_000_000_000_000, -5), (0, 7))):
        begin, end = times_of(store(n, "J34", part, start=start, duration=duration)[0])
        seen.append(f"{begin} to {end}")
    return "; ".join(seen)


def sampling(n, path):
    answer, body = n.http("jaeger_sampling", path, b"", method="GET")
    return f"{answer} {show(json.loads(body)) if answer == '200' else body.decode().strip()}"


def j40(n):
    call = Call(n.ports["jaeger_grpc"], path=SAMPLING).send(framed(field(1, b"b")), end=True)
    headers, body, _ = call.finish()
    return f"grpc {headers['grpc-status']}, {body[5:].hex()}"


def j10(n):
    return "test_jaeger: what the kernel drops is counted; figures in make bench"


JAEGER = [
    ("J1", "compact to 6831", GOLDEN, lambda n: golden(n, "J1", "jaeger_thrift_compact", COMPACT)),
    ("J2", "binary to 6832", GOLDEN, lambda n: golden(n, "J2", "jaeger_thrift_binary", BINARY)),
    ("J3", "compact to 6832, binary to 6831", "True, True", lambda n: ", ".join(str(golden(n, row, door, data) == GOLDEN)
     for row, door, data in (("J3a", "jaeger_thrift_binary", COMPACT), ("J3b", "jaeger_thrift_compact", BINARY)))),
    ("J4", "a call instead of a oneway", "True", lambda n: str(golden(
        n, "J4", "jaeger_thrift_compact", b"\x82\x21" + COMPACT[2:]) == GOLDEN)),
    ("J5", "sequence id 77; emitZipkinBatch", "1 stored; kind 2 of web", j5),
    ("J6", "another method", "1 of 1 dropped and counted",
     lambda n: dropped(n, emit(batch(thrift_span(trace_of("J6"))), name="emitOther"))),
    ("J7", "the datagram cut at every ninth byte", "18 of 18 dropped and counted; then True", j7),
    ("J8", "a list of 2^31-1 spans in 50 bytes", "1 of 1 dropped and counted", lambda n: dropped(
        n, bytes.fromhex("828100") + b"\x09emitBatch" + bytes.fromhex("1c1c1801730019fcffffffff07") + bytes(20))),
    ("J9", "datagrams of 65,000 and 65,507 bytes", "1 stored, 1 stored", j9),
    ("J10", "more datagrams than can be taken",
     "test_jaeger: what the kernel drops is counted; figures in make bench", j10),
    ("J11", "tags with every optional field present", '{"b": true, "d": 2.5, "l": 7, "s": "v", "y": "ff"}', j11),
    ("J12", "jaeger-client and OTel's Jaeger exporter for Node.js", "interop: test_legacy_clients",
     lambda n: "interop: test_legacy_clients"),
    ("J13", "HTTP, application/x-thrift", "202, 0 bytes, 1 stored", lambda n: "{}, {} bytes, {}".format(
        *(lambda r: (r[0], len(r[1])))(post(n, retrace(BATCH, "J13")[0])), n.count(retrace(BATCH, "J13")[1]))),
    ("J14", "HTTP, application/vnd.apache.thrift.binary; charset=x", "202", lambda n: code(
        n, BATCH, {"Content-Type": "application/vnd.apache.thrift.binary; charset=x"})),
    ("J15", "HTTP, no Content-Type; application/json", "400, 400",
     lambda n: f"{code(n, BATCH, {})}, {code(n, BATCH, {'Content-Type': 'application/json'})}"),
    ("J16", "GET /api/traces; POST /x", "405, 404",
     lambda n: f"{code(n, b'', {}, '/api/traces', 'GET')}, {code(n, BATCH, THRIFT, '/x')}"),
    ("J17", "HTTP, garbage", "400", lambda n: code(n, b"\xff\xfe\xfd\xfc")),
    ("J18", "gRPC PostSpans", "grpc 0, " + GOLDEN.replace('{"d": 1.5, "n": -3}', "{}"), j18),
    ("J19", "a span with a process of its own", "grpc 0, services ['other', 'svc']", j19),
    ("J20", "protobuf trace id of 8 bytes", "grpc 0, 1 stored", j20),
    ("J21", "protobuf trace id of 5 bytes beside a good span", "grpc 0, 1 refused, 1 stored", j21),
    ("J22", "only FOLLOWS_FROM of the same trace", "parent 0000000000000005, links ['follows_from']",
     lambda n: references(n, "J22", 0, (1, True, 5))),
    ("J23", "only CHILD_OF another trace", "parent none, links ['child_of']",
     lambda n: references(n, "J23", 0, (0, False, 5))),
    ("J24", "two CHILD_OF of the same trace", "parent 0000000000000005, links ['child_of']",
     lambda n: references(n, "J24", 0, (0, True, 5), (0, True, 6))),
    ("J25", "parentSpanId and CHILD_OF with the same id", "parent 0000000000000005, links []",
     lambda n: references(n, "J25", 5, (0, True, 5))),
    ("J26", "error=true, otel.status_description=x", "ERROR x, {}",
     lambda n: outcome(n, "J26", tags=[tag("error", True), tag("otel.status_description", "x")])),
    ("J27", "otel.status_code=ok", "OK, {}", lambda n: outcome(n, "J27", tags=[tag("otel.status_code", "ok")])),
    ("J28", "http.status_code=404 of client, server, internal",
     'client ERROR {"http.status_code": 404}; server UNSET {"http.status_code": 404}; '
     'internal ERROR {"http.status_code": 404}', j28),
    ("J29", 'http.status_code="503"', 'ERROR, {"http.status_code": "503"}',
     lambda n: outcome(n, "J29", tags=[tag("http.status_code", "503")])),
    ("J30", "span.kind=banana", "kind 0, {}", lambda n: (lambda s: f"kind {kind_of(s)}, {show(attributes(s))}")(
        store(n, "J30", tags=[tag("span.kind", "banana")])[0])),
    ("J31", "otel.scope.name, otel.scope.version, w3c.tracestate as tags",
     "scope lib 1, trace_state a=1, {}", j31),
    ("J32", "the same key twice", '{"k": "2"}', lambda n: show(attributes(
        store(n, "J32", tags=[tag("k", "1"), tag("k", "2")])[0]))),
    ("J33", "a tag of type 9", "<Unknown Jaeger TagType", lambda n: str(attributes(
        store(n, "J33", tags=[tag("k", "v", 9)])[0])["k"])[:23]),
    ("J34", "negative duration; start 0",
     "1700000000000000000 to 1700000000000000000; 0 to 7000", j34),
    ("J35", "process tags hostname and host.name",
     '{"host.name": "b", "hostname": "a", "service.name": "svc"}', lambda n: show(store(
         n, "J35", process_tags=[tag("hostname", "a"), tag("host.name", "b")])[1])),
    ("J36", "GET /sampling?service=b",
     '200 {"rateLimitingSampling": {"maxTracesPerSecond": 7}, "strategyType": "RATE_LIMITING"}',
     lambda n: sampling(n, "/sampling?service=b")),
    ("J37", "GET /?service=b (the agents' older path)",
     '200 {"rateLimitingSampling": {"maxTracesPerSecond": 7}, "strategyType": 1}',
     lambda n: sampling(n, "/?service=b")),
    ("J38", "no service; two of them", "400 'service' parameter must be provided once, "
     "400 'service' parameter must be provided once",
     lambda n: f"{sampling(n, '/sampling')}, {sampling(n, '/sampling?service=a&service=b')}"),
    ("J39", "GET /baggageRestrictions?service=a", "200 []", lambda n: sampling(n, "/baggageRestrictions?service=a")),
    ("J40", "gRPC GetSamplingStrategy of b", "grpc 0, 08011a020807", j40),
]
