/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the API as a person likes to read them: a table of traces, lists, a line of bars for
 * each series. */
#include <inttypes.h>
#include <stdio.h>

#include "fermata/json.h"
#include "fermata/units.h"
#include "query.h"
#include "terminal.h"
#include "waterfall.h"

#define VIEW_LABEL_COLUMNS 60u
#define VIEW_POINTS_MAX    60u

struct view {
    struct json_reader reader;
    struct fm_arena scratch;
    struct terminal terminal;
    struct fm_buf *out; /* borrowed */
};

/* Called for a member of an object, its value not yet read. */
typedef int view_on_member(struct view *view, struct fm_slice key, void *self);
typedef int view_on_item(struct view *view, void *self);

static int view_next(struct view *view, enum json_kind kind, struct json_token *ret_token)
{
    int rc = json_next(&view->reader, ret_token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    return ret_token->kind == kind ? FM_OK : FM_EMALFORMED;
}

static int view_skip(struct view *view)
{
    struct json_token token;
    int rc = json_next(&view->reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    return json_skip(&view->reader, &token);
}

static int view_members(struct view *view, view_on_member *on_member, void *self)
{
    struct json_token token;
    while (json_next(&view->reader, &token) == FM_OK) {
        if (token.kind == JSON_OBJECT_END)
            return FM_OK;
        int rc = token.kind == JSON_KEY ? on_member(view, token.text, self) : FM_EMALFORMED;
        if (rc < 0)
            return rc;
    }
    return FM_EMALFORMED;
}

static int view_object(struct view *view, view_on_member *on_member, void *self)
{
    struct json_token token;
    int rc = view_next(view, JSON_OBJECT_BEGIN, &token);
    return rc < 0 ? rc : view_members(view, on_member, self);
}

/* Of objects. */
static int view_items(struct view *view, view_on_item *on_item, void *self)
{
    struct json_token token;
    int rc = view_next(view, JSON_ARRAY_BEGIN, &token);
    if (rc < 0)
        return rc;
    while (json_next(&view->reader, &token) == FM_OK) {
        if (token.kind == JSON_ARRAY_END)
            return FM_OK;
        rc = token.kind == JSON_OBJECT_BEGIN ? on_item(view, self) : FM_EMALFORMED;
        if (rc < 0)
            return rc;
    }
    return FM_EMALFORMED;
}

static int view_scalar(struct view *view, struct json_token *ret_token)
{
    int rc = json_next(&view->reader, ret_token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    bool is_scalar = ret_token->kind == JSON_STRING || ret_token->kind == JSON_NUMBER ||
                     ret_token->kind == JSON_TRUE || ret_token->kind == JSON_FALSE;
    return is_scalar ? FM_OK : FM_EMALFORMED;
}

static int view_text(struct view *view, struct fm_slice *ret_text)
{
    struct json_token token;
    int rc = view_scalar(view, &token);
    if (rc < 0)
        return rc;
    *ret_text = token.kind == JSON_TRUE    ? FM_SLICE("true")
                : token.kind == JSON_FALSE ? FM_SLICE("false")
                                           : token.text;
    return FM_OK;
}

static int view_u64(struct view *view, uint64_t *ret_value)
{
    struct json_token token;
    int rc = view_scalar(view, &token);
    return rc < 0 ? rc : json_u64(&token, ret_value);
}

/* ---- search ---- */

struct view_trace {
    struct fm_slice id, service, name;
    uint64_t start_ns, duration_ms, matched;
};

static int set_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct view_trace *trace = self;
    uint64_t matched;
    if (!fm_slice_equal_text(key, "matched"))
        return view_skip(view);
    int rc = view_u64(view, &matched);
    trace->matched += rc == FM_OK ? matched : 0;
    return rc;
}

static int view_on_set(struct view *view, void *self)
{
    return view_members(view, set_on_member, self);
}

static int trace_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct view_trace *trace = self;
    if (fm_slice_equal_text(key, "traceID"))
        return view_text(view, &trace->id);
    if (fm_slice_equal_text(key, "rootServiceName"))
        return view_text(view, &trace->service);
    if (fm_slice_equal_text(key, "rootTraceName"))
        return view_text(view, &trace->name);
    if (fm_slice_equal_text(key, "startTimeUnixNano"))
        return view_u64(view, &trace->start_ns);
    if (fm_slice_equal_text(key, "durationMs"))
        return view_u64(view, &trace->duration_ms);
    if (fm_slice_equal_text(key, "spanSets"))
        return view_items(view, view_on_set, trace);
    return view_skip(view);
}

static void view_put_time(struct fm_buf *out, uint64_t unix_ns)
{
    struct fm_civil civil =
        fm_civil_from_unix((int64_t)(unix_ns / FM_NS_PER_S), (uint32_t)(unix_ns % FM_NS_PER_S));
    fm_buf_printf(out, "%04d-%02u-%02u %02u:%02u:%02u.%03u", civil.year, civil.month, civil.day,
                  civil.hour, civil.minute, civil.second, civil.nanosecond / 1000000);
}

static int view_on_trace(struct view *view, void *self)
{
    struct view_trace trace = {0};
    char text[33] = "";
    (void)self;
    int rc = view_members(view, trace_on_member, &trace);
    if (rc < 0)
        return rc;
    (void)snprintf(text, sizeof text, "%.*s", (int)FM_MIN(trace.id.len, sizeof text - 1),
                   (const char *)trace.id.ptr);
    view_put_time(view->out, trace.start_ns);
    fm_buf_printf(view->out, "  %*s", (int)(32 - strlen(text)), "");
    terminal_put(&view->terminal, view->out, STYLE_CYAN, text);
    fm_buf_puts(view->out, "  ");
    waterfall_put_duration(view->out, trace.duration_ms * FM_NS_PER_MS);
    fm_buf_printf(view->out, " %6" PRIu64 "  ", trace.matched);
    terminal_put_text(view->out, trace.service, 0);
    fm_buf_puts(view->out, ": ");
    terminal_put_text(view->out, trace.name, 0);
    fm_buf_puts(view->out, "\n");
    return FM_OK;
}

static int search_on_member(struct view *view, struct fm_slice key, void *self)
{
    if (fm_slice_equal_text(key, "traces"))
        return view_items(view, view_on_trace, self);
    return view_skip(view);
}

/* ---- names and values ---- */

struct view_scope {
    struct fm_slice name;
    struct fm_buf tags; /* length and text of each, kept until the scope's name is known */
};

static int scope_on_tags(struct view *view, struct view_scope *scope)
{
    struct json_token token;
    int rc = view_next(view, JSON_ARRAY_BEGIN, &token);
    while (rc == FM_OK && (rc = json_next(&view->reader, &token)) == FM_OK) {
        if (token.kind == JSON_ARRAY_END)
            return FM_OK;
        if (token.kind != JSON_STRING)
            return FM_EMALFORMED;
        uint32_t len = (uint32_t)token.text.len;
        fm_buf_put(&scope->tags, &len, sizeof len);
        fm_buf_put_slice(&scope->tags, token.text);
    }
    return rc < 0 ? rc : FM_EMALFORMED;
}

static int scope_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct view_scope *scope = self;
    if (fm_slice_equal_text(key, "name"))
        return view_text(view, &scope->name);
    if (fm_slice_equal_text(key, "tags"))
        return scope_on_tags(view, scope);
    return view_skip(view);
}

