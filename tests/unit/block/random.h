/* SPDX-License-Identifier: Apache-2.0 */
/* Random canonical OTLP: all kinds of values, empty lists, shared resources, odd times. */
#ifndef TESTS_BLOCK_RANDOM_H
#define TESTS_BLOCK_RANDOM_H

#include "../../support/test.h"

#include "fermata/pb.h"

struct random_spans {
    uint64_t state;
    uint32_t trace_count; /* ids are drawn from so many */
    uint64_t ids[64];     /* span ids seen, to make parents of */
    uint32_t id_count;
};

static uint32_t random_below(struct random_spans *random, uint32_t limit)
{
    return (uint32_t)((fm_random_next(&random->state) >> 32) * limit >> 32);
}

static void random_value(struct random_spans *random, struct fm_buf *buf, unsigned depth);

static void random_text(struct random_spans *random, char text[64])
{
    static const char *const words[] = {"",
                                        "a",
                                        "GET",
                                        "checkout",
                                        "caf\xc3\xa9",
                                        "\xff\xfe bad",
                                        "a longer text with some words in it",
                                        "x\"y\\z\n"};
    if (random_below(random, 4))
        (void)snprintf(text, 64, "%s", words[random_below(random, FM_COUNT(words))]);
    else
        (void)snprintf(text, 64, "value-%u", random_below(random, 100000));
}

static void random_array(struct random_spans *random, struct fm_buf *buf, unsigned depth)
{
    bool mixed = random_below(random, 4) == 0;
    uint64_t state = random->state;
    size_t mark = pb_begin(buf, 5);
    for (uint32_t i = random_below(random, 4); i; i--) {
        size_t value = pb_begin(buf, 1);
        if (mixed) {
            random_value(random, buf, depth + 1);
        } else {
            /* The same draw of a kind again: a homogeneous array. */
            struct random_spans again = {.state = state};
            random_value(&again, buf, 9);
        }
        pb_end(buf, value);
    }
    pb_end(buf, mark);
}

static void random_value(struct random_spans *random, struct fm_buf *buf, unsigned depth)
{
    char text[64];
    size_t mark;
    uint64_t number = fm_random_next(&random->state);
    switch (random_below(random, depth > 3 ? 6 : 12)) {
    case 0:
    case 6:
    case 7:
        random_text(random, text);
        pb_put_text(buf, 1, text);
        break;
    case 1:
        pb_put_u64(buf, 2, number & 1);
        break;
    case 2:
        pb_put_u64(buf, 3, number >> random_below(random, 64));
        break;
    case 3:
        pb_put_u64(buf, 3, 0 - (number >> random_below(random, 64)));
        break;
    case 4: {
        double real = (double)(int64_t)number / 1000;
        uint64_t bits;
        memcpy(&bits, &real, sizeof bits);
        pb_put_fixed64(buf, 4, bits);
        break;
    }
    case 5:
        pb_put_u64(buf, 3, number & 255);
        break;
    case 8:
    case 9:
        random_array(random, buf, depth);
        break;
    case 10:
        mark = pb_begin(buf, 6);
        for (uint32_t i = random_below(random, 3); i; i--) {
            size_t pair = pb_begin(buf, 1);
            (void)snprintf(text, sizeof text, "k%u", i);
            pb_put_text(buf, 1, text);
            size_t value = pb_begin(buf, 2);
            random_value(random, buf, depth + 1);
            pb_end(buf, value);
            pb_end(buf, pair);
        }
        pb_end(buf, mark);
        break;
    default:
        if (random_below(random, 2))
            pb_put_bytes(buf, 7, fm_slice(&number, random_below(random, 9)));
        break; /* else: no value at all */
    }
}

static void random_attributes(struct random_spans *random, struct fm_buf *buf, uint32_t field)
{
    static const char *const keys[] = {"service.name",
                                       "k8s.pod.name",
                                       "cluster",
                                       "http.method",
                                       "http.url",
                                       "a",
                                       "http.status_code",
                                       "b.c",
                                       "user.id",
                                       "empty",
                                       "namespace",
                                       "container",
                                       "pod",
                                       "k8s.cluster.name",
                                       "x.y.z"};
    uint32_t at = random_below(random, FM_COUNT(keys));
    for (uint32_t i = random_below(random, 7); i; i--) {
        size_t pair = pb_begin(buf, field);
        pb_put_text(buf, 1, keys[at]);
        size_t value = pb_begin(buf, 2);
        random_value(random, buf, 0);
        pb_end(buf, value);
        pb_end(buf, pair);
        at = (at + 1) % FM_COUNT(keys); /* keys are unique */
    }
}

