/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: target, headers, signature.
 *
 * Every header made here is signed.  They are added in the order of their names, which is the
 * order the canonical request wants; "host" falls between content-md5 and the rest.
 */
#include "internal.h"

#include <stdio.h>

#include "fermata/bytes.h"

#define REQUEST_BYTES_MAX FM_KIB(32)

static const char *const request_methods[] = {
    [S3_PUT] = "PUT",
    [S3_HEAD] = "HEAD",
    [S3_GET] = "GET",
    [S3_DELETE] = "DELETE",
    [S3_LIST] = "GET",
    [S3_MULTIPART_BEGIN] = "POST",
    [S3_MULTIPART_PART] = "PUT",
    [S3_MULTIPART_COMPLETE] = "POST",
    [S3_MULTIPART_ABORT] = "DELETE",
    [S3_MULTIPART_LIST_PARTS] = "GET",
    [S3_MULTIPART_LIST] = "GET",
};

void s3_uri_encode(struct fm_buf *buf, struct fm_slice text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash);
        if (plain) {
            fm_buf_put_u8(buf, c);
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            fm_buf_put(buf, escape, sizeof escape);
        }
    }
}

static bool request_is_bucket_level(enum s3_verb verb)
{
    return verb == S3_LIST || verb == S3_MULTIPART_LIST;
}

static void request_put_key(struct fm_buf *buf, const struct s3_endpoint *endpoint,
                            struct fm_slice key, bool keep_slash)
{
    if (endpoint->prefix[0]) {
        s3_uri_encode(buf, fm_slice_text(endpoint->prefix), keep_slash);
        s3_uri_encode(buf, FM_SLICE("/"), keep_slash);
    }
    s3_uri_encode(buf, key, keep_slash);
}

static void request_put_path(struct fm_buf *buf, const struct s3_endpoint *endpoint,
                             const struct s3_call *call)
{
    fm_buf_puts(buf, "/");
    if (endpoint->path_style) {
        s3_uri_encode(buf, fm_slice_text(endpoint->bucket), false);
        if (!request_is_bucket_level(call->verb))
            fm_buf_puts(buf, "/");
    }
    if (!request_is_bucket_level(call->verb))
        request_put_key(buf, endpoint, call->object.key, true);
}

/* Names in order, "=" also without a value: sent as it is signed. */
static void request_put_query(struct fm_buf *buf, const struct s3_endpoint *endpoint,
                              const struct s3_call *call)
{
    switch (call->verb) {
    case S3_LIST:
        if (call->query.len) {
            fm_buf_puts(buf, "continuation-token=");
            s3_uri_encode(buf, call->query, false);
            fm_buf_puts(buf, "&");
        }
        if (call->is_flat)
            fm_buf_puts(buf, "delimiter=%2F&");
        fm_buf_puts(buf, "list-type=2&prefix=");
        request_put_key(buf, endpoint, call->object.key, false);
        if (call->start_after.len) {
            fm_buf_puts(buf, "&start-after=");
            request_put_key(buf, endpoint, call->start_after, false);
        }
        return;
    case S3_MULTIPART_LIST:
        fm_buf_puts(buf, "prefix=");
        request_put_key(buf, endpoint, call->object.key, false);
        fm_buf_puts(buf, "&uploads=");
        return;
    case S3_MULTIPART_BEGIN:
        fm_buf_puts(buf, "uploads=");
        return;
    case S3_MULTIPART_PART:
        fm_buf_printf(buf, "partNumber=%u&uploadId=", call->part_number);
        s3_uri_encode(buf, call->upload_id, false);
        return;
    case S3_MULTIPART_LIST_PARTS:
        if (call->query.len) {
            fm_buf_puts(buf, "part-number-marker=");
            s3_uri_encode(buf, call->query, false);
            fm_buf_puts(buf, "&");
        }
        fm_buf_puts(buf, "uploadId=");
        s3_uri_encode(buf, call->upload_id, false);
        return;
    case S3_MULTIPART_COMPLETE:
    case S3_MULTIPART_ABORT:
        fm_buf_puts(buf, "uploadId=");
        s3_uri_encode(buf, call->upload_id, false);
        return;
    default:
        return;
    }
}

