/* SPDX-License-Identifier: Apache-2.0 */
/* What the outbox's files share; see store_outbox.h.
 *
 *   outbox.c          groups: found at start, announced, done with, removed
 *   outbox_group.c    a group and its file
 *   outgoing.c        the job that makes one
 *   ahead.c           what express groups took ahead of their blocks
 */
#ifndef STORE_OUTBOX_INTERNAL_H
#define STORE_OUTBOX_INTERNAL_H

#include "fermata/store_outbox.h"
#include "internal.h"

struct outbox_group {
    struct fm_link link; /* outbox->groups, oldest first; or alone */
    struct outbox *outbox;
    struct tenant *tenant; /* borrowed */
    enum store_lane lane;
    uint8_t name[16];
    char path[512];
    uint64_t sealed_unix_ns;  /* of its blocks: as old as the oldest source */
    struct block_id *sources; /* owned */
    size_t source_count;
    struct fm_link entries; /* struct block_entry, of outgoing blocks */
    uint32_t block_count;
    uint32_t marking_count; /* sources that are being marked */
    bool marks_failed;      /* of one of them: again */
    bool is_marked;         /* all sources count as uploaded: it may go */
    bool has_ahead;         /* a list of what it took ahead */
    bool keeps_ahead;       /* which stays when the group goes */
    uint64_t ahead_last_lsn;
};

/* outbox_group.c */
FM_MUST int outbox_group_new(struct outbox *outbox, struct tenant *tenant, enum store_lane lane,
                             const uint8_t name[16], struct outbox_group **ret_group);
struct outbox_group *outbox_group_free(struct outbox_group *group);
/* A block more, nameless yet. */
FM_MUST int outbox_group_add(struct store *store, struct outbox_group *group,
                             struct block_entry **ret_entry);
void outbox_name_block(struct outbox_group *group, struct block_entry *entry); /* by its meta.id */
void outbox_print_name(const uint8_t name[16], char text[33]);
void outbox_group_render(const struct outbox_group *group, struct fm_buf *buf);
/* Fills lane, sealed_unix_ns and sources. */
FM_MUST int outbox_group_parse(struct fm_slice json, struct outbox_group *group,
                               uint32_t *ret_block_count, struct fm_why *why);

/* ahead.c */
void ahead_load_group(struct outbox_group *group);
bool ahead_is_needed(const struct tenant *tenant, uint64_t last_lsn);
/* In the job that removes the group; and when that is done, on the loop. */
FM_MUST int ahead_keep(struct store *store, const struct outbox_group *group, struct fm_why *why);
void ahead_on_left(struct store *store, const struct outbox_group *group);

/* outgoing.c */
void outgoing_work(struct pf_job *job);

#endif
