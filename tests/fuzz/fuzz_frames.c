/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks read by columns.  The first byte chooses:
 *   'v' 'w'  the rest is a data.parquet of version 4 or 5
 *   'x'      the rest says which bits are changed behind the checksums' back: a kind of file, then
 *            four bytes a change, where and what
 *   else     the rest says what is wrong in a block whose pages are right: four bytes an entry,
 *            its leaf, what happens to it, and which one it is */
#include "fermata/block_frames.h"

#include "../support/keep.h"
#include "../unit/block/random.h"
#include "../unit/block/rewrite.h"

#define FUZZ_MEMORY_MAX  FM_MIB(64)
#define FUZZ_DAMAGES_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ATTRIBUTE(scope_, text)                                                               \
    {                                                                                              \
        .intrinsic = TRACEQL_ATTRIBUTE, .scope = scope_, .name = {                                 \
            (const uint8_t *)(text),                                                               \
            sizeof(text) - 1                                                                       \
        }                                                                                          \
    }
static struct traceql_field fuzz_fields[64] = {
    FUZZ_ATTRIBUTE(TRACEQL_RESOURCE, "service.name"),
    FUZZ_ATTRIBUTE(TRACEQL_RESOURCE, "cluster"),
    FUZZ_ATTRIBUTE(TRACEQL_RESOURCE, "a"),
    FUZZ_ATTRIBUTE(TRACEQL_SPAN, "http.method"),
    FUZZ_ATTRIBUTE(TRACEQL_SPAN, "http.status_code"),
    FUZZ_ATTRIBUTE(TRACEQL_SPAN, "b"),
    FUZZ_ATTRIBUTE(TRACEQL_SPAN, "user.id"),
    FUZZ_ATTRIBUTE(TRACEQL_EVENT, "a"),
    FUZZ_ATTRIBUTE(TRACEQL_LINK, "empty"),
    FUZZ_ATTRIBUTE(TRACEQL_INSTRUMENTATION, "x.y.z"),
};
#define FUZZ_ATTRIBUTES 10u

static uint32_t fuzz_field_count(void)
{
    uint32_t count = FUZZ_ATTRIBUTES;
    for (unsigned i = TRACEQL_ATTRIBUTE + 1; i <= TRACEQL_TRACE_START; i++)
        fuzz_fields[count++] = (struct traceql_field){.intrinsic = (enum traceql_intrinsic)i};
    return count;
}

static int fuzz_name(void *self, struct fm_slice name)
{
    uint64_t *sum = self;
    *sum += fm_hash64(name, 1);
    return FM_OK;
}

static uint64_t fuzz_sum(const struct traceql_value *value)
{
    uint64_t sum = (uint64_t)value->type;
    switch (value->type) {
    case TRACEQL_STRING:
        return sum + fm_hash64(value->text, 2);
    case TRACEQL_ARRAY:
        FM_ASSERT(value->element_count > 1);
        for (uint32_t i = 0; i < value->element_count; i++) {
            FM_ASSERT(value->elements[i].type != TRACEQL_ARRAY);
            sum += fuzz_sum(&value->elements[i]);
        }
        return sum;
    case TRACEQL_FLOAT:
        return sum + (value->number > 1);
    case TRACEQL_BOOL:
        return sum + value->flag;
    default:
        return sum + (uint64_t)value->integer;
    }
}

static int fuzz_value(void *self, const struct traceql_value *value)
{
    uint64_t *sum = self;
    FM_ASSERT(value->type != TRACEQL_ARRAY && value->type != TRACEQL_NIL);
    *sum += fuzz_sum(value);
    return FM_OK;
}

static unsigned fuzz_narrows; /* which fields leave rows out; 16: none */

static int fuzz_pick(void *self, const struct traceql_value *value)
{
    uint64_t *sum = self;
    *sum += fuzz_sum(value);
    return *sum % 5 ? FM_OK : FM_END;
}

/* What a frame says of itself must hold, whatever the bytes were. */
static void fuzz_check_frame(const struct frame *frame)
{
    const uint32_t *count = frame->count;
    FM_ASSERT(count[FRAME_SPAN] && frame->trace_spans[count[FRAME_TRACE]] == count[FRAME_SPAN]);
    for (uint32_t i = 0; i < count[FRAME_TRACE]; i++)
        FM_ASSERT(frame->trace_spans[i] <= frame->trace_spans[i + 1]);
    for (uint32_t i = 0; i < count[FRAME_SPAN]; i++) {
        FM_ASSERT(frame->span_resources[i] < count[FRAME_RESOURCE]);
        FM_ASSERT(frame->span_scopes[i] < count[FRAME_SCOPE]);
        FM_ASSERT(frame->span_events[i] <= frame->span_events[i + 1]);
        FM_ASSERT(frame->span_links[i] <= frame->span_links[i + 1]);
    }
    FM_ASSERT(frame->span_events[count[FRAME_SPAN]] == count[FRAME_EVENT]);
    FM_ASSERT(frame->span_links[count[FRAME_SPAN]] == count[FRAME_LINK]);
}

