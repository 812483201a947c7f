/* SPDX-License-Identifier: Apache-2.0 */
/* Version 1 to version 2: one span, or the two sides of a call that reported under one id.
 *
 * Annotations and tags go to the side whose service they name; cs, cr, sr, ss, ms, mr say which
 * side is which and when it began and ended.  The rules are those of Zipkin's own converter, which
 * OpenTelemetry's specification asks for. */
#include "zipkin_batch.h"

#define SIDES_MAX 16u /* services that report under one id; further ones go to the first */

enum core { CORE_CS, CORE_CR, CORE_SR, CORE_SS, CORE_MS, CORE_MR, CORE_WS, CORE_WR, CORE_COUNT };
static const char core_texts[CORE_COUNT][3] = {"cs", "cr", "sr", "ss", "ms", "mr", "ws", "wr"};
static const uint8_t core_kinds[CORE_COUNT] = {
    ZIPKIN_CLIENT,   ZIPKIN_CLIENT,   ZIPKIN_SERVER,      ZIPKIN_SERVER,
    ZIPKIN_PRODUCER, ZIPKIN_CONSUMER, ZIPKIN_UNSPECIFIED, ZIPKIN_UNSPECIFIED};

struct side {
    struct zipkin_span span;
    bool has_local;
};
struct conversion {
    struct zipkin_batch *batch;
    struct zipkin_draft *draft;
    struct side sides[SIDES_MAX]; /* those that are counted */
    uint32_t side_count;
    struct zipkin_note *core[CORE_COUNT];
    struct side *side_of[CORE_COUNT];
    struct zipkin_note starts[2]; /* inferred */
};

static int note_core(const struct zipkin_note *note)
{
    if (note->value.len != 2)
        return -1;
    for (int i = 0; i < CORE_COUNT; i++) {
        if (memcmp(note->value.ptr, core_texts[i], 2) == 0)
            return i;
    }
    return -1;
}

bool zipkin_note_is_core(const struct zipkin_note *note)
{
    return note_core(note) >= 0;
}

/* ---- sides ---- */

static struct side *side_new(struct conversion *c, const struct zipkin_endpoint *host)
{
    const struct zipkin_span *from = &c->draft->span;
    if (c->side_count == SIDES_MAX)
        return &c->sides[0];
    struct side *side = &c->sides[c->side_count];
    *side = (struct side){.span = {.has_parent = from->has_parent,
                                   .name = from->name,
                                   .side = (uint8_t)c->side_count}};
    memcpy(side->span.trace_id, from->trace_id, sizeof from->trace_id);
    memcpy(side->span.id, from->id, sizeof from->id);
    memcpy(side->span.parent_id, from->parent_id, sizeof from->parent_id);
    if (host) {
        side->span.local = *host;
        side->has_local = true;
    }
    c->side_count++;
    return side;
}

/* The side of that service; the first one for those who name none. */
static struct side *side_for(struct conversion *c, const struct zipkin_endpoint *host)
{
    if (!host)
        return c->side_count ? &c->sides[0] : side_new(c, NULL);
    for (uint32_t i = 0; i < c->side_count; i++) {
        struct side *side = &c->sides[i];
        if (!side->has_local) {
            side->span.local = *host;
            side->has_local = true;
            return side;
        }
        if (fm_slice_equal(side->span.local.service, host->service))
            return side;
    }
    return side_new(c, host);
}

/* Where one of these was noted, whichever is there first; NULL: nowhere. */
static struct side *side_of(const struct conversion *c, enum core begin, enum core end)
{
    return c->core[begin] ? c->side_of[begin] : c->core[end] ? c->side_of[end] : NULL;
}

/* ---- annotations ---- */

static void take_notes(struct conversion *c)
{
    for (uint32_t i = 0; i < c->draft->note_count; i++) {
        struct zipkin_note *note = &c->draft->notes[i];
        struct side *side = side_for(c, note->host);
        int core = note_core(note);
        note->side = side->span.side;
        if (core < 0 || c->core[core])
            continue;
        note->side = ZIPKIN_NO_SIDE;
        c->core[core] = note;
        c->side_of[core] = side;
        if (core_kinds[core] && side->span.kind == ZIPKIN_UNSPECIFIED)
            side->span.kind = core_kinds[core];
    }
}

