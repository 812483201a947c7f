/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Blob Storage: requests, the text that the shared key signs, blocks. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/units.h"

#define AZURE_VERSION      "2021-12-02"
#define AZURE_LIST_MAX     "500" /* each is described at length; an answer has 1 MiB at most */
#define AZURE_PARAMETERS   24    /* of a query; a shared access signature has about a dozen */
#define AZURE_DATE_LEN     29
#define AZURE_DIGITS_MAX   24
#define AZURE_BLOCK_ID_RAW 20

static void azure_date_print(int64_t unix_s, char ret_date[AZURE_DATE_LEN + 1])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct fm_civil civil = fm_civil_from_unix(unix_s, 0);
    int64_t day = (unix_s - (unix_s % 86400 + 86400) % 86400) / 86400; /* 0: a Thursday */
    char text[64];
    (void)snprintf(text, sizeof text, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                   days[((day + 4) % 7 + 7) % 7], civil.day, months[(civil.month + 11u) % 12],
                   (unsigned)civil.year % 10000, civil.hour, civil.minute, civil.second);
    memcpy(ret_date, text, AZURE_DATE_LEN);
    ret_date[AZURE_DATE_LEN] = '\0';
}

/* ---- the shared key ---- */

struct azure_parameter {
    struct fm_slice name, value; /* encoded */
};

static int azure_compare_parameters(const void *a, const void *b)
{
    const struct azure_parameter *first = a, *second = b;
    return fm_slice_compare(first->name, second->name);
}

static int azure_compare_headers(const void *a, const void *b)
{
    const struct s3_header *const *first = a, *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

static struct fm_slice azure_header(const struct s3_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return (struct fm_slice){0};
}

/* All x-ms- headers by name. */
static void azure_put_headers(const struct s3_request *request, struct fm_buf *text)
{
    const struct s3_header *sorted[S3_HEADER_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < request->header_count; i++)
        if (strncmp(request->headers[i].name, "x-ms-", 5) == 0)
            sorted[count++] = &request->headers[i];
    qsort(sorted, count, sizeof sorted[0], azure_compare_headers);
    for (size_t i = 0; i < count; i++) {
        fm_buf_puts(text, sorted[i]->name);
        fm_buf_put_u8(text, ':');
        fm_buf_put_slice(text, sorted[i]->value);
        fm_buf_put_u8(text, '\n');
    }
}

static void azure_put_decoded(struct fm_buf *text, struct fm_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.ptr[i];
        if (byte == '%' && i + 2 < value.len &&
            fm_hex_decode(&byte, 1, fm_slice(value.ptr + i + 1, 2)) == FM_OK)
            i += 2;
        fm_buf_put_u8(text, byte);
    }
}

/* The path as sent, behind the account, and the query's parameters by name, decoded. */
static int azure_put_resource(const struct cloud_place *place, struct fm_slice target,
                              struct fm_buf *text)
{
    struct azure_parameter parameters[AZURE_PARAMETERS];
    size_t count = 0;
    const uint8_t *mark = memchr(target.ptr, '?', target.len), *end = target.ptr + target.len;
    fm_buf_put_u8(text, '/');
    fm_buf_puts(text, place->account);
    fm_buf_put(text, target.ptr, (size_t)((mark ? mark : end) - target.ptr));
    for (const uint8_t *at = mark ? mark + 1 : end; at < end;) {
        const uint8_t *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop ? stop : end;
        const uint8_t *equals = memchr(at, '=', (size_t)(stop - at));
        if (!equals || count == FM_COUNT(parameters))
            return FM_EMALFORMED;
        parameters[count++] = (struct azure_parameter){
            fm_slice(at, (size_t)(equals - at)), fm_slice(equals + 1, (size_t)(stop - equals - 1))};
        at = stop + 1;
    }
    qsort(parameters, count, sizeof parameters[0], azure_compare_parameters);
    for (size_t i = 0; i < count; i++) {
        fm_buf_put_u8(text, '\n');
        fm_buf_put_slice(text, parameters[i].name);
        fm_buf_put_u8(text, ':');
        azure_put_decoded(text, parameters[i].value);
    }
    return FM_OK;
}

