/* SPDX-License-Identifier: Apache-2.0 */
/* tree - what a pattern says, before it becomes a program.  Private to regex. */
#ifndef REGEX_TREE_H
#define REGEX_TREE_H

#include "fermata/regex.h"
#include "set.h"

enum node_kind {
    NODE_EMPTY,
    NODE_SET,    /* one code point of set */
    NODE_CAT,    /* children one after another */
    NODE_ALT,    /* one of the children */
    NODE_REPEAT, /* the child min to max times */
    NODE_ASSERT,
};
enum node_assertion {
    ASSERT_BEGIN_TEXT,
    ASSERT_END_TEXT,
    ASSERT_BEGIN_LINE,
    ASSERT_END_LINE,
    ASSERT_WORD_BOUNDARY,
    ASSERT_NO_WORD_BOUNDARY,
};
#define NODE_NO_MAX UINT32_MAX
struct node {
    enum node_kind kind;
    enum node_assertion assertion;
    uint32_t min, max;
    struct set set;
    struct node *first, *last; /* children */
    struct node *next;         /* sibling */
};

/* FM_OK; FM_EMALFORMED; FM_ELIMIT: too deep; FM_ENOMEM: the arena is full. */
FM_MUST int tree_parse(struct fm_slice pattern, const struct regex_limits *limits,
                       struct fm_arena *arena, struct node **ret_node, struct fm_why *why);

#endif