/* An end without its beginning, where the span's own times say when that was. */
static void infer_starts(struct conversion *c)
{
    static const enum core pairs[][2] = {{CORE_CS, CORE_CR}, {CORE_SR, CORE_SS}};
    const struct zipkin_span *span = &c->draft->span;
    uint64_t end_us;
    if (!span->timestamp_us || !span->duration_us ||
        __builtin_add_overflow(span->timestamp_us, span->duration_us, &end_us))
        return;
    for (size_t i = 0; i < FM_COUNT(pairs); i++) {
        const struct zipkin_note *end = c->core[pairs[i][1]];
        if (c->core[pairs[i][0]] || !end || end->time_us != end_us)
            continue;
        struct zipkin_note *begin = &c->starts[i];
        begin->time_us = span->timestamp_us;
        c->core[pairs[i][0]] = begin;
        c->side_of[pairs[i][0]] = c->side_of[pairs[i][1]];
    }
}

/* ---- times ---- */

static uint64_t time_between(const struct zipkin_note *begin, const struct zipkin_note *end)
{
    return end && end->time_us > begin->time_us ? end->time_us - begin->time_us : 0;
}

/* The span's own times if it has both, else those of the annotations. */
static void set_times(struct conversion *c, struct side *side, enum core begin, enum core end)
{
    const struct zipkin_span *own = &c->draft->span;
    if (own->timestamp_us && own->duration_us) {
        side->span.timestamp_us = own->timestamp_us;
        side->span.duration_us = own->duration_us;
        return;
    }
    side->span.timestamp_us = c->core[begin]->time_us;
    side->span.duration_us = time_between(c->core[begin], c->core[end]);
}

/* Two kinds in one service are two sides all the same. */
static struct side *fork_side(struct conversion *c, struct side *of, uint8_t kind)
{
    struct side *side = side_new(c, of->has_local ? &of->span.local : NULL);
    side->span.kind = kind;
    return side;
}

static void convert_call(struct conversion *c)
{
    struct side *client = c->side_of[CORE_CS], *server = c->side_of[CORE_SR];
    if (client == server) {
        server = fork_side(c, client, ZIPKIN_SERVER);
        c->side_of[CORE_SR] = server;
    }
    client->span.kind = ZIPKIN_CLIENT;
    server->span.kind = ZIPKIN_SERVER;
    set_times(c, client, CORE_CS, CORE_CR);
    server->span.is_shared = true;
    server->span.timestamp_us = c->core[CORE_SR]->time_us;
    server->span.duration_us = time_between(c->core[CORE_SR], c->core[CORE_SS]);
}

/* One side without the whole of its story: what there is of it. */
static void convert_incomplete(struct conversion *c)
{
    static const enum core ends[][2] = {{CORE_CS, CORE_CR}, {CORE_SR, CORE_SS}};
    const struct zipkin_span *own = &c->draft->span;
    for (size_t i = 0; i < FM_COUNT(ends); i++) {
        const struct zipkin_note *begin = c->core[ends[i][0]];
        struct zipkin_note *end = c->core[ends[i][1]];
        if (begin)
            c->side_of[ends[i][0]]->span.timestamp_us = begin->time_us;
        if (end)
            end->side = c->side_of[ends[i][1]]->span.side;
    }
    if (own->timestamp_us) {
        c->sides[0].span.timestamp_us = own->timestamp_us;
        c->sides[0].span.duration_us = own->duration_us;
    }
}

static void convert_times(struct conversion *c)
{
    const struct zipkin_span *own = &c->draft->span;
    bool cs = c->core[CORE_CS], cr = c->core[CORE_CR], sr = c->core[CORE_SR], ss = c->core[CORE_SS];
    if (cs && sr)
        convert_call(c);
    else if (cs && cr)
        set_times(c, c->side_of[CORE_CS], CORE_CS, CORE_CR);
    else if (sr && ss)
        set_times(c, c->side_of[CORE_SR], CORE_SR, CORE_SS);
    else
        convert_incomplete(c);
    if (sr && !cs && (!own->timestamp_us || (ss && !own->duration_us)))
        c->side_of[CORE_SR]->span.is_shared = true;
}

