/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_dir - a directory laid out as Tempo's local backend: PATH/TENANT/UUID/OBJECT; beside it
 * PATH-control for what is no block, since a reader takes every directory in PATH for a tenant.
 *
 * An object appears whole or not at all: it is linked there from the store's directory, or, across
 * file systems, written as OBJECT.part beside its place (names that a reader of the layout
 * ignores), synced and renamed; then the directory is synced.  Everything runs in jobs on
 * PF_LANE_DISK.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/replicate.h"

#define COPY_BYTES   FM_KIB(256)
#define DIR_PATH_MAX 1024
#define DIR_LIST_MAX 1000 /* names in an answer */

struct bucket_dir {
    struct bucket bucket;
    struct platform *platform;
    char path[512];
};
/* What cancel leaves for the job to find; one of few, so it lives beside the request. */
struct dir_work {
    _Atomic bool cancelled;
    char path[DIR_PATH_MAX];   /* of the object */
    char folder[DIR_PATH_MAX]; /* of its directory */
};

static enum s3_outcome dir_outcome(int rc)
{
    switch (rc) {
    case FM_OK:
        return S3_DONE;
    case FM_EEXISTS:
        return S3_EXISTS;
    case FM_ENOTFOUND:
        return S3_ABSENT;
    case FM_EDENIED:
    case FM_ELIMIT:
    case FM_ECONFIG:
        return S3_REFUSED;
    default:
        return S3_TRANSIENT;
    }
}

/* Keys are made of a checked tenant and our own names; this is the second lock on the door. */
static bool dir_key_is_safe(const char *key)
{
    size_t len = strlen(key);
    return len && key[0] != '/' && key[len - 1] != '/' && !strstr(key, "//") && !strstr(key, "..");
}

static int dir_fill_path(const struct bucket_dir *self, const struct bucket_request *request,
                         const char *key, struct dir_work *work, struct fm_why *why)
{
    if (!dir_key_is_safe(key))
        return fm_fail(why, FM_ECONFIG, "'%s' is not a key", key);
    int len = snprintf(work->path, sizeof work->path, "%s%s/%s", self->path,
                       request->is_control ? "-control" : "", key);
    if (len < 0 || (size_t)len + sizeof ".part" > sizeof work->path)
        return fm_fail(why, FM_ELIMIT, "%s: the path is too long", key);
    return FM_OK;
}

static int dir_fill_paths(const struct bucket_dir *self, struct bucket_request *request,
                          struct dir_work *work)
{
    int rc = dir_fill_path(self, request, request->key, work, &request->why);
    if (rc < 0)
        return rc;
    memcpy(work->folder, work->path, sizeof work->folder);
    *strrchr(work->folder, '/') = '\0';
    return FM_OK;
}

static bool dir_exists(struct platform *platform, const char *path)
{
    struct pf_file *file = NULL;
    if (pf_open(platform, path, PF_READ, &file, NULL) < 0)
        return false;
    pf_close(platform, file);
    return true;
}

static int dir_copy(struct bucket_dir *self, struct bucket_request *request,
                    const struct dir_work *work, struct pf_file *file, uint8_t *buffer)
{
    const struct fm_source *source = &request->source;
    for (uint64_t offset = 0; offset < source->size;) {
        size_t len = (size_t)FM_MIN(source->size - offset, COPY_BYTES);
        if (atomic_load(&work->cancelled))
            return fm_fail(&request->why, FM_ECANCELLED, "cancelled");
        int rc = source->read_at(source->self, offset, buffer, len);
        if (rc < 0)
            return fm_fail(&request->why, rc, "reading the source of %s: %s", request->key,
                           fm_rc_text(rc));
        struct fm_slice slice = {buffer, len};
        rc = self->platform->ops->write(file, offset, &slice, 1, &request->why);
        if (rc < 0)
            return rc;
        offset += len;
    }
    return self->platform->ops->sync(file, &request->why);
}

static int dir_write_part(struct bucket_dir *self, struct bucket_request *request,
                          const struct dir_work *work, const char *part)
{
    uint8_t *buffer = malloc(COPY_BYTES);
    if (!buffer)
        return fm_fail(&request->why, FM_ENOMEM, "no memory to copy %s", request->key);
    struct pf_file *file = NULL;
    int rc =
        pf_open(self->platform, part, PF_WRITE | PF_CREATE | PF_TRUNCATE, &file, &request->why);
    if (rc == FM_OK)
        rc = dir_copy(self, request, work, file, buffer);
    if (rc == FM_OK)
        (void)self->platform->ops->advise_gone(file); /* the store has its own copy */
    pf_close(self->platform, file);
    free(buffer);
    return rc;
}

