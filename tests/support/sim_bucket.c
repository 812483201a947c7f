/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_bucket.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "fermata/net.h"
#include "fermata/units.h"

#define FLIGHTS_MAX      64
#define OBJECT_BYTES_MAX FM_MIB(64)
#define WIRE_PIECE_BYTES FM_KIB(16)
#define WIRE_EXTRA_PART  50u /* of each piece: records and heads */

/* A request under way, or a commit that comes after its answer was lost. */
struct flight {
    struct sim_bucket *owner;
    struct bucket_request *request; /* NULL: answered, only the commit is left */
    struct pf_timer timer;
    bool used, is_put, create_only, cancelled;
    enum s3_outcome outcome;
    bool commits;
    char key[512];
    struct fm_buf content;
    uint64_t sent;     /* of the content, over the wire */
    uint64_t delay_ns; /* from then to the answer */
};
struct sim_bucket {
    struct bucket bucket;
    struct platform *platform;
    uint64_t (*random)(void *self);
    void *random_self;
    struct sim_bucket_faults faults;
    enum s3_outcome outage;
    void (*on_commit)(void *self, const struct sim_bucket_object *object);
    void *on_commit_self;
    struct flight flights[FLIGHTS_MAX];
    struct sim_bucket_object *objects[SIM_BUCKET_OBJECTS_MAX];
    size_t object_count;
    uint64_t requests;
    uint64_t wire_bytes_per_s; /* 0: bodies arrive at once */
    void (*on_wire)(void *self, const char *key, uint64_t bytes);
    void *on_wire_self;
};

static bool bucket_chance(struct sim_bucket *self, uint32_t per_million)
{
    return per_million && self->random(self->random_self) % 1000000 < per_million;
}

static struct sim_bucket_object *bucket_lookup(const struct sim_bucket *self, const char *key)
{
    for (size_t i = 0; i < self->object_count; i++)
        if (strcmp(self->objects[i]->key, key) == 0)
            return self->objects[i];
    return NULL;
}

void sim_bucket_place(struct sim_bucket *self, const char *key, struct fm_slice content)
{
    struct sim_bucket_object *object = bucket_lookup(self, key);
    if (!object) {
        FM_ASSERT(self->object_count < SIM_BUCKET_OBJECTS_MAX);
        object = calloc(1, sizeof *object);
        FM_ASSERT(object);
        (void)snprintf(object->key, sizeof object->key, "%s", key);
        self->objects[self->object_count++] = object;
        fm_buf_init(&object->content, OBJECT_BYTES_MAX);
    } else if (!fm_slice_equal(fm_buf_slice(&object->content), content)) {
        object->changes++;
    }
    object->commits++;
    fm_buf_reset(&object->content);
    fm_buf_put_slice(&object->content, content);
    FM_ASSERT(!object->content.failed);
    if (self->on_commit)
        self->on_commit(self->on_commit_self, object);
}

/* Returns false if a conditional write found the key taken. */
static bool flight_commit(struct flight *flight)
{
    struct sim_bucket *self = flight->owner;
    if (flight->create_only && bucket_lookup(self, flight->key))
        return false;
    sim_bucket_place(self, flight->key, fm_buf_slice(&flight->content));
    return true;
}

static void flight_release(struct flight *flight)
{
    fm_buf_fini(&flight->content);
    flight->used = false;
    flight->request = NULL;
}

/* ---- answers ---- */

static void flight_answer(struct flight *flight, enum s3_outcome outcome)
{
    struct bucket_request *request = fm_take(flight->request);
    request->outcome = outcome;
    request->body_private = NULL;
    (void)snprintf(request->why.text, sizeof request->why.text, "simulated: %d", (int)outcome);
    if (!flight->commits)
        flight_release(flight);
    request->done(request);
}

static void flight_fire_late(struct pf_timer *timer)
{
    struct flight *flight = FM_CONTAINER(timer, struct flight, timer);
    pf_timer_stop(flight->owner->platform, timer);
    (void)flight_commit(flight);
    flight_release(flight);
}

static void flight_finish_put(struct flight *flight)
{
    struct sim_bucket *self = flight->owner;
    enum s3_outcome outcome = flight->outcome;
    if (flight->commits && bucket_chance(self, self->faults.commit_late)) {
        flight->timer.fire = flight_fire_late;
        pf_timer_start(self->platform, &flight->timer,
                       self->random(self->random_self) % (60 * FM_NS_PER_S));
        flight_answer(flight, S3_AMBIGUOUS);
        return;
    }
    if (flight->commits && !flight_commit(flight) && outcome == S3_DONE)
        outcome = S3_EXISTS;
    flight->commits = false;
    flight_answer(flight, outcome);
}