static void random_dropped(struct random_spans *random, struct fm_buf *buf, uint32_t field)
{
    if (random_below(random, 8) == 0)
        pb_put_u64(buf, field, random_below(random, UINT32_MAX) >> random_below(random, 32));
}

static uint64_t random_time(struct random_spans *random)
{
    uint64_t base = UINT64_C(1795219972000000000);
    switch (random_below(random, 40)) {
    case 0:
        return 0;
    case 1:
        return base - random_below(random, 1000000) * UINT64_C(1000000000);
    default:
        return base + fm_random_next(&random->state) % UINT64_C(5000000000);
    }
}

static void random_span(struct random_spans *random, struct fm_buf *buf)
{
    uint8_t id[16] = {0};
    char text[64];
    size_t mark = pb_begin(buf, 2);
    uint32_t trace = random_below(random, random->trace_count);
    if (trace % 3)
        fm_store_be64(id, trace * UINT64_C(0x9e3779b97f4a7c15));
    fm_store_be64(id + 8, (trace + 1) * UINT64_C(0xd6e8feb86659fd93));
    pb_put_bytes(buf, 1, fm_slice(id, 16));
    uint64_t span = fm_random_next(&random->state);
    if (random_below(random, 20) == 0 && random->id_count)
        span = random->ids[random_below(random, random->id_count)];
    random->ids[random->id_count < 64 ? random->id_count++ : random_below(random, 64)] = span;
    pb_put_bytes(buf, 2, fm_slice(&span, 8));
    random_text(random, text);
    if (random_below(random, 4) == 0)
        pb_put_text(buf, 3, text);
    uint64_t parent = random->ids[random_below(random, random->id_count)];
    if (random_below(random, 10) == 0)
        parent = 0;
    if (random_below(random, 5))
        pb_put_bytes(buf, 4, fm_slice(&parent, 8));
    random_text(random, text);
    pb_put_text(buf, 5, text);
    pb_put_u64(buf, 6, random_below(random, 50) ? random_below(random, 6) : 1u << 30);
    pb_put_fixed64(buf, 7, random_time(random));
    pb_put_fixed64(buf, 8, random_time(random));
    random_attributes(random, buf, 9);
    random_dropped(random, buf, 10);
    for (uint32_t i = random_below(random, 2) * random_below(random, 4); i; i--) {
        size_t event = pb_begin(buf, 11);
        pb_put_fixed64(buf, 1, random_time(random));
        pb_put_text(buf, 2, i & 1 ? "exception" : "");
        random_attributes(random, buf, 3);
        random_dropped(random, buf, 4);
        pb_end(buf, event);
    }
    random_dropped(random, buf, 12);
    for (uint32_t i = random_below(random, 2) * random_below(random, 3); i; i--) {
        size_t link = pb_begin(buf, 13);
        pb_put_bytes(buf, 1, fm_slice(id, random_below(random, 5) ? 16 : 3));
        pb_put_bytes(buf, 2, fm_slice(&parent, random_below(random, 5) ? 8 : 0));
        if (random_below(random, 2))
            pb_put_text(buf, 3, "k=v");
        random_attributes(random, buf, 4);
        random_dropped(random, buf, 5);
        pb_end(buf, link);
    }
    random_dropped(random, buf, 14);
    if (random_below(random, 2)) {
        size_t status = pb_begin(buf, 15);
        pb_put_text(buf, 2, random_below(random, 2) ? "boom" : "");
        pb_put_u64(buf, 3, random_below(random, 30) ? random_below(random, 3) : 77);
        pb_end(buf, status);
    }
    pb_end(buf, mark);
}

/* One request of some resources, scopes and spans. */
__attribute__((unused)) static void random_request(struct random_spans *random, struct fm_buf *buf)
{
    for (uint32_t i = 1 + random_below(random, 3); i; i--) {
        size_t resource_spans = pb_begin(buf, 1);
        if (random_below(random, 10)) {
            size_t resource = pb_begin(buf, 1);
            random_attributes(random, buf, 1);
            random_dropped(random, buf, 2);
            pb_end(buf, resource);
        }
        for (uint32_t j = random_below(random, 3); j; j--) {
            size_t scope_spans = pb_begin(buf, 2);
            if (random_below(random, 4)) {
                size_t scope = pb_begin(buf, 1);
                pb_put_text(buf, 1, random_below(random, 2) ? "lib" : "other");
                pb_put_text(buf, 2, random_below(random, 2) ? "1.0" : "");
                random_attributes(random, buf, 3);
                random_dropped(random, buf, 4);
                pb_end(buf, scope);
            }
            for (uint32_t k = random_below(random, 12); k; k--)
                random_span(random, buf);
            pb_end(buf, scope_spans);
        }
        pb_end(buf, resource_spans);
    }
}

#endif
