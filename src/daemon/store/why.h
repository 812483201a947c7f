/* SPDX-License-Identifier: Apache-2.0 */
/* What why.c finds and story.c tells. */
#ifndef STORE_WHY_INTERNAL_H
#define STORE_WHY_INTERNAL_H

#include "fermata/store_decide.h"
#include "fermata/store_why.h"

#define STORY_PLACES_MAX       64u
#define STORY_DESTINATIONS_MAX 8u

enum story_kind {
    STORY_LOG,   /* a record that no block has taken up */
    STORY_BLOCK, /* a block */
    STORY_GONE,  /* a block that is deleted; its bloom filter is kept */
    STORY_COPY,  /* a block that was made to leave, in the outbox or gone from there */
};
struct story_place {
    enum story_kind kind;
    char path[512];
    char block[37];
    uint64_t lsn;
    uint64_t first_unix_ns, last_unix_ns; /* received; of a block: all of it.  0: not known */
    uint8_t receivers;
    uint64_t spans; /* of the trace; 0: not known */
    uint64_t sealed_unix_ns;
    enum store_verdict verdict;
    bool is_kept; /* with PART */
    uint64_t decided_unix_ns;
    char policies[320];                     /* what they kept of the block */
    char policy[STORE_POLICY_NAME_MAX + 1]; /* which decided about the trace, or "" */
    bool went_ahead;                        /* all that is here of it, in an express block */
    bool ahead_waits;                       /* which the bucket does not have yet */
    char lane[16];                          /* of COPY */
    bool is_uploaded;
    uint64_t uploaded_unix_ns, uploaded_last_unix_ns;
    char destinations[STORY_DESTINATIONS_MAX][37]; /* as which blocks */
    uint32_t destination_count;                    /* of the block that was merged, maybe more */
    uint64_t gone_unix_ns;
    char end[16]; /* of GONE: uploaded, sampled_out, part, expired, no_space, unreadable */
};
struct story {
    const struct store_why *question;
    struct story_place places[STORY_PLACES_MAX];
    size_t count;
    uint64_t more;                          /* places that are not told apart */
    uint64_t damaged;                       /* files that could not be read */
    uint64_t blocks, gone_blocks, segments; /* looked at */
};

/* story.c */
void story_put_json(const struct story *story, struct fm_buf *out);
void story_put_text(const struct story *story, struct fm_buf *out);

#endif
