/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: how each identity asks for one, what the answer holds; a service account's assertion. */
#include "internal.h"

#include "fermata/bytes.h"

#define TOKEN_BODY_MAX     FM_KIB(16)
#define TOKEN_LIFETIME_MAX (30 * 86400) /* nobody's lives longer */
#define ASSERTION_LIFE_S   3600
#define STORAGE_SCOPE      "https://storage.azure.com/.default"
#define STORAGE_RESOURCE   "https://storage.azure.com/"
#define GOOGLE_TOKEN_URI   "https://oauth2.googleapis.com/token"

/* ---- asking ---- */

static void token_put_field(struct fm_buf *body, const char *name, struct fm_slice value)
{
    if (body->len)
        fm_buf_put_u8(body, '&');
    fm_buf_puts(body, name);
    fm_buf_put_u8(body, '=');
    cloud_percent_encode(body, value, false);
}

static void token_put_body(const struct cloud_token_ask *ask, struct fm_buf *body)
{
    if (ask->auth == CLOUD_AUTH_WORKLOAD) {
        token_put_field(body, "client_id", fm_slice_text(ask->client_id));
        token_put_field(body, "scope", FM_SLICE(STORAGE_SCOPE));
        token_put_field(body, "client_assertion_type",
                        FM_SLICE("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        token_put_field(body, "client_assertion", ask->assertion);
        token_put_field(body, "grant_type", FM_SLICE("client_credentials"));
    } else if (ask->auth == CLOUD_AUTH_SERVICE_ACCOUNT) {
        token_put_field(body, "grant_type",
                        FM_SLICE("urn:ietf:params:oauth:grant-type:jwt-bearer"));
        token_put_field(body, "assertion", ask->assertion);
    }
}

static void token_put_target(struct cloud_maker *maker, const struct cloud_token_ask *ask)
{
    switch (ask->auth) {
    case CLOUD_AUTH_WORKLOAD:
        fm_buf_put_u8(&maker->target, '/');
        cloud_percent_encode(&maker->target, fm_slice_text(ask->tenant_id), false);
        fm_buf_puts(&maker->target, "/oauth2/v2.0/token");
        return;
    case CLOUD_AUTH_MANAGED:
        fm_buf_puts(&maker->target, "/metadata/identity/oauth2/token");
        cloud_maker_query(maker, "api-version", FM_SLICE("2018-02-01"));
        cloud_maker_query(maker, "resource", FM_SLICE(STORAGE_RESOURCE));
        if (ask->client_id && ask->client_id[0])
            cloud_maker_query(maker, "client_id", fm_slice_text(ask->client_id));
        cloud_maker_header_text(maker, "metadata", "true");
        return;
    case CLOUD_AUTH_METADATA:
        fm_buf_puts(&maker->target, "/computeMetadata/v1/instance/service-accounts/default/token");
        cloud_maker_header_text(maker, "metadata-flavor", "Google");
        return;
    default:
        if (maker->target.len == 0)
            fm_buf_put_u8(&maker->target, '/');
    }
}

int cloud_token_request(const struct cloud_token_ask *ask, struct fm_arena *arena,
                        struct s3_request *ret_request, struct fm_slice *ret_body)
{
    struct s3_request request;
    struct cloud_maker maker;
    struct fm_buf body;
    bool posts = ask->auth == CLOUD_AUTH_WORKLOAD || ask->auth == CLOUD_AUTH_SERVICE_ACCOUNT;
    fm_buf_init(&body, TOKEN_BODY_MAX);
    token_put_body(ask, &body);
    cloud_maker_init(&maker, &request, arena, posts ? "POST" : "GET", ask->url);
    token_put_target(&maker, ask);
    cloud_maker_header_text(&maker, "accept", "application/json");
    if (posts)
        cloud_maker_header_text(&maker, "content-type", "application/x-www-form-urlencoded");
    request.content_length = body.len;
    struct fm_slice text = fm_slice_dup(arena, fm_buf_slice(&body));
    int rc = cloud_maker_end(&maker);
    if (rc == FM_OK && body.failed)
        rc = FM_ELIMIT;
    if (body.ptr)
        explicit_bzero(body.ptr, body.cap);
    fm_buf_fini(&body);
    if (rc == FM_OK) {
        *ret_request = request;
        *ret_body = text;
    }
    return rc;
}

/* ---- the answer ---- */

static bool token_is_usable(struct fm_slice token)
{
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= ' ' || token.ptr[i] >= 127)
            return false;
    return token.len > 0 && token.len <= CLOUD_TOKEN_MAX;
}

static int token_read_members(struct fm_slice body, struct fm_arena *arena,
                              struct cloud_token *token)
{
    struct json_reader reader;
    struct fm_slice key;
    struct json_token value;
    int rc = cloud_json_open(&reader, body, arena);
    if (rc < 0)
        return rc;
    while ((rc = cloud_json_member(&reader, &key, &value)) == FM_OK) {
        uint64_t number;
        if (value.kind == JSON_STRING && fm_slice_equal_text(key, "access_token"))
            token->token = value.text;
        else if (fm_slice_equal_text(key, "expires_in") && json_u64(&value, &number) == FM_OK)
            token->lifetime_s = FM_MIN(number, TOKEN_LIFETIME_MAX);
        else if (value.kind == JSON_STRING && fm_slice_equal_text(key, "error"))
            cloud_copy_text(token->code, sizeof token->code, value.text);
        else if (value.kind == JSON_STRING && fm_slice_equal_text(key, "error_description"))
            cloud_copy_text(token->message, sizeof token->message, value.text);
        rc = json_skip(&reader, &value);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static enum s3_outcome token_classify(int status)
{
    if (status == 429 || status == 503)
        return S3_SLOW_DOWN;
    /* 404 and 410: a metadata service that is not up yet says so. */
    if (status < 200 || status == 404 || status == 408 || status == 410 || status >= 500)
        return S3_TRANSIENT;
    if (status == 400 || status == 401 || status == 403)
        return S3_AUTH;
    return S3_REFUSED;
}

void cloud_token_read(const struct s3_response_view *response, struct fm_arena *arena,
                      struct cloud_token *ret_token)
{
    struct cloud_token token = {0};
    if (response->status >= 200)
        for (uint32_t i = 0; i < response->header_count; i++)
            cloud_read_header(&response->headers[i], &token.date_unix_s, &token.retry_after_s);
    int rc = token_read_members(response->body, arena, &token);
    if (response->status == 200) {
        bool good = rc == FM_OK && token_is_usable(token.token) && token.lifetime_s > 0;
        token.outcome = good ? S3_DONE : S3_TRANSIENT;
        if (!good)
            cloud_copy_text(token.message, sizeof token.message,
                            FM_SLICE("the answer holds no token"));
    } else {
        token.outcome = token_classify(response->status);
    }
    if (token.outcome != S3_DONE)
        token.token = (struct fm_slice){0};
    *ret_token = token;
}

/* ---- a service account ---- */

int cloud_account_read(struct fm_slice text, struct fm_arena *arena,
                       struct cloud_account *ret_account, struct fm_why *why)
{
    struct cloud_account account = {.token_uri = FM_SLICE(GOOGLE_TOKEN_URI)};
    struct json_reader reader;
    struct fm_slice key, pem = {0};
    struct json_token value;
    int rc = cloud_json_open(&reader, text, arena);
    while (rc == FM_OK && (rc = cloud_json_member(&reader, &key, &value)) == FM_OK) {
        if (value.kind == JSON_STRING && fm_slice_equal_text(key, "client_email"))
            account.email = value.text;
        else if (value.kind == JSON_STRING && fm_slice_equal_text(key, "private_key_id"))
            account.key_id = value.text;
        else if (value.kind == JSON_STRING && fm_slice_equal_text(key, "private_key"))
            pem = value.text;
        else if (value.kind == JSON_STRING && fm_slice_equal_text(key, "token_uri"))
            account.token_uri = value.text;
        rc = json_skip(&reader, &value);
    }
    if (rc == FM_ENOMEM)
        return rc;
    if (rc < 0)
        return fm_fail(why, FM_ECONFIG, "not the JSON of a service account");
    if (!account.email.len || !pem.len)
        return fm_fail(why, FM_ECONFIG, "client_email or private_key is missing");
    uint8_t *copy = fm_arena_alloc(arena, pem.len + 1);
    if (!copy)
        return FM_ENOMEM;
    memcpy(copy, pem.ptr, pem.len);
    copy[pem.len] = '\0';
    account.key_pem = fm_slice(copy, pem.len);
    /* What was unescaped lies in the arena: one copy of a key is enough. */
    if (pem.ptr < text.ptr || pem.ptr >= text.ptr + text.len)
        explicit_bzero((void *)(uintptr_t)pem.ptr, pem.len);
    *ret_account = account;
    return FM_OK;
}

void cloud_account_wipe(struct cloud_account *account)
{
    if (account->key_pem.len)
        explicit_bzero((void *)(uintptr_t)account->key_pem.ptr, account->key_pem.len);
    *account = (struct cloud_account){0};
}

/* The alphabet of URLs, without padding (RFC 7515). */
static void token_put_base64url(struct fm_buf *buf, struct fm_slice bytes)
{
    size_t begin = buf->len;
    fm_base64_encode(buf, bytes);
    if (buf->failed)
        return;
    while (buf->len > begin && buf->ptr[buf->len - 1] == '=')
        buf->len--;
    for (size_t i = begin; i < buf->len; i++) {
        if (buf->ptr[i] == '+')
            buf->ptr[i] = '-';
        else if (buf->ptr[i] == '/')
            buf->ptr[i] = '_';
    }
}

static void token_put_header(const struct cloud_account *account, struct fm_buf *text)
{
    struct json_writer json;
    json_writer_init(&json, text);
    json_object_begin(&json);
    json_key(&json, "alg");
    json_text(&json, "RS256");
    json_key(&json, "typ");
    json_text(&json, "JWT");
    if (account->key_id.len) {
        json_key(&json, "kid");
        json_string(&json, account->key_id);
    }
    json_object_end(&json);
}

static void token_put_claims(const struct cloud_account *account, const char *scope, int64_t unix_s,
                             struct fm_buf *text)
{
    struct json_writer json;
    json_writer_init(&json, text);
    json_object_begin(&json);
    json_key(&json, "iss");
    json_string(&json, account->email);
    json_key(&json, "scope");
    json_text(&json, scope);
    json_key(&json, "aud");
    json_string(&json, account->token_uri);
    json_key(&json, "iat");
    json_int(&json, unix_s);
    json_key(&json, "exp");
    json_int(&json, unix_s + ASSERTION_LIFE_S);
    json_object_end(&json);
}

int cloud_assertion_put(const struct cloud_account *account, const char *scope, int64_t unix_s,
                        cloud_random *random, void *random_self, struct fm_buf *jwt,
                        struct fm_why *why)
{
    struct fm_buf text;
    size_t begin = jwt->len;
    fm_buf_init(&text, FM_KIB(8));
    token_put_header(account, &text);
    token_put_base64url(jwt, fm_buf_slice(&text));
    fm_buf_put_u8(jwt, '.');
    bool failed = text.failed;
    fm_buf_reset(&text);
    token_put_claims(account, scope, unix_s, &text);
    token_put_base64url(jwt, fm_buf_slice(&text));
    failed |= text.failed || jwt->failed;
    fm_buf_reset(&text);
    int rc = failed
                 ? FM_ENOMEM
                 : cloud_rs256_sign(account->key_pem, fm_slice(jwt->ptr + begin, jwt->len - begin),
                                    random, random_self, &text, why);
    if (rc == FM_OK) {
        fm_buf_put_u8(jwt, '.');
        token_put_base64url(jwt, fm_buf_slice(&text));
        rc = jwt->failed ? FM_ENOMEM : FM_OK;
    }
    fm_buf_fini(&text);
    return rc;
}