static void flight_finish_get(struct flight *flight)
{
    struct bucket_request *request = flight->request;
    const struct sim_bucket_object *object = bucket_lookup(flight->owner, flight->key);
    if (flight->outcome == S3_DONE && object) {
        request->size = object->content.len;
        if (request->want_body) {
            fm_buf_init(&request->body, request->body_max);
            fm_buf_put_slice(&request->body, fm_buf_slice(&object->content));
            FM_ASSERT(!request->body.failed);
        }
    } else if (flight->outcome == S3_DONE) {
        flight->outcome = S3_ABSENT;
    }
    flight_answer(flight, flight->outcome);
}

static void flight_fire(struct pf_timer *timer)
{
    struct flight *flight = FM_CONTAINER(timer, struct flight, timer);
    pf_timer_stop(flight->owner->platform, timer);
    if (flight->cancelled) {
        flight->outcome = S3_TRANSIENT;
        flight->commits =
            flight->commits && (flight->owner->random(flight->owner->random_self) & 1);
    }
    if (flight->is_put)
        flight_finish_put(flight);
    else
        flight_finish_get(flight);
}

/* ---- the wire ---- */

static void flight_end_soon(struct flight *flight)
{
    flight->timer.fire = flight_fire;
    pf_timer_start(flight->owner->platform, &flight->timer, flight->delay_ns);
}

static void flight_send(struct pf_timer *timer)
{
    struct flight *flight = FM_CONTAINER(timer, struct flight, timer);
    struct sim_bucket *self = flight->owner;
    struct net_pacer *pacer = flight->request->pacer;
    uint64_t left = flight->content.len - flight->sent, wait_ns = 0;
    pf_timer_stop(self->platform, timer);
    if (!left || flight->cancelled) {
        flight->commits = flight->commits && !left; /* half a body is none */
        flight_end_soon(flight);
        return;
    }
    size_t piece = (size_t)FM_MIN(left, WIRE_PIECE_BYTES);
    if (pacer)
        piece = pacer->grant(pacer, piece, &wait_ns);
    if (piece) {
        uint64_t bytes = piece + piece / WIRE_EXTRA_PART;
        if (pacer)
            pacer->moved(pacer, bytes);
        self->on_wire(self->on_wire_self, flight->key, bytes);
        flight->sent += piece;
        wait_ns = bytes * FM_NS_PER_S / self->wire_bytes_per_s;
    }
    pf_timer_start(self->platform, timer, wait_ns);
}

void sim_bucket_set_wire(struct sim_bucket *self, uint64_t bytes_per_s,
                         void (*on_wire)(void *self, const char *key, uint64_t bytes),
                         void *on_wire_self)
{
    self->wire_bytes_per_s = bytes_per_s;
    self->on_wire = on_wire;
    self->on_wire_self = on_wire_self;
}

/* ---- requests ---- */

static enum s3_outcome bucket_failure(struct sim_bucket *self)
{
    static const enum s3_outcome failures[] = {S3_TRANSIENT, S3_TRANSIENT, S3_TRANSIENT,
                                               S3_SLOW_DOWN, S3_SLOW_DOWN, S3_AUTH,
                                               S3_NO_BUCKET, S3_REFUSED,   S3_UNSUPPORTED};
    return failures[self->random(self->random_self) % FM_COUNT(failures)];
}

static void flight_decide(struct flight *flight)
{
    struct sim_bucket *self = flight->owner;
    flight->outcome = S3_DONE;
    flight->commits = flight->is_put;
    if (self->outage != S3_DONE) {
        flight->outcome = self->outage;
        flight->commits = false;
    } else if (bucket_chance(self, self->faults.fail_before)) {
        flight->outcome = bucket_failure(self);
        flight->commits = false;
    } else if (flight->create_only && bucket_chance(self, self->faults.conflict)) {
        flight->outcome = S3_CONFLICT;
        flight->commits = false;
    } else if (flight->is_put && bucket_chance(self, self->faults.fail_after)) {
        flight->outcome = S3_AMBIGUOUS;
    }
}

static void flight_take_content(struct flight *flight)
{
    const struct fm_source *source = &flight->request->source;
    fm_buf_init(&flight->content, OBJECT_BYTES_MAX);
    uint8_t *room = fm_buf_room(&flight->content, (size_t)source->size);
    FM_ASSERT(room);
    if (source->read_at(source->self, 0, room, (size_t)source->size) == FM_OK) {
        flight->content.len = (size_t)source->size;
    } else {
        flight->commits = false; /* a body that never arrived whole */
        flight->outcome = S3_TRANSIENT;
    }
}

