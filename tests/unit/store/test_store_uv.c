/* SPDX-License-Identifier: Apache-2.0 */
/* The store on production's loop, threads and disk.  The lock on the data directory lives as long
 * as its process, so every life of the store is a child process; what one leaves the next finds. */
#include "../../support/test.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/store.h"
#include "fermata/units.h"
#include "fermata/uv.h"

#define APPENDS   2000u
#define UNDER_WAY 64u
#define TRACES    50u

struct request {
    struct store_append append;
    struct life *life;
    uint64_t key;
};

struct life {
    struct platform *platform;
    struct store *store;
    struct request requests[UNDER_WAY];
    uint32_t sent, answered, failed, readers, first;
    struct pf_job find_jobs[2];
    struct store_snapshot *snapshots[2];
    _Atomic uint32_t found;
    int flush_rc;
    bool is_flushed;
    uint32_t expected;
};

static char data_dir[64];

static struct trace_id trace_of(uint32_t number)
{
    struct trace_id id = {{0}};
    fm_store_be64(id.bytes + 8, number + 1);
    return id;
}

static void fill(struct fm_buf *buf, const struct trace_id *id, uint32_t number)
{
    uint8_t span_id[8];
    fm_store_be64(span_id, number + 1);
    fm_buf_init(buf, 4096);
    size_t resource_spans = pb_begin(buf, 1);
    size_t scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id->bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, "GET /some/route/that/is/quite/ordinary");
    pb_put_fixed64(buf, 7, UINT64_C(1763690000000000000) + number);
    pb_put_fixed64(buf, 8, UINT64_C(1763690000000000000) + number + 1000);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static void life_next(struct life *life);

static void life_on_closed(void *self)
{
    struct life *life = self;
    life->store = NULL;
    uv_platform_stop(life->platform);
}

static void life_on_flushed(void *self, int rc)
{
    struct life *life = self;
    life->flush_rc = rc;
    life->is_flushed = true;
    life_next(life);
}

static void send(struct life *life, struct request *request)
{
    uint32_t number = life->first + life->sent++;
    struct trace_id id = trace_of(number % TRACES);
    request->life = life;
    request->key = trace_id_key(id.bytes);
    fill(&request->append.payload, &id, number);
    request->append.tenant = fm_slice_text(number % 3 ? "single-tenant" : "other");
    request->append.span_count = 1;
    request->append.trace_keys = &request->key;
    request->append.trace_key_count = 1;
    request->append.received_unix_ns = pf_wall_ns(life->platform);
    store_append(life->store, &request->append);
}

static void request_done(struct store_append *append, int rc)
{
    struct request *request = FM_CONTAINER(append, struct request, append);
    struct life *life = request->life;
    life->answered++;
    life->failed += rc != FM_OK;
    if (life->sent < APPENDS)
        send(life, request);
    else
        life_next(life);
}

/* On a thread, beside appends and a flush. */
static void find_work(struct pf_job *job)
{
    struct life *life = FM_CONTAINER(job - (job->lane == PF_LANE_DISK), struct life, find_jobs[0]);
    struct store_snapshot *snapshot = life->snapshots[job->lane == PF_LANE_DISK];
    for (uint32_t i = 0; i < TRACES; i++) {
        struct trace_id id = trace_of(i);
        struct store_read_stats stats = {0};
        struct trace *trace;
        assert_ok(trace_new(&trace, &id, FM_MIB(8)));
        assert_ok(store_find_trace(snapshot, &id, trace, &stats, NULL));
        assert_ok(trace_finish(trace));
        assert_int_equal(stats.blocks_failed, 0);
        atomic_fetch_add(&life->found, (uint32_t)trace_span_count(trace));
        trace_free(trace);
    }
}

static void find_done(struct pf_job *job)
{
    bool is_second = job->lane == PF_LANE_DISK;
    struct life *life = FM_CONTAINER(job - is_second, struct life, find_jobs[0]);
    store_snapshot_free(life->snapshots[is_second]);
    life->readers--;
    life_next(life);
}

static void life_read(struct life *life)
{
    static const char *const names[] = {"single-tenant", "other"};
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(store_snapshot_new(life->store, fm_slice_text(names[i]), &life->snapshots[i]));
        life->find_jobs[i] = (struct pf_job){
            .work = find_work, .done = find_done, .lane = i ? PF_LANE_DISK : PF_LANE_WORK};
        life->readers++;
        pf_job_submit(life->platform, &life->find_jobs[i]);
    }
}

/* All appends answered: flush and read at once; then close. */
static void life_next(struct life *life)
{
    if (life->answered < life->sent || life->readers || !life->store)
        return;
    if (!life->is_flushed && life->flush_rc == 0) {
        life->flush_rc = 1;
        life_read(life);
        store_flush(life->store, life_on_flushed, life);
    } else if (life->is_flushed && life->found < 2 * life->expected) {
        life_read(life);
        life->found += 1u << 30; /* the second reading is under way */
    } else if (life->is_flushed) {
        store_close(life->store, life_on_closed, life);
    }
}

static void life_run(uint32_t first, bool kill_it)
{
    struct life *life = calloc(1, sizeof *life);
    struct store_options options = {
        .data_dir = data_dir,
        .node = {7},
        .segment_bytes = FM_KIB(256),
        .compress = true,
        .pending_bytes_max = FM_MIB(4),
        .head_bytes_max = FM_MIB(4),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(1),
        .retention_ns = 3600 * FM_NS_PER_S,
    };
    struct fm_why why = {""};
    assert_non_null(life);
    log_setup((enum log_level)0, false, NULL);
    life->first = first;
    assert_ok(uv_platform_new(&life->platform, 2, 1));
    int rc = store_open(&life->store, life->platform, &options, &why);
    if (rc < 0)
        fail_msg("open: %s", why.text);
    struct store_status status;
    store_get_status(life->store, &status);
    assert_int_equal(status.head_spans + status.block_spans, first);
    life->expected = first + APPENDS;
    for (uint32_t i = 0; i < UNDER_WAY; i++) {
        life->requests[i].append.done = request_done;
        send(life, &life->requests[i]);
    }
    uv_platform_run(life->platform);
    assert_int_equal(life->failed, 0);
    assert_int_equal(life->answered, APPENDS);
    assert_int_equal(life->found & ((1u << 30) - 1), 2 * life->expected);
    if (kill_it)
        _exit(0);
    uv_platform_free(life->platform);
    free(life);
}

static void in_child(uint32_t first, bool kill_it)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        life_run(first, kill_it);
        exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_lives_of_a_store(void **state)
{
    (void)state;
    (void)snprintf(data_dir, sizeof data_dir, "/tmp/fermata-store-%d", (int)getpid());
    for (uint32_t i = 0; i < 3; i++)
        in_child(i * APPENDS, i == 1);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", data_dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives_of_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
