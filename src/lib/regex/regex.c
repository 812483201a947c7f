/* SPDX-License-Identifier: Apache-2.0 */
/* Matching: a deterministic machine that is built while it runs.
 *
 * A state is a sorted list of instructions at which the text may go on, and what the last code
 * point was (assertions ask for it).  Transitions are computed once and kept; when the memory for
 * states is used up all are forgotten and the machine goes on from where it is.  Every step costs
 * at most one pass over the program, so a match is linear in the text whatever the pattern.
 */
#include <stdlib.h>

#include "program.h"

const struct regex_limits regex_limits_default = {.pattern_bytes_max = 6144,
                                                  .program_max = 40000,
                                                  .depth_max = 256,
                                                  .cache_bytes_max = 256 << 10};

#define REGEX_ARENA_MAX FM_MIB(16) /* one pattern, while it is compiled */
#define STATE_NONE      UINT32_MAX /* not computed yet */
#define STATE_DEAD      (UINT32_MAX - 1)
#define STATE_SLOTS     1024u /* of the hash table; a power of two */
#define STATE_COUNT_MAX (STATE_SLOTS / 2)
#define CONTEXT_BEGIN   4u /* beside enum class_flag: nothing was read yet */
#define STATES_FIT_MIN  8u

struct state {
    uint32_t *next; /* by class; STATE_NONE: to be computed */
    uint32_t *list;
    uint32_t count;
    uint32_t hash;
    uint8_t context; /* of the last code point: enum class_flag, CONTEXT_BEGIN */
    int8_t accepts;  /* at the end of the text; -1: not known */
};

struct regex_matcher {
    const struct regex *regex; /* borrowed */
    struct state *states;      /* owned, as all below */
    uint32_t state_count;
    uint32_t generation; /* how often all states were forgotten */
    uint32_t *slots;     /* state + 1, 0: free */
    uint8_t *memory;     /* lists and transitions of all states */
    size_t memory_used;
    /* Work of one step: a sparse set in order of arrival. */
    uint32_t *list, *at, *stack, *held;
    uint32_t count;
};

/* ---- compiling ---- */

int regex_new(struct regex **ret_regex, struct fm_slice pattern, const struct regex_limits *limits,
              struct fm_why *why)
{
    struct regex *regex = calloc(1, sizeof *regex);
    struct node *root;
    if (!regex)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    regex->limits = *limits;
    fm_arena_init(&regex->arena, REGEX_ARENA_MAX);
    int rc = tree_parse(pattern, limits, &regex->arena, &root, why);
    if (rc == FM_OK) {
        rc = program_compile(regex, root, why);
        if (rc == FM_OK)
            program_find_literals(regex, root);
        size_t state = (regex->class_count + 1 + regex->step_count) * sizeof(uint32_t);
        if (rc == FM_OK && state * STATES_FIT_MIN > limits->cache_bytes_max)
            rc = fm_fail(why, FM_ELIMIT, "expression is too large for its memory");
    }
    if (rc < 0) {
        (void)regex_free(regex);
        return rc == FM_ENOMEM ? fm_fail(why, rc, "out of memory") : rc;
    }
    *ret_regex = regex;
    return FM_OK;
}

struct regex *regex_free(struct regex *regex)
{
    if (!regex)
        return NULL;
    fm_arena_fini(&regex->arena);
    free(regex);
    return NULL;
}

const struct fm_slice *regex_literals(const struct regex *regex, uint32_t *ret_count)
{
    *ret_count = regex->literal_count;
    return regex->literals;
}

struct fm_slice regex_prefix(const struct regex *regex)
{
    return regex->prefix;
}

/* ---- sets of instructions ---- */

static bool work_add(struct regex_matcher *matcher, uint32_t step)
{
    uint32_t at = matcher->at[step];
    if (at < matcher->count && matcher->list[at] == step)
        return false;
    matcher->at[step] = matcher->count;
    matcher->list[matcher->count++] = step;
    return true;
}

static bool assert_holds(enum node_assertion assertion, unsigned before, unsigned after,
                         bool at_end)
{
    bool is_boundary = ((before ^ after) & CLASS_IS_WORD) != 0;
    switch (assertion) {
    case ASSERT_BEGIN_TEXT:
        return before & CONTEXT_BEGIN;
    case ASSERT_END_TEXT:
        return at_end;
    case ASSERT_BEGIN_LINE:
        return before & (CONTEXT_BEGIN | CLASS_IS_NEWLINE);
    case ASSERT_END_LINE:
        return at_end || (after & CLASS_IS_NEWLINE);
    case ASSERT_WORD_BOUNDARY:
        return is_boundary;
    case ASSERT_NO_WORD_BOUNDARY:
        return !is_boundary;
    }
    return false;
}

