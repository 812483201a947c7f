/* SPDX-License-Identifier: Apache-2.0 */
/* A store in the simulated world, and spans for it; shared by the tests of this folder. */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include "../../support/test.h"

#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sim.h"
#include "fermata/store_cursor.h"
#include "fermata/units.h"

#define DATA_DIR "/data"
#define TENANT   "single-tenant"

struct request {
    struct store_append append;
    uint64_t key;
    uint32_t *answered; /* counts */
    int *rc;            /* the last answer */
};

struct fixture {
    struct sim *sim;
    struct store *store;
    struct store_options options;
    uint32_t answered;
    int rc;
    uint32_t span_count; /* sent, numbered from 1 */
    int flush_rc;
    bool is_flushed, is_closed;
    /* blocks as they are sealed */
    struct store_block *sealed;
    uint32_t sealed_count;
    /* a reader */
    struct store_cursor *cursor;
    int read_rc;
    bool is_read;
};

static inline struct trace_id trace_of(uint32_t number)
{
    struct trace_id id;
    uint64_t state = number;
    fm_store_be64(id.bytes, fm_random_next(&state));
    fm_store_be64(id.bytes + 8, fm_random_next(&state));
    return id;
}

static inline void put_span(struct fm_buf *buf, const struct trace_id *id, uint32_t number,
                            size_t ballast)
{
    static char name[70000];
    uint8_t span_id[8];
    uint64_t state = number;
    fm_store_be64(span_id, number);
    for (size_t i = 0; i < ballast; i++)
        name[i] = (char)('a' + fm_random_next(&state) % 26);
    size_t resource_spans = pb_begin(buf, 1);
    size_t scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id->bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_bytes(buf, 5, fm_slice(name, ballast));
    pb_put_fixed64(buf, 7, UINT64_C(1763690000000000000) + number);
    pb_put_fixed64(buf, 8, UINT64_C(1763690000000000000) + number + 1000);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static inline void request_done(struct store_append *append, int rc)
{
    struct request *request = FM_CONTAINER(append, struct request, append);
    ++*request->answered;
    *request->rc = rc;
    assert_null(append->payload.ptr);
    free(request);
}

/* One span of trace `trace`; its span id is its number. */
static inline void send_sized(struct fixture *f, const char *tenant, uint32_t trace, size_t ballast)
{
    struct request *request = calloc(1, sizeof *request);
    assert_non_null(request);
    struct trace_id id = trace_of(trace);
    request->key = trace_id_key(id.bytes);
    request->answered = &f->answered;
    request->rc = &f->rc;
    request->append = (struct store_append){
        .tenant = fm_slice_text(tenant),
        .span_count = 1,
        .trace_keys = &request->key,
        .trace_key_count = 1,
        .received_unix_ns = pf_wall_ns(sim_platform(f->sim)),
        .done = request_done,
    };
    fm_buf_init(&request->append.payload, FM_MIB(1));
    put_span(&request->append.payload, &id, ++f->span_count, ballast);
    store_append(f->store, &request->append);
}

static inline void on_flushed(void *self, int rc)
{
    struct fixture *f = self;
    f->flush_rc = rc;
    f->is_flushed = true;
}

static inline int flush(struct fixture *f)
{
    f->is_flushed = false;
    store_flush(f->store, on_flushed, f);
    assert_false(f->is_flushed);
    while (!f->is_flushed && sim_step(f->sim)) {
    }
    assert_true(f->is_flushed);
    return f->flush_rc;
}

static inline void on_closed(void *self)
{
    ((struct fixture *)self)->is_closed = true;
}

static inline void fixture_close(struct fixture *f)
{
    f->is_closed = false;
    store_close(f->store, on_closed, f);
    assert_false(f->is_closed);
    while (!f->is_closed && sim_step(f->sim)) {
    }
    assert_true(f->is_closed);
    f->store = NULL;
    sim_crash(f->sim, true); /* the process ends: its lock goes */
}

#endif
