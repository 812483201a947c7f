/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants in the simulated world: names, identities, rates, the table, the overrides file. */
#include "../../support/test.h"

#include <pthread.h>

#include "fermata/net.h"
#include "fermata/sim.h"
#include "fermata/tenants.h"
#include "fermata/units.h"

#define OVERRIDES "/overrides.ini"
#define LOOK_NS   (10 * FM_NS_PER_S)

struct fixture {
    struct sim *sim;
    struct platform *platform;
    struct tenants_options options;
    struct tenants *tenants;
    struct fm_why why;
};

static void write_file(struct fixture *f, const char *text)
{
    assert_ok(pf_replace_file(f->platform, OVERRIDES, fm_slice_text(text), &f->why));
}

/* text NULL: no file. */
static int open_tenants(struct fixture *f, const char *text)
{
    if (text) {
        write_file(f, text);
        f->options.overrides_file = OVERRIDES;
    }
    f->why.text[0] = '\0';
    return tenants_new(&f->tenants, f->platform, &f->options, &f->why);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || sim_new(&f->sim, 1) < 0)
        return -1;
    log_setup(LOG_LEVEL_ERROR - 1, false, NULL);
    f->platform = sim_platform(f->sim);
    f->options = (struct tenants_options){.default_tenant = TENANT_DEFAULT,
                                          .overrides_file = "",
                                          .active_max = 4,
                                          .reload_interval_ns = LOOK_NS};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->tenants)
        tenants_stop(f->tenants);
    (void)sim_run(f->sim, FM_NS_PER_S); /* a job may be out */
    (void)tenants_free(f->tenants);
    (void)sim_free(f->sim);
    free(f);
    return 0;
}

static const struct net_identity nobody = {NET_ANONYMOUS, "anonymous"};
static const struct net_identity alice = {NET_TOKEN, "alice"}, bob = {NET_USER, "bob"};
static const struct net_identity alice_by_name = {NET_USER, "alice"};

/* "" is a header without a value; NULL none. */
static const char *resolve(struct fixture *f, const struct net_identity *identity,
                           const char *header, int *ret_rc)
{
    static char name[TENANT_LEN_MAX + 1];
    memset(name, '?', sizeof name);
    name[sizeof name - 1] = '\0';
    *ret_rc = tenants_resolve(f->tenants, identity,
                              header ? fm_slice(header, strlen(header)) : (struct fm_slice){0},
                              name, &f->why);
    return name;
}

static void check_name(struct fixture *f, const struct net_identity *identity, const char *header,
                       const char *expected)
{
    int rc;
    const char *name = resolve(f, identity, header, &rc);
    if (rc < 0)
        print_message("%s\n", f->why.text);
    assert_ok(rc);
    assert_string_equal(name, expected);
}

static void check_refusal(struct fixture *f, const struct net_identity *identity,
                          const char *header, int expected)
{
    int rc;
    const char *name = resolve(f, identity, header, &rc);
    assert_int_equal(rc, expected);
    assert_int_equal(name[0], '?'); /* untouched */
    assert_true(f->why.text[0]);
}

static void check_metric(struct fixture *f, const char *line)
{
    struct fm_buf out;
    fm_buf_init(&out, FM_MIB(1));
    tenants_put_metrics(f->tenants, &out);
    fm_buf_put_u8(&out, 0);
    if (!strstr((const char *)out.ptr, line))
        fail_msg("no \"%s\" in\n%s", line, (const char *)out.ptr);
    fm_buf_fini(&out);
}

/* ---- names ---- */

