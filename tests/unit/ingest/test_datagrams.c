/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams into the real store on the simulated platform: whatever comes in is stored or counted.
 */
#include "../../support/test.h"

#include "fermata/ingest.h"
#include "fermata/jaeger.h"
#include "fermata/sim.h"
#include "fermata/thrift.h"
#include "fermata/units.h"

/* emitBatch by the compact protocol, one span: a public sample vector. */
static const char compact[] =
    "82810009656d697442617463681c1c1803737663191c1808686f73746e616d651500180268310000191c16909cb0d0"
    "80c181820216001603160018026f70191c150016909cb0d080c18182021600160a001502168080f2818389850616b8"
    "17193c18056572726f7215043100180164150227000000000000f83f0018016e1506460500191c16e887f281838985"
    "06191c18056576656e741500180265310000000000";

struct world {
    struct sim *sim;
    struct platform *platform;
    struct store *store;
    struct tenants *tenants;
    struct ingest *ingest;
    struct net_budget budget;
    struct fm_buf sample;
    uint64_t pending_bytes_max; /* 0: plenty */
    bool is_closed;
};

static void world_open(struct world *world, uint64_t budget_bytes, uint64_t spans_per_s,
                       const char *strategies_file)
{
    const struct store_options store = {
        .data_dir = "/data",
        .segment_bytes = FM_MIB(1),
        .pending_bytes_max = world->pending_bytes_max ? world->pending_bytes_max : FM_MIB(16),
        .head_bytes_max = FM_MIB(16),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(16),
    };
    const struct tenants_options tenants = {
        .default_tenant = TENANT_DEFAULT,
        .overrides_file = "",
        .rates = {.spans_per_s = spans_per_s, .spans_burst = 2 * spans_per_s},
        .active_max = 4,
        .reload_interval_ns = 3600 * FM_NS_PER_S,
    };
    struct fm_why why = {""};
    assert_ok(sim_new(&world->sim, 1));
    world->platform = sim_platform(world->sim);
    log_setup(LOG_LEVEL_ERROR, false, world->platform);
    world->budget.bytes_max = budget_bytes;
    assert_ok(pf_make_path(world->platform, "/data", &why));
    assert_ok(store_open(&world->store, world->platform, &store, &why));
    assert_ok(tenants_new(&world->tenants, world->platform, &tenants, &why));
    const struct ingest_options ingest = {
        .limits = decode_limits_default,
        .decompressed_bytes_max = FM_MIB(1),
        .decompression_ratio_max = 250,
        .retry_after_ms = 1000,
        .budget = &world->budget,
        .tenants = world->tenants,
        .cors_allowed_origins = "",
        .zipkin_cors_allowed_origins = "",
        .sampling_strategies_file = strategies_file,
    };
    assert_ok(ingest_new(&world->ingest, world->platform, world->store, &ingest));
    world->sample = test_hex(compact);
}

static void world_run(struct world *world)
{
    (void)sim_run(world->sim, FM_NS_PER_S);
}

static void world_on_closed(void *self)
{
    ((struct world *)self)->is_closed = true;
}

static void world_close(struct world *world)
{
    ingest_stop(world->ingest);
    store_close(world->store, world_on_closed, world);
    world_run(world);
    assert_true(world->is_closed);
    assert_int_equal(metric_get(&world->budget.bytes_used), 0);
    world->ingest = ingest_free(world->ingest);
    world->tenants = tenants_free(world->tenants);
    fm_buf_fini(&world->sample);
    log_setup(LOG_LEVEL_INFO, false, NULL);
    sim_free(world->sim);
}

static void world_send(struct world *world, struct fm_slice datagram, size_t count)
{
    struct fm_slice bunch[32];
    for (size_t i = 0; i < FM_COUNT(bunch); i++)
        bunch[i] = datagram;
    for (; count; count -= FM_MIN(count, FM_COUNT(bunch)))
        ingest_on_jaeger_compact(world->ingest, bunch, FM_MIN(count, FM_COUNT(bunch)));
}

static uint64_t world_accepted(const struct world *world)
{
    return ingest_accepted_spans(world->ingest, INGEST_JAEGER_COMPACT);
}

static uint64_t world_refused(const struct world *world)
{
    return ingest_refused_spans(world->ingest, INGEST_JAEGER_COMPACT);
}

static uint64_t world_metric(const struct world *world, const char *line)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    ingest_put_metrics(world->ingest, &text);
    store_put_metrics(world->store, &text);
    fm_buf_put_u8(&text, 0);
    const char *found = strstr((const char *)text.ptr, line);
    while (found && found[-1] != '\n') /* in a comment */
        found = strstr(found + 1, line);
    assert_non_null(found);
    uint64_t value = strtoull(found + strlen(line), NULL, 10);
    fm_buf_fini(&text);
    return value;
}