/* Adds step and whatever it leads to without reading; assertions are stops. */
static void work_close(struct regex_matcher *matcher, uint32_t step)
{
    const struct step *steps = matcher->regex->steps;
    uint32_t depth = 0;
    matcher->stack[depth++] = step;
    while (depth) {
        step = matcher->stack[--depth];
        if (!work_add(matcher, step))
            continue;
        if (steps[step].op == STEP_SPLIT) {
            matcher->stack[depth++] = steps[step].arg;
            matcher->stack[depth++] = step + 1;
        } else if (steps[step].op == STEP_JUMP) {
            matcher->stack[depth++] = steps[step].arg;
        }
    }
}

/* The state's instructions with those behind assertions that hold in front of class. */
static void work_from_state(struct regex_matcher *matcher, const struct state *state,
                            uint32_t class)
{
    const struct regex *regex = matcher->regex;
    bool at_end = class == regex->class_count;
    matcher->count = 0;
    for (uint32_t i = 0; i < state->count; i++)
        (void)work_add(matcher, state->list[i]);
    if (!regex->has_asserts)
        return;
    for (uint32_t i = 0; i < matcher->count; i++) { /* grows while it runs */
        uint32_t step = matcher->list[i];
        if (regex->steps[step].op == STEP_ASSERT &&
            assert_holds(regex->steps[step].arg, state->context, regex->class_flags[class], at_end))
            work_close(matcher, step + 1);
    }
}

/* ---- states ---- */

static void states_forget(struct regex_matcher *matcher)
{
    memset(matcher->slots, 0, STATE_SLOTS * sizeof matcher->slots[0]);
    matcher->state_count = 0;
    matcher->memory_used = 0;
    matcher->generation++;
}

static int step_compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* Keeps what a state needs: instructions that read, stop or end. */
static uint32_t work_distil(struct regex_matcher *matcher)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < matcher->count; i++) {
        uint8_t op = matcher->regex->steps[matcher->list[i]].op;
        if (op != STEP_SPLIT && op != STEP_JUMP)
            matcher->held[kept++] = matcher->list[i];
    }
    if (kept > 1)
        qsort(matcher->held, kept, sizeof matcher->held[0], step_compare);
    return kept;
}

/* The state of the work set; STATE_DEAD: no way on; STATE_NONE: no room, forget and ask again. */
static uint32_t state_intern(struct regex_matcher *matcher, uint8_t context)
{
    const struct regex *regex = matcher->regex;
    uint32_t count = work_distil(matcher), hash = 2166136261u ^ context;
    if (count == 0)
        return STATE_DEAD;
    for (uint32_t i = 0; i < count; i++)
        hash = (hash ^ matcher->held[i]) * 16777619u;
    uint32_t slot = (hash ^ hash >> 15) % STATE_SLOTS;
    for (; matcher->slots[slot]; slot = (slot + 1) % STATE_SLOTS) {
        const struct state *state = &matcher->states[matcher->slots[slot] - 1];
        if (state->hash == hash && state->context == context && state->count == count &&
            memcmp(state->list, matcher->held, count * sizeof(uint32_t)) == 0)
            return matcher->slots[slot] - 1;
    }
    size_t bytes = (size_t)(regex->class_count + count) * sizeof(uint32_t);
    if (matcher->state_count == STATE_COUNT_MAX ||
        bytes > regex->limits.cache_bytes_max - matcher->memory_used)
        return STATE_NONE;
    struct state *state = &matcher->states[matcher->state_count];
    uint32_t *memory = (uint32_t *)(void *)(matcher->memory + matcher->memory_used);
    matcher->memory_used += bytes;
    *state = (struct state){.next = memory,
                            .list = memory + regex->class_count,
                            .count = count,
                            .hash = hash,
                            .context = context,
                            .accepts = -1};
    memset(state->next, 0xff, regex->class_count * sizeof(uint32_t)); /* STATE_NONE */
    memcpy(state->list, matcher->held, count * sizeof(uint32_t));
    matcher->slots[slot] = ++matcher->state_count;
    return matcher->state_count - 1;
}

static uint32_t state_keep(struct regex_matcher *matcher, uint8_t context)
{
    uint32_t state = state_intern(matcher, context);
    if (state != STATE_NONE)
        return state;
    states_forget(matcher);
    return state_intern(matcher, context); /* one state always fits, regex_new saw to it */
}

static uint32_t state_begin(struct regex_matcher *matcher)
{
    matcher->count = 0;
    work_close(matcher, 0);
    return state_keep(matcher, matcher->regex->has_asserts ? CONTEXT_BEGIN : 0);
}