struct request_maker {
    struct s3_request *request;
    struct fm_arena *arena;
};

static void request_add(struct request_maker *maker, const char *name, const void *value,
                        size_t len)
{
    struct s3_request *request = maker->request;
    FM_ASSERT(request->header_count < S3_HEADER_MAX);
    request->headers[request->header_count++] =
        (struct s3_header){name, fm_slice_dup(maker->arena, fm_slice(value, len))};
}

static void request_add_base64(struct request_maker *maker, const char *name, const uint8_t *bytes,
                               size_t len)
{
    struct fm_buf text;
    fm_buf_init(&text, 128);
    fm_base64_encode(&text, fm_slice(bytes, len));
    if (text.failed)
        maker->arena->failed = true;
    else
        request_add(maker, name, text.ptr, text.len);
    fm_buf_fini(&text);
}

static void request_add_text(struct request_maker *maker, const char *name, const char *text)
{
    if (text[0])
        request_add(maker, name, text, strlen(text));
}

static void request_add_storage(struct request_maker *maker, const struct s3_storage *storage)
{
    request_add_text(maker, "x-amz-server-side-encryption", storage->sse);
    request_add_text(maker, "x-amz-server-side-encryption-aws-kms-key-id", storage->sse_kms_key_id);
    request_add_text(maker, "x-amz-storage-class", storage->storage_class);
    request_add_text(maker, "x-amz-tagging", storage->tagging);
}

static void request_add_headers(struct request_maker *maker, const struct s3_call *call,
                                const struct s3_credentials *credentials, const char *date)
{
    /* The hash of no bytes. */
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const struct s3_object *object = &call->object;
    bool has_body = call->verb == S3_PUT || call->verb == S3_MULTIPART_PART ||
                    call->verb == S3_MULTIPART_COMPLETE;
    if (has_body && object->md5)
        request_add_base64(maker, "content-md5", object->md5, 16);
    if (call->verb == S3_GET && object->etag.len)
        request_add(maker, "if-match", object->etag.ptr, object->etag.len);
    if (object->create_only && (call->verb == S3_PUT || call->verb == S3_MULTIPART_COMPLETE))
        request_add(maker, "if-none-match", "*", 1);
    if (call->verb == S3_GET && call->range_last) {
        char range[64];
        int len =
            snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)call->range_first,
                     (unsigned long long)call->range_last);
        request_add(maker, "range", range, (size_t)len);
    }
    if (has_body && object->crc32c && call->verb != S3_MULTIPART_COMPLETE)
        request_add_base64(maker, "x-amz-checksum-crc32c", object->crc32c, 4);
    char hex[64];
    if (!has_body) {
        memcpy(hex, empty, sizeof hex);
        request_add(maker, "x-amz-content-sha256", hex, sizeof hex);
    } else if (object->sha256) {
        fm_hex_encode(hex, fm_slice(object->sha256, 32));
        request_add(maker, "x-amz-content-sha256", hex, sizeof hex);
    } else {
        request_add(maker, "x-amz-content-sha256", "UNSIGNED-PAYLOAD", 16);
    }
    request_add(maker, "x-amz-date", date, S3_DATE_LEN);
    if (credentials && credentials->session_token.len)
        request_add(maker, "x-amz-security-token", credentials->session_token.ptr,
                    credentials->session_token.len);
    if (object->storage && (call->verb == S3_PUT || call->verb == S3_MULTIPART_BEGIN))
        request_add_storage(maker, object->storage);
    maker->request->content_length = has_body ? object->size : 0;
}

static void request_put_signed_names(struct fm_buf *buf, const struct s3_request *request)
{
    bool host_done = false;
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (!host_done && strcmp(request->headers[i].name, "host") > 0) {
            fm_buf_puts(buf, i ? ";host" : "host");
            host_done = true;
        }
        fm_buf_printf(buf, "%s%s", buf->len && buf->ptr[buf->len - 1] != '\n' ? ";" : "",
                      request->headers[i].name);
    }
}

