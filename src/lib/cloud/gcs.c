/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud Storage, its JSON API: requests and the bodies that describe an object. */
#include "internal.h"

#include <stdio.h>

#include "fermata/bytes.h"

#define GCS_LIST_MAX "1000"
#define GCS_FIELDS   "name,size,crc32c,md5Hash"

static void gcs_put_bucket(struct cloud_maker *maker, const struct cloud_place *place)
{
    cloud_percent_encode(&maker->target, fm_slice_text(place->bucket), false);
    fm_buf_puts(&maker->target, "/o");
}

static void gcs_put_name(struct cloud_maker *maker, const struct cloud_place *place,
                         const struct cloud_call *call, const char *parameter)
{
    struct fm_buf name;
    fm_buf_init(&name, FM_KIB(4));
    cloud_object_name(place, call, &name);
    if (parameter) {
        cloud_maker_query(maker, parameter, fm_buf_slice(&name));
    } else {
        fm_buf_put_u8(&maker->target, '/');
        cloud_percent_encode(&maker->target, fm_buf_slice(&name), false);
    }
    maker->target.failed |= name.failed;
    fm_buf_fini(&name);
}

/* A hint only: the server begins with it, and what it knows not it ignores. */
static void gcs_put_after(struct cloud_maker *maker, const struct cloud_place *place,
                          const struct cloud_call *call)
{
    struct fm_buf name;
    fm_buf_init(&name, FM_KIB(4));
    cloud_object_name(place, call, &name);
    fm_buf_put_slice(&name, call->after);
    cloud_maker_query(maker, "startOffset", fm_buf_slice(&name));
    maker->target.failed |= name.failed;
    fm_buf_fini(&name);
}

static void gcs_make_read(struct cloud_maker *maker, const struct cloud_place *place,
                          const struct cloud_call *call)
{
    fm_buf_puts(&maker->target, "/storage/v1/b/");
    gcs_put_bucket(maker, place);
    if (call->verb == CLOUD_LIST) {
        gcs_put_name(maker, place, call, "prefix");
        if (call->after.len)
            gcs_put_after(maker, place, call);
        cloud_maker_query(maker, "maxResults", FM_SLICE(GCS_LIST_MAX));
        if (call->page.len)
            cloud_maker_query(maker, "pageToken", call->page);
        cloud_maker_query(maker, "fields", FM_SLICE("items(name),nextPageToken"));
        return;
    }
    gcs_put_name(maker, place, call, NULL);
    if (call->verb == CLOUD_GET)
        cloud_maker_query(maker, "alt", FM_SLICE("media"));
    else
        cloud_maker_query(maker, "fields", FM_SLICE(GCS_FIELDS));
}

static void gcs_make_write(struct cloud_maker *maker, const struct cloud_place *place,
                           const struct cloud_call *call)
{
    bool is_put = call->verb == CLOUD_PUT;
    char type[96];
    fm_buf_puts(&maker->target, "/upload/storage/v1/b/");
    gcs_put_bucket(maker, place);
    cloud_maker_query(maker, "uploadType", is_put ? FM_SLICE("multipart") : FM_SLICE("resumable"));
    gcs_put_name(maker, place, call, "name");
    if (call->create_only)
        cloud_maker_query(maker, "ifGenerationMatch", FM_SLICE("0"));
    cloud_maker_query(maker, "fields", FM_SLICE(GCS_FIELDS));
    if (is_put) {
        (void)snprintf(type, sizeof type, "multipart/related; boundary=%s", call->boundary);
        cloud_maker_header_text(maker, "content-type", type);
    } else {
        (void)snprintf(type, sizeof type, "%llu", (unsigned long long)call->size);
        cloud_maker_header_text(maker, "content-type", "application/json");
        cloud_maker_header_text(maker, "x-upload-content-type", "application/octet-stream");
        cloud_maker_header_text(maker, "x-upload-content-length", type);
    }
}

