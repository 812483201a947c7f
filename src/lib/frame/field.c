/* SPDX-License-Identifier: Apache-2.0 */
/* What a field describes: a trace, its resource, its scope, a span, an event or a link. */
#include "fermata/frame.h"

enum frame_domain frame_field_domain(const struct traceql_field *field)
{
    switch (field->intrinsic) {
    case TRACEQL_ATTRIBUTE:
        break;
    case TRACEQL_TRACE_DURATION:
    case TRACEQL_TRACE_ID:
    case TRACEQL_TRACE_START:
    case TRACEQL_ROOT_NAME:
    case TRACEQL_ROOT_SERVICE:
        return FRAME_TRACE;
    case TRACEQL_SCOPE_NAME:
    case TRACEQL_SCOPE_VERSION:
        return FRAME_SCOPE;
    case TRACEQL_EVENT_NAME:
    case TRACEQL_EVENT_TIME:
        return FRAME_EVENT;
    case TRACEQL_LINK_TRACE_ID:
    case TRACEQL_LINK_SPAN_ID:
        return FRAME_LINK;
    default:
        return FRAME_SPAN;
    }
    switch (field->scope) {
    case TRACEQL_RESOURCE:
        return FRAME_RESOURCE;
    case TRACEQL_EVENT:
        return FRAME_EVENT;
    case TRACEQL_LINK:
        return FRAME_LINK;
    case TRACEQL_INSTRUMENTATION:
        return FRAME_SCOPE;
    default:
        return FRAME_SPAN;
    }
}

bool frame_field_equal(const struct traceql_field *a, const struct traceql_field *b)
{
    if (a->intrinsic != b->intrinsic || a->of_parent != b->of_parent)
        return false;
    return a->intrinsic != TRACEQL_ATTRIBUTE ||
           (a->scope == b->scope && fm_slice_equal(a->name, b->name));
}
