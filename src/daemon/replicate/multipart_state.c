/* SPDX-License-Identifier: Apache-2.0 */
/* What of a multipart upload survives a restart: one small file in state_dir for each, written
 * before the first part.  Which parts arrived is not in it: the bucket is asked.
 *
 *   fermata-upload 1
 *   key KEY
 *   upload_id ID
 *   size BYTES
 *   part_bytes BYTES
 */
#include "bucket_s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/units.h"

#define STATE_SUFFIX   ".upload"
#define STATE_HEAD     "fermata-upload 1\n"
#define STATE_PATH_MAX 1024
#define STATE_FILES_MAX                                                                            \
    1024 /* blocks on their way are few; the rest of a flooded folder is left                      \
          */

static void state_path(const struct bucket_s3 *s3, const char *key, char path[STATE_PATH_MAX])
{
    uint8_t hash[32];
    char hex[33];
    s3_sha256(fm_slice_text(key), hash);
    fm_hex_encode(hex, fm_slice(hash, 16));
    hex[32] = '\0';
    (void)snprintf(path, STATE_PATH_MAX, "%s/%s" STATE_SUFFIX, s3->state_dir, hex);
}

struct s3_pending_upload *multipart_state_find(struct bucket_s3 *s3, const char *key)
{
    for (struct fm_link *link = s3->uploads.next; link != &s3->uploads; link = link->next) {
        struct s3_pending_upload *upload = FM_CONTAINER(link, struct s3_pending_upload, link);
        if (strcmp(upload->key, key) == 0)
            return upload;
    }
    return NULL;
}

int multipart_state_save(struct bucket_s3 *s3, const struct s3_pending_upload *upload,
                         struct fm_why *why)
{
    if (!s3->state_dir)
        return FM_OK;
    char path[STATE_PATH_MAX];
    state_path(s3, upload->key, path);
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(4));
    fm_buf_printf(&text, STATE_HEAD "key %s\nupload_id %s\nsize %llu\npart_bytes %llu\n",
                  upload->key, upload->upload_id, (unsigned long long)upload->size,
                  (unsigned long long)upload->part_bytes);
    int rc =
        text.failed ? FM_ENOMEM : pf_replace_file(s3->platform, path, fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    return rc;
}

void multipart_state_forget(struct bucket_s3 *s3, const char *key)
{
    if (!s3->state_dir)
        return;
    char path[STATE_PATH_MAX];
    state_path(s3, key, path);
    /* If it stays, the next start asks the bucket about an upload that is no more. */
    (void)s3->platform->ops->unlink(s3->platform, path, NULL);
}

/* ---- reading ---- */

static bool state_take_line(struct fm_slice *text, const char *name, struct fm_slice *ret_value)
{
    size_t name_len = strlen(name);
    const uint8_t *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    if (!end || text->len <= name_len || memcmp(text->ptr, name, name_len) != 0 ||
        text->ptr[name_len] != ' ')
        return false;
    const uint8_t *value = text->ptr + name_len + 1;
    if (value > end)
        return false;
    *ret_value = fm_slice(value, (size_t)(end - value));
    *text = fm_slice(end + 1, text->len - (size_t)(end + 1 - text->ptr));
    return true;
}

static bool state_copy(char *target, size_t size, struct fm_slice value)
{
    if (value.len == 0 || value.len >= size || memchr(value.ptr, '\0', value.len))
        return false;
    memcpy(target, value.ptr, value.len);
    target[value.len] = '\0';
    return true;
}

static bool state_parse(struct fm_slice text, struct s3_pending_upload *upload)
{
    struct fm_slice key, upload_id, size, part_bytes;
    size_t head = sizeof STATE_HEAD - 1;
    if (text.len < head || memcmp(text.ptr, STATE_HEAD, head) != 0)
        return false;
    text = fm_slice(text.ptr + head, text.len - head);
    return state_take_line(&text, "key", &key) && state_take_line(&text, "upload_id", &upload_id) &&
           state_take_line(&text, "size", &size) &&
           state_take_line(&text, "part_bytes", &part_bytes) && text.len == 0 &&
           state_copy(upload->key, sizeof upload->key, key) &&
           state_copy(upload->upload_id, sizeof upload->upload_id, upload_id) &&
           fm_u64_parse(size, &upload->size) == FM_OK &&
           fm_u64_parse(part_bytes, &upload->part_bytes) == FM_OK && upload->part_bytes > 0 &&
           upload->size / upload->part_bytes < S3_PART_NUMBER_MAX;
}

struct state_loading {
    struct bucket_s3 *s3;
    uint32_t count;
};

static int state_load_file(struct bucket_s3 *s3, const char *name)
{
    char path[STATE_PATH_MAX], expected[STATE_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", s3->state_dir, name);
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(4));
    struct s3_pending_upload *upload = calloc(1, sizeof *upload);
    bool good = upload && pf_read_file(s3->platform, path, &text, NULL) == FM_OK &&
                state_parse(fm_buf_slice(&text), upload);
    fm_buf_fini(&text);
    if (good) {
        state_path(s3, upload->key, expected);
        good = strcmp(expected, path) == 0;
    }
    if (good)
        fm_list_append(&s3->uploads, &upload->link);
    else
        free(upload); /* the bucket is swept when the key's turn comes */
    return FM_OK;
}

static int state_on_entry(void *self, const char *name, bool is_directory)
{
    struct state_loading *loading = self;
    size_t len = strlen(name), suffix = sizeof STATE_SUFFIX - 1;
    if (is_directory || len <= suffix || strcmp(name + len - suffix, STATE_SUFFIX) != 0)
        return FM_OK;
    if (loading->count++ >= STATE_FILES_MAX)
        return FM_OK;
    return state_load_file(loading->s3, name);
}

int multipart_state_load(struct bucket_s3 *s3, struct fm_why *why)
{
    int rc = pf_make_path(s3->platform, s3->state_dir, why);
    if (rc < 0 && rc != FM_EEXISTS)
        return rc;
    struct state_loading loading = {.s3 = s3};
    return s3->platform->ops->list(s3->platform, s3->state_dir, state_on_entry, &loading, why);
}
