/* SPDX-License-Identifier: Apache-2.0 */
/* Hundreds of questions about traces written by hand, each over rows, over a block, and over both
 * alternately after cuts at random: every place says what tests/golden/ask/questions.txt says.
 *
 *   test_story [--write | --block FOLDER]   new answers into that file | the traces as a block
 *
 * STORY_SEED chooses other cuts; they are printed when an answer is wrong. */
#include "places.h"
#include "story.h"

#include <inttypes.h>
#include <math.h>

#include "fermata/ask.h"

#define GOLDEN    "golden/ask/questions.txt"
#define CUT_COUNT 6u

struct ask_line { /* "? kind option=value ... : query" */
    char kind[16];
    struct ask_question question;
    bool shows;
    char field[200], scope[32];
};

/* ---- what was found, as text ---- */

#define SHOWN_BYTES 100u

/* Of a long one the begin, the length and a hash. */
static void put_quoted(struct fm_buf *out, struct fm_slice text)
{
    size_t shown = text.len > SHOWN_BYTES ? 10 : text.len;
    while (shown < text.len && shown && (text.ptr[shown] & 0xc0) == 0x80)
        shown--; /* between letters */
    fm_buf_puts(out, "\"");
    for (size_t i = 0; i < shown; i++) {
        uint8_t c = text.ptr[i];
        if (c == '"' || c == '\\')
            fm_buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            fm_buf_printf(out, "\\x%02x", c);
        else
            fm_buf_put_u8(out, c);
    }
    fm_buf_puts(out, "\"");
    if (shown < text.len)
        fm_buf_printf(out, "[%zu %016" PRIx64 "]", text.len, fm_hash64(text, 0));
}

static void put_value(struct fm_buf *out, const struct traceql_value *value)
{
    char number[64];
    switch (value->type) {
    case TRACEQL_STRING:
        put_quoted(out, value->text);
        break;
    case TRACEQL_FLOAT:
        (void)snprintf(number, sizeof number, "%.12g", value->number);
        fm_buf_printf(out, "%s%s", number, strpbrk(number, ".ein") ? "" : ".0");
        break;
    case TRACEQL_ARRAY:
        fm_buf_puts(out, "[");
        for (uint32_t i = 0; i < value->element_count; i++) {
            fm_buf_puts(out, i ? ", " : "");
            put_value(out, &value->elements[i]);
        }
        fm_buf_puts(out, "]");
        break;
    case TRACEQL_NIL:
        fm_buf_puts(out, "nil");
        break;
    default:
        answer_put_text(value, out);
        break;
    }
}

/* Milliseconds since the story's begin, and how many. */
static void put_times(struct fm_buf *out, uint64_t start_ns, uint64_t duration_ns)
{
    fm_buf_printf(out, "%+.15gms %.15gms", (double)(int64_t)(start_ns - STORY_BASE_NS) / 1e6,
                  (double)duration_ns / 1e6);
}

static void put_span(struct fm_buf *out, const struct eval_span *span, bool shows)
{
    char id[17] = "";
    const char *digits = id;
    fm_hex_encode(id, fm_slice(span->id, 8));
    while (*digits == '0')
        digits++;
    fm_buf_printf(out, " %s", digits);
    if (!shows)
        return;
    fm_buf_puts(out, "{");
    put_times(out, span->start_ns, span->duration_ns);
    if (span->shows_name) {
        fm_buf_puts(out, " ");
        put_quoted(out, span->name);
    }
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        fm_buf_puts(out, " ");
        fm_buf_put_slice(out, span->attributes[i].name);
        fm_buf_puts(out, "=");
        put_value(out, &span->attributes[i].value);
    }
    fm_buf_puts(out, "}");
}

