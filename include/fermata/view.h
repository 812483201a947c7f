/* SPDX-License-Identifier: Apache-2.0 */
/* view - a whole trace as the user interfaces of Jaeger and Zipkin read it, and the calls between
 * services that a number of traces make.  Pure; the translations are in docs/formats/ui.md.
 *
 * Input is canonical OTLP (trace_put_otlp) of one trace.  Errors stick to the writer's buffer.
 */
#ifndef FERMATA_VIEW_H
#define FERMATA_VIEW_H

#include "fermata/json.h"
#include "fermata/model.h"

/* ---- one trace ---- */

/* The trace object of Jaeger's classic API: {"traceID", "spans", "processes", "warnings"}. */
void view_jaeger(struct fm_slice otlp, struct json_writer *writer);
/* ResourceSpans of api_v3 as elements of an array that is open: ids in hex, enums as numbers. */
void view_otlp(struct fm_slice otlp, struct json_writer *writer);
/* One element of api_v3's trace summaries.  scratch holds a row per span. */
void view_summary(struct fm_slice otlp, struct fm_arena *scratch, struct json_writer *writer);
/* Spans of Zipkin's version 2 as an array. */
void view_zipkin(struct fm_slice otlp, struct json_writer *writer);

/* ---- who calls whom ---- */

#define VIEW_CALLS_MAX 10000 /* pairs of services */

struct view_calls;
/* with_remotes: also calls to and from services that send no spans themselves, by the name that the
 * span at the edge gives them, as Zipkin counts. */
FM_MUST int view_calls_new(struct view_calls **ret_calls, bool with_remotes);
struct view_calls *view_calls_free(struct view_calls *calls);
FM_DEFINE_AUTO(view_calls)
/* FM_ELIMIT: more than VIEW_CALLS_MAX pairs, or scratch is full; what was counted stays. */
FM_MUST int view_calls_add(struct view_calls *calls, struct fm_slice otlp,
                           struct fm_arena *scratch);
/* Arrays, by the names: {"parent", "child", "callCount"}, Zipkin's with "errorCount". */
void view_calls_jaeger(const struct view_calls *calls, struct json_writer *writer);
void view_calls_zipkin(const struct view_calls *calls, struct json_writer *writer);

/* ---- small things that both need ---- */

/* The attributes that name the other side of a span, in order of rank. */
const struct fm_slice *view_remote_keys(uint32_t *ret_count);
/* "internal", "server", ...; NULL: unspecified or unknown. */
const char *view_kind_text(uint32_t kind);
/* The number of OTLP; FM_NONE: not a name of a kind.  In any case of letters. */
FM_MUST int view_kind_parse(struct fm_slice text, uint32_t *ret_kind);

#endif
