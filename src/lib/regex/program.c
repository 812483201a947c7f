/* SPDX-License-Identifier: Apache-2.0 */
/* From the tree to a program: instructions first, then the classes that its sets tell apart. */
#include "program.h"

#include <stdlib.h>

#define CLASS_MAX 60000u /* classes are 16 bits wide */

/* ---- instructions ---- */

static uint32_t emit(struct regex *regex, enum step_op op, uint32_t arg)
{
    if (regex->step_count < regex->limits.program_max)
        regex->steps[regex->step_count] = (struct step){(uint8_t)op, arg};
    return regex->step_count++; /* past the limit it only counts */
}

static bool emit_is_full(const struct regex *regex)
{
    return regex->step_count > regex->limits.program_max;
}

static void emit_patch(struct regex *regex, uint32_t at)
{
    if (at < regex->limits.program_max)
        regex->steps[at].arg = regex->step_count;
}

static uint32_t emit_set_number(struct regex *regex, const struct set *set)
{
    for (uint32_t i = 0; i < regex->set_count; i++) {
        if (set_equal(regex->sets[i], set))
            return i;
    }
    regex->sets[regex->set_count] = set;
    return regex->set_count++;
}

static void emit_node(struct regex *regex, const struct node *node);

static void emit_alternatives(struct regex *regex, const struct node *node)
{
    uint32_t pending = UINT32_MAX; /* jumps to the end, linked through their arguments */
    for (const struct node *child = node->first; child; child = child->next) {
        uint32_t split = child->next ? emit(regex, STEP_SPLIT, 0) : UINT32_MAX;
        emit_node(regex, child);
        if (!child->next)
            break;
        pending = emit(regex, STEP_JUMP, pending);
        emit_patch(regex, split);
    }
    while (pending != UINT32_MAX && pending < regex->limits.program_max) {
        uint32_t next = regex->steps[pending].arg;
        emit_patch(regex, pending);
        pending = next;
    }
}

static void emit_repeat(struct regex *regex, const struct node *node)
{
    uint32_t pending = UINT32_MAX;
    for (uint32_t i = 0; i < node->min && !emit_is_full(regex); i++)
        emit_node(regex, node->first);
    if (node->max == NODE_NO_MAX) {
        uint32_t split = emit(regex, STEP_SPLIT, 0);
        emit_node(regex, node->first);
        (void)emit(regex, STEP_JUMP, split);
        emit_patch(regex, split);
        return;
    }
    for (uint32_t i = node->min; i < node->max && !emit_is_full(regex); i++) {
        pending = emit(regex, STEP_SPLIT, pending);
        emit_node(regex, node->first);
    }
    while (pending != UINT32_MAX && pending < regex->limits.program_max) {
        uint32_t next = regex->steps[pending].arg;
        emit_patch(regex, pending);
        pending = next;
    }
}

/* The depth is that of the tree, which the parser has bounded. */
static void emit_node(struct regex *regex, const struct node *node)
{
    if (emit_is_full(regex))
        return;
    switch (node->kind) {
    case NODE_EMPTY:
        break;
    case NODE_SET:
        (void)emit(regex, STEP_SET, emit_set_number(regex, &node->set));
        break;
    case NODE_CAT:
        for (const struct node *child = node->first; child; child = child->next)
            emit_node(regex, child);
        break;
    case NODE_ALT:
        emit_alternatives(regex, node);
        break;
    case NODE_REPEAT:
        emit_repeat(regex, node);
        break;
    case NODE_ASSERT:
        regex->has_asserts = true;
        (void)emit(regex, STEP_ASSERT, node->assertion);
        break;
    }
}

static uint32_t tree_count_sets(const struct node *node)
{
    uint32_t count = node->kind == NODE_SET;
    for (const struct node *child = node->first; child; child = child->next)
        count += tree_count_sets(child);
    return count;
}

/* ---- classes ---- */