static int dir_put_copy(struct bucket_dir *self, struct bucket_request *request,
                        const struct dir_work *work)
{
    struct platform *platform = self->platform;
    char part[DIR_PATH_MAX + 8];
    (void)snprintf(part, sizeof part, "%s.part", work->path);
    int rc = dir_write_part(self, request, work, part);
    if (rc == FM_OK)
        rc = platform->ops->rename(platform, part, work->path, &request->why);
    else
        (void)platform->ops->unlink(platform, part, NULL); /* the next attempt truncates it */
    return rc;
}

static int dir_put_whole(struct bucket_dir *self, struct bucket_request *request,
                         const struct dir_work *work)
{
    struct platform *platform = self->platform;
    struct fm_why *why = &request->why;
    if (request->create_only && dir_exists(platform, work->path))
        return fm_fail(why, FM_EEXISTS, "%s exists", work->path);
    int rc = pf_make_path(platform, work->folder, why);
    if (rc < 0 && rc != FM_EEXISTS)
        return rc;
    if (atomic_load(&work->cancelled))
        return fm_fail(why, FM_ECANCELLED, "cancelled");
    /* The store's file does not change any more: on the same file system a second name will do,
     * and spares half of what we write.  Its content was synced before the block was sealed. */
    rc = request->source_path ? platform->ops->link(platform, request->source_path, work->path, why)
                              : FM_EUNSUPPORTED;
    if (rc < 0 && !(rc == FM_EEXISTS && request->create_only))
        rc = dir_put_copy(self, request, work);
    if (rc == FM_OK)
        rc = platform->ops->sync_dir(platform, work->folder, why);
    return rc;
}

static void dir_put_work(struct pf_job *job)
{
    struct bucket_request *request = FM_CONTAINER(job, struct bucket_request, job);
    struct bucket_dir *self = FM_CONTAINER(request->bucket, struct bucket_dir, bucket);
    struct dir_work *work = request->body_private;
    int rc = dir_fill_paths(self, request, work);
    if (rc == FM_OK)
        rc = dir_put_whole(self, request, work);
    request->size = request->source.size;
    request->outcome = dir_outcome(rc);
    if (rc == FM_ENOTFOUND) /* of a put: the directory went away under us */
        request->outcome = S3_TRANSIENT;
}

static int dir_get_whole(struct bucket_dir *self, struct bucket_request *request, const char *path)
{
    struct fm_why *why = &request->why;
    struct pf_file *file = NULL;
    int rc = pf_open(self->platform, path, PF_READ, &file, why);
    if (rc < 0)
        return rc;
    uint64_t size = 0;
    rc = self->platform->ops->size(file, &size);
    if (rc == FM_OK && request->want_body && size > request->body_max)
        rc = fm_fail(why, FM_ELIMIT, "%s has %llu bytes", path, (unsigned long long)size);
    if (rc == FM_OK && request->want_body) {
        fm_buf_init(&request->body, request->body_max);
        uint8_t *room = fm_buf_room(&request->body, (size_t)size);
        size_t got = 0;
        rc = room ? self->platform->ops->read(file, 0, room, (size_t)size, &got, why) : FM_ENOMEM;
        request->body.len = rc == FM_OK ? got : 0;
    }
    pf_close(self->platform, file);
    request->size = size;
    return rc;
}

static void dir_get_work(struct pf_job *job)
{
    struct bucket_request *request = FM_CONTAINER(job, struct bucket_request, job);
    struct bucket_dir *self = FM_CONTAINER(request->bucket, struct bucket_dir, bucket);
    struct dir_work *work = request->body_private;
    int rc = dir_fill_paths(self, request, work);
    if (rc == FM_OK)
        rc = dir_get_whole(self, request, work->path);
    if (rc < 0)
        fm_buf_fini(&request->body);
    request->outcome = dir_outcome(rc);
}

/* ---- list ---- */

struct dir_names { /* the least of those behind `after`, in byte order; owned texts */
    const char *after;
    char **names;
    size_t count;
};

static int dir_names_visit(void *self, const char *name, bool is_directory)
{
    struct dir_names *list = self;
    size_t len = strlen(name), at = list->count;
    bool is_part = len > 5 && strcmp(name + len - 5, ".part") == 0; /* half an object */
    if (is_directory || is_part || strcmp(name, list->after) <= 0)
        return FM_OK;
    while (at && strcmp(list->names[at - 1], name) > 0)
        at--;
    if (at == DIR_LIST_MAX)
        return FM_OK;
    char *copy = strdup(name);
    if (!copy)
        return FM_ENOMEM;
    if (list->count == DIR_LIST_MAX)
        free(list->names[--list->count]);
    memmove(&list->names[at + 1], &list->names[at], (list->count - at) * sizeof *list->names);
    list->names[at] = copy;
    list->count++;
    return FM_OK;
}