static int view_on_scope(struct view *view, void *self)
{
    struct view_scope scope = {0};
    (void)self;
    fm_buf_init(&scope.tags, QUERY_ANSWER_MAX);
    int rc = view_members(view, scope_on_member, &scope);
    for (size_t at = 0; rc == FM_OK && at < scope.tags.len;) {
        uint32_t len;
        memcpy(&len, scope.tags.ptr + at, sizeof len);
        if (!fm_slice_equal_text(scope.name, "intrinsic")) {
            terminal_put_text(view->out, scope.name, 0);
            fm_buf_puts(view->out, ".");
        }
        terminal_put_text(view->out, fm_slice(scope.tags.ptr + at + sizeof len, len), 0);
        fm_buf_puts(view->out, "\n");
        at += sizeof len + len;
    }
    fm_buf_fini(&scope.tags);
    return rc;
}

static int tags_on_member(struct view *view, struct fm_slice key, void *self)
{
    if (fm_slice_equal_text(key, "scopes"))
        return view_items(view, view_on_scope, self);
    return view_skip(view);
}

static int value_on_member(struct view *view, struct fm_slice key, void *self)
{
    if (fm_slice_equal_text(key, "value"))
        return view_text(view, self);
    return view_skip(view);
}

static int view_on_value(struct view *view, void *self)
{
    struct fm_slice text = FM_SLICE("");
    (void)self;
    int rc = view_members(view, value_on_member, &text);
    terminal_put_text(view->out, text, 0);
    fm_buf_puts(view->out, "\n");
    return rc;
}

static int values_on_member(struct view *view, struct fm_slice key, void *self)
{
    if (fm_slice_equal_text(key, "tagValues"))
        return view_items(view, view_on_value, self);
    return view_skip(view);
}

/* ---- metrics ---- */

struct view_line {
    struct fm_buf labels;
    double points[VIEW_POINTS_MAX]; /* of neighbours the highest */
    uint32_t point_count, sample_count, per_point;
    double low, high, last;
    struct fm_slice key; /* of the label being read */
};

static int any_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct view_line *line = self;
    struct fm_slice text;
    (void)key;
    int rc = view_text(view, &text);
    if (rc == FM_OK)
        terminal_put_text(&line->labels, text, 0);
    return rc;
}

static int label_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct view_line *line = self;
    if (fm_slice_equal_text(key, "key")) {
        int rc = view_text(view, &line->key);
        if (rc < 0)
            return rc;
        fm_buf_puts(&line->labels, line->labels.len ? ", " : "");
        terminal_put_text(&line->labels, line->key, 0);
        fm_buf_puts(&line->labels, "=");
        return FM_OK;
    }
    if (fm_slice_equal_text(key, "value"))
        return view_object(view, any_on_member, line);
    return view_skip(view);
}

