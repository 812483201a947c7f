/* SPDX-License-Identifier: Apache-2.0 */
/* slice - canonical OTLP cut between spans: some of them, with their resources and scopes.
 * Resources and scopes of which nothing is left are left out. */
#include "internal.h"

#include "fermata/pb.h"

enum { FIELD_RESOURCE_SPANS = 1, FIELD_SCOPE_SPANS = 2, FIELD_SPANS = 2, FIELD_TRACE_ID = 1 };

struct slicer {
    slice_keep *keep;
    void *self;
    uint64_t index;
    struct fm_buf *target; /* borrowed */
};

static bool field_is(const struct pb_field *field, uint32_t number)
{
    return field->number == number && field->type == PB_BYTES;
}

static int slicer_span(struct slicer *slicer, const struct pb_field *span, bool *ret_kept)
{
    struct slice_span view = {.index = slicer->index++};
    struct fm_slice rest = span->bytes;
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field_is(&field, FIELD_TRACE_ID)) {
            view.trace_id = field.bytes;
            break;
        }
    }
    if (rc < 0)
        return rc;
    *ret_kept = slicer->keep(slicer->self, &view);
    if (*ret_kept)
        fm_buf_put_slice(slicer->target, span->raw);
    return FM_OK;
}

static int slicer_scope(struct slicer *slicer, struct fm_slice rest, bool *ret_kept)
{
    size_t begin = slicer->target->len, mark = pb_begin(slicer->target, FIELD_SCOPE_SPANS);
    struct pb_field field;
    bool is_kept = false;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        bool is_span_kept = false;
        if (!field_is(&field, FIELD_SPANS)) {
            fm_buf_put_slice(slicer->target, field.raw);
            continue;
        }
        rc = slicer_span(slicer, &field, &is_span_kept);
        if (rc < 0)
            return rc;
        is_kept |= is_span_kept;
    }
    pb_end(slicer->target, mark);
    if (!is_kept)
        slicer->target->len = begin;
    *ret_kept |= is_kept;
    return rc < 0 ? rc : FM_OK;
}

static int slicer_resource(struct slicer *slicer, struct fm_slice rest)
{
    size_t begin = slicer->target->len, mark = pb_begin(slicer->target, FIELD_RESOURCE_SPANS);
    struct pb_field field;
    bool is_kept = false;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (!field_is(&field, FIELD_SCOPE_SPANS)) {
            fm_buf_put_slice(slicer->target, field.raw);
            continue;
        }
        rc = slicer_scope(slicer, field.bytes, &is_kept);
        if (rc < 0)
            return rc;
    }
    pb_end(slicer->target, mark);
    if (!is_kept)
        slicer->target->len = begin;
    return rc < 0 ? rc : FM_OK;
}

int slice_otlp(struct fm_slice otlp, slice_keep *keep, void *self, struct fm_buf *target)
{
    struct slicer slicer = {keep, self, 0, target};
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&otlp, &field)) == FM_OK) {
        rc = field_is(&field, FIELD_RESOURCE_SPANS) ? slicer_resource(&slicer, field.bytes) : FM_OK;
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    return target->failed ? FM_ENOMEM : FM_OK;
}