static void test_names(void **state)
{
    struct fixture *f = *state;
    char longest[TENANT_LEN_MAX + 2];
    assert_ok(open_tenants(f, NULL));
    check_name(f, &nobody, NULL, TENANT_DEFAULT);
    check_name(f, &nobody, "a-b_c.d!*'()9Z", "a-b_c.d!*'()9Z");
    memset(longest, 'x', sizeof longest);
    longest[TENANT_LEN_MAX] = '\0';
    check_name(f, &alice, longest, longest);
    longest[TENANT_LEN_MAX] = 'x';
    longest[TENANT_LEN_MAX + 1] = '\0';
    static const char *const bad[] = {"",    ".",      "..",       "a/b", "../b", "a\\b", "a b",
                                      "a|b", "%2e%2e", "\xc3\xa9", "a\n", "a,b",  "~",    "a:b"};
    check_refusal(f, &nobody, longest, FM_EMALFORMED);
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        check_refusal(f, &nobody, bad[i], FM_EMALFORMED);
    check_refusal(f, &nobody, "a|b", FM_EMALFORMED);
    assert_non_null(strstr(f->why.text, "several tenants"));
    char name[TENANT_LEN_MAX + 1];
    assert_int_equal(tenants_resolve(f->tenants, &nobody, fm_slice("a\0b", 3), name, &f->why),
                     FM_EMALFORMED);
}

static void test_two_headers(void **state)
{
    struct fixture *f = *state;
    char name[TENANT_LEN_MAX + 1];
    assert_ok(open_tenants(f, NULL));
    struct http_header headers[] = {{FM_SLICE("host"), FM_SLICE("h")},
                                    {FM_SLICE("x-scope-orgid"), FM_SLICE("a")},
                                    {FM_SLICE("X-Scope-OrgID"), FM_SLICE("a")}};
    struct net_request_view view = {.headers = headers, .header_count = 2, .identity = &nobody};
    assert_ok(tenants_resolve_request(f->tenants, &view, name, &f->why));
    assert_string_equal(name, "a");
    view.header_count = 3;
    assert_int_equal(tenants_resolve_request(f->tenants, &view, name, &f->why), FM_EMALFORMED);
    view.header_count = 1;
    assert_ok(tenants_resolve_request(f->tenants, &view, name, &f->why));
    assert_string_equal(name, TENANT_DEFAULT);
    headers[1].value = (struct fm_slice){0}; /* "X-Scope-OrgID:" */
    view.header_count = 2;
    assert_int_equal(tenants_resolve_request(f->tenants, &view, name, &f->why), FM_EMALFORMED);
}

static void test_identities(void **state)
{
    struct fixture *f = *state;
    assert_ok(open_tenants(f, "[tenant a]\n"
                              "identities = token:alice token:both\n"
                              "   cert:spiffe://x/y peer:1000\n"
                              "[tenant b]\nidentities = user:bob token:both token:both\n"
                              "[tenant c]\nrate_spans = 5\n"));
    static const struct net_identity both = {NET_TOKEN, "both"};
    static const struct net_identity workload = {NET_CERTIFICATE, "spiffe://x/y"};
    static const struct net_identity peer = {NET_PEER, "1000"};
    check_name(f, &alice, NULL, "a");
    check_name(f, &alice, "a", "a");
    check_name(f, &workload, NULL, "a");
    check_name(f, &peer, NULL, "a");
    check_name(f, &bob, NULL, "b");
    check_refusal(f, &alice, "b", FM_EDENIED);
    check_refusal(f, &alice, "c", FM_EDENIED);
    check_refusal(f, &alice, TENANT_DEFAULT, FM_EDENIED);
    check_refusal(f, &alice, "..", FM_EMALFORMED);
    check_name(f, &both, "a", "a");
    check_name(f, &both, "b", "b");
    check_refusal(f, &both, NULL, FM_EMALFORMED);
    check_refusal(f, &both, "c", FM_EDENIED);
    /* Who is not listed has the rest, and nothing of these; kinds are not mixed up. */
    check_name(f, &alice_by_name, NULL, TENANT_DEFAULT);
    check_refusal(f, &alice_by_name, "a", FM_EDENIED);
    check_name(f, &nobody, "c", "c");
    check_name(f, &nobody, "d", "d");
    check_refusal(f, &nobody, "b", FM_EDENIED);
    check_metric(f, "fermata_tenant_denied_total 6\n");
}

