/* SPDX-License-Identifier: Apache-2.0 */
/* <tenant>/index.json.gz, which Tempo writes every few minutes:
 *   {"created_at": RFC 3339, "meta": [meta.json, ...], "compacted": [...]} */
#include "fermata/codec.h"
#include "fermata/json.h"
#include "internal.h"

#define INDEX_BYTES_MAX   FM_MIB(128)
#define INDEX_SCRATCH_MAX FM_MIB(4)

struct index_reading {
    struct fm_slice json;
    struct json_reader reader;
    struct fm_arena scratch;
    uint64_t created_ns;
    bucket_on_meta *on_meta; /* NULL: only when it was made */
    void *self;
};

/* Behind the array's begin.  What is no meta.json of ours is left out. */
static int index_read_metas(struct index_reading *index)
{
    struct json_token token;
    struct block_meta meta;
    int rc;
    while ((rc = json_next(&index->reader, &token)) == FM_OK && token.kind != JSON_ARRAY_END) {
        size_t begin = index->reader.position;
        rc = json_skip(&index->reader, &token);
        if (rc < 0)
            return rc;
        if (token.kind != JSON_OBJECT_BEGIN || !index->on_meta)
            continue;
        struct fm_slice text =
            fm_slice(index->json.ptr + begin - 1, index->reader.position - begin + 1);
        fm_arena_reset(&index->scratch);
        if (block_meta_parse(text, &meta, NULL) == FM_OK)
            rc = index->on_meta(index->self, &meta);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_EMALFORMED : rc;
}

static int index_read_member(struct index_reading *index, struct fm_slice key)
{
    struct json_token token;
    bool is_created = fm_slice_equal_text(key, "created_at");
    bool is_meta = fm_slice_equal_text(key, "meta");
    int rc = json_next(&index->reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    if (is_created && token.kind == JSON_STRING)
        return fm_rfc3339_parse(token.text, &index->created_ns);
    if (is_meta && token.kind == JSON_ARRAY_BEGIN)
        return index_read_metas(index);
    return json_skip(&index->reader, &token);
}

static int index_read_once(struct index_reading *index)
{
    struct json_token token;
    json_reader_init(&index->reader, index->json, &index->scratch);
    int rc = json_next(&index->reader, &token);
    if (rc != FM_OK || token.kind != JSON_OBJECT_BEGIN)
        return rc < 0 ? rc : FM_EMALFORMED;
    while ((rc = json_next(&index->reader, &token)) == FM_OK && token.kind == JSON_KEY) {
        rc = index_read_member(index, token.text);
        if (rc < 0)
            return rc;
    }
    return rc == FM_OK || rc == FM_END ? FM_OK : rc;
}

int bucket_index_read(struct fm_slice packed, uint64_t now_unix_ns, uint64_t age_max_ns,
                      bucket_on_meta *on_meta, void *self)
{
    struct index_reading index = {.self = self};
    struct fm_buf plain;

    fm_buf_init(&plain, INDEX_BYTES_MAX);
    fm_arena_init(&index.scratch, INDEX_SCRATCH_MAX);
    int rc = codec_inflate(CODEC_GZIP, packed, &plain);
    index.json = fm_buf_slice(&plain);
    if (rc == FM_OK)
        rc = index_read_once(&index); /* its age may stand at its end */
    if (rc == FM_OK && (index.created_ns + age_max_ns < now_unix_ns || !index.created_ns))
        rc = FM_NONE;
    if (rc == FM_OK) {
        index.on_meta = on_meta;
        rc = index_read_once(&index);
    }
    fm_arena_fini(&index.scratch);
    fm_buf_fini(&plain);
    return rc;
}