static uint32_t state_step(struct regex_matcher *matcher, uint32_t from, uint32_t class)
{
    const struct regex *regex = matcher->regex;
    uint32_t generation = matcher->generation;
    work_from_state(matcher, &matcher->states[from], class);
    uint32_t count = work_distil(matcher);
    matcher->count = 0;
    /* held is read while list is written; work_close touches list, at and stack only. */
    for (uint32_t i = 0; i < count; i++) {
        const struct step *step = &regex->steps[matcher->held[i]];
        if (step->op == STEP_SET && program_has(regex, step->arg, class))
            work_close(matcher, matcher->held[i] + 1);
    }
    uint32_t to = state_keep(matcher, regex->class_flags[class]);
    if (matcher->generation == generation) /* else from is gone */
        matcher->states[from].next[class] = to;
    return to;
}

static bool state_accepts(struct regex_matcher *matcher, uint32_t at)
{
    struct state *state = &matcher->states[at];
    if (state->accepts >= 0)
        return state->accepts;
    work_from_state(matcher, state, matcher->regex->class_count);
    state->accepts = false;
    for (uint32_t i = 0; i < matcher->count; i++)
        state->accepts |= matcher->regex->steps[matcher->list[i]].op == STEP_MATCH;
    return state->accepts;
}

/* ---- matching ---- */

int regex_matcher_new(struct regex_matcher **ret_matcher, const struct regex *regex)
{
    struct regex_matcher *matcher = calloc(1, sizeof *matcher);
    size_t steps = regex->step_count;
    if (!matcher)
        return FM_ENOMEM;
    matcher->regex = regex;
    if (regex->literals) {
        *ret_matcher = matcher;
        return FM_OK;
    }
    matcher->states = calloc(STATE_COUNT_MAX, sizeof matcher->states[0]);
    matcher->slots = calloc(STATE_SLOTS, sizeof matcher->slots[0]);
    matcher->memory = malloc(regex->limits.cache_bytes_max);
    matcher->list = calloc(5 * steps + 2, sizeof matcher->list[0]);
    if (!matcher->states || !matcher->slots || !matcher->memory || !matcher->list) {
        (void)regex_matcher_free(matcher);
        return FM_ENOMEM;
    }
    matcher->at = matcher->list + steps;
    matcher->held = matcher->at + steps;
    matcher->stack = matcher->held + steps; /* each step pushes two at most, once */
    *ret_matcher = matcher;
    return FM_OK;
}

struct regex_matcher *regex_matcher_free(struct regex_matcher *matcher)
{
    if (!matcher)
        return NULL;
    free(matcher->states);
    free(matcher->slots);
    free(matcher->memory);
    free(matcher->list);
    free(matcher);
    return NULL;
}

/* One code point; a byte that begins none is U+FFFD. */
static uint32_t text_code(struct fm_slice text, size_t *at)
{
    const uint8_t *ptr = text.ptr + *at;
    size_t left = text.len - *at;
    unsigned len = *ptr < 0xc2 ? 0 : *ptr < 0xe0 ? 2 : *ptr < 0xf0 ? 3 : *ptr < 0xf5 ? 4 : 0;
    uint32_t code = len ? *ptr & (0x7fu >> len) : 0;
    bool is_good = len && len <= left;
    for (unsigned i = 1; is_good && i < len; i++) {
        is_good = (ptr[i] & 0xc0) == 0x80;
        code = code << 6 | (ptr[i] & 0x3f);
    }
    is_good = is_good && !(len == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) &&
              !(len == 4 && (code < 0x10000 || code > UNICODE_MAX));
    *at += is_good ? len : 1;
    return is_good ? code : 0xfffd;
}

bool regex_match(struct regex_matcher *matcher, struct fm_slice text)
{
    const struct regex *regex = matcher->regex;
    if (regex->literals) {
        for (uint32_t i = 0; i < regex->literal_count; i++) {
            if (fm_slice_equal(text, regex->literals[i]))
                return true;
        }
        return false;
    }
    if (text.len < regex->prefix.len ||
        (regex->prefix.len && memcmp(text.ptr, regex->prefix.ptr, regex->prefix.len) != 0))
        return false;
    uint32_t state = state_begin(matcher);
    for (size_t at = 0; at < text.len && state != STATE_DEAD;) {
        uint32_t class;
        if (text.ptr[at] < 0x80)
            class = regex->ascii[text.ptr[at++]];
        else
            class = program_class(regex, text_code(text, &at));
        uint32_t next = matcher->states[state].next[class];
        state = next != STATE_NONE ? next : state_step(matcher, state, class);
    }
    return state != STATE_DEAD && state_accepts(matcher, state);
}