static void test_identities_of_the_default_tenant(void **state)
{
    struct fixture *f = *state;
    assert_ok(open_tenants(f, "[tenant single-tenant]\nidentities = token:alice token:both\n"
                              "[tenant b]\nidentities = token:both\n"));
    static const struct net_identity both = {NET_TOKEN, "both"};
    check_name(f, &alice, NULL, TENANT_DEFAULT);
    check_name(f, &both, NULL, TENANT_DEFAULT); /* the default is one of theirs */
    check_refusal(f, &nobody, NULL, FM_EDENIED);
    check_name(f, &nobody, "x", "x");
}

static void test_identities_may_be_required(void **state)
{
    struct fixture *f = *state;
    assert_ok(open_tenants(f, "[default]\nrequire_identity = true\n"
                              "[tenant a]\nidentities = token:alice\n"
                              "[tenant udp]\nidentities = anonymous\n"));
    check_name(f, &alice, NULL, "a");
    check_refusal(f, &bob, NULL, FM_EDENIED);
    check_refusal(f, &bob, "z", FM_EDENIED);
    check_name(f, &nobody, NULL, "udp");
    check_refusal(f, &nobody, "z", FM_EDENIED);
}

/* ---- rates ---- */

static int admit(struct fixture *f, const char *name, uint64_t bytes, uint64_t spans,
                 uint32_t *ret_retry_ms)
{
    return tenants_admit(f->tenants, fm_slice_text(name), bytes, spans, ret_retry_ms, &f->why);
}

static void test_rates_are_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    uint32_t retry_ms = 0;
    f->options.rates = (struct tenants_rates){1000, 2000, 10, 20};
    assert_ok(open_tenants(f, NULL));
    assert_ok(admit(f, "a", 2000, 10, &retry_ms));
    assert_int_equal(admit(f, "a", 500, 10, &retry_ms), FM_EUNAVAILABLE);
    assert_int_equal(retry_ms, 500);
    assert_int_equal(admit(f, "a", 0, 11, &retry_ms), FM_EUNAVAILABLE);
    assert_int_equal(retry_ms, 100);
    assert_ok(admit(f, "a", 0, 10, &retry_ms)); /* the refused ones took nothing */
    assert_ok(admit(f, "b", 2000, 20, &retry_ms));
    assert_int_equal(admit(f, "a", 2001, 0, &retry_ms), FM_ELIMIT);
    assert_int_equal(admit(f, "a", 0, 21, &retry_ms), FM_ELIMIT);
    (void)sim_run(f->sim, 500 * FM_NS_PER_MS);
    assert_ok(admit(f, "a", 500, 5, &retry_ms));
    assert_int_equal(admit(f, "a", 1, 0, &retry_ms), FM_EUNAVAILABLE);
    assert_int_equal(retry_ms, 1);
    check_metric(f, "fermata_tenant_limited_total{tenant=\"<other>\",reason=\"rate_bytes\"} 2\n");
    check_metric(f, "fermata_tenant_limited_total{tenant=\"<other>\",reason=\"rate_spans\"} 1\n");
    check_metric(f, "fermata_tenant_limited_total{tenant=\"<other>\",reason=\"burst\"} 2\n");
    check_metric(f, "fermata_tenant_admitted_spans_total{tenant=\"<other>\"} 45\n");
}

static void test_rates_of_the_file(void **state)
{
    struct fixture *f = *state;
    uint32_t retry_ms;
    f->options.rates = (struct tenants_rates){1000, 0, 10, 100};
    assert_ok(open_tenants(f, "[tenant free]\nrate_bytes = 0\nrate_spans = 0\n"
                              "[tenant more]\nrate_bytes = 4KiB ; burst: two seconds\n"
                              "[tenant burst]\nburst_bytes = 1MiB\nburst_spans = 0\n"));
    assert_ok(admit(f, "free", UINT64_MAX, UINT64_MAX, &retry_ms));
    assert_ok(admit(f, "more", 8192, 100, &retry_ms));
    assert_int_equal(admit(f, "more", 8193, 1, &retry_ms), FM_ELIMIT);
    assert_ok(admit(f, "burst", FM_MIB(1), 20, &retry_ms));
    assert_int_equal(admit(f, "burst", 0, 21, &retry_ms), FM_ELIMIT);
    assert_int_equal(admit(f, "burst", 1000, 0, &retry_ms), FM_EUNAVAILABLE);
    assert_int_equal(retry_ms, 1000);
    assert_ok(admit(f, TENANT_DEFAULT, 2000, 100, &retry_ms)); /* burst 0: two seconds */
    check_metric(f, "fermata_tenant_admitted_bytes_total{tenant=\"more\"} 8192\n");
    check_metric(f, "fermata_tenant_limited_total{tenant=\"burst\",reason=\"rate_bytes\"} 1\n");
    check_metric(f, "fermata_tenant_admitted_bytes_total{tenant=\"single-tenant\"} 2000\n");
}