int cloud_azure_string_to_sign(const struct cloud_place *place, const struct s3_request *request,
                               struct fm_buf *text)
{
    static const char *const names[] = {"content-md5",         "content-type", "date",
                                        "if-modified-since",   "if-match",     "if-none-match",
                                        "if-unmodified-since", "range"};
    fm_buf_printf(text, "%s\n\n\n", request->method); /* content-encoding, content-language */
    if (request->content_length)
        fm_buf_printf(text, "%llu", (unsigned long long)request->content_length);
    fm_buf_put_u8(text, '\n');
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        fm_buf_put_slice(text, azure_header(request, names[i]));
        fm_buf_put_u8(text, '\n');
    }
    azure_put_headers(request, text);
    int rc = azure_put_resource(place, request->target, text);
    if (rc < 0)
        return rc;
    return text->failed ? FM_ENOMEM : FM_OK;
}

static int azure_sign(struct cloud_maker *maker, const struct cloud_place *place,
                      struct fm_slice key)
{
    uint8_t mac[32];
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(16));
    int rc = cloud_azure_string_to_sign(place, maker->request, &text);
    if (rc == FM_OK) {
        cloud_hmac_sha256(key, fm_buf_slice(&text), mac);
        fm_buf_reset(&text);
        fm_buf_printf(&text, "SharedKey %s:", place->account);
        fm_base64_encode(&text, fm_slice(mac, sizeof mac));
        rc = text.failed ? FM_ENOMEM : FM_OK;
    }
    if (rc == FM_OK)
        cloud_maker_header(maker, "authorization", fm_buf_slice(&text));
    fm_buf_fini(&text);
    return rc;
}

/* ---- requests ---- */

static const char *const azure_methods[] = {
    [CLOUD_PUT] = "PUT",   [CLOUD_HEAD] = "HEAD",  [CLOUD_GET] = "GET",      [CLOUD_LIST] = "GET",
    [CLOUD_BLOCK] = "PUT", [CLOUD_COMMIT] = "PUT", [CLOUD_PROGRESS] = "GET",
};

static void azure_put_path(struct cloud_maker *maker, const struct cloud_place *place,
                           const struct cloud_call *call)
{
    struct fm_buf name;
    fm_buf_put_u8(&maker->target, '/');
    cloud_percent_encode(&maker->target, fm_slice_text(place->bucket), false);
    if (call->verb == CLOUD_LIST)
        return;
    fm_buf_init(&name, FM_KIB(4));
    cloud_object_name(place, call, &name);
    fm_buf_put_u8(&maker->target, '/');
    cloud_percent_encode(&maker->target, fm_buf_slice(&name), true);
    maker->target.failed |= name.failed;
    fm_buf_fini(&name);
}

static void azure_put_query(struct cloud_maker *maker, const struct cloud_place *place,
                            const struct cloud_call *call)
{
    struct fm_buf name;
    switch (call->verb) {
    case CLOUD_BLOCK:
        cloud_maker_query(maker, "comp", FM_SLICE("block"));
        cloud_maker_query(maker, "blockid", call->block_id);
        return;
    case CLOUD_COMMIT:
        cloud_maker_query(maker, "comp", FM_SLICE("blocklist"));
        return;
    case CLOUD_PROGRESS:
        cloud_maker_query(maker, "blocklisttype", FM_SLICE("uncommitted"));
        cloud_maker_query(maker, "comp", FM_SLICE("blocklist"));
        return;
    case CLOUD_LIST:
        fm_buf_init(&name, FM_KIB(4));
        cloud_object_name(place, call, &name);
        cloud_maker_query(maker, "comp", FM_SLICE("list"));
        if (call->page.len)
            cloud_maker_query(maker, "marker", call->page);
        cloud_maker_query(maker, "maxresults", FM_SLICE(AZURE_LIST_MAX));
        cloud_maker_query(maker, "prefix", fm_buf_slice(&name));
        cloud_maker_query(maker, "restype", FM_SLICE("container"));
        maker->target.failed |= name.failed;
        fm_buf_fini(&name);
        return;
    default:
        return;
    }
}

static int azure_put_signature(struct cloud_maker *maker, struct fm_slice query)
{
    for (size_t i = 0; i < query.len; i++)
        if (query.ptr[i] <= ' ' || query.ptr[i] >= 127 || query.ptr[i] == '#')
            return FM_ECONFIG;
    if (query.len == 0)
        return FM_ECONFIG;
    fm_buf_put_u8(&maker->target, maker->has_query ? '&' : '?');
    fm_buf_put_slice(&maker->target, query);
    return FM_OK;
}