#define DROPPED(reason)                                                                            \
    "fermata_receiver_dropped_datagrams_total{receiver=\"jaeger_thrift_compact\",reason=\"" reason \
    "\"} "
#define REFUSED(reason)                                                                            \
    "fermata_receiver_refused_spans_total{receiver=\"jaeger_thrift_compact\",reason=\"" reason     \
    "\"} "

static void test_many_datagrams_are_few_records(void **state)
{
    (void)state;
    struct world world = {0};
    struct store_status status;
    world_open(&world, FM_MIB(64), 0, "");
    world_send(&world, fm_buf_slice(&world.sample), 5000);
    world_run(&world);
    assert_int_equal(world_accepted(&world), 5000);
    assert_int_equal(world_refused(&world), 0);
    store_get_status(world.store, &status);
    assert_int_equal(status.head_spans, 5000);
    assert_true(status.head_records < 50);
    world_close(&world);
}

/* Datagrams of a batch of 64 KiB; ret_group: batches of a group of 1 MiB. */
static size_t world_batch(const struct world *world, size_t *ret_group)
{
    struct jaeger_client_stats stats;
    struct fm_arena scratch;
    struct fm_buf otlp;
    fm_arena_init(&scratch, FM_MIB(1));
    fm_buf_init(&otlp, FM_MIB(1));
    assert_ok(jaeger_datagram_decode(fm_buf_slice(&world->sample), &scratch, &otlp, &stats, NULL));
    size_t count = FM_KIB(64) / otlp.len, bytes = count * otlp.len;
    *ret_group = (FM_MIB(1) + bytes - 1) / bytes;
    fm_buf_fini(&otlp);
    fm_arena_fini(&scratch);
    return count;
}

/* Batches wait for each other, but no longer than 40 ms. */
static void test_large_batches_go_together(void **state)
{
    (void)state;
    struct world world = {0};
    struct store_status status;
    size_t group;
    world_open(&world, FM_MIB(64), 0, "");
    size_t batch = world_batch(&world, &group);
    world_send(&world, fm_buf_slice(&world.sample), 2 * batch + 1);
    (void)sim_run(world.sim, 30 * FM_NS_PER_MS);
    store_get_status(world.store, &status);
    assert_int_equal(status.head_records, 0);
    world_run(&world);
    store_get_status(world.store, &status);
    assert_int_equal(world_accepted(&world), 2 * batch + 1);
    assert_int_equal(status.head_records, 3);
    assert_int_equal(world_metric(&world, "fermata_wal_groups_total "), 1);
    /* a group goes at once, what is more than one waits */
    world_send(&world, fm_buf_slice(&world.sample), (group + 1) * batch);
    (void)sim_run(world.sim, 30 * FM_NS_PER_MS);
    store_get_status(world.store, &status);
    assert_int_equal(status.head_records, 3 + group);
    world_run(&world);
    store_get_status(world.store, &status);
    assert_int_equal(world_accepted(&world), (group + 3) * batch + 1);
    assert_int_equal(status.head_records, 3 + group + 1);
    world_close(&world);
}

static void test_the_bad_cost_nobody_else(void **state)
{
    (void)state;
    struct world world = {0};
    world_open(&world, FM_MIB(64), 0, "");
    struct fm_slice sample = fm_buf_slice(&world.sample);
    const struct fm_slice bunch[] = {
        sample,
        fm_slice(sample.ptr, sample.len / 2),
        FM_SLICE("\x82\x81\x00\x06unlike\x00"),
        sample,
        FM_SLICE(""),
    };
    ingest_on_jaeger_compact(world.ingest, bunch, FM_COUNT(bunch));
    world_run(&world);
    assert_int_equal(world_accepted(&world), 2);
    assert_int_equal(world_metric(&world, DROPPED("malformed")), 2);
    assert_int_equal(world_metric(&world, DROPPED("unknown_method")), 1);
    world_close(&world);
}

static void test_a_budget_that_is_used_up(void **state)
{
    (void)state;
    struct world world = {0};
    world_open(&world, FM_KIB(64), 0, "");
    world_send(&world, fm_buf_slice(&world.sample), 2000); /* no turn of the loop between them */
    assert_true(metric_get(&world.budget.bytes_used) <= FM_KIB(64));
    world_run(&world);
    assert_true(world_accepted(&world) > 100);
    assert_true(world_metric(&world, REFUSED("unavailable")) > 100);
    assert_int_equal(world_accepted(&world) + world_refused(&world), 2000);
    world_send(&world, fm_buf_slice(&world.sample), 10);
    world_run(&world);
    assert_int_equal(world_accepted(&world) + world_refused(&world), 2010);
    world_close(&world);
}

