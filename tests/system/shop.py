# SPDX-License-Identifier: Apache-2.0
"""Two small traces that search tests ask about, and how they ask."""
import json
import time
from urllib.parse import quote, urlencode

from harness import http_request, request, span

CART = "0af7651916cd43dd8448eb211c80319c"
TICK = "00000000000000001234567890abcdef"
SECOND = 1_000_000_000


def spans_of_shop(base_ns):
    """Resource by resource: a request through two services, and one span of a third."""
    def at(ms):
        return base_ns + ms * 1_000_000

    front = request([
        {**span(CART, "b7ad6b7169203331", "GET /cart", start=at(0), duration_ms=250, status={"code": 1},
                attributes={"http.method": "GET", "http.status_code": 200, "ratio": 0.75, "flag": True,
                            "list": ["a", "b"]}),
         "events": [{"timeUnixNano": str(at(10)), "name": "cache.miss",
                     "attributes": [{"key": "cache.key", "value": {"stringValue": "cart:42"}}]}]},
        span(CART, "c000000000000001", "call cart", parent="b7ad6b7169203331", start=at(20), duration_ms=180, kind=3,
             status={"code": 2, "message": "boom"},
             attributes={"peer.service": "cart", "http.method": "POST", "http.status_code": 500}),
    ], service="shop-frontend")
    cart = request([
        span(CART, "d000000000000001", "POST /items", parent="c000000000000001", start=at(30), duration_ms=160,
             status={"code": 2, "message": "db down"}, attributes={"http.method": "POST", "http.status_code": 500}),
        span(CART, "e000000000000001", "SELECT items", parent="d000000000000001", start=at(40), duration_ms=110, kind=3,
             attributes={"db.system": "postgresql"}),
        span(CART, "e000000000000002", "render", parent="d000000000000001", start=at(160), duration_ms=1, kind=1),
    ], service="cart")
    batch = request([span(TICK, "1111111111111111", "tick", start=at(5000), duration_ms=2, kind=0,
                          attributes={"note": 'fast "quoted"'})], service="batch")
    return [front, cart, batch]


class Shop:
    """A daemon with the two traces, and a client."""

    def __init__(self, daemon, tenant=None):
        self.daemon, self.tenant = daemon, tenant
        self.base_ns = (time.time_ns() // SECOND - 60) * SECOND
        self.start, self.end = self.base_ns // SECOND - 60, self.base_ns // SECOND + 60

    def send(self):
        for payload in spans_of_shop(self.base_ns):
            status = self.daemon.send(payload, tenant=self.tenant)[0]
            assert status == 200, status
        return self

    def get(self, path, parameters=None, headers=None, method="GET"):
        """Status, headers, body as bytes."""
        head = {"X-Scope-OrgID": self.tenant} if self.tenant else {}
        query = "?" + urlencode(parameters, quote_via=quote) if parameters else ""
        return http_request(self.daemon.ports["query"], method, path + query, headers={**head, **(headers or {})})

    def ask(self, path, **parameters):
        """JSON of an answer that has to be 200."""
        headers = parameters.pop("headers", None)
        status, head, body = self.get(path, parameters, headers)
        assert status == 200, (path, parameters, status, body[:300])
        assert head["content-type"] == "application/json", head
        return json.loads(body)

    def search(self, q, **parameters):
        return self.ask("/api/search", q=q, start=self.start, end=self.end, **parameters)

    def span_ids(self, q, **parameters):
        """Ids of the spans of a search, by trace."""
        found = {}
        for trace in self.search(q, spss=100, **parameters)["traces"]:
            ids = found.setdefault(trace["traceID"], [])
            for spanset in trace["spanSets"]:
                ids.extend(item["spanID"] for item in spanset["spans"])
        return {trace: sorted(ids) for trace, ids in found.items()}