static void bucket_start(struct bucket *bucket, struct bucket_request *request, bool is_put)
{
    struct sim_bucket *self = FM_CONTAINER(bucket, struct sim_bucket, bucket);
    struct flight *flight = NULL;
    for (size_t i = 0; i < FLIGHTS_MAX && !flight; i++)
        if (!self->flights[i].used)
            flight = &self->flights[i];
    FM_ASSERT(flight);
    *flight = (struct flight){.owner = self,
                              .request = request,
                              .used = true,
                              .is_put = is_put,
                              .create_only = is_put && request->create_only};
    (void)snprintf(flight->key, sizeof flight->key, "%s", request->key);
    request->bucket = bucket;
    request->body_private = flight;
    request->retry_after_s = 0;
    self->requests++;
    flight_decide(flight);
    if (is_put)
        flight_take_content(flight);
    uint64_t delay_ns = self->random(self->random_self) % (200 * FM_NS_PER_MS);
    if (bucket_chance(self, self->faults.stall))
        delay_ns += self->random(self->random_self) % (300 * FM_NS_PER_S);
    flight->delay_ns = delay_ns;
    if (self->wire_bytes_per_s && is_put) {
        flight->timer.fire = flight_send;
        pf_timer_start(self->platform, &flight->timer, 0);
    } else {
        flight_end_soon(flight);
    }
}

static void bucket_put(struct bucket *bucket, struct bucket_request *request)
{
    bucket_start(bucket, request, true);
}

static void bucket_get(struct bucket *bucket, struct bucket_request *request)
{
    bucket_start(bucket, request, false);
}

static void bucket_cancel(struct bucket *bucket, struct bucket_request *request)
{
    struct sim_bucket *self = FM_CONTAINER(bucket, struct sim_bucket, bucket);
    struct flight *flight = request->body_private;
    flight->cancelled = true;
    pf_timer_stop(self->platform, &flight->timer);
    pf_timer_start(self->platform, &flight->timer, 0);
}

static struct bucket *bucket_detach(struct bucket *bucket)
{
    struct sim_bucket *self = FM_CONTAINER(bucket, struct sim_bucket, bucket);
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        FM_ASSERT(!self->flights[i].request); /* the contract of free */
    sim_bucket_crash(self);                   /* what is late may still happen */
    return NULL;
}

static void bucket_describe(const struct bucket *bucket, char *text, size_t size)
{
    (void)bucket;
    (void)snprintf(text, size, "sim:");
}

static void bucket_put_metrics(const struct bucket *bucket, struct fm_buf *out)
{
    (void)bucket;
    (void)out;
}

/* ---- the test's side ---- */

struct sim_bucket *sim_bucket_new(uint64_t (*random)(void *self), void *random_self)
{
    static const struct bucket_ops ops = {
        .put = bucket_put,
        .get = bucket_get,
        .cancel = bucket_cancel,
        .free = bucket_detach,
        .describe = bucket_describe,
        .put_metrics = bucket_put_metrics,
        .has_wire = true,
    };
    struct sim_bucket *self = calloc(1, sizeof *self);
    FM_ASSERT(self);
    self->bucket.ops = &ops;
    self->random = random;
    self->random_self = random_self;
    self->outage = S3_DONE;
    return self;
}

struct sim_bucket *sim_bucket_free(struct sim_bucket *self)
{
    if (!self)
        return NULL;
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        if (self->flights[i].used)
            fm_buf_fini(&self->flights[i].content);
    for (size_t i = 0; i < self->object_count; i++) {
        fm_buf_fini(&self->objects[i]->content);
        free(self->objects[i]);
    }
    free(self);
    return NULL;
}

struct bucket *sim_bucket_attach(struct sim_bucket *self, struct platform *platform)
{
    self->platform = platform;
    return &self->bucket;
}

void sim_bucket_crash(struct sim_bucket *self)
{
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *flight = &self->flights[i];
        if (!flight->used)
            continue;
        if (self->wire_bytes_per_s && flight->request && flight->sent < flight->content.len)
            flight->commits = false;
        if (flight->commits && (self->random(self->random_self) & 1))
            (void)flight_commit(flight);
        if (self->platform)
            pf_timer_stop(self->platform, &flight->timer);
        flight_release(flight);
    }
}

void sim_bucket_set_faults(struct sim_bucket *self, const struct sim_bucket_faults *faults)
{
    self->faults = *faults;
}

void sim_bucket_set_outage(struct sim_bucket *self, enum s3_outcome outcome)
{
    self->outage = outcome;
}

void sim_bucket_on_commit(struct sim_bucket *self,
                          void (*on_commit)(void *self, const struct sim_bucket_object *object),
                          void *on_commit_self)
{
    self->on_commit = on_commit;
    self->on_commit_self = on_commit_self;
}

const struct sim_bucket_object *sim_bucket_find(const struct sim_bucket *self, const char *key)
{
    return bucket_lookup(self, key);
}

size_t sim_bucket_count(const struct sim_bucket *self)
{
    return self->object_count;
}

const struct sim_bucket_object *sim_bucket_at(const struct sim_bucket *self, size_t index)
{
    return self->objects[index];
}

uint64_t sim_bucket_requests(const struct sim_bucket *self)
{
    return self->requests;
}
