/* SPDX-License-Identifier: Apache-2.0 */
/* cover - which positions of the log are in a block, tenant by tenant.
 *
 * There is no ledger to lose: every block directory says in local.json which LSNs it covers, and
 * start-up collects them.  A block covers everything of its tenant from the end of the block
 * before it, so that copies of a batch written twice (WRITE-2) are covered with it.
 */
#include "internal.h"

#include <stdlib.h>

#include "fermata/json.h"

/* The first range that ends at lsn or later. */
static size_t cover_position(const struct tenant *tenant, uint64_t lsn)
{
    size_t low = 0, high = tenant->covered_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tenant->covered[middle].last < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool cover_has(const struct tenant *tenant, uint64_t lsn)
{
    size_t position = cover_position(tenant, lsn);
    return position < tenant->covered_count && tenant->covered[position].first <= lsn;
}

struct lsn_range cover_gap(const struct tenant *tenant, uint64_t lsn, uint64_t floor)
{
    size_t position = cover_position(tenant, lsn);
    uint64_t after = position ? tenant->covered[position - 1].last + 1 : 0;
    return (struct lsn_range){
        .first = FM_MAX(after, FM_MIN(floor, lsn)),
        .last = position < tenant->covered_count ? tenant->covered[position].first - 1 : UINT64_MAX,
    };
}

int cover_reserve(struct tenant *tenant)
{
    if (tenant->covered_count < tenant->covered_capacity)
        return FM_OK;
    size_t capacity = tenant->covered_capacity ? tenant->covered_capacity * 2 : 2;
    struct lsn_range *grown = realloc(tenant->covered, capacity * sizeof *grown);
    if (!grown)
        return FM_ENOMEM;
    tenant->covered = grown;
    tenant->covered_capacity = capacity;
    return FM_OK;
}

/* Joins neighbours: a healthy tenant has one range. */
int cover_add(struct tenant *tenant, uint64_t first, uint64_t last)
{
    if (first > last)
        return FM_ECORRUPT;
    size_t begin = cover_position(tenant, first ? first - 1 : 0), end = begin;
    struct lsn_range joined = {first, last};
    while (end < tenant->covered_count &&
           (last == UINT64_MAX || tenant->covered[end].first <= last + 1)) {
        joined.first = FM_MIN(joined.first, tenant->covered[end].first);
        joined.last = FM_MAX(joined.last, tenant->covered[end].last);
        end++;
    }
    if (begin == end) {
        int rc = cover_reserve(tenant);
        if (rc < 0)
            return rc;
        memmove(&tenant->covered[begin + 1], &tenant->covered[begin],
                (tenant->covered_count - begin) * sizeof *tenant->covered);
        tenant->covered_count++;
    } else {
        memmove(&tenant->covered[begin + 1], &tenant->covered[end],
                (tenant->covered_count - end) * sizeof *tenant->covered);
        tenant->covered_count -= end - begin - 1;
    }
    tenant->covered[begin] = joined;
    return FM_OK;
}

/* ---- local.json ---- */

void local_render(const struct local_facts *facts, struct fm_buf *buf)
{
    struct json_writer json;
    json_writer_init(&json, buf);
    json_object_begin(&json);
    json_key(&json, "version");
    json_uint(&json, 1);
    json_key(&json, "node");
    json_hex(&json, fm_slice(facts->node, sizeof facts->node));
    json_key(&json, "firstLsn");
    json_uint(&json, facts->first_lsn);
    json_key(&json, "lastLsn");
    json_uint(&json, facts->last_lsn);
    json_key(&json, "records");
    json_uint(&json, facts->record_count);
    json_key(&json, "spans");
    json_uint(&json, facts->span_count);
    json_key(&json, "sealedUnixNano");
    json_uint(&json, facts->sealed_unix_ns);
    json_object_end(&json);
    fm_buf_puts(buf, "\n");
}

enum local_key {
    LOCAL_VERSION = 1,
    LOCAL_NODE = 2,
    LOCAL_FIRST = 4,
    LOCAL_LAST = 8,
    LOCAL_RECORDS = 16,
    LOCAL_SPANS = 32,
    LOCAL_SEALED = 64,
    LOCAL_ALL = 127,
};

static int local_member(struct json_reader *reader, struct fm_slice key, struct local_facts *facts,
                        unsigned *seen)
{
    uint64_t version = 0;
    const struct {
        const char *name;
        enum local_key key;
        uint64_t *value;
    } numbers[] = {
        {"version", LOCAL_VERSION, &version},
        {"firstLsn", LOCAL_FIRST, &facts->first_lsn},
        {"lastLsn", LOCAL_LAST, &facts->last_lsn},
        {"records", LOCAL_RECORDS, &facts->record_count},
        {"spans", LOCAL_SPANS, &facts->span_count},
        {"sealedUnixNano", LOCAL_SEALED, &facts->sealed_unix_ns},
    };
    struct json_token token;
    int rc = json_next(reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    if (fm_slice_equal_text(key, "node")) {
        *seen |= LOCAL_NODE;
        return fm_hex_decode(facts->node, sizeof facts->node, token.text);
    }
    for (size_t i = 0; i < FM_COUNT(numbers); i++) {
        if (!fm_slice_equal_text(key, numbers[i].name))
            continue;
        *seen |= numbers[i].key;
        rc = json_u64(&token, numbers[i].value);
        return rc < 0 || numbers[i].key != LOCAL_VERSION || version == 1 ? rc : FM_EUNSUPPORTED;
    }
    return json_skip(reader, &token);
}

int local_parse(struct fm_slice json, struct local_facts *ret_facts, struct fm_why *why)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    struct local_facts facts = {0};
    unsigned seen = 0;
    fm_arena_init(&scratch, 65536);
    json_reader_init(&reader, json, &scratch);
    int rc = json_next(&reader, &token);
    if (rc == FM_OK && token.kind != JSON_OBJECT_BEGIN)
        rc = FM_EMALFORMED;
    while (rc == FM_OK) {
        rc = json_next(&reader, &token);
        if (rc == FM_OK && token.kind == JSON_OBJECT_END)
            break;
        if (rc == FM_OK)
            rc = local_member(&reader, token.text, &facts, &seen);
    }
    fm_arena_fini(&scratch);
    if (rc != FM_OK || seen != LOCAL_ALL || facts.first_lsn > facts.last_lsn ||
        facts.last_lsn == UINT64_MAX)
        return fm_fail(why, rc < 0 ? rc : FM_EMALFORMED, "local.json is not one");
    *ret_facts = facts;
    return FM_OK;
}