static void test_a_log_that_refuses(void **state)
{
    (void)state;
    struct world world = {0};
    world_open(&world, FM_MIB(64), 0, "");
    world_send(&world, fm_buf_slice(&world.sample), 10);
    world_run(&world);
    sim_fault_at(world.sim, SIM_SYNC_EIO, 1, true);
    world_send(&world, fm_buf_slice(&world.sample), 1000);
    world_run(&world);
    assert_int_equal(world_accepted(&world), 10);
    assert_int_equal(world_refused(&world), 0); /* held for a while */
    for (unsigned second = 0; second < 6; second++)
        world_run(&world);
    assert_int_equal(world_accepted(&world), 10);
    assert_int_equal(world_metric(&world, REFUSED("unavailable")), 1000);
    world_send(&world, fm_buf_slice(&world.sample), 1000);
    world_run(&world);
    world_close(&world);
}

static void test_a_log_that_refuses_for_a_moment(void **state)
{
    (void)state;
    struct world world = {.pending_bytes_max = FM_KIB(64)};
    world_open(&world, FM_MIB(64), 0, "");
    world_send(&world, fm_buf_slice(&world.sample), 10000);
    assert_true(metric_get(&world.budget.bytes_used) > FM_MIB(1));
    world_run(&world);
    world_run(&world);
    assert_int_equal(world_accepted(&world), 10000);
    assert_int_equal(world_refused(&world), 0);
    world_close(&world);
}

static void test_a_tenant_over_its_rate(void **state)
{
    (void)state;
    struct world world = {0};
    world_open(&world, FM_MIB(64), 50, "");
    world_send(&world, fm_buf_slice(&world.sample), 1000);
    world_run(&world);
    assert_int_equal(world_accepted(&world), 100); /* two seconds' worth */
    assert_int_equal(world_metric(&world, REFUSED("rate_limited")), 900);
    world_close(&world);
}

static void test_what_was_read_is_stored_before_the_end(void **state)
{
    (void)state;
    static const size_t counts[] = {100, 6000}; /* they are in a batch yet, in a few of them */
    for (size_t i = 0; i < FM_COUNT(counts); i++) {
        struct world world = {0};
        world_open(&world, FM_MIB(64), 0, "");
        world_send(&world, fm_buf_slice(&world.sample), counts[i]);
        ingest_stop(world.ingest);
        store_close(world.store, world_on_closed, &world);
        world_run(&world);
        assert_int_equal(world_accepted(&world), counts[i]);
        world.ingest = ingest_free(world.ingest);
        world.tenants = tenants_free(world.tenants);
        fm_buf_fini(&world.sample);
        sim_free(world.sim);
    }
}

static void test_memory_that_is_missing(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct world world = {0};
        world_open(&world, FM_MIB(64), 0, "");
        test_alloc_fail_at(nth);
        world_send(&world, fm_buf_slice(&world.sample), 40);
        test_alloc_disarm();
        world_run(&world);
        uint64_t dropped = world_metric(&world, DROPPED("unavailable")) +
                           world_metric(&world, DROPPED("too_large"));
        assert_true(world_accepted(&world) + world_refused(&world) + dropped >= 40);
        assert_true(world_accepted(&world) + world_refused(&world) <= 40);
        world_close(&world);
    }
}

/* ---- what clients say they lost ---- */

static struct fm_buf stats_datagram(const char *uuid, int64_t sequence, int64_t lost)
{
    struct fm_buf buf;
    struct thrift_writer writer;
    fm_buf_init(&buf, FM_KIB(4));
    thrift_writer_init(&writer, &buf);
    thrift_put_message(&writer, THRIFT_ONEWAY, "emitBatch");
    thrift_put_struct_begin(&writer);
    thrift_put_struct_field(&writer, 1); /* batch */
    thrift_put_struct_field(&writer, 1); /* process */
    thrift_put_binary(&writer, 1, FM_SLICE("svc"));
    thrift_put_list(&writer, 2, THRIFT_STRUCT, 1);
    thrift_put_struct_begin(&writer);
    thrift_put_binary(&writer, 1, FM_SLICE("client-uuid"));
    thrift_put_i32(&writer, 2, 0);
    thrift_put_binary(&writer, 3, fm_slice_text(uuid));
    thrift_put_struct_end(&writer);
    thrift_put_struct_end(&writer);
    thrift_put_list(&writer, 2, THRIFT_STRUCT, 0);
    thrift_put_i64(&writer, 3, sequence);
    thrift_put_struct_field(&writer, 4); /* stats */
    thrift_put_i64(&writer, 1, lost);
    thrift_put_i64(&writer, 2, 2 * lost);
    thrift_put_i64(&writer, 3, 3 * lost);
    thrift_put_struct_end(&writer);
    thrift_put_struct_end(&writer);
    thrift_put_struct_end(&writer);
    assert_false(buf.failed);
    return buf;
}