/* path is the first path_len bytes of the target, the query what follows the '?'. */
static void request_put_canonical(struct fm_buf *buf, const struct s3_request *request,
                                  size_t path_len)
{
    fm_buf_printf(buf, "%s\n", request->method);
    fm_buf_put(buf, request->target.ptr, path_len);
    fm_buf_puts(buf, "\n");
    if (path_len < request->target.len)
        fm_buf_put(buf, request->target.ptr + path_len + 1, request->target.len - path_len - 1);
    fm_buf_puts(buf, "\n");
    bool host_done = false;
    struct fm_slice payload = {0};
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct s3_header *header = &request->headers[i];
        if (!host_done && strcmp(header->name, "host") > 0) {
            fm_buf_puts(buf, "host:");
            fm_buf_put_slice(buf, request->host);
            fm_buf_puts(buf, "\n");
            host_done = true;
        }
        fm_buf_printf(buf, "%s:", header->name);
        fm_buf_put_slice(buf, header->value);
        fm_buf_puts(buf, "\n");
        if (strcmp(header->name, "x-amz-content-sha256") == 0)
            payload = header->value;
    }
    fm_buf_puts(buf, "\n");
    request_put_signed_names(buf, request);
    fm_buf_puts(buf, "\n");
    fm_buf_put_slice(buf, payload);
}

static int request_authorize(struct request_maker *maker, const struct s3_endpoint *endpoint,
                             const struct s3_credentials *credentials, int64_t unix_s,
                             size_t path_len, const char *date)
{
    struct fm_buf canonical, value;
    fm_buf_init(&canonical, REQUEST_BYTES_MAX);
    fm_buf_init(&value, REQUEST_BYTES_MAX);
    request_put_canonical(&canonical, maker->request, path_len);
    char signature[65];
    int rc = canonical.failed ? FM_ENOMEM
                              : s3_sign(credentials, endpoint->region, "s3", unix_s,
                                        fm_buf_slice(&canonical), signature, NULL);
    if (rc == FM_OK) {
        fm_buf_puts(&value, "AWS4-HMAC-SHA256 Credential=");
        fm_buf_put_slice(&value, credentials->access_key);
        fm_buf_printf(&value, "/%.8s/%s/s3/aws4_request,SignedHeaders=", date, endpoint->region);
        struct fm_buf names;
        fm_buf_init(&names, 1024);
        request_put_signed_names(&names, maker->request);
        fm_buf_put_slice(&value, fm_buf_slice(&names));
        fm_buf_printf(&value, ",Signature=%s", signature);
        if (value.failed || names.failed)
            rc = FM_ENOMEM;
        else
            request_add(maker, "authorization", value.ptr, value.len);
        fm_buf_fini(&names);
    }
    fm_buf_fini(&value);
    fm_buf_fini(&canonical);
    return rc;
}

static bool request_can_stand_in_header(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 127)
            return false;
    return true;
}

static bool request_can_sign(const struct s3_credentials *credentials)
{
    return credentials->access_key.len && credentials->access_key.len <= 256 &&
           credentials->secret_key.len && credentials->secret_key.len <= 512 &&
           credentials->session_token.len <= FM_KIB(8) &&
           request_can_stand_in_header(credentials->access_key) &&
           request_can_stand_in_header(credentials->session_token);
}

static struct fm_slice request_host(const struct s3_endpoint *endpoint, struct fm_arena *arena)
{
    char name[S3_HOST_MAX], text[S3_HOST_MAX + 16];
    s3_endpoint_host(endpoint, name);
    bool is_v6 = strchr(name, ':');
    unsigned standard = strcmp(endpoint->scheme, "http") == 0 ? 80 : 443;
    int len = snprintf(text, sizeof text, "%s%s%s", is_v6 ? "[" : "", name, is_v6 ? "]" : "");
    if (endpoint->port != standard)
        len += snprintf(text + len, sizeof text - (size_t)len, ":%u", endpoint->port);
    return fm_slice_dup(arena, fm_slice(text, (size_t)len));
}