static void convert_messages(struct conversion *c)
{
    struct zipkin_note **core = c->core;
    struct side *producer = c->side_of[CORE_MS], *consumer = c->side_of[CORE_MR];
    if (core[CORE_MS] && core[CORE_MR]) { /* should not happen, and does */
        if (producer == consumer)
            consumer = fork_side(c, producer, ZIPKIN_CONSUMER);
        producer->span.kind = ZIPKIN_PRODUCER;
        consumer->span.kind = ZIPKIN_CONSUMER;
        c->side_of[CORE_MR] = consumer;
        consumer->span.is_shared = true;
        producer->span.timestamp_us = core[CORE_MS]->time_us;
        producer->span.duration_us = time_between(core[CORE_MS], core[CORE_WS]);
        enum core begin = core[CORE_WR] ? CORE_WR : CORE_MR;
        consumer->span.timestamp_us = core[begin]->time_us;
        consumer->span.duration_us = core[CORE_WR] ? time_between(core[CORE_WR], core[CORE_MR]) : 0;
    } else if (core[CORE_MS]) {
        set_times(c, producer, CORE_MS, CORE_WS);
    } else if (core[CORE_MR]) {
        set_times(c, consumer, core[CORE_WR] ? CORE_WR : CORE_MR, CORE_MR);
    } else {
        for (enum core i = CORE_WS; i <= CORE_WR; i++) {
            if (core[i])
                core[i]->side = c->side_of[i]->span.side;
        }
    }
}

/* ---- tags ---- */

static bool is_address(const struct zipkin_tag *tag, const char *key)
{
    return tag->host && tag->key.len == 2 && memcmp(tag->key.ptr, key, 2) == 0;
}

static bool endpoint_equal(const struct zipkin_endpoint *a, const struct zipkin_endpoint *b)
{
    return fm_slice_equal(a->service, b->service) && fm_slice_equal(a->ipv4, b->ipv4) &&
           fm_slice_equal(a->ipv6, b->ipv6) && a->port == b->port;
}

static void set_client_address(struct side *server, const struct zipkin_endpoint *address)
{
    if (endpoint_equal(address, &server->span.local))
        return;
    server->span.remote = *address;
    if (fm_slice_equal(address->service, server->span.local.service))
        server->span.remote.service = fm_slice(NULL, 0); /* Finagle names the server there */
}

/* Addresses with no core annotation beside them say by themselves who is who. */
static void take_lone_addresses(struct conversion *c, const struct zipkin_endpoint *ca,
                                const struct zipkin_endpoint *sa)
{
    struct side *side = side_for(c, ca && sa ? ca : NULL);
    side->span.remote = sa ? *sa : *ca;
    if (!sa)
        side->span.kind = ZIPKIN_SERVER;
}

static void take_addresses(struct conversion *c, const struct zipkin_endpoint *ca,
                           const struct zipkin_endpoint *sa, const struct zipkin_endpoint *ma)
{
    struct side *client = side_of(c, CORE_CS, CORE_CR), *server = side_of(c, CORE_SR, CORE_SS);
    if (!client && !server && (ca || sa))
        take_lone_addresses(c, ca, sa);
    if (sa && client)
        client->span.remote = *sa;
    if (ca && server)
        set_client_address(server, ca);
    if (ma && c->core[CORE_MS])
        c->side_of[CORE_MS]->span.remote = *ma;
    if (ma && c->core[CORE_MR])
        c->side_of[CORE_MR]->span.remote = *ma;
}

static void take_tags(struct conversion *c)
{
    const struct zipkin_endpoint *ca = NULL, *sa = NULL, *ma = NULL;
    for (uint32_t i = 0; i < c->draft->tag_count; i++) {
        struct zipkin_tag *tag = &c->draft->tags[i];
        tag->side = ZIPKIN_NO_SIDE;
        if (is_address(tag, "ca"))
            ca = tag->host;
        else if (is_address(tag, "sa"))
            sa = tag->host;
        else if (is_address(tag, "ma"))
            ma = tag->host;
        else {
            bool only_names_service =
                fm_slice_equal_text(tag->key, "lc") && tag->type == ZIPKIN_TEXT && !tag->text.len;
            const struct side *side = side_for(c, tag->host);
            if (!only_names_service)
                tag->side = side->span.side;
        }
    }
    take_addresses(c, ca, sa, ma);
}

int zipkin_v1_convert(struct zipkin_batch *batch)
{
    struct conversion c = {.batch = batch, .draft = &batch->draft};
    int rc = FM_OK;
    take_notes(&c);
    if (!c.side_count)
        (void)side_for(&c, NULL); /* makes one */
    infer_starts(&c);
    convert_times(&c);
    convert_messages(&c);
    take_tags(&c);
    for (uint32_t i = 0; i < c.side_count && rc == FM_OK; i++)
        rc = zipkin_batch_add(batch, &c.sides[i].span);
    return rc;
}