static int bound_compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* Sets that assertions look at are told apart like those of the pattern. */
static const struct unicode_range word_ranges[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct unicode_range newline_ranges[] = {{'\n', '\n'}};
static const struct set word_set = {(struct unicode_range *)(uintptr_t)word_ranges, 4, 4, true};
static const struct set newline_set = {(struct unicode_range *)(uintptr_t)newline_ranges, 1, 1,
                                       true};

static int program_find_bounds(struct regex *regex, const struct set **sets, uint32_t set_count)
{
    uint32_t total = 1, kept = 0;
    for (uint32_t i = 0; i < set_count; i++)
        total += 2 * sets[i]->count;
    uint32_t *bounds = fm_arena_alloc(&regex->arena, total * sizeof *bounds);
    if (!bounds)
        return FM_ENOMEM;
    total = 0;
    bounds[total++] = 0;
    for (uint32_t i = 0; i < set_count; i++) {
        for (uint32_t j = 0; j < sets[i]->count; j++) {
            bounds[total++] = sets[i]->ranges[j].low;
            if (sets[i]->ranges[j].high < UNICODE_MAX)
                bounds[total++] = sets[i]->ranges[j].high + 1;
        }
    }
    qsort(bounds, total, sizeof *bounds, bound_compare);
    for (uint32_t i = 1; i < total; i++) {
        if (bounds[i] != bounds[kept])
            bounds[++kept] = bounds[i];
    }
    regex->bounds = bounds;
    regex->bound_count = kept + 1;
    return FM_OK;
}

/* Splits every class into those inside and those outside of the set. */
static int program_refine(struct regex *regex, const struct set *set, uint32_t *renamed)
{
    uint32_t at = 0, count = regex->class_count;
    for (uint32_t i = 0; i < count; i++)
        renamed[i] = renamed[count + i] = UINT32_MAX;
    regex->class_count = 0;
    for (uint32_t i = 0; i < regex->bound_count; i++) {
        while (at < set->count && set->ranges[at].high < regex->bounds[i])
            at++;
        bool is_in = at < set->count && set->ranges[at].low <= regex->bounds[i];
        uint32_t *name = &renamed[regex->bound_class[i] + (is_in ? count : 0)];
        if (*name == UINT32_MAX)
            *name = regex->class_count++;
        if (regex->class_count > CLASS_MAX)
            return FM_ELIMIT;
        regex->bound_class[i] = (uint16_t)*name;
    }
    return FM_OK;
}

static int program_name_classes(struct regex *regex, const struct set **sets, uint32_t set_count)
{
    int rc = program_find_bounds(regex, sets, set_count);
    if (rc < 0)
        return rc;
    regex->bound_class =
        fm_arena_zalloc(&regex->arena, regex->bound_count * sizeof regex->bound_class[0]);
    uint32_t *renamed =
        fm_arena_alloc(&regex->arena, 2 * (size_t)(regex->bound_count + 1) * sizeof *renamed);
    if (!regex->bound_class || !renamed)
        return FM_ENOMEM;
    regex->class_count = 1;
    for (uint32_t i = 0; i < set_count; i++) {
        rc = program_refine(regex, sets[i], renamed);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static int program_fill_tables(struct regex *regex)
{
    regex->class_stride = (regex->class_count + 7) / 8;
    regex->members =
        fm_arena_zalloc(&regex->arena, (size_t)regex->class_stride * FM_MAX(regex->set_count, 1u));
    regex->class_flags = fm_arena_zalloc(&regex->arena, regex->class_count + 1);
    if (!regex->members || !regex->class_flags)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < regex->bound_count; i++) {
        uint32_t class = regex->bound_class[i], code = regex->bounds[i];
        for (uint32_t set = 0; set < regex->set_count; set++) {
            if (set_has(regex->sets[set], code))
                regex->members[set * regex->class_stride + class / 8] |=
                    (uint8_t)(1u << (class % 8));
        }
        if (regex->has_asserts) {
            regex->class_flags[class] |= set_has(&word_set, code) ? CLASS_IS_WORD : 0;
            regex->class_flags[class] |= code == '\n' ? CLASS_IS_NEWLINE : 0;
        }
    }
    for (uint32_t code = 0, at = 0; code < 128; code++) {
        while (at + 1 < regex->bound_count && regex->bounds[at + 1] <= code)
            at++;
        regex->ascii[code] = regex->bound_class[at];
    }
    return FM_OK;
}

int program_compile(struct regex *regex, const struct node *root, struct fm_why *why)
{
    uint32_t max = regex->limits.program_max, set_max = tree_count_sets(root) + 2;
    struct step *steps = malloc(max * sizeof *steps);
    regex->sets = fm_arena_alloc(&regex->arena, set_max * sizeof(struct set *));
    if (!steps || !regex->sets) {
        free(steps);
        return FM_ENOMEM;
    }
    regex->steps = steps;
    emit_node(regex, root);
    (void)emit(regex, STEP_MATCH, 0);
    regex->steps = NULL;
    if (!emit_is_full(regex))
        regex->steps = fm_arena_dup(&regex->arena, steps, regex->step_count * sizeof *steps);
    free(steps);
    if (emit_is_full(regex))
        return fm_fail(why, FM_ELIMIT, "expression is too large: over %u steps", max);
    if (!regex->steps)
        return FM_ENOMEM;
    uint32_t set_count = regex->set_count;
    if (regex->has_asserts) {
        regex->sets[set_count++] = &word_set;
        regex->sets[set_count++] = &newline_set;
    }
    int rc = program_name_classes(regex, regex->sets, set_count);
    if (rc == FM_ELIMIT)
        return fm_fail(why, rc, "expression tells too many characters apart");
    return rc == FM_OK ? program_fill_tables(regex) : rc;
}

/* ---- what needs no machine ---- */

#define LITERALS_MAX 64u

static size_t utf8_put(uint8_t *target, uint32_t code)
{
    if (code < 0x80) {
        target[0] = (uint8_t)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        target[i] = (uint8_t)(0x80 | (code & 0x3f));
    target[0] = (uint8_t)((0xf00u >> len & 0xff) | code);
    return len;
}

static bool node_is_code(const struct node *node)
{
    return node->kind == NODE_SET && node->set.count == 1 &&
           node->set.ranges[0].low == node->set.ranges[0].high;
}

/* The text of as many children as are single code points; *ret_whole: all of them were. */
static struct fm_slice node_text(struct regex *regex, const struct node *node, bool *ret_whole)
{
    uint32_t count = 0;
    const struct node *first = node->kind == NODE_CAT ? node->first : node;
    for (const struct node *n = first; n && node_is_code(n); n = n->next)
        count++;
    uint8_t *text = fm_arena_alloc(&regex->arena, (size_t)count * 4 + 1);
    size_t len = 0;
    *ret_whole = false;
    if (!text)
        return fm_slice(NULL, 0);
    const struct node *n = first;
    for (; n && node_is_code(n); n = node->kind == NODE_CAT ? n->next : NULL)
        len += utf8_put(text + len, n->set.ranges[0].low);
    *ret_whole = n == NULL;
    return fm_slice(text, len);
}

void program_find_literals(struct regex *regex, const struct node *root)
{
    bool is_whole = true, is_alternation = root->kind == NODE_ALT;
    uint32_t count = 0;
    const struct node *first = is_alternation ? root->first : root;
    if (!is_alternation)
        regex->prefix = node_text(regex, root, &is_whole);
    for (const struct node *n = first; n; n = is_alternation ? n->next : NULL)
        count++;
    if (!is_whole || count > LITERALS_MAX)
        return;
    struct fm_slice *literals = fm_arena_alloc(&regex->arena, count * sizeof *literals);
    if (!literals)
        return;
    count = 0;
    for (const struct node *n = first; n && is_whole; n = is_alternation ? n->next : NULL)
        literals[count++] = node_text(regex, n, &is_whole);
    if (!is_whole || fm_arena_failed(&regex->arena))
        return;
    regex->literals = literals;
    regex->literal_count = count;
}
