/* SPDX-License-Identifier: Apache-2.0 */
/* Private face of tenants: buckets, the overrides file as data, the table of names. */
#ifndef FERMATA_TENANTS_PRIVATE_H
#define FERMATA_TENANTS_PRIVATE_H

#include "fermata/tenants.h"

/* ---- token buckets ---- */

#define BUCKET_RATE_MAX                                                                            \
    (UINT64_C(1) << 34)                      /* a second; so that a second's worth times 10^9 fits \
                                              */
#define BUCKET_BURST_MAX (UINT64_C(1) << 62) /* so that sums of two do not wrap */

struct bucket {
    uint64_t rate_per_s; /* 0: unlimited, and nothing else counts */
    uint64_t burst;
    uint64_t level;     /* tokens, burst at most */
    uint64_t part;      /* of the next token, in 1/10^9 */
    uint64_t filled_ns; /* up to then */
};
void bucket_init(struct bucket *bucket, uint64_t rate_per_s, uint64_t burst, uint64_t now_ns);
/* Another rate, in use at once; what is in it stays, up to the new burst. */
void bucket_set(struct bucket *bucket, uint64_t rate_per_s, uint64_t burst, uint64_t now_ns);
void bucket_fill(struct bucket *bucket, uint64_t now_ns);
bool bucket_is_full(const struct bucket *bucket);
/* Until tokens are in it, after bucket_fill; 0: now, UINT64_MAX: never. */
uint64_t bucket_wait_ns(const struct bucket *bucket, uint64_t tokens);
void bucket_take(struct bucket *bucket, uint64_t tokens); /* after a wait of 0 */

/* ---- names ---- */

#define TENANT_LIMITS(X)                                                                           \
    X(BYTES, "rate_bytes")                                                                         \
    X(SPANS, "rate_spans")                                                                         \
    X(BURST, "burst")
enum tenant_limit {
#define X(name, text) TENANT_LIMIT_##name,
    TENANT_LIMITS(X)
#undef X
        TENANT_LIMIT_COUNT
};
struct tenant_counters {
    metric admitted_bytes, admitted_spans;
    metric limited[TENANT_LIMIT_COUNT];
};
struct tenant {
    struct tenant *next; /* in its chain of the index, or among the free ones */
    uint64_t hash;
    char name[TENANT_LEN_MAX + 1];
    bool is_named;              /* by the overrides file, or the default: its name is a label */
    bool has_identities;        /* and nobody else may use it */
    struct tenants_rates rates; /* of a named one */
    struct bucket bytes, spans;
    uint64_t used_ns;                /* the last admission or refusal */
    struct tenant_counters counters; /* of a named one */
};

/* Chains of tenants by hash; sized for what it may ever hold. */
struct tenant_index {
    struct tenant **heads; /* owned */
    uint32_t head_count;   /* a power of two */
};
FM_MUST int index_init(struct tenant_index *index, uint32_t tenant_max);
void index_fini(struct tenant_index *index);
struct tenant *index_find(const struct tenant_index *index, uint64_t hash, struct fm_slice name);
void index_add(struct tenant_index *index, struct tenant *tenant);
void index_remove(struct tenant_index *index, struct tenant *tenant);

/* ---- the overrides file ---- */

#define OVERRIDES_FILE_MAX       FM_MIB(1)
#define OVERRIDES_TENANTS_MAX    1024u /* each is a label of several series */
#define OVERRIDES_IDENTITIES_MAX 16384u

struct overrides_grant { /* one identity of one tenant */
    enum net_identity_kind kind;
    const char *name; /* "": of NET_ANONYMOUS */
    const struct tenant *tenant;
};
struct overrides_closed { /* a tenant that only its identities may use; its hash beside it */
    uint64_t hash;
    const struct tenant *tenant;
};
struct overrides {
    struct fm_arena arena;
    struct tenant *tenants; /* the file's, and the default one */
    uint32_t tenant_count;
    struct overrides_grant *grants; /* ordered by identity, then tenant */
    uint32_t grant_count;
    struct overrides_closed *closed;
    uint32_t closed_count;
    bool require_identity;
    struct tenant_index index; /* of tenants; becomes that of all names */
};
/* text: the file's; rates: of tenants that say nothing of their own; spare_count: names that the
 * index must hold besides.  FM_ECONFIG: messages has the complaints. */
FM_MUST int overrides_new(struct overrides **ret_overrides, const struct tenants_options *options,
                          struct fm_slice text, uint64_t seed, uint64_t now_ns,
                          struct fm_buf *messages);
struct overrides *overrides_free(struct overrides *overrides);
FM_DEFINE_AUTO(overrides)
/* The grants of an identity: those from *ret_first on. */
uint32_t overrides_find(const struct overrides *overrides, const struct net_identity *identity,
                        const struct overrides_grant **ret_first);

bool overrides_is_closed(const struct overrides *overrides, uint64_t hash, struct fm_slice name);

/* ---- the module ---- */

struct tenants_counters {
    metric limited_other[TENANT_LIMIT_COUNT]; /* of tenants without a name of their own */
    metric admitted_other_bytes, admitted_other_spans;
    metric refused_names, denied; /* a tenant too many; identities at others' tenants */
    metric reload_good, reload_failures, reload_unix_s;
};
struct tenants {
    struct platform *platform;
    struct tenants_options options; /* its texts are copies, owned */
    uint64_t seed;                  /* of the index: names are chosen by peers */

    /* Guards overrides->index, the tenants in it, free, active_count and leave_ns.  Held for one
     * look-up, or for one walk over the table when a name is new or the file was; no other lock and
     * no call out of this folder happens inside. */
    atomic_flag lock;
    struct overrides *overrides; /* owned; replaced on the loop, so that the loop may read it */
    struct tenant *pool;         /* owned, active_max */
    struct tenant *free;
    uint32_t active_count;             /* of pool */
    uint64_t leave_ns;                 /* nobody can leave before */
    struct tenants_counters *counters; /* owned; counting is possible through a const tenants */

    struct pf_timer timer;
    struct pf_job job;
    bool is_busy, is_stopped;
    bool is_wanted;     /* another look after the job */
    uint64_t seen_hash; /* of the text looked at last, good or bad */

    struct overrides *fresh; /* of the job, owned; NULL: unchanged or bad */
    bool is_forced;          /* the job is to take the file also if it did not change */
    uint64_t fresh_hash;
    int fresh_rc; /* FM_NONE: unchanged */
    struct fm_why why;
};
void tenants_lock(struct tenants *tenants);
void tenants_unlock(struct tenants *tenants);

#endif
