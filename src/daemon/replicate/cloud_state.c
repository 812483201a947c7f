/* SPDX-License-Identifier: Apache-2.0 */
/* What of a session survives a restart: one small file in state_dir for each, written before the
 * first byte of content.  How far it is is not in it: the server is asked.
 *
 *   fermata-session 1
 *   name NAME
 *   target TARGET
 *   size BYTES
 *   crc32c HEX
 */
#include "bucket_cloud.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/units.h"

#define STATE_SUFFIX    ".session"
#define STATE_HEAD      "fermata-session 1\n"
#define STATE_PATH_MAX  1024
#define STATE_BYTES_MAX FM_KIB(8)
#define STATE_FILES_MAX                                                                            \
    1024 /* blocks on their way are few; of a flooded folder the rest is left                      \
          */

static void state_path(const struct bucket_cloud *cloud, const char *name,
                       char path[STATE_PATH_MAX])
{
    uint8_t hash[32];
    char hex[33];
    s3_sha256(fm_slice_text(name), hash);
    fm_hex_encode(hex, fm_slice(hash, 16));
    hex[32] = '\0';
    (void)snprintf(path, STATE_PATH_MAX, "%s/%s" STATE_SUFFIX, cloud->state_dir, hex);
}

struct cloud_session *cloud_state_find(struct bucket_cloud *cloud, const char *name)
{
    for (struct fm_link *link = cloud->sessions.next; link != &cloud->sessions; link = link->next) {
        struct cloud_session *session = FM_CONTAINER(link, struct cloud_session, link);
        if (strcmp(session->name, name) == 0)
            return session;
    }
    return NULL;
}

int cloud_state_save(struct bucket_cloud *cloud, const struct cloud_session *session,
                     struct fm_why *why)
{
    if (!cloud->state_dir)
        return FM_OK;
    char path[STATE_PATH_MAX];
    struct fm_buf text;
    state_path(cloud, session->name, path);
    fm_buf_init(&text, STATE_BYTES_MAX);
    fm_buf_printf(&text, STATE_HEAD "name %s\ntarget %s\nsize %llu\ncrc32c %08x\n", session->name,
                  session->target, (unsigned long long)session->size,
                  fm_load_be32(session->crc32c));
    int rc =
        text.failed ? FM_ENOMEM : pf_replace_file(cloud->platform, path, fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    return rc;
}

void cloud_state_forget(struct bucket_cloud *cloud, const char *name)
{
    if (!cloud->state_dir)
        return;
    char path[STATE_PATH_MAX];
    state_path(cloud, name, path);
    /* If it stays, the next start asks about a session that is no more. */
    (void)cloud->platform->ops->unlink(cloud->platform, path, NULL);
}

/* ---- reading ---- */

static bool state_take_line(struct fm_slice *text, const char *name, struct fm_slice *ret_value)
{
    size_t name_len = strlen(name);
    const uint8_t *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    if (!end || (size_t)(end - text->ptr) <= name_len || memcmp(text->ptr, name, name_len) != 0 ||
        text->ptr[name_len] != ' ')
        return false;
    const uint8_t *value = text->ptr + name_len + 1;
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

static bool state_parse(struct fm_slice text, struct cloud_session *session)
{
    struct fm_slice name, target, size, crc32c;
    size_t head = sizeof STATE_HEAD - 1;
    if (text.len < head || memcmp(text.ptr, STATE_HEAD, head) != 0)
        return false;
    text = fm_slice(text.ptr + head, text.len - head);
    return state_take_line(&text, "name", &name) && state_take_line(&text, "target", &target) &&
           state_take_line(&text, "size", &size) && state_take_line(&text, "crc32c", &crc32c) &&
           text.len == 0 && state_copy(session->name, sizeof session->name, name) &&
           state_copy(session->target, sizeof session->target, target) &&
           session->target[0] == '/' && fm_u64_parse(size, &session->size) == FM_OK &&
           fm_hex_decode(session->crc32c, sizeof session->crc32c, crc32c) == FM_OK;
}

struct state_loading {
    struct bucket_cloud *cloud;
    uint32_t count;
};

static int state_load_file(struct bucket_cloud *cloud, const char *name)
{
    char path[STATE_PATH_MAX], expected[STATE_PATH_MAX];
    struct fm_buf text;
    (void)snprintf(path, sizeof path, "%s/%s", cloud->state_dir, name);
    fm_buf_init(&text, STATE_BYTES_MAX);
    struct cloud_session *session = calloc(1, sizeof *session);
    bool good = session && pf_read_file(cloud->platform, path, &text, NULL) == FM_OK &&
                state_parse(fm_buf_slice(&text), session);
    fm_buf_fini(&text);
    if (good) {
        state_path(cloud, session->name, expected);
        good = strcmp(expected, path) == 0;
    }
    if (good)
        fm_list_append(&cloud->sessions, &session->link);
    else
        free(session); /* a session that nobody knows ends by itself within a week */
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
    return state_load_file(loading->cloud, name);
}

int cloud_state_load(struct bucket_cloud *cloud, struct fm_why *why)
{
    int rc = pf_make_path(cloud->platform, cloud->state_dir, why);
    if (rc < 0 && rc != FM_EEXISTS)
        return rc;
    struct state_loading loading = {.cloud = cloud};
    return cloud->platform->ops->list(cloud->platform, cloud->state_dir, state_on_entry, &loading,
                                      why);
}