static int dir_list_whole(struct bucket_dir *self, struct bucket_request *request, const char *path)
{
    struct dir_names list = {.after = request->list_after};
    list.names = calloc(DIR_LIST_MAX, sizeof *list.names);
    if (!list.names)
        return fm_fail(&request->why, FM_ENOMEM, "no memory for a list");
    int rc =
        self->platform->ops->list(self->platform, path, dir_names_visit, &list, &request->why);
    fm_buf_init(&request->body, request->body_max);
    for (size_t i = 0; i < list.count; i++) {
        if (rc == FM_OK) {
            fm_buf_puts(&request->body, list.names[i]);
            fm_buf_puts(&request->body, "\n");
        }
        free(list.names[i]);
    }
    free(list.names);
    if (rc == FM_OK && request->body.failed)
        rc = fm_fail(&request->why, FM_ELIMIT, "%s: the list is too long", path);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

static void dir_list_work(struct pf_job *job)
{
    struct bucket_request *request = FM_CONTAINER(job, struct bucket_request, job);
    struct bucket_dir *self = FM_CONTAINER(request->bucket, struct bucket_dir, bucket);
    struct dir_work *work = request->body_private;
    char key[DIR_PATH_MAX];
    size_t len = strlen(request->key);
    int rc = FM_ECONFIG;
    if (len && len < sizeof key && request->key[len - 1] == '/') {
        memcpy(key, request->key, len);
        key[len - 1] = '\0';
        rc = dir_fill_path(self, request, key, work, &request->why);
    }
    if (rc == FM_OK)
        rc = dir_list_whole(self, request, work->path);
    if (rc < 0)
        fm_buf_fini(&request->body);
    request->outcome = dir_outcome(rc);
}

/* Without memory for the work there is still the request's own job to say so. */
static void dir_no_memory(struct pf_job *job)
{
    struct bucket_request *request = FM_CONTAINER(job, struct bucket_request, job);
    request->outcome = S3_TRANSIENT;
    (void)fm_fail(&request->why, FM_ENOMEM, "no memory for %s", request->key);
}

static void dir_done(struct pf_job *job)
{
    struct bucket_request *request = FM_CONTAINER(job, struct bucket_request, job);
    free(fm_take(request->body_private));
    request->done(request);
}

static void dir_start(struct bucket *bucket, struct bucket_request *request,
                      void (*work)(struct pf_job *job))
{
    struct bucket_dir *self = FM_CONTAINER(bucket, struct bucket_dir, bucket);
    request->bucket = bucket;
    request->retry_after_s = 0;
    request->why.text[0] = '\0';
    request->body = (struct fm_buf){0};
    request->body_private = calloc(1, sizeof(struct dir_work));
    request->job = (struct pf_job){.work = request->body_private ? work : dir_no_memory,
                                   .done = dir_done,
                                   .lane = PF_LANE_DISK};
    pf_job_submit(self->platform, &request->job);
}

static void dir_put(struct bucket *bucket, struct bucket_request *request)
{
    dir_start(bucket, request, dir_put_work);
}

static void dir_get(struct bucket *bucket, struct bucket_request *request)
{
    dir_start(bucket, request, dir_get_work);
}

static void dir_list(struct bucket *bucket, struct bucket_request *request)
{
    dir_start(bucket, request, dir_list_work);
}

static void dir_cancel(struct bucket *bucket, struct bucket_request *request)
{
    (void)bucket;
    struct dir_work *work = request->body_private;
    if (work)
        atomic_store(&work->cancelled, true);
}

static struct bucket *dir_free(struct bucket *bucket)
{
    if (bucket)
        free(FM_CONTAINER(bucket, struct bucket_dir, bucket));
    return NULL;
}

static void dir_describe(const struct bucket *bucket, char *text, size_t size)
{
    const struct bucket_dir *self = FM_CONTAINER(bucket, const struct bucket_dir, bucket);
    (void)snprintf(text, size, "dir:%s", self->path);
}

static void dir_put_metrics(const struct bucket *bucket, struct fm_buf *out)
{
    (void)bucket; /* the replicator counts the requests; there is nothing of our own */
    (void)out;
}

int bucket_dir_new(struct bucket **ret_bucket, struct platform *platform, const char *path,
                   struct fm_why *why)
{
    static const struct bucket_ops ops = {
        .put = dir_put,
        .get = dir_get,
        .list = dir_list,
        .cancel = dir_cancel,
        .free = dir_free,
        .describe = dir_describe,
        .put_metrics = dir_put_metrics,
    };
    struct bucket_dir *self = calloc(1, sizeof *self);
    if (!self)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    self->bucket.ops = &ops;
    self->platform = platform;
    int len = snprintf(self->path, sizeof self->path, "%s", path);
    int rc = FM_OK;
    if (len <= 0 || (size_t)len >= sizeof self->path)
        rc = fm_fail(why, FM_ECONFIG, "upload.dir.path has %d characters", len);
    if (rc == FM_OK)
        rc = pf_make_path(platform, path, why);
    if (rc < 0 && rc != FM_EEXISTS) {
        free(self);
        return rc;
    }
    while (len > 1 && self->path[len - 1] == '/')
        self->path[--len] = '\0';
    *ret_bucket = &self->bucket;
    return FM_OK;
}