/* Random requests at random times: what was admitted since any start is within burst and rate. */
static void test_admission_never_exceeds_the_rate(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 3, begin_ns, bytes_sum = 0, spans_sum = 0;
    uint32_t retry_ms;
    f->options.rates = (struct tenants_rates){777, 3000, 13, 40};
    assert_ok(open_tenants(f, NULL));
    begin_ns = pf_now_ns(f->platform);
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t bytes = fm_random_next(&seed) % 1500, spans = fm_random_next(&seed) % 20;
        int rc = admit(f, "a", bytes, spans, &retry_ms);
        if (rc == FM_EUNAVAILABLE && fm_random_next(&seed) % 4 == 0) { /* obey the hint */
            (void)sim_run(f->sim, retry_ms * FM_NS_PER_MS);
            rc = admit(f, "a", bytes, spans, &retry_ms);
            assert_ok(rc);
        }
        if (rc == FM_OK) {
            bytes_sum += bytes;
            spans_sum += spans;
        }
        uint64_t elapsed_ns = pf_now_ns(f->platform) - begin_ns;
        assert_true((__uint128_t)(bytes_sum - FM_MIN(bytes_sum, 3000u)) * FM_NS_PER_S <=
                    (__uint128_t)777 * elapsed_ns);
        assert_true((__uint128_t)(spans_sum - FM_MIN(spans_sum, 40u)) * FM_NS_PER_S <=
                    (__uint128_t)13 * elapsed_ns);
        (void)sim_run(f->sim, fm_random_next(&seed) % (200 * FM_NS_PER_MS));
    }
    uint64_t elapsed_ns = pf_now_ns(f->platform) - begin_ns; /* and it is not stingy */
    assert_true(spans_sum > 13 * (elapsed_ns / FM_NS_PER_S) * 8 / 10);
}

#define THREADS       4
#define THREAD_ROUNDS 20000

static void *admit_thread(void *self)
{
    struct fixture *f = self;
    uintptr_t admitted = 0;
    uint32_t retry_ms;
    struct fm_why why;
    for (unsigned i = 0; i < THREAD_ROUNDS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%u", i % 3);
        admitted += tenants_admit(f->tenants, fm_slice_text(name), 1, 0, &retry_ms, &why) == FM_OK;
    }
    return (void *)admitted;
}

static void test_threads_share_one_rate(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    uintptr_t admitted = 0;
    f->options.rates = (struct tenants_rates){1, 10000, 0, 0}; /* virtual time stands still */
    assert_ok(open_tenants(f, NULL));
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, admit_thread, f), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *count;
        assert_int_equal(pthread_join(threads[i], &count), 0);
        admitted += (uintptr_t)count;
    }
    assert_int_equal(admitted, 30000);
}

/* ---- the table ---- */

