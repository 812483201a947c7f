# SPDX-License-Identifier: Apache-2.0
"""Decoded columns of blocks are kept between queries: same answers, for less, within a bound."""
import threading
import unittest

from harness import DaemonTest, request, span
from shop import SECOND, Shop

CACHE = "fermata_query_columns_cache_"
SEARCHES = ['{span.route="/3"}', "{duration>5ms && name=~\"s.*\"}", '{span.only=7} >> {status=error}', "{} | count()>3",
            '{resource.service.name="service-2"} | select(span.route)', '{span.route="/nowhere"}']


class ColumnsCacheTest(DaemonTest):
    def fill(self, daemon, shop):
        """Three blocks with 200 traces each; each tenth trace is in two of them."""
        for block in range(3):
            spans = []
            for i in range(200):
                trace = block * 200 + i - (200 if block and i % 10 == 0 else 0) + 1
                for n in range(5):
                    number = (block * 200 + i) * 8 + n + 1
                    spans.append(span(f"{trace:032x}", f"{number:016x}", parent="" if n == 0 else f"{number - n:016x}",
                                      start=shop.base_ns + (block * 200 + i) * SECOND // 20 + n,
                                      attributes={"route": f"/{(i + n) % 9}", "only": i}))
            daemon.send(request(spans, service=f"service-{block + 1}"))
            daemon.flush()

    def ask(self, shop, text, limit=5):
        found = shop.ask("/api/search", q=text, limit=limit, spss=100)
        for trace in found["traces"]:
            for spans in trace.get("spanSets", []):
                spans["spans"] = sorted(spans["spans"], key=lambda s: s["spanID"])
            trace["spanSet"] = None
        return found["traces"], int(found["metrics"].get("inspectedSpans", 0))

    def answers(self, shop, limit):
        return [self.ask(shop, text, limit)[0] for text in SEARCHES]

    def counts(self, daemon):
        return [daemon.metric(CACHE + name) for name in ("hits_total", "misses_total", "bytes")]

    def test_same_answers_for_less(self):
        daemon = self.daemon({}).start()
        shop = Shop(daemon)
        self.fill(daemon, shop)
        cold, spans = self.ask(shop, SEARCHES[0])
        self.assertEqual(len(cold), 5)
        for _ in range(3):
            warm, warm_spans = self.ask(shop, SEARCHES[0])
            self.assertEqual(warm, cold)
        self.assertLess(warm_spans, spans)
        all_cold = self.answers(shop, 300)
        for limit in (300, 1, 20):
            for _ in range(3):
                self.assertEqual(self.answers(shop, limit), [answer[:limit] for answer in all_cold])
        hits, misses, size = self.counts(daemon)
        self.assertGreater(hits, misses)
        self.assertGreater(size, 5000)
        daemon.stop()
        daemon.start()  # nothing of it is stored
        self.assertEqual(self.answers(shop, 300), all_cold)

    def test_none_and_little(self):
        daemon = self.daemon({"query.columns_cache": 0}, "node-none").start()
        shop = Shop(daemon)
        self.fill(daemon, shop)
        wanted = [self.answers(shop, limit) for limit in (3, 300)]
        self.assertEqual([self.answers(shop, limit) for limit in (3, 300)], wanted)
        self.assertEqual(self.counts(daemon), [0, 0, 0])
        daemon.stop()
        for size in ("4KiB", "64KiB"):
            daemon.settings["query.columns_cache"] = size
            daemon.start()
            for _ in range(4):
                self.assertEqual([self.answers(shop, limit) for limit in (3, 300)], wanted)
            self.assertLessEqual(self.counts(daemon)[2], 65536)
            daemon.stop()

    def test_many_at_once(self):
        daemon = self.daemon({"query.threads": 4, "query.columns_cache": "128KiB"}).start()
        shop = Shop(daemon)
        self.fill(daemon, shop)
        wanted = self.answers(shop, 7)
        differ = []

        def ask_all():
            for _ in range(5):
                if self.answers(shop, 7) != wanted:
                    differ.append(1)
        threads = [threading.Thread(target=ask_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(differ, [])
        self.assertGreater(self.counts(daemon)[0], 0)


if __name__ == "__main__":
    unittest.main()