static void azure_add_headers(struct cloud_maker *maker, const struct cloud_call *call,
                              int64_t unix_s)
{
    char date[AZURE_DATE_LEN + 1];
    azure_date_print(unix_s, date);
    cloud_maker_header_text(maker, "x-ms-date", date);
    cloud_maker_header_text(maker, "x-ms-version", AZURE_VERSION);
    if (call->verb == CLOUD_PUT)
        cloud_maker_header_text(maker, "x-ms-blob-type", "BlockBlob");
    if (call->md5 && (call->verb == CLOUD_PUT || call->verb == CLOUD_BLOCK))
        cloud_maker_header_base64(maker, "content-md5", fm_slice(call->md5, 16));
    if (call->create_only && (call->verb == CLOUD_PUT || call->verb == CLOUD_COMMIT))
        cloud_maker_header_text(maker, "if-none-match", "*");
}

int cloud_azure_build(const struct cloud_place *place, const struct cloud_secret *secret,
                      const struct cloud_call *call, int64_t unix_s, struct fm_arena *arena,
                      struct s3_request *ret_request)
{
    struct s3_request request;
    struct cloud_maker maker;
    bool has_body =
        call->verb == CLOUD_PUT || call->verb == CLOUD_BLOCK || call->verb == CLOUD_COMMIT;
    FM_ASSERT(call->verb != CLOUD_BEGIN);
    cloud_maker_init(&maker, &request, arena, azure_methods[call->verb], &place->url);
    request.content_length = has_body ? call->length : 0;
    azure_put_path(&maker, place, call);
    azure_put_query(&maker, place, call);
    azure_add_headers(&maker, call, unix_s);
    int signature = secret->kind == CLOUD_SAS ? azure_put_signature(&maker, secret->bytes) : FM_OK;
    int rc = cloud_maker_end(&maker);
    if (rc == FM_OK)
        rc = signature;
    if (rc == FM_OK && secret->kind == CLOUD_BEARER)
        rc = cloud_maker_bearer(&maker, secret->bytes);
    if (rc == FM_OK && secret->kind == CLOUD_SHARED_KEY)
        rc = azure_sign(&maker, place, secret->bytes);
    if (rc == FM_OK && fm_arena_failed(arena))
        rc = FM_ENOMEM;
    if (rc == FM_OK)
        *ret_request = request;
    return rc;
}

/* ---- blocks ---- */

void cloud_block_id(uint32_t number, const uint8_t md5[16], char ret_id[CLOUD_BLOCK_ID_LEN + 1])
{
    uint8_t raw[AZURE_BLOCK_ID_RAW];
    struct fm_buf text;
    fm_store_be32(raw, number);
    memcpy(raw + 4, md5, 16);
    fm_buf_init(&text, CLOUD_BLOCK_ID_LEN + 4);
    fm_base64_encode(&text, fm_slice(raw, sizeof raw));
    ret_id[0] = '\0'; /* no memory: a name that nothing has */
    if (!text.failed && text.len == CLOUD_BLOCK_ID_LEN) {
        memcpy(ret_id, text.ptr, text.len);
        ret_id[text.len] = '\0';
    }
    fm_buf_fini(&text);
}

int cloud_block_id_parse(struct fm_slice id, uint32_t *ret_number)
{
    uint8_t raw[CLOUD_BLOCK_ID_LEN];
    size_t len = 0;
    if (id.len != CLOUD_BLOCK_ID_LEN || fm_base64_decode(raw, &len, id) != FM_OK ||
        len != AZURE_BLOCK_ID_RAW)
        return FM_EMALFORMED;
    *ret_number = fm_load_be32(raw);
    return FM_OK;
}

void cloud_commit_block(struct fm_buf *body, struct fm_slice id)
{
    if (body->len == 0)
        fm_buf_puts(body, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    fm_buf_puts(body, "<Latest>");
    fm_buf_put_slice(body, id); /* base64: nothing to escape */
    fm_buf_puts(body, "</Latest>");
}

void cloud_commit_end(struct fm_buf *body)
{
    fm_buf_puts(body, "</BlockList>");
}