static void test_the_table_is_bounded(void **state)
{
    struct fixture *f = *state;
    uint32_t retry_ms;
    f->options.rates = (struct tenants_rates){1, 5400, 0, 0};
    assert_ok(open_tenants(f, "[tenant named]\nrate_bytes = 0\n"));
    for (unsigned i = 0; i < 4; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        assert_ok(admit(f, name, i ? 1 : 5400, 0, &retry_ms));
    }
    assert_int_equal(admit(f, "e", 1, 0, &retry_ms), FM_ELIMIT);
    assert_int_equal(admit(f, "e", 1, 0, &retry_ms), FM_ELIMIT);
    assert_ok(admit(f, "named", 1, 0, &retry_ms)); /* these have their place */
    assert_ok(admit(f, TENANT_DEFAULT, 1, 0, &retry_ms));
    check_metric(f, "fermata_tenant_names_refused_total 2\n");
    (void)sim_run(f->sim, 3599 * FM_NS_PER_S);
    assert_ok(admit(f, "d", 1, 0, &retry_ms));
    assert_int_equal(admit(f, "e", 1, 0, &retry_ms), FM_ELIMIT);
    (void)sim_run(f->sim, 2 * FM_NS_PER_S);
    assert_ok(admit(f, "e", 1, 0, &retry_ms)); /* b and c have left; a's bucket is not full */
    assert_int_equal(admit(f, "a", 3700, 0, &retry_ms), FM_EUNAVAILABLE);
    assert_ok(admit(f, "f", 1, 0, &retry_ms));
    assert_int_equal(admit(f, "g", 1, 0, &retry_ms), FM_ELIMIT);
    (void)sim_run(f->sim, 5400 * FM_NS_PER_S);
    for (unsigned i = 0; i < 4; i++) {
        char name[2] = {(char)('r' + i), '\0'};
        assert_ok(admit(f, name, 1, 0, &retry_ms));
    }
}

/* ---- the file ---- */

static void test_files_that_are_wrong(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"rate_bytes = 1\n", OVERRIDES ":1:1: error: a setting outside of a section"},
        {"[tenants a]\n", OVERRIDES ":1:1: error: unknown section [tenants a]"},
        {"[tenant]\n", OVERRIDES ":1:1: error: not a tenant's name"},
        {"[tenant ..]\n", OVERRIDES ":1:1: error: not a tenant's name"},
        {"[tenant a|b]\n", OVERRIDES ":1:1: error: not a tenant's name"},
        {"[tenant a]\n[tenant a]\n", OVERRIDES ":2:1: error: the tenant was given on line 1 "
                                               "already"},
        {"[tenant a]\nrate_byte = 1\n",
         OVERRIDES ":2:1: error: unknown key \"rate_byte\" in [tenant a]"},
        {"[tenant a]\nrequire_identity = true\n",
         OVERRIDES ":2:1: error: unknown key \"require_identity\" in [tenant a]"},
        {"[default]\nrate_bytes = 1\n",
         OVERRIDES ":2:1: error: unknown key \"rate_bytes\" in [default]"},
        {"[default]\nrequire_identity = maybe\n",
         OVERRIDES ":2:20: error: bad value \"maybe\" for \"require_identity\""},
        {"[tenant a]\nrate_bytes = -1\n",
         OVERRIDES ":2:14: error: bad value \"-1\" for \"rate_bytes\""},
        {"[tenant a]\nrate_bytes = 17GiB\n",
         OVERRIDES ":2:14: error: bad value \"17GiB\" for \"rate_bytes\""},
        {"[tenant a]\nrate_spans = 1k\n",
         OVERRIDES ":2:14: error: bad value \"1k\" for \"rate_spans\""},
        {"[tenant a]\nrate_spans = 1\nrate_spans = 1\n",
         OVERRIDES ":3:1: error: \"rate_spans\" was given on line 2 already"},
        {"[tenant a]\nidentities = token:x alice\n",
         OVERRIDES ":2:22: error: bad value \"alice\" for \"identities\""},
        {"[tenant a]\nidentities = token:x\n  host:y ; no such kind\n",
         OVERRIDES ":3:3: error: bad value \"host:y\" for \"identities\""},
        {"[tenant a]\nidentities = token:\n",
         OVERRIDES ":2:14: error: bad value \"token:\" for \"identities\""},
        {"[tenant a]\nrate_spans\n", OVERRIDES ":2:1: error: not a setting"},
        {"[tenant a]\nrate_spans = \x01\n", OVERRIDES ":2:14: error: control character 0x01"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        assert_int_equal(open_tenants(f, rows[i].text), FM_ECONFIG);
        assert_null(f->tenants);
        assert_string_equal(f->why.text, rows[i].why);
    }
    f->options.overrides_file = "/not/there.ini";
    assert_true(open_tenants(f, NULL) < 0);
    assert_non_null(strstr(f->why.text, "/not/there.ini"));
}