int s3_request_build(const struct s3_endpoint *endpoint, const struct s3_credentials *credentials,
                     const struct s3_call *call, int64_t unix_s, struct fm_arena *arena,
                     struct s3_request *ret_request)
{
    if (credentials && !request_can_sign(credentials))
        return FM_ECONFIG;
    struct fm_buf target;
    fm_buf_init(&target, REQUEST_BYTES_MAX);
    request_put_path(&target, endpoint, call);
    size_t path_len = target.len;
    fm_buf_puts(&target, "?");
    request_put_query(&target, endpoint, call);
    if (target.len == path_len + 1)
        target.len--;
    bool failed = target.failed;

    struct s3_request request = {.method = request_methods[call->verb]};
    request.host = request_host(endpoint, arena);
    if (!failed)
        request.target = fm_slice_dup(arena, fm_buf_slice(&target));
    fm_buf_fini(&target);
    if (failed)
        return FM_ELIMIT;
    char date[S3_DATE_LEN + 1];
    s3_date_print(unix_s, date);
    struct request_maker maker = {&request, arena};
    request_add_headers(&maker, call, credentials, date);
    if (fm_arena_failed(arena))
        return FM_ENOMEM;
    int rc = credentials ? request_authorize(&maker, endpoint, credentials, unix_s, path_len, date)
                         : FM_OK;
    if (rc < 0)
        return rc;
    if (fm_arena_failed(arena))
        return FM_ENOMEM;
    *ret_request = request;
    return FM_OK;
}

/* Text of an XML element; entity tags hold quotes and, from strange servers, anything. */
static void request_put_xml_text(struct fm_buf *body, struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '"':
            fm_buf_puts(body, "&quot;");
            break;
        case '&':
            fm_buf_puts(body, "&amp;");
            break;
        case '<':
            fm_buf_puts(body, "&lt;");
            break;
        case '>':
            fm_buf_puts(body, "&gt;");
            break;
        default:
            fm_buf_put_u8(body, text.ptr[i]);
        }
    }
}

void s3_complete_part(struct fm_buf *body, uint32_t number, struct fm_slice etag)
{
    if (body->len == 0)
        fm_buf_puts(body, "<CompleteMultipartUpload"
                          " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    fm_buf_printf(body, "<Part><PartNumber>%u</PartNumber><ETag>", number);
    request_put_xml_text(body, etag);
    fm_buf_puts(body, "</ETag></Part>");
}

void s3_complete_end(struct fm_buf *body)
{
    fm_buf_puts(body, "</CompleteMultipartUpload>");
}

#define TAG_COUNT_MAX 10
#define TAG_KEY_MAX   128
#define TAG_VALUE_MAX 256

int s3_storage_add_tag(struct s3_storage *storage, struct fm_slice key, struct fm_slice value,
                       struct fm_why *why)
{
    size_t count = storage->tagging[0] ? 1 : 0;
    for (const char *at = storage->tagging; *at; at++)
        count += *at == '&';
    if (key.len == 0 || key.len > TAG_KEY_MAX || value.len > TAG_VALUE_MAX)
        return fm_fail(why, FM_ECONFIG,
                       "a tag has a key of 1 to %d bytes and a value of at most %d", TAG_KEY_MAX,
                       TAG_VALUE_MAX);
    if (count == TAG_COUNT_MAX)
        return fm_fail(why, FM_ECONFIG, "an object has at most %d tags", TAG_COUNT_MAX);
    struct fm_buf text;
    fm_buf_init(&text, sizeof storage->tagging - 1);
    fm_buf_puts(&text, storage->tagging);
    fm_buf_puts(&text, count ? "&" : "");
    s3_uri_encode(&text, key, false);
    fm_buf_puts(&text, "=");
    s3_uri_encode(&text, value, false);
    bool fits = !text.failed;
    if (fits) {
        memcpy(storage->tagging, text.ptr, text.len);
        storage->tagging[text.len] = '\0';
    }
    fm_buf_fini(&text);
    return fits ? FM_OK : fm_fail(why, FM_ECONFIG, "the tags are too long");
}