static int view_on_label(struct view *view, void *self)
{
    return view_members(view, label_on_member, self);
}

/* As many points as fit: when they do not, two neighbours become one. */
static void line_add(struct view_line *line, double value)
{
    if (line->point_count == VIEW_POINTS_MAX && line->sample_count % line->per_point == 0) {
        for (uint32_t i = 0; i < VIEW_POINTS_MAX / 2; i++)
            line->points[i] = FM_MAX(line->points[2 * i], line->points[2 * i + 1]);
        line->point_count = VIEW_POINTS_MAX / 2;
        line->per_point *= 2;
    }
    if (line->sample_count % line->per_point == 0)
        line->points[line->point_count++] = value;
    else
        line->points[line->point_count - 1] = FM_MAX(line->points[line->point_count - 1], value);
    line->low = line->sample_count ? FM_MIN(line->low, value) : value;
    line->high = line->sample_count ? FM_MAX(line->high, value) : value;
    line->last = value;
    line->sample_count++;
}

static int sample_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct json_token token;
    if (!fm_slice_equal_text(key, "value"))
        return view_skip(view);
    int rc = view_scalar(view, &token);
    return rc < 0 ? rc : json_double(&token, self);
}

static int view_on_sample(struct view *view, void *self)
{
    double value = 0; /* left out of the answer */
    int rc = view_members(view, sample_on_member, &value);
    if (rc == FM_OK)
        line_add(self, value);
    return rc;
}

static int series_on_member(struct view *view, struct fm_slice key, void *self)
{
    struct view_line *line = self;
    if (fm_slice_equal_text(key, "labels"))
        return view_items(view, view_on_label, line);
    if (fm_slice_equal_text(key, "samples"))
        return view_items(view, view_on_sample, line);
    if (fm_slice_equal_text(key, "value")) { /* of an instant */
        double value = 0;
        int rc = sample_on_member(view, key, &value);
        if (rc == FM_OK)
            line_add(line, value);
        return rc;
    }
    return view_skip(view);
}

static void line_put_bars(const struct view *view, const struct view_line *line)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(4));
    for (uint32_t i = 0; i < line->point_count; i++) {
        double range = line->high - FM_MIN(line->low, 0.0);
        double share = range > 0 ? (line->points[i] - FM_MIN(line->low, 0.0)) / range : 0;
        fm_buf_puts(&text, bars[FM_MIN((unsigned)(share * 7.999), 7u)]);
    }
    fm_buf_put_u8(&text, 0);
    terminal_put(&view->terminal, view->out, STYLE_GREEN, (const char *)text.ptr);
    fm_buf_fini(&text);
}

static int view_on_series(struct view *view, void *self)
{
    struct view_line line = {.per_point = 1};
    (void)self;
    fm_buf_init(&line.labels, QUERY_ANSWER_MAX);
    int rc = view_members(view, series_on_member, &line);
    if (rc == FM_OK) {
        terminal_put_text(view->out, fm_buf_slice(&line.labels), VIEW_LABEL_COLUMNS);
        fm_buf_puts(view->out, "  ");
        if (line.sample_count > 1) {
            line_put_bars(view, &line);
            fm_buf_printf(view->out, "  min %.6g  max %.6g  last %.6g\n", line.low, line.high,
                          line.last);
        } else {
            fm_buf_printf(view->out, "%.6g\n", line.last);
        }
    }
    fm_buf_fini(&line.labels);
    return rc;
}

static int metrics_on_member(struct view *view, struct fm_slice key, void *self)
{
    if (fm_slice_equal_text(key, "series"))
        return view_items(view, view_on_series, self);
    return view_skip(view);
}

/* ---- */

int query_view(enum ask_kind kind, struct fm_slice json, struct fm_buf *out)
{
    static view_on_member *const members[] = {
        [ASK_SEARCH] = search_on_member,
        [ASK_TAG_NAMES] = tags_on_member,
        [ASK_TAG_VALUES] = values_on_member,
        [ASK_METRICS] = metrics_on_member,
    };
    struct view view = {.terminal = terminal_of(1), .out = out};

    fm_arena_init(&view.scratch, QUERY_ANSWER_MAX);
    json_reader_init(&view.reader, json, &view.scratch);
    if (kind == ASK_SEARCH)
        terminal_put(&view.terminal, out, STYLE_DIM,
                     "start (UTC)                                             trace   duration "
                     "matched  root\n");
    int rc = view_object(&view, members[kind], NULL);
    fm_arena_fini(&view.scratch);
    return rc;
}

int query_view_trace(struct fm_slice json, struct fm_buf *out)
{
    struct view view = {.terminal = terminal_of(1), .out = out};
    struct json_token token;

    fm_arena_init(&view.scratch, QUERY_ANSWER_MAX);
    json_reader_init(&view.reader, json, &view.scratch);
    int rc = view_next(&view, JSON_OBJECT_BEGIN, &token);
    if (rc == FM_OK)
        rc = view_on_trace(&view, NULL);
    fm_arena_fini(&view.scratch);
    return rc;
}