static void test_losses_of_clients_are_added_up(void **state)
{
    static const struct {
        const char *uuid;
        int64_t sequence, lost;
        uint64_t sum;
    } rows[] = {
        {"a", 1, 5, 5},   {"a", 2, 7, 7},   {"b", 1, 10, 17}, {"a", 2, 7, 17}, /* repeated */
        {"a", 1, 5, 17},                                                       /* late */
        {"a", 3, 8, 18},  {"a", 4, 1, 19},                                     /* began anew */
        {"c", -1, 1, 20}, {"c", -1, 3, 22},                                    /* no sequence */
    };
    (void)state;
    struct world world = {0};
    world_open(&world, FM_MIB(64), 0, "");
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf datagram = stats_datagram(rows[i].uuid, rows[i].sequence, rows[i].lost);
        world_send(&world, fm_buf_slice(&datagram), 1);
        fm_buf_fini(&datagram);
        const char *name = "fermata_jaeger_client_dropped_spans_total";
        char line[96];
        (void)snprintf(line, sizeof line, "%s{reason=\"queue_full\"} ", name);
        assert_int_equal(world_metric(&world, line), rows[i].sum);
        (void)snprintf(line, sizeof line, "%s{reason=\"send_failed\"} ", name);
        assert_int_equal(world_metric(&world, line), 3 * rows[i].sum);
    }
    for (unsigned i = 0; i < 5000; i++) { /* the table is bounded */
        char uuid[16];
        (void)snprintf(uuid, sizeof uuid, "client %u", i);
        struct fm_buf datagram = stats_datagram(uuid, 1, 0);
        world_send(&world, fm_buf_slice(&datagram), 1);
        fm_buf_fini(&datagram);
    }
    world_close(&world);
}

/* ---- the strategies file ---- */

static void world_write(struct world *world, const char *text)
{
    assert_ok(pf_replace_file(world->platform, "/data/strategies", fm_slice_text(text), NULL));
    (void)sim_run(world->sim, 11 * FM_NS_PER_S);
}

static void test_the_strategies_file_is_looked_at_again(void **state)
{
    (void)state;
    struct world world = {0};
    world_open(&world, FM_MIB(64), 0, "/data/strategies");
    assert_int_equal(world_metric(&world, "fermata_sampling_file_good "), 0); /* not there */
    assert_int_equal(world_metric(&world, "fermata_sampling_file_failures_total "), 1);
    world_write(&world, "{}");
    assert_int_equal(world_metric(&world, "fermata_sampling_file_good "), 1);
    world_write(&world, "{");
    assert_int_equal(world_metric(&world, "fermata_sampling_file_good "), 0);
    assert_int_equal(world_metric(&world, "fermata_sampling_file_failures_total "), 2);
    (void)sim_run(world.sim, 30 * FM_NS_PER_S); /* once for one content */
    assert_int_equal(world_metric(&world, "fermata_sampling_file_failures_total "), 2);
    assert_int_equal(world_metric(&world, "fermata_sampling_file_good "), 0);
    ingest_reload(world.ingest);
    ingest_reload(world.ingest);
    world_write(&world, "{\"default_strategy\":{\"type\":\"probabilistic\",\"param\":0}}");
    assert_int_equal(world_metric(&world, "fermata_sampling_file_good "), 1);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_datagrams_are_few_records),
        cmocka_unit_test(test_large_batches_go_together),
        cmocka_unit_test(test_the_bad_cost_nobody_else),
        cmocka_unit_test(test_a_budget_that_is_used_up),
        cmocka_unit_test(test_a_log_that_refuses),
        cmocka_unit_test(test_a_log_that_refuses_for_a_moment),
        cmocka_unit_test(test_a_tenant_over_its_rate),
        cmocka_unit_test(test_what_was_read_is_stored_before_the_end),
        cmocka_unit_test(test_memory_that_is_missing),
        cmocka_unit_test(test_losses_of_clients_are_added_up),
        cmocka_unit_test(test_the_strategies_file_is_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
