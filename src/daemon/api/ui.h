/* SPDX-License-Identifier: Apache-2.0 */
/* ui - one answering with a user interface: its parameters, the questions it takes, its answer.
 * Part of api.
 *
 *   handler (parses, begins) -> questions, one after the other -> answer, in the words of a dialect
 *
 * Whoever answers or refuses an answering ends it: it must not be used afterwards. */
#ifndef FERMATA_API_UI_H_PRIVATE
#define FERMATA_API_UI_H_PRIVATE

#include "api.h"
#include "fermata/query_ask.h"
#include "fermata/view.h"

#define UI_NAMES_MAX     10000 /* services, operations, ... in one answer */
#define UI_TRACES_MAX    1500  /* in one answer; the most that the interfaces offer */
#define UI_TRACE_IDS_MAX 64    /* asked for by id in one request */
#define UI_CALLS_TRACES  2000  /* whose spans dependencies are counted over */
#define UI_VALUES_MAX    32    /* of a parameter that may be given several times */
#define UI_SCRATCH_MAX   FM_MIB(64)
#define UI_OTLP_MAX      FM_MIB(512) /* of one trace; the engine's limits are far below */
#define UI_ARENA_MAX     FM_MIB(8)
#define UI_JSON          "application/json"
#define UI_TEXT          "text/plain; charset=utf-8"

struct ui;
/* How a dialect says that something failed. */
typedef void ui_refuse_with(struct ui *ui, int status, const char *text);

struct ui_name { /* of a service, an operation, ... */
    struct fm_slice text;
    uint32_t kind; /* operations: of spans, OTLP's numbers */
};
struct ui_id {
    struct trace_id id;
    struct fm_buf otlp; /* empty: not found */
};

struct ui {
    struct api *api;
    struct net_request *request; /* until answered */
    const struct net_request_view *view;
    char tenant[TENANT_LEN_MAX + 1];
    ui_refuse_with *refuse;
    struct fm_arena arena;   /* parameters, names */
    struct fm_buf text;      /* of the question: TraceQL */
    bool is_asking, is_gone; /* a question is under way; the peer has left */

    struct query_ask ask;
    /* On the loop, after a question that was answered in ask.answer. */
    void (*asked)(struct ui *ui);
    /* Writes the answer to what was found, in a job. */
    void (*put_traces)(struct ui *ui, const struct query_found *found, struct json_writer *writer);

    void (*put_calls)(struct ui *ui, const struct view_calls *calls, struct json_writer *writer);
    bool calls_for_zipkin;

    struct ui_name *names; /* what questions for values found so far */
    uint32_t name_count;
    uint32_t step; /* of several questions: how many are left */
    void (*operations_asked)(struct ui *ui);
    struct fm_slice service;
    uint32_t kind;

    struct query_trace query; /* of ids[id_index] */
    struct ui_id *ids;
    uint32_t id_count, id_index, found_count;
    bool may_find_nothing;    /* an empty answer, not 404 */
    const char *nothing_text; /* of the 404; NULL: "trace not found" */
    void (*put_ids)(struct ui *ui, struct json_writer *writer); /* in a job */
    struct pf_job job;
    struct fm_buf answer;
};

/* ---- ui.c ---- */

typedef void ui_handler(struct ui *ui, struct fm_slice wild);
struct ui_route {
    const char *pattern; /* routes.h */
    ui_handler *handle;
    ui_refuse_with *refuse;
};
/* Finds the route, resolves the tenant, calls the handler.  false: no route; nothing was done. */
bool ui_begin(struct api *api, struct net_request *request, struct fm_slice path,
              const struct ui_route *routes, size_t route_count);
void ui_answer(struct ui *ui, int status, const char *content_type, struct fm_slice body);
/* Refusals of ui->refuse, by the result of the engine. */
void ui_fail(struct ui *ui, int rc, const char *text);
void ui_refuse_format(struct ui *ui, int status, const char *format, ...) FM_PRINTF(3, 4);

/* Parameters; the value is decoded, in the arena. */
bool ui_param(struct ui *ui, const char *name, struct fm_slice *ret_value);
/* The first of them that is given: spellings of one parameter. */
bool ui_param_of(struct ui *ui, const char *const *names, struct fm_slice *ret_value);
/* All values of a parameter that may be repeated; how many, at most UI_VALUES_MAX. */
uint32_t ui_params(struct ui *ui, const char *name, struct fm_slice values[UI_VALUES_MAX]);
/* An unsigned number of some unit of time; 1: of anything.  false: refused; absent: as it is. */
bool ui_param_number(struct ui *ui, const char *name, uint64_t unit_ns, uint64_t *value);

/* Questions.  The text is ui->text; the answer comes to asked. */
void ui_ask_values(struct ui *ui, const struct traceql_field *field, void (*asked)(struct ui *ui));
void ui_ask_names(struct ui *ui, const char *scope, void (*asked)(struct ui *ui));
/* Traces newest first, whole; answered as JSON with what put writes. */
void ui_ask_traces(struct ui *ui, uint64_t start_ns, uint64_t end_ns, uint32_t limit,
                   void (*put)(struct ui *ui, const struct query_found *found,
                               struct json_writer *writer));
/* Takes the values of the answered question into ui->names, sorted and without repeats among those
 * of kind.  false: it was refused. */
bool ui_take_names(struct ui *ui, uint32_t kind);
/* Traces by id, ui->ids; answered with what put writes.  None found: 404 by refuse. */
void ui_fetch(struct ui *ui, void (*put)(struct ui *ui, struct json_writer *writer));
/* Room for one more id.  false: too many, it was refused. */
bool ui_add_id(struct ui *ui, const struct trace_id *id);

/* Calls between services over the newest traces of a window. */
void ui_ask_calls(struct ui *ui, uint64_t end_ns, uint64_t lookback_ns, bool for_zipkin,
                  void (*put)(struct ui *ui, const struct view_calls *calls,
                              struct json_writer *writer));
/* Each whole of what was found as canonical OTLP; false: memory, the writer has failed. */
bool ui_put_each(struct ui *ui, const struct query_found *found, struct json_writer *writer,
                 void (*put)(struct fm_slice otlp, struct json_writer *writer));

uint64_t ui_now_ns(const struct ui *ui); /* Unix time */

/* ---- ui_text.c: TraceQL ---- */

struct ui_filter { /* "{ a && b }" in ui->text */
    struct fm_buf *out;
    bool has_term;
};
struct ui_filter ui_filter_begin(struct ui *ui);
void ui_filter_end(struct ui_filter *filter);
void ui_filter_service(struct ui_filter *filter, struct fm_slice service);
void ui_filter_name(struct ui_filter *filter, struct fm_slice name);
void ui_filter_callers(struct ui_filter *filter); /* clients and producers */
void ui_filter_kind(struct ui_filter *filter, uint32_t kind);
void ui_filter_duration(struct ui_filter *filter, const char *op, uint64_t ns);
/* A tag as Jaeger's clients see it: text, whatever type was stored, of a span, its process or one
 * of its logs; also those that the translation makes of other members. */
void ui_filter_tag(struct ui_filter *filter, struct fm_slice key, struct fm_slice value);
/* The same for Zipkin: letters of names in any case. */
void ui_filter_service_any_case(struct ui_filter *filter, struct fm_slice service);
void ui_filter_name_any_case(struct ui_filter *filter, struct fm_slice name);
void ui_filter_remote(struct ui_filter *filter, struct fm_slice service);
/* A term of an annotation query without a value: an annotation or the key of a tag. */
void ui_filter_word(struct ui_filter *filter, struct fm_slice word);

#endif
