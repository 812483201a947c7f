/* SPDX-License-Identifier: Apache-2.0 */
/* What rules do to attributes and to names. */
#include "internal.h"

/* ---- attributes ---- */

/* Every attribute with the key (or all that its pattern fits), behind previous. */
static struct process_attr *apply_next(const struct process_state *state,
                                       const struct process_compiled *rule,
                                       const struct process_holder *holder,
                                       struct process_attr *previous)
{
    struct process_attr *attr = previous;

    if (!rule->key_is_glob)
        return process_attr_find(state, holder, rule->key, previous);
    while ((attr = process_attr_next(state, holder, attr))) {
        if (process_glob(rule->key, attr->key))
            return attr;
    }
    return NULL;
}

static bool apply_set(struct process_state *state, const struct process_compiled *rule,
                      struct process_holder *holder, struct fm_slice value)
{
    struct process_attr *attr = process_attr_find(state, holder, rule->key, NULL);
    bool changed = false;

    if (!attr)
        return rule->action != PROCESS_UPDATE && process_attr_add(state, holder, rule->key, value);
    if (rule->action == PROCESS_INSERT)
        return false;
    for (; attr; attr = process_attr_find(state, holder, rule->key, attr)) {
        if (attr->value.ptr && fm_slice_equal(attr->value, value))
            continue;
        process_attr_set(holder, attr, value);
        changed = true;
    }
    return changed;
}

/* The first attribute with the old key takes the new one; others of either key go. */
static bool apply_move(struct process_state *state, const struct process_compiled *rule,
                       struct process_holder *holder)
{
    struct process_attr *found = process_attr_find(state, holder, rule->key, NULL), *other;

    if (!found || fm_slice_equal(rule->key, rule->new_key))
        return false;
    for (other = process_attr_find(state, holder, rule->new_key, NULL); other;
         other = process_attr_find(state, holder, rule->new_key, other))
        process_attr_remove(holder, other);
    for (other = process_attr_find(state, holder, rule->key, found); other;
         other = process_attr_find(state, holder, rule->key, other))
        process_attr_remove(holder, other);
    found->key = rule->new_key;
    process_attr_set(holder, found, found->value);
    return true;
}

bool process_apply_attributes(struct process_state *state, const struct process_compiled *rule,
                              struct process_holder *holder)
{
    struct fm_slice value = rule->value;
    struct process_attr *attr = NULL;
    bool changed = false;

    if (rule->inert)
        return false;
    switch (rule->action) {
    case PROCESS_INSERT:
    case PROCESS_UPDATE:
    case PROCESS_UPSERT:
        if (rule->from)
            value = process_lookup_value(state, rule->from, holder);
        return value.ptr && apply_set(state, rule, holder, value);
    case PROCESS_DELETE:
        while ((attr = apply_next(state, rule, holder, attr))) {
            process_attr_remove(holder, attr);
            changed = true;
        }
        return changed;
    case PROCESS_HASH:
        while ((attr = apply_next(state, rule, holder, attr))) {
            struct fm_slice hash = process_value_hash(state->arena, attr->value);
            if (!hash.ptr)
                break;
            process_attr_set(holder, attr, hash);
            changed = true;
        }
        return changed;
    case PROCESS_MOVE:
        break;
    }
    return apply_move(state, rule, holder);
}

bool process_apply_resource(struct process_state *state, const struct process_compiled *rule,
                            struct process_holder *holder)
{
    bool changed = false;

    for (uint32_t i = 0; i < rule->new_attr_count; i++) {
        const struct process_new_attr *new_attr = &rule->new_attrs[i];
        if (!process_attr_find(state, holder, new_attr->key, NULL))
            changed |= process_attr_add(state, holder, new_attr->key, new_attr->value);
    }
    return changed;
}

/* ---- names ---- */

static bool rename_put_piece(struct process_state *state, const struct process_piece *piece,
                             const struct process_holder *span)
{
    struct fm_slice text;
    char room[32];

    if (!piece->lookup_count) {
        fm_buf_put_slice(&state->scratch, piece->text);
        return true;
    }
    for (uint32_t i = 0; i < piece->lookup_count; i++) {
        struct fm_slice value = process_lookup_value(state, &piece->lookups[i], span);
        if (!value.ptr || !process_value_text(value, room, &text) || !text.len)
            continue;
        fm_buf_put_slice(&state->scratch, text);
        return true;
    }
    return false;
}

bool process_apply_rename(struct process_state *state, const struct process_compiled *rule,
                          struct process_span *span)
{
    fm_buf_reset(&state->scratch);
    for (uint32_t i = 0; i < rule->piece_count; i++) {
        if (!rename_put_piece(state, &rule->pieces[i], &span->own))
            return false;
    }
    struct fm_slice name = fm_buf_slice(&state->scratch);
    if (state->scratch.failed || name.len > PROCESS_NAME_LEN_MAX ||
        fm_slice_equal(name, span->own.text))
        return false;
    name = fm_slice_dup(state->arena, name);
    if (!name.ptr)
        return false;
    span->own.text = name;
    span->own.text_changed = span->own.changed = true;
    return true;
}
