/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of bucket share.
 *
 *   reader.c    making one, metrics, credentials
 *   request.c   one signed GET, with repairs and retries
 *   cache.c     what is kept in memory, least recently used goes first;  disk.c  and on disk
 *   object.c    whole small objects, through the cache, also many at once
 *   listing.c   which blocks a tenant has;  index.c  as Tempo's index says it
 *   list.c      of these the ones that a question is about
 *   source.c    data.parquet by ranges, with read-ahead
 *
 * Locks are held for a few pointers' worth of work, never over a request or a file. */
#ifndef BUCKET_INTERNAL_H
#define BUCKET_INTERNAL_H


#include "fermata/bucket_read.h"
#include "fermata/bytes.h"
#include "fermata/credentials.h"
#include "fermata/lock.h"
#include "fermata/net_fetch.h"
#include "fermata/units.h"

#define BUCKET_CHUNK_BYTES    FM_KIB(64)
#define BUCKET_KEY_MAX        320u /* tenant/uuid/object and what stands behind it */
#define BUCKET_META_MAX       FM_KIB(256)
#define BUCKET_BLOOM_MAX      FM_MIB(4)
#define BUCKET_LISTED_MAX     100000u /* blocks of a tenant */
#define BUCKET_LISTINGS_MAX   16u     /* tenants that are remembered */
#define BUCKET_TOGETHER_MAX   8u      /* requests under way for one question's thread */
#define BUCKET_CREDENTIAL_MAX FM_KIB(8)

/* ---- disk.c: files "SEQUENCE-HASH", oldest first; each says what it is and is checked ---- */

struct bucket_disk;
FM_MUST int bucket_disk_new(struct bucket_disk **ret_disk, struct platform *platform,
                            const char *path, uint64_t bytes_max, struct fm_why *why);
struct bucket_disk *bucket_disk_free(struct bucket_disk *disk);
/* Appends the content.  FM_NONE: not there, or not readable. */
FM_MUST int bucket_disk_get(struct bucket_disk *disk, const char *key, struct fm_buf *content);
void bucket_disk_put(struct bucket_disk *disk, const char *key, struct fm_slice content);
uint64_t bucket_disk_bytes(const struct bucket_disk *disk);
uint64_t bucket_disk_evicted(const struct bucket_disk *disk);

/* ---- cache.c ---- */

enum bucket_kind { BUCKET_META, BUCKET_BLOOM, BUCKET_FOOTER, BUCKET_DATA, BUCKET_KIND_COUNT };

struct bucket_kept { /* immutable */
    struct fm_link chain, line;
    _Atomic uint32_t refs; /* the cache's is one of them */
    uint64_t hash;
    size_t len;
    char key[BUCKET_KEY_MAX];
    uint8_t bytes[];
};
#define BUCKET_CHAINS 4096u
struct bucket_cache {
    struct pf_lock lock;
    struct fm_link chains[BUCKET_CHAINS];
    struct fm_link line; /* least recently used first */
    metric bytes;        /* also read without the lock */
    size_t bytes_max;
    uint64_t seed;
    struct bucket_disk *disk; /* owned; NULL: none */
    metric hits[BUCKET_KIND_COUNT], disk_hits[BUCKET_KIND_COUNT], misses[BUCKET_KIND_COUNT];
    metric evicted;
};
void bucket_cache_init(struct bucket_cache *cache, size_t bytes_max, uint64_t seed);
void bucket_cache_fini(struct bucket_cache *cache);
/* With a reference; NULL: has to be fetched.  All kinds but DATA may be on disk. */
struct bucket_kept *bucket_cache_find(struct bucket_cache *cache, enum bucket_kind kind,
                                      const char *key);
/* Keeps a copy, as far as there is room.  With a reference; NULL: no memory. */
struct bucket_kept *bucket_cache_keep(struct bucket_cache *cache, enum bucket_kind kind,
                                      const char *key, struct fm_slice content);
void bucket_kept_release(struct bucket_kept *kept);

/* ---- request.c ---- */