static uint64_t fuzz_check_vector(const struct frame_vector *vector, const struct frame *frame)
{
    uint64_t sum = 0;
    FM_ASSERT(vector->count == frame->count[vector->domain]);
    for (uint32_t i = 0; i < vector->count; i++) {
        if (vector->shape == FRAME_INTEGERS)
            sum += (uint64_t)vector->integers[i];
        if (vector->shape != FRAME_CODES)
            continue;
        FM_ASSERT(vector->codes[i] < vector->values->count);
        sum += fuzz_sum(&vector->values->values[vector->codes[i]]);
    }
    return sum;
}

static int fuzz_enter(struct frame_gate *gate, struct frame_source *source, struct fm_why *why)
{
    static const struct fm_slice text = {(const uint8_t *)"value", 5};
    uint64_t sum = 0;
    (void)gate;
    for (uint32_t i = 0; i < fuzz_field_count(); i++) {
        struct frame_search search = {
            .fields = &i, .field_count = 1, .visit = fuzz_value, .self = &sum};
        int rc = frame_ahead(source, &search, why);
        search.visit = fuzz_pick;
        search.only = i % 2 ? &text : NULL;
        search.narrows = i % 16 == fuzz_narrows;
        if (rc >= 0)
            rc = frame_ahead(source, &search, why);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

/* keep: NULL, or what was decoded before. */
static void fuzz_frames(const struct block *block, struct block_keep *keep)
{
    struct frame_gate gate = {.enter = fuzz_enter, .newest_count = keep ? 1 : 0};
    FM_AUTO(frame_source) source = NULL;
    const struct frame_request request = {.fields = fuzz_fields,
                                          .field_count = fuzz_field_count(),
                                          .end_ns = UINT64_MAX,
                                          .keep = keep};
    struct fm_why why = {{0}};
    struct frame frame;
    struct frame_vector vector;
    uint8_t wanted[4096];
    uint64_t sum = 0;
    int rc = block_frames_new(block, &request, FUZZ_MEMORY_MAX, &source, &why);
    if (rc == FM_OK)
        source->gate = &gate;
    while (rc == FM_OK && (rc = frame_next(source, &frame, &why)) == FM_OK) {
        fuzz_check_frame(&frame);
        for (size_t i = 0; i < sizeof wanted; i++)
            wanted[i] = i % 3 == 0;
        for (uint32_t i = 0; i < request.field_count && rc >= 0; i++) {
            bool some = i % 2 && frame.count[FRAME_TRACE] <= sizeof wanted;
            rc = frame_vector(source, i, some ? wanted : NULL, &vector, &why);
            if (rc == FM_OK)
                sum += fuzz_check_vector(&vector, &frame);
        }
    }
    FM_ASSERT(rc != FM_EMALFORMED);
    for (unsigned i = TRACEQL_SPAN; i <= TRACEQL_INSTRUMENTATION && rc >= 0; i++)
        rc = frame_names(source, (enum traceql_scope)i, fuzz_name, &sum, &why);
    for (uint32_t i = 0; i < request.field_count && rc >= 0; i++)
        rc = frame_values(source, i, fuzz_value, &sum, &why);
}

/* seed: 0, nothing is kept between reading and reading again. */
static void fuzz_keeps(const struct block *block, uint64_t seed)
{
    struct test_keep keep;
    if (!seed) {
        fuzz_frames(block, NULL);
        return;
    }
    test_keep_init(&keep, FM_MIB(1), seed % 3);
    fuzz_frames(block, &keep.keep);
    fuzz_frames(block, &keep.keep);
    test_keep_fini(&keep);
}

static void fuzz_read(struct fm_slice file, enum block_version version)
{
    struct fm_why why = {{0}};
    struct fm_buf ids;
    const struct block_dedicated columns[] = {{.name = "a", .scope = 1},
                                              {.name = "b", .type = version == BLOCK_V5}};
    struct block_meta meta = {
        .version = version,
        .end_ns = UINT64_MAX,
        .size_bytes = file.len,
        .dedicated_count = 2,
        .dedicated = columns,
    };
    FM_AUTO(block) block = NULL;
    int rc = block_open(&block, fm_source_memory(&file), &meta, &why);
    meta.dedicated_count = 0;
    if (rc < 0)
        rc = block_open(&block, fm_source_memory(&file), &meta, &why);
    if (rc < 0)
        return;
    fuzz_narrows = file.ptr[file.len / 2] >> 2 & 31;
    if (file.ptr[file.len / 2] & 1) /* dictionaries may be shared, too */
        block_prepare(block, FM_MIB(1));
    fuzz_keeps(block, file.ptr[file.len / 2] & 2 ? file.len : 0);
    fm_buf_init(&ids, FM_MIB(1));
    (void)!block_trace_ids(block, &ids, &why);
    fm_buf_fini(&ids);
}

/* Once: a block of everything. */
static struct fm_slice fuzz_template(void)
{
    static struct fm_buf file;
    if (file.len)
        return fm_buf_slice(&file);
    FM_AUTO(block_builder) builder = NULL;
    struct random_spans random = {.state = 4, .trace_count = 3};
    struct block_options options = block_options_default;
    struct block_meta meta = {.tenant = TENANT_DEFAULT};
    struct block_census census;
    struct fm_why why = {{0}};
    struct fm_buf otlp, blooms;
    options.page_span_target = 20;
    fm_buf_init(&otlp, FM_MIB(1));
    fm_buf_init(&blooms, FM_MIB(1));
    fm_buf_init(&file, FM_MIB(4));
    for (unsigned i = 0; i < 2; i++)
        random_request(&random, &otlp);
    FM_ASSERT(block_builder_new(&builder, &options) == FM_OK);
    FM_ASSERT(block_builder_add(builder, fm_buf_slice(&otlp), &why) == FM_OK);
    FM_ASSERT(block_builder_finish(builder, fm_sink_buf(&file), &blooms, &meta, &census, &why) ==
              FM_OK);
    fm_buf_fini(&otlp);
    fm_buf_fini(&blooms);
    return fm_buf_slice(&file);
}

static void fuzz_rewrite(uint8_t mode, struct fm_slice rest)
{
    struct rewrite_damage damages[FUZZ_DAMAGES_MAX];
    struct block_meta meta = {.version = BLOCK_V4};
    struct fm_buf file;
    struct rewrite rewrite = {
        .seed = mode & 7,
        .page_version = 1 + (mode >> 3 & 1),
        .offset_index = mode >> 4 & 1,
        .plain = mode >> 5 & 1,
        .damages = damages,
    };
    for (; rest.len >= 4 && rewrite.damage_count < FUZZ_DAMAGES_MAX; rest.ptr += 4, rest.len -= 4)
        damages[rewrite.damage_count++] =
            (struct rewrite_damage){.leaf = rest.ptr[0] % LEAF_COUNT,
                                    .change = rest.ptr[1] % REWRITE_CHANGES,
                                    .entry = (uint16_t)(fm_load_le16(rest.ptr + 2) % 1024)};
    fm_buf_init(&file, FM_MIB(4));
    if (rewrite_block(fuzz_template(), &rewrite, &file, &meta) == FM_OK)
        fuzz_read(fm_buf_slice(&file), BLOCK_V4);
    fm_buf_fini(&file);
}

/* Files of eight kinds, each made once. */
static struct fm_slice fuzz_file(unsigned kind)
{
    static struct fm_buf files[8];
    struct fm_buf *file = &files[kind];
    struct block_meta meta = {.version = BLOCK_V4};
    const struct rewrite rewrite = {.seed = kind,
                                    .page_version = 1 + (kind & 1),
                                    .offset_index = kind >> 1 & 1,
                                    .plain = kind >> 2 & 1};
    if (!file->len) {
        fm_buf_init(file, FM_MIB(4));
        FM_ASSERT(rewrite_block(fuzz_template(), &rewrite, file, &meta) == FM_OK);
    }
    return fm_buf_slice(file);
}

static void fuzz_change(struct fm_slice rest)
{
    struct fm_buf file;
    if (!rest.len)
        return;
    fm_buf_init(&file, FM_MIB(4));
    fm_buf_put_slice(&file, fuzz_file(rest.ptr[0] & 7));
    rest = fm_slice(rest.ptr + 1, rest.len - 1);
    for (unsigned i = 0; i < FUZZ_DAMAGES_MAX && rest.len >= 4; i++) {
        uint32_t change = fm_load_le32(rest.ptr);
        rewrite_flip(&file, (change & 0xffffff) % (file.len * 8), (uint8_t)(change >> 24));
        rest = fm_slice(rest.ptr + 4, rest.len - 4);
    }
    fuzz_read(fm_buf_slice(&file), BLOCK_V4);
    fm_buf_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct fm_slice rest = fm_slice(data + 1, size - 1);
    if (data[0] == 'v' || data[0] == 'w')
        fuzz_read(rest, data[0] == 'v' ? BLOCK_V4 : BLOCK_V5);
    else if (data[0] == 'x')
        fuzz_change(rest);
    else
        fuzz_rewrite(data[0], rest);
    return 0;
}