static void test_many_tenants_and_identities(void **state)
{
    struct fixture *f = *state;
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(4));
    for (unsigned i = 0; i < 1024; i++)
        fm_buf_printf(&text, "[tenant t%u]\nidentities = token:k%u\n user:u%u\n", i, i, i);
    size_t fits = text.len;
    fm_buf_puts(&text, "[tenant more]\n");
    fm_buf_put_u8(&text, 0);
    assert_int_equal(open_tenants(f, (const char *)text.ptr), FM_ECONFIG);
    assert_string_equal(f->why.text, OVERRIDES ":3073:1: error: more than 1024 tenants");
    text.ptr[fits] = '\0';
    assert_ok(open_tenants(f, (const char *)text.ptr));
    for (unsigned i = 0; i < 1024; i += 31) {
        struct net_identity token = {NET_TOKEN, ""};
        char name[16];
        (void)snprintf(token.name, sizeof token.name, "k%u", i);
        (void)snprintf(name, sizeof name, "t%u", i);
        check_name(f, &token, NULL, name);
        check_refusal(f, &nobody, name, FM_EDENIED);
    }
    fm_buf_fini(&text);
}

static void test_the_file_is_read_again(void **state)
{
    struct fixture *f = *state;
    uint32_t retry_ms;
    assert_ok(open_tenants(f, "[tenant a]\nrate_spans = 10\n"));
    assert_ok(admit(f, "a", 0, 20, &retry_ms));
    assert_int_equal(admit(f, "a", 0, 1, &retry_ms), FM_EUNAVAILABLE);
    assert_ok(admit(f, "b", 0, 1000, &retry_ms));
    write_file(f, "[tenant a]\nrate_spans = 100\nidentities = token:alice\n"
                  "[tenant b]\nrate_spans = 1\n");
    assert_int_equal(admit(f, "a", 0, 1, &retry_ms), FM_EUNAVAILABLE); /* not yet */
    (void)sim_run(f->sim, LOOK_NS + 3 * FM_NS_PER_S);
    assert_ok(admit(f, "a", 0, 200, &retry_ms)); /* filled meanwhile */
    assert_int_equal(admit(f, "a", 0, 1, &retry_ms), FM_EUNAVAILABLE);
    check_refusal(f, &nobody, "a", FM_EDENIED);
    check_metric(f, "fermata_tenant_limited_total{tenant=\"a\",reason=\"rate_spans\"} 3\n");
    assert_int_equal(admit(f, "b", 0, 1000, &retry_ms), FM_ELIMIT);
    check_metric(f, "fermata_tenants_overrides_last_reload_successful 1\n");

    write_file(f, "[tenant a]\nrate_spans = many\n"); /* leaves all as it was */
    (void)sim_run(f->sim, LOOK_NS + FM_NS_PER_S);
    check_metric(f, "fermata_tenants_overrides_last_reload_successful 0\n");
    check_refusal(f, &nobody, "a", FM_EDENIED);
    assert_int_equal(admit(f, "b", 0, 3, &retry_ms), FM_ELIMIT);
    (void)sim_run(f->sim, 5 * LOOK_NS);
    check_metric(f, "fermata_tenants_overrides_failures_total 1\n"); /* once for a content */

    write_file(f, "");
    tenants_reload(f->tenants); /* at once */
    (void)sim_run(f->sim, FM_NS_PER_S);
    check_metric(f, "fermata_tenants_overrides_last_reload_successful 1\n");
    check_name(f, &nobody, "a", "a");
    assert_ok(admit(f, "b", 0, 1000000, &retry_ms));
}