struct bucket_get {      /* one object or a range of it */
    const char *key;     /* below the prefix */
    const char *query;   /* of a listing: the continuation, "" at first; NULL: an object */
    uint64_t first, len; /* len 0: all of it */
    size_t bytes_max;
    const char *etag; /* "": any */
    /* results */
    struct fm_buf body;
    char ret_etag[72];
    struct fm_why why;
    /* its own */
    struct net_fetch fetch;
    struct s3_call call;
    struct fm_arena arena;
    struct http_header headers[S3_HEADER_MAX];
    char host[S3_HOST_MAX];
    uint32_t attempt;
    unsigned repairs;
    uint64_t generation; /* of the credentials it was signed with */
    int rc;
};
/* Start may be called for several before the first end; each start is followed by its end.  End
 * says FM_ENOTFOUND, FM_EDENIED, FM_ECONFIG, FM_ECORRUPT (it changed, or is shorter), FM_EIO,
 * FM_EUNAVAILABLE, FM_ETIMEOUT, FM_ECANCELLED, FM_ELIMIT. */
void bucket_get_start(struct bucket_get *get, struct bucket_reader *reader,
                      struct bucket_budget *budget);
FM_MUST int bucket_get_end(struct bucket_get *get, struct bucket_reader *reader,
                           struct bucket_budget *budget);
void bucket_get_fini(struct bucket_get *get);
/* The whole object of a bucket, or of a directory, appended. */
FM_MUST int bucket_get_whole(struct bucket_reader *reader, const char *key, size_t bytes_max,
                             struct bucket_budget *budget, struct fm_buf *body, struct fm_why *why);

/* ---- object.c ---- */

/* Through the cache; with a reference. */
FM_MUST int bucket_object_find(struct bucket_reader *reader, enum bucket_kind kind, const char *key,
                               size_t bytes_max, struct bucket_budget *budget,
                               struct bucket_kept **ret_kept, struct fm_why *why);
/* Fetches those that are not kept, several at once.  Best effort: what fails is tried again by who
 * needs it.  key_at writes the key of each; false: that one is not wanted. */
void bucket_object_warm(struct bucket_reader *reader, enum bucket_kind kind, size_t bytes_max,
                        struct bucket_budget *budget, size_t count,
                        bool (*key_at)(void *self, size_t index, char key[BUCKET_KEY_MAX]),
                        void *self);

/* ---- listing.c ---- */

struct bucket_item {
    struct block_id id;
    int64_t modified_s; /* when its last object was written; 0: not known */
    bool has_meta, is_compacted;
    char etag[72]; /* of data.parquet; "": not known */
    /* Of its meta; 0, 0: not read yet.  All that changes. */
    metric start_ns, end_ns;
};
struct bucket_listing { /* shared; sorted by id */
    _Atomic uint32_t refs;
    char tenant[TENANT_LEN_MAX + 1];
    uint64_t made_ns;
    size_t count;
    struct bucket_item items[];
};
/* A fresh one, or one that is not too old. */
FM_MUST int bucket_listing_find(struct bucket_reader *reader, const char *tenant,
                                struct bucket_budget *budget, struct bucket_listing **ret_listing,
                                struct fm_why *why);
void bucket_listing_release(struct bucket_listing *listing);
/* The next question lists again. */
void bucket_listing_forget(struct bucket_reader *reader, const char *tenant);
void bucket_key(char key[BUCKET_KEY_MAX], const char *tenant, const struct block_id *id,
                const char *object);

/* index.c: visits the blocks of Tempo's index, as it is in the bucket.  FM_NONE: it is older than
 * age_max_ns. */
typedef int bucket_on_meta(void *self, const struct block_meta *meta);
FM_MUST int bucket_index_read(struct fm_slice packed, uint64_t now_unix_ns, uint64_t age_max_ns,
                              bucket_on_meta *on_meta, void *self);

/* ---- reader.c ---- */

struct bucket_reader {
    struct platform *platform;
    char *dir; /* owned; NULL: S3 */
    struct net_fetcher *fetcher;
    uint64_t timeout_ns, listing_age_ns;
    uint32_t block_max;
    struct bucket_cache cache;

    struct pf_lock lock; /* of what follows */
    struct s3_endpoint endpoint;
    struct credentials *credentials; /* borrowed; NULL: the next two */
    char *files[3], *texts[3];       /* owned; access key, secret key, session token */
    int64_t clock_offset_s;
    struct bucket_listing *listings[BUCKET_LISTINGS_MAX]; /* a reference each; newest first */

    metric requests, retries, failures, refused, bytes, read_ahead_bytes;
    metric listings_made, indexes_used;
    struct metric_histogram seconds;
};
/* Reads the files of the credentials again.  FM_NONE: they have not changed, or there are none. */
FM_MUST int bucket_reader_refresh(struct bucket_reader *reader, struct fm_why *why);

#endif
