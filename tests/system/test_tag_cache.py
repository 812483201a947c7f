# SPDX-License-Identifier: Apache-2.0
"""Names and values that blocks say are kept between questions: same answers, within a bound."""
import threading
import unittest

from harness import DaemonTest, request, span, wait_for
from shop import SECOND, Shop

CACHE = "fermata_query_tags_cache_"


class TagCacheTest(DaemonTest):
    def start(self, **settings):
        daemon = self.daemon({f"query.{key}": value for key, value in settings.items()}).start()
        return daemon, Shop(daemon)

    def put(self, daemon, shop, number, values, at_s=0, flushes=True):
        """Spans whose `route` is each of values, and that have an attribute of their own."""
        daemon.send(request([
            span(f"{number:032x}", f"{number * 100000 + i + 1:016x}", start=shop.base_ns + at_s * SECOND,
                 attributes={"route": value, f"only.{number}": i})
            for i, value in enumerate(values)], service=f"service-{number}"))
        if flushes:
            daemon.flush()

    def names(self, shop, **parameters):
        scopes = {s["name"]: s["tags"] for s in shop.ask("/api/v2/search/tags", **parameters)["scopes"]}
        scopes.pop("intrinsic", None)
        return scopes

    def values(self, shop, field="span.route", **parameters):
        found = shop.ask(f"/api/v2/search/tag/{field}/values", **parameters)["tagValues"]
        return sorted(value["value"] for value in found)

    def counts(self, daemon):
        return [daemon.metric(CACHE + name) for name in ("hits_total", "misses_total")]

    def test_cold_and_warm_answers_are_the_same(self):
        daemon, shop = self.start()
        for number in range(1, 4):
            self.put(daemon, shop, number, [f"/{number}/{i}" for i in range(5)] + ["/all"])
        asks = [lambda: self.names(shop), lambda: self.names(shop, scope="span"), lambda: self.values(shop),
                lambda: self.values(shop, "resource.service.name"), lambda: self.values(shop, "name"),
                lambda: self.values(shop, ".route"), lambda: self.values(shop, "span.only.2"),
                lambda: self.values(shop, "status"), lambda: self.values(shop, "span.none"),
                lambda: shop.ask("/api/search/tags")["tagNames"],
                lambda: sorted(shop.ask("/api/search/tag/route/values")["tagValues"])]
        cold = [ask() for ask in asks]
        self.assertEqual(cold[2], sorted([f"/{n}/{i}" for n in range(1, 4) for i in range(5)] + ["/all"]))
        self.assertEqual(cold[0], {"span": ["only.1", "only.2", "only.3", "route"], "resource": ["service.name"]})
        hits, misses = self.counts(daemon)
        self.assertEqual([ask() for ask in asks], cold)
        self.assertEqual(self.counts(daemon), [hits + 3 * len(asks), misses])
        daemon.stop()
        daemon.start()  # nothing of it is stored
        self.assertEqual([ask() for ask in asks], cold)

    def test_every_type(self):
        daemon, shop = self.start()
        shop.send()
        daemon.flush()
        for field, kind, values in (
                ("span.http.status_code", "int", ["200", "500"]), ("span.ratio", "float", ["0.75"]),
                ("span.flag", "bool", ["true"]), ("span.list", "string", ["a", "b"]),
                ("status", "keyword", ["error", "ok", "unset"]), ("event:name", "string", ["cache.miss"]),
                ("rootServiceName", "string", ["batch", "shop-frontend"]), ("duration", None, [])):
            for _ in range(3):
                found = shop.ask(f"/api/v2/search/tag/{field}/values")["tagValues"]
                self.assertEqual(sorted(value["value"] for value in found), values, field)
                self.assertEqual({value["type"] for value in found}, {kind} if kind else set(), field)
        self.assertEqual(self.counts(daemon), [16, 8])

    def test_new_spans_are_found(self):
        daemon, shop = self.start()
        self.put(daemon, shop, 1, ["/a", "/b"])
        for _ in range(2):
            self.assertEqual(self.values(shop), ["/a", "/b"])
        self.put(daemon, shop, 2, ["/c"], flushes=False)
        for _ in range(2):
            self.assertEqual(self.values(shop), ["/a", "/b", "/c"])
            self.assertEqual(self.names(shop)["span"], ["only.1", "only.2", "route"])
        daemon.flush()
        for _ in range(2):
            self.assertEqual(self.values(shop), ["/a", "/b", "/c"])
            self.assertEqual(self.names(shop)["span"], ["only.1", "only.2", "route"])

    def test_windows_limits_and_filters(self):
        daemon, shop = self.start()
        first = shop.base_ns // SECOND
        self.put(daemon, shop, 1, ["/a", "/b", "/c"])
        self.put(daemon, shop, 2, ["/d", "/e", "/f"], at_s=30)
        for _ in range(2):
            self.assertEqual(len(self.values(shop, limit=2)), 2)  # before anything is known, and after
            self.assertEqual(self.values(shop, start=first - 5, end=first + 10), ["/a", "/b", "/c"])
            self.assertEqual(self.values(shop, start=first + 20, end=first + 40), ["/d", "/e", "/f"])
            self.assertEqual(self.values(shop, start=first + 15, end=first + 20), [])
            self.assertEqual(self.names(shop, start=first + 20, end=first + 40)["span"], ["only.2", "route"])
            self.assertEqual(len(self.names(shop, limit=2)["span"]), 2)
            self.assertEqual(self.values(shop, limit=5000), ["/a", "/b", "/c", "/d", "/e", "/f"])
            self.assertEqual(self.values(shop, q='{ span.route = "/a" }'), ["/a"])
            self.assertEqual(self.values(shop, q='{ resource.service.name = "service-2" }'), ["/d", "/e", "/f"])

    def test_bound_holds(self):
        bytes_max = 16 << 10
        daemon, shop = self.start(tags_cache=bytes_max)
        self.put(daemon, shop, 1, [f"/a/rather/long/route/{i:06d}" for i in range(100)])
        for i in range(200):
            self.assertEqual(self.values(shop, f"span.none.{i}"), [])
            if i % 20 == 0:
                self.assertEqual(len(self.values(shop)), 100)
        self.assertLessEqual(daemon.metric(CACHE + "bytes"), bytes_max)
        self.assertGreater(daemon.metric(CACHE + "bytes"), bytes_max / 2)
        self.assertGreater(daemon.metric(CACHE + "evictions_total"), 0)
        self.assertGreaterEqual(daemon.metric(CACHE + "hits_total"), 9)

    def test_larger_than_the_bound_and_none(self):
        for bytes_max in (0, 1 << 10):
            daemon = self.daemon({"query.tags_cache": bytes_max}, f"node-{bytes_max}").start()
            shop = Shop(daemon)
            values = [f"/a/rather/long/route/{i:06d}" for i in range(100)]
            self.put(daemon, shop, 1, values)
            for _ in range(3):
                self.assertEqual(self.values(shop), values)
            self.assertEqual(daemon.metric(CACHE + "bytes"), 0)
            self.assertEqual(daemon.metric(CACHE + "hits_total"), 0)

    def test_goes_with_its_block(self):
        daemon = self.daemon({"upload.destination": "dir", "storage.retention_uploaded": "1s"}).start()
        shop = Shop(daemon)
        self.put(daemon, shop, 1, ["/old"])
        self.assertEqual(self.values(shop), ["/old"])
        wait_for(lambda: not daemon.blocks() or not any((b / "meta.json").exists() for b in daemon.blocks()), 30,
                 "retention")
        self.assertEqual(daemon.metric(CACHE + "bytes"), 0)
        self.assertEqual(self.values(shop), [])

    def test_many_at_once(self):
        daemon, shop = self.start()
        for number in range(1, 5):
            self.put(daemon, shop, number, [f"/{number}/{i}" for i in range(5)])
        expected = sorted(f"/{n}/{i}" for n in range(1, 5) for i in range(5))
        found = []

        def ask():
            for i in range(10):
                found.append(self.values(shop))
                found.append(expected if self.names(shop)["span"][-1] == "route" else None)
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(len(found), 80)
        self.assertTrue(all(values == expected for values in found))


if __name__ == "__main__":
    unittest.main()