static int span_order(const void *a, const void *b)
{
    const struct eval_span *x = a, *y = b;
    int order = memcmp(x->id, y->id, sizeof x->id);
    return order ? order : (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static void put_set(struct fm_buf *out, const struct eval_spanset *set, bool shows)
{
    struct eval_span spans[STORY_SPANS];
    for (uint32_t i = 0; i < set->label_count; i++) {
        fm_buf_puts(out, " <");
        fm_buf_put_slice(out, set->labels[i].name);
        fm_buf_puts(out, "=");
        put_value(out, &set->labels[i].value);
        fm_buf_puts(out, ">");
    }
    if (set->matched != set->span_count) { /* which ones is open */
        fm_buf_printf(out, " %u of %u", set->span_count, set->matched);
        return;
    }
    for (uint32_t i = 0; i < set->span_count; i++)
        spans[i] = set->spans[i];
    qsort(spans, set->span_count, sizeof *spans, span_order);
    for (uint32_t i = 0; i < set->span_count; i++)
        put_span(out, &spans[i], shows);
}

static char *set_text(const struct eval_spanset *set, bool shows)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    put_set(&text, set, shows);
    fm_buf_put_u8(&text, 0);
    return (char *)text.ptr;
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_trace(struct fm_buf *out, const struct story *story, const struct eval_trace *trace,
                      bool shows)
{
    char *sets[STORY_SPANS];
    fm_buf_puts(out, story_name(story, &trace->id));
    if (shows) {
        fm_buf_puts(out, " (");
        put_quoted(out, trace->root_service);
        fm_buf_puts(out, " ");
        put_quoted(out, trace->root_name);
        fm_buf_puts(out, " ");
        put_times(out, trace->start_ns, trace->duration_ns);
        for (uint32_t i = 0; i < trace->service_count; i++) {
            fm_buf_puts(out, " ");
            put_quoted(out, trace->services[i].name);
            fm_buf_printf(out, ":%u:%u", trace->services[i].span_count,
                          trace->services[i].error_count);
        }
        fm_buf_puts(out, ")");
    }
    for (uint32_t i = 0; i < trace->set_count; i++)
        sets[i] = set_text(&trace->sets[i], shows);
    qsort(sets, trace->set_count, sizeof *sets, text_order); /* their order is open */
    for (uint32_t i = 0; i < trace->set_count; i++) {
        fm_buf_printf(out, "%s%s", i ? " |" : ":", sets[i]);
        free(sets[i]);
    }
    fm_buf_puts(out, "\n");
}

static void put_series(struct fm_buf *out, const struct series_line *line)
{
    fm_buf_puts(out, "{");
    for (uint32_t i = 0; i < line->label_count; i++) {
        fm_buf_puts(out, i ? " " : "");
        fm_buf_put_slice(out, line->labels[i].name);
        fm_buf_puts(out, "=");
        put_value(out, &line->labels[i].value);
    }
    fm_buf_puts(out, "}");
    for (uint32_t i = 0; i < line->sample_count; i++) {
        const struct series_sample *sample = &line->samples[i];
        fm_buf_printf(out, " %gs:%.9g",
                      (double)(sample->timestamp_ms - (int64_t)(STORY_BASE_NS / 1000000)) / 1000,
                      sample->value == 0 ? 0.0 : sample->value);
    }
    fm_buf_puts(out, "\n");
}

static void put_scope(struct fm_buf *out, const struct answer_scope *scope)
{
    fm_buf_printf(out, "%s:", scope->name);
    for (uint32_t i = 0; i < scope->tag_count; i++) {
        fm_buf_puts(out, " ");
        put_quoted(out, scope->tags[i]);
    }
    fm_buf_puts(out, "\n");
}

static void put_found(struct fm_buf *out, const struct story *story, const struct ask_line *line,
                      const struct ask_found *found)
{
    enum ask_kind kind = line->question.kind;
    for (uint32_t i = 0; i < (kind == ASK_METRICS ? 0 : found->count); i++) {
        if (kind == ASK_SEARCH) {
            put_trace(out, story, &found->traces[i], line->shows);
        } else if (kind == ASK_TAG_NAMES) {
            put_scope(out, &found->scopes[i]);
        } else {
            put_value(out, &found->values[i]);
            fm_buf_puts(out, "\n");
        }
    }
    for (uint32_t i = 0; kind == ASK_METRICS && i < found->series->line_count; i++)
        put_series(out, &found->series->lines[i]);
    if (kind == ASK_METRICS && found->series->partial)
        fm_buf_puts(out, "partial\n");
}

/* ---- a question's line ---- */

static void line_option(struct ask_line *line, const char *name, const char *value)
{
    struct ask_question *question = &line->question;
    if (strcmp(name, "limit") == 0)
        question->limit = (uint32_t)atoi(value);
    else if (strcmp(name, "spss") == 0)
        question->spss = (uint32_t)atoi(value);
    else if (strcmp(name, "start") == 0)
        question->start_ns = story_time(value);
    else if (strcmp(name, "end") == 0)
        question->end_ns = story_time(value);
    else if (strcmp(name, "step") == 0)
        question->series.step_ns = (uint64_t)story_duration(value);
    else if (strcmp(name, "series") == 0)
        question->series.series_max = (uint32_t)atoi(value);
    else if (strcmp(name, "field") == 0)
        (void)snprintf(line->field, sizeof line->field, "%s", value);
    else if (strcmp(name, "scope") == 0)
        question->scope = strcpy(line->scope, value);
    else
        fail_msg("what is %s?", name);
}

static void line_defaults(struct ask_line *line)
{
    struct ask_question *question = &line->question;
    const char *kind = line->kind;
    bool metrics = strcmp(kind, "metrics") == 0 || strcmp(kind, "instant") == 0;
    line->shows = strcmp(kind, "show") == 0;
    question->kind = metrics                       ? ASK_METRICS
                     : strcmp(kind, "names") == 0  ? ASK_TAG_NAMES
                     : strcmp(kind, "values") == 0 ? ASK_TAG_VALUES
                                                   : ASK_SEARCH;
    if (question->kind == ASK_SEARCH)
        question->limit = question->spss = 1000;
    if (metrics) {
        question->start_ns = STORY_BASE_NS + 240 * FM_NS_PER_S;
        question->end_ns = STORY_BASE_NS + 300 * FM_NS_PER_S;
        question->series = (struct series_options){.step_ns = 20 * FM_NS_PER_S, .series_max = 1000};
        question->series.instant = kind[0] == 'i';
    }
}

/* text: without "? ", up to the line's end. */
static void line_read(struct ask_line *line, const char *text, struct fm_arena *arena)
{
    const char *query = strstr(text, ": ");
    char words[400], *save, *word;
    struct fm_why why;
    memset(line, 0, sizeof *line);
    assert_true(query && (size_t)(query - text) < sizeof words);
    memcpy(words, text, (size_t)(query - text));
    words[query - text] = 0;
    word = strtok_r(words, " ", &save);
    (void)snprintf(line->kind, sizeof line->kind, "%s", word);
    line_defaults(line);
    while ((word = strtok_r(NULL, " ", &save))) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = 0;
        line_option(line, word, value);
    }
    line->question.text = fm_slice(query + 2, strcspn(query + 2, "\n"));
    if (line->field[0] &&
        traceql_parse_field(fm_slice_text(line->field), arena, &line->question.field, &why) < 0)
        fail_msg("%s", why.text);
}

/* ---- asking ---- */

static int ask_place(struct ask_part *main, const struct ask *ask, const struct place *place,
                     const struct places *shared, bool candidates, struct fm_why *why)
{
    struct ask_limits limits = {.memory_max = FM_MIB(64), .floor_ns = ask_part_floor_ns(main)};
    FM_AUTO(ask_part) part = NULL;
    if (shared && candidates) {
        limits.partial = shared->shared;
        limits.partial_count = shared->shared_count;
    } else if (shared) {
        limits.excluded = shared->shared;
        limits.excluded_count = shared->shared_count;
    }
    int rc = ask_part_new(&part, ask, &limits, why);
    if (rc == FM_OK)
        rc = place->rows ? ask_part_add_rows(part, place->rows, why)
                         : ask_part_add_block(part, place->block, why);
    return rc ? rc : ask_part_merge(main, part);
}

/* The traces that lie in several places, all of them or those that may match. */
static int ask_joined(struct ask_part *main, const struct ask *ask, const struct story *story,
                      const struct places *places, bool candidates, struct fm_why *why)
{
    struct trace_id ids[STORY_TRACES * PLACES_MAX];
    struct place place;
    size_t count = places->shared_count, candidate_count, kept = 0;
    memcpy(ids, places->shared, count * sizeof *ids);
    if (candidates) {
        const struct eval_candidate *some = ask_part_candidates(main, &candidate_count);
        assert_true(candidate_count <= FM_COUNT(ids));
        for (size_t i = 0; i < candidate_count; i++)
            if (some[i].start_ns >= ask_part_floor_ns(main))
                ids[kept++] = some[i].id;
        count = ask_ids_sort(ids, kept);
    }
    if (!place_join(&place, story, ids, count))
        return FM_OK;
    int rc = ask_place(main, ask, &place, NULL, false, why);
    place_end(&place);
    return rc;
}

/* Answer or error as text.  candidates: parts of traces say whether the whole may match. */
static void ask_places(const struct story *story, const struct ask_line *line,
                       const struct places *places, bool candidates, struct fm_buf *out)
{
    const struct ask_limits limits = {.memory_max = FM_MIB(64)};
    FM_AUTO(ask) ask = NULL;
    FM_AUTO(ask_part) main = NULL;
    struct ask_found found = {0};
    struct fm_why why = {""};
    fm_buf_reset(out);
    int rc = ask_new(&ask, &line->question, NULL, &why);
    if (rc == FM_OK)
        rc = ask_part_new(&main, ask, &limits, &why);
    bool joins = rc == FM_OK && ask_joins(ask);
    for (uint32_t i = 0; i < places->count && rc == FM_OK; i++)
        rc = ask_place(main, ask, &places->items[i], joins ? places : NULL, candidates, &why);
    if (joins && rc == FM_OK)
        rc = ask_joined(main, ask, story, places, candidates, &why);
    if (rc == FM_OK)
        rc = ask_part_found(main, &found, &why);
    if (rc == FM_OK)
        put_found(out, story, line, &found);
    else
        fm_buf_printf(out, "error: %s\n", why.text);
}

struct golden {
    struct story *story;
    struct places *whole, *block, *cuts[CUT_COUNT];
    uint64_t seed;
};

static void golden_begin(struct golden *golden)
{
    const char *seed = getenv("STORY_SEED");
    golden->seed = seed ? strtoull(seed, NULL, 10) : 1;
    golden->story = story_read("golden/ask/traces.txt");
    golden->whole = places_whole(golden->story, false);
    golden->block = places_whole(golden->story, true);
    for (uint32_t i = 0; i < CUT_COUNT; i++)
        golden->cuts[i] = places_cut(golden->story, golden->seed + i, i % 3 == 2);
}

static void golden_end(struct golden *golden)
{
    places_free(golden->whole);
    places_free(golden->block);
    for (uint32_t i = 0; i < CUT_COUNT; i++)
        places_free(golden->cuts[i]);
    story_free(golden->story);
}

static void put_lines_only_in(const char *title, struct fm_slice text, struct fm_slice other)
{
    for (size_t at = 0, len; at < text.len; at += len) {
        len = (size_t)((const uint8_t *)memchr(text.ptr + at, '\n', text.len - at) + 1 -
                       (text.ptr + at));
        if (!other.len || !memmem(other.ptr, other.len, text.ptr + at, len))
            fprintf(stderr, "  %s %.*s", title, (int)len, text.ptr + at);
    }
}

static bool golden_check(const char *question, const char *place, uint64_t seed,
                         const struct fm_buf *said, struct fm_slice expected)
{
    if (fm_slice_equal(fm_buf_slice(said), expected))
        return true;
    fprintf(stderr, "? %.*s\n  %s %" PRIu64 "\n", (int)strcspn(question, "\n"), question, place,
            seed);
    put_lines_only_in("says    ", fm_buf_slice(said), expected);
    put_lines_only_in("but it is", expected, fm_buf_slice(said));
    return false;
}

/* question: its line; expected: the lines that follow.  Returns how many places are wrong. */
static unsigned golden_question(struct golden *golden, const char *question,
                                struct fm_slice expected)
{
    struct fm_arena arena;
    struct ask_line line;
    struct fm_buf said;
    unsigned wrong = 0;
    fm_arena_init(&arena, FM_MIB(1));
    fm_buf_init(&said, FM_MIB(4));
    line_read(&line, question, &arena);
    ask_places(golden->story, &line, golden->whole, false, &said);
    wrong += !golden_check(question, "rows", 0, &said, expected);
    ask_places(golden->story, &line, golden->block, false, &said);
    wrong += !golden_check(question, "block", 0, &said, expected);
    for (uint32_t i = 0; i < CUT_COUNT; i++) {
        if (golden->cuts[i]->has_doubles && line.question.kind == ASK_METRICS)
            continue; /* what two places have is counted twice: docs/traceql.md */
        ask_places(golden->story, &line, golden->cuts[i], i & 1, &said);
        wrong += !golden_check(question, "cut with STORY_SEED", golden->seed + i, &said, expected);
    }
    fm_buf_fini(&said);
    fm_arena_fini(&arena);
    return wrong;
}

static void test_every_place_answers_alike(void **unused)
{
    static struct golden golden;
    struct fm_buf text = test_read_file(GOLDEN);
    unsigned wrong = 0, count = 0;
    (void)unused;
    golden_begin(&golden);
    fm_buf_put_u8(&text, 0);
    for (const char *at = strstr((const char *)text.ptr, "\n? "); at;) {
        const char *question = at + 3;
        const char *answer = question + strcspn(question, "\n") + 1;
        const char *end = answer;
        while (*end && *end != '?' && *end != '#' && *end != '\n')
            end += strcspn(end, "\n") + 1;
        wrong += golden_question(&golden, question, fm_slice(answer, (size_t)(end - answer)));
        count++;
        at = strstr(end - 1, "\n? ");
    }
    print_message("%u questions, %u places each\n", count, 2 + CUT_COUNT);
    assert_true(count >= 400);
    assert_int_equal(wrong, 0);
    fm_buf_fini(&text);
    golden_end(&golden);
}

/* ---- for whoever changes the questions ---- */

static void write_answers(void)
{
    static struct golden golden;
    struct fm_buf text = test_read_file(GOLDEN), said;
    FILE *file;
    golden_begin(&golden);
    fm_buf_put_u8(&text, 0);
    fm_buf_init(&said, FM_MIB(4));
    file = fopen("tests/" GOLDEN, "w");
    assert_non_null(file);
    for (const char *at = (const char *)text.ptr; *at; at += strcspn(at, "\n") + 1) {
        struct fm_arena arena;
        struct ask_line line;
        size_t len = strcspn(at, "\n") + 1;
        if (*at != '?' && *at != '#' && *at != '\n')
            continue; /* an answer of before */
        (void)fwrite(at, 1, len, file);
        if (*at != '?')
            continue;
        fm_arena_init(&arena, FM_MIB(1));
        line_read(&line, at + 2, &arena);
        ask_places(golden.story, &line, golden.whole, false, &said);
        (void)fwrite(said.ptr, 1, said.len, file);
        fm_arena_fini(&arena);
    }
    (void)fclose(file);
    fm_buf_fini(&said);
    fm_buf_fini(&text);
    golden_end(&golden);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place_answers_alike),
    };
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_answers(), 0;
    if (argc == 3 && strcmp(argv[1], "--block") == 0)
        return places_write_block(argv[2]), 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