static void test_a_file_that_vanishes(void **state)
{
    struct fixture *f = *state;
    const char *text = "[tenant a]\nidentities = token:alice\n";
    assert_ok(open_tenants(f, text));
    assert_ok(f->platform->ops->unlink(f->platform, OVERRIDES, &f->why));
    (void)sim_run(f->sim, 3 * LOOK_NS);
    check_metric(f, "fermata_tenants_overrides_last_reload_successful 0\n");
    check_metric(f, "fermata_tenants_overrides_failures_total 1\n");
    check_refusal(f, &nobody, "a", FM_EDENIED);
    write_file(f, text); /* the same as before */
    (void)sim_run(f->sim, LOOK_NS + FM_NS_PER_S);
    check_metric(f, "fermata_tenants_overrides_last_reload_successful 1\n");
}

/* Names move between the file and the rest, with their buckets and without leaks or losses. */
static void test_tenants_move_in_and_out_of_the_file(void **state)
{
    struct fixture *f = *state;
    uint32_t retry_ms;
    uint64_t seed = 11;
    f->options.rates = (struct tenants_rates){0, 0, 1000, 1000000};
    assert_ok(open_tenants(f, ""));
    for (unsigned round = 0; round < 200; round++) {
        char text[512] = "";
        for (unsigned i = 0; i < 8; i++) {
            if (fm_random_next(&seed) % 2)
                (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                               "[tenant n%u]\nrate_spans = %u\n", i, 1000);
        }
        write_file(f, text);
        tenants_reload(f->tenants);
        tenants_reload(f->tenants); /* while it is busy */
        for (unsigned i = 0; i < 8; i++) {
            char name[8];
            (void)snprintf(name, sizeof name, "n%u", i);
            (void)admit(f, name, 0, fm_random_next(&seed) % 100, &retry_ms);
        }
        (void)sim_run(f->sim, (1 + fm_random_next(&seed) % 7200) * FM_NS_PER_S);
    }
    write_file(f, "");
    (void)sim_run(f->sim, 7300 * FM_NS_PER_S);
    for (unsigned i = 0; i < 4; i++) { /* all places are free again */
        char name[8];
        (void)snprintf(name, sizeof name, "m%u", i);
        assert_ok(admit(f, name, 0, 1, &retry_ms));
    }
    assert_int_equal(admit(f, "m4", 0, 1, &retry_ms), FM_ELIMIT);
}

static void test_every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    const char *text = "[tenant a]\nidentities = token:alice\n[tenant b]\nrate_spans = 3\n";
    for (uint64_t nth = 1;; nth++) {
        write_file(f, text);
        f->options.overrides_file = OVERRIDES;
        test_alloc_fail_at(nth);
        int rc = tenants_new(&f->tenants, f->platform, &f->options, &f->why);
        bool was_reached = test_alloc_failed();
        test_alloc_disarm();
        if (rc == FM_OK && !was_reached)
            break;
        assert_true(was_reached);
        if (rc == FM_OK) {
            (void)sim_run(f->sim, FM_NS_PER_S);
            f->tenants = tenants_free(f->tenants);
        }
        assert_null(f->tenants);
    }
    for (uint64_t nth = 1;; nth++) { /* and while it runs: the old rules stay, then it heals */
        test_alloc_fail_at(nth);
        tenants_reload(f->tenants);
        (void)sim_run(f->sim, FM_NS_PER_S);
        bool was_reached = test_alloc_failed();
        test_alloc_disarm();
        check_name(f, &alice, NULL, "a");
        if (!was_reached)
            break;
        (void)sim_run(f->sim, 2 * LOOK_NS);
        check_metric(f, "fermata_tenants_overrides_last_reload_successful 1\n");
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_two_headers),
        TEST(test_identities),
        TEST(test_identities_of_the_default_tenant),
        TEST(test_identities_may_be_required),
        TEST(test_rates_are_all_or_nothing),
        TEST(test_rates_of_the_file),
        TEST(test_admission_never_exceeds_the_rate),
        TEST(test_threads_share_one_rate),
        TEST(test_the_table_is_bounded),
        TEST(test_files_that_are_wrong),
        TEST(test_many_tenants_and_identities),
        TEST(test_the_file_is_read_again),
        TEST(test_a_file_that_vanishes),
        TEST(test_tenants_move_in_and_out_of_the_file),
        TEST(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