static void gcs_make_chunk(struct cloud_maker *maker, const struct cloud_call *call)
{
    char range[96];
    unsigned long long size = call->size, offset = call->offset;
    fm_buf_reset(&maker->target); /* the session has the whole of it */
    fm_buf_put_slice(&maker->target, call->session);
    if (call->verb == CLOUD_PROGRESS || call->length == 0)
        (void)snprintf(range, sizeof range, "bytes */%llu", size);
    else
        (void)snprintf(range, sizeof range, "bytes %llu-%llu/%llu", offset,
                       offset + call->length - 1, size);
    cloud_maker_header_text(maker, "content-range", range);
}

int cloud_gcs_build(const struct cloud_place *place, const struct cloud_secret *secret,
                    const struct cloud_call *call, struct fm_arena *arena,
                    struct s3_request *ret_request)
{
    static const char *const methods[] = {
        [CLOUD_PUT] = "POST",     [CLOUD_HEAD] = "GET",   [CLOUD_GET] = "GET",
        [CLOUD_LIST] = "GET",     [CLOUD_BEGIN] = "POST", [CLOUD_BLOCK] = "PUT",
        [CLOUD_PROGRESS] = "PUT",
    };
    struct s3_request request;
    struct cloud_maker maker;
    FM_ASSERT(call->verb != CLOUD_COMMIT);
    cloud_maker_init(&maker, &request, arena, methods[call->verb], &place->url);
    request.content_length = call->length;
    if (call->verb == CLOUD_PUT || call->verb == CLOUD_BEGIN)
        gcs_make_write(&maker, place, call);
    else if (call->verb == CLOUD_BLOCK || call->verb == CLOUD_PROGRESS)
        gcs_make_chunk(&maker, call);
    else
        gcs_make_read(&maker, place, call);
    int rc = cloud_maker_end(&maker);
    if (rc == FM_OK && secret->kind == CLOUD_BEARER)
        rc = cloud_maker_bearer(&maker, secret->bytes);
    if (rc == FM_OK && fm_arena_failed(arena))
        rc = FM_ENOMEM;
    if (rc == FM_OK)
        *ret_request = request;
    return rc;
}

/* ---- bodies ---- */

/* The server compares what it got with the checksum before it lets anybody see the object. */
void cloud_gcs_begin_body(const struct cloud_place *place, const struct cloud_call *call,
                          struct fm_buf *body)
{
    struct json_writer json;
    struct fm_buf name;
    fm_buf_init(&name, FM_KIB(4));
    cloud_object_name(place, call, &name);
    json_writer_init(&json, body);
    json_object_begin(&json);
    json_key(&json, "name");
    json_string(&json, fm_buf_slice(&name));
    if (call->crc32c) {
        json_key(&json, "crc32c");
        json_base64(&json, fm_slice(call->crc32c, 4));
    }
    json_object_end(&json);
    body->failed |= name.failed;
    fm_buf_fini(&name);
}

void cloud_gcs_put_frame(const struct cloud_place *place, const struct cloud_call *call,
                         struct fm_buf *head, struct fm_buf *tail)
{
    fm_buf_printf(head, "--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n",
                  call->boundary);
    cloud_gcs_begin_body(place, call, head);
    fm_buf_printf(head, "\r\n--%s\r\nContent-Type: application/octet-stream\r\n\r\n",
                  call->boundary);
    fm_buf_printf(tail, "\r\n--%s--\r\n", call->boundary);
}

int cloud_request_build(const struct cloud_place *place, const struct cloud_secret *secret,
                        const struct cloud_call *call, int64_t unix_s, struct fm_arena *arena,
                        struct s3_request *ret_request)
{
    if (place->kind == CLOUD_AZURE)
        return cloud_azure_build(place, secret, call, unix_s, arena, ret_request);
    return cloud_gcs_build(place, secret, call, arena, ret_request);
}
