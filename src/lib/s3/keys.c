/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as others hand them out.  What is read goes into one block of fixed size: nothing secret is
 * left behind by a buffer that grew. */
#include "fermata/s3_keys.h"

#include "fermata/json.h"
#include "fermata/units.h"
#include "fermata/xml.h"
#include "internal.h"

#define SCRATCH_BYTES_MAX FM_KIB(32)

void s3_keys_wipe(struct s3_keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

struct s3_credentials s3_keys_borrow(const struct s3_keys *keys)
{
    return (struct s3_credentials){fm_slice_text(keys->access_key), fm_slice_text(keys->secret_key),
                                   fm_slice_text(keys->session_token)};
}

/* ---- texts ---- */

static struct fm_slice keys_trim(struct fm_slice text)
{
    while (text.len && text.ptr[0] <= ' ')
        text = fm_slice(text.ptr + 1, text.len - 1);
    while (text.len && text.ptr[text.len - 1] <= ' ')
        text.len--;
    return text;
}

/* Printable ASCII; without blanks where it goes into a header.  A secret only goes into a hash that
 * the other side makes of the same, and people have put blanks in there. */
static bool keys_copy(char *target, size_t size, struct fm_slice text, bool may_have_blanks)
{
    text = keys_trim(text);
    if (text.len >= size)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' + !may_have_blanks || text.ptr[i] >= 127)
            return false;
    if (text.len)
        memcpy(target, text.ptr, text.len);
    target[text.len] = '\0';
    return true;
}

int s3_keys_set(struct s3_keys *keys, struct fm_slice access_key, struct fm_slice secret_key,
                struct fm_slice session_token, struct fm_why *why)
{
    if (!keys_copy(keys->access_key, sizeof keys->access_key, access_key, false) ||
        !keys->access_key[0])
        return fm_fail(why, FM_EMALFORMED, "the access key is empty, too long or not printable");
    if (!keys_copy(keys->secret_key, sizeof keys->secret_key, secret_key, true) ||
        !keys->secret_key[0])
        return fm_fail(why, FM_EMALFORMED, "the secret key is empty, too long or not printable");
    if (!keys_copy(keys->session_token, sizeof keys->session_token, session_token, false))
        return fm_fail(why, FM_EMALFORMED, "the session token is too long or not printable");
    return FM_OK;
}

static int keys_set_expiry(struct s3_keys *keys, struct fm_slice text, struct fm_why *why)
{
    uint64_t unix_ns;
    keys->expires_unix_s = 0;
    if (text.len == 0)
        return FM_OK;
    if (fm_rfc3339_parse(text, &unix_ns) != FM_OK)
        return fm_fail(why, FM_EMALFORMED, "the time of expiration is malformed");
    keys->expires_unix_s = FM_MAX((int64_t)(unix_ns / FM_NS_PER_S), 1);
    return FM_OK;
}

/* What somebody else says about a failure, as far as it can stand in a log. */
static void keys_put_remark(char *target, size_t size, struct fm_slice text)
{
    size_t len = FM_MIN(text.len, size - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text.ptr[i];
        target[i] = (char)(c >= ' ' && c < 127 && c != '"' ? c : '?');
    }
    target[len] = '\0';
}

static int keys_fail_remote(struct fm_slice code, struct fm_slice message, struct fm_why *why)
{
    char code_text[64], message_text[192];
    keys_put_remark(code_text, sizeof code_text, code);
    keys_put_remark(message_text, sizeof message_text, message);
    return fm_fail(why, FM_EDENIED, "%s%s%s", code_text, message_text[0] ? ": " : "", message_text);
}

/* ---- a shared file ---- */

struct profile_found {
    struct fm_slice access_key, secret_key, session_token;
};

static struct fm_slice profile_take_line(struct fm_slice *text)
{
    const uint8_t *end = memchr(text->ptr, '\n', text->len);
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    struct fm_slice line = fm_slice(text->ptr, len);
    size_t used = end ? len + 1 : len;
    *text = fm_slice(text->ptr + used, text->len - used);
    return line;
}

/* "[name]", or "[profile name]" as the other file of that folder has it. */
static bool profile_is_named(struct fm_slice line, const char *profile)
{
    static const char word[] = "profile";
    const uint8_t *end = memchr(line.ptr, ']', line.len);
    if (!end)
        return false;
    struct fm_slice name = keys_trim(fm_slice(line.ptr + 1, (size_t)(end - line.ptr - 1)));
    if (fm_slice_equal_text(name, profile))
        return true;
    size_t len = sizeof word - 1;
    return name.len > len && memcmp(name.ptr, word, len) == 0 && name.ptr[len] <= ' ' &&
           fm_slice_equal_text(keys_trim(fm_slice(name.ptr + len, name.len - len)), profile);
}

static void profile_read_setting(struct fm_slice line, struct profile_found *found)
{
    const uint8_t *equals = memchr(line.ptr, '=', line.len);
    if (!equals)
        return;
    struct fm_slice name = keys_trim(fm_slice(line.ptr, (size_t)(equals - line.ptr)));
    struct fm_slice value =
        keys_trim(fm_slice(equals + 1, line.len - (size_t)(equals - line.ptr) - 1));
    if (fm_slice_equal_nocase(name, "aws_access_key_id"))
        found->access_key = value;
    else if (fm_slice_equal_nocase(name, "aws_secret_access_key"))
        found->secret_key = value;
    else if (fm_slice_equal_nocase(name, "aws_session_token") ||
             fm_slice_equal_nocase(name, "aws_security_token"))
        found->session_token = value;
}

int s3_keys_read_profile(struct fm_slice text, const char *profile, struct s3_keys *ret_keys,
                         struct fm_why *why)
{
    struct profile_found found = {0};
    bool is_ours = false;
    while (text.len) {
        struct fm_slice line = profile_take_line(&text);
        if (line.len == 0 || line.ptr[0] <= ' ' || line.ptr[0] == '#' || line.ptr[0] == ';')
            continue; /* indented lines belong to a setting that we do not know */
        if (line.ptr[0] == '[')
            is_ours = profile_is_named(line, profile);
        else if (is_ours)
            profile_read_setting(line, &found);
    }
    if (!found.access_key.len && !found.secret_key.len)
        return FM_NONE;
    int rc = s3_keys_set(ret_keys, found.access_key, found.secret_key, found.session_token, why);
    ret_keys->expires_unix_s = 0;
    return rc;
}

/* ---- JSON ---- */

struct json_found {
    struct fm_slice access_key, secret_key, session_token, expiration, code, message;
};

static struct fm_slice *json_slot(struct json_found *found, struct fm_slice key)
{
    const struct {
        const char *name;
        struct fm_slice *slot;
    } rows[] = {
        {"AccessKeyId", &found->access_key},
        {"SecretAccessKey", &found->secret_key},
        {"Token", &found->session_token},
        {"Expiration", &found->expiration},
        {"Code", &found->code},
        {"code", &found->code},
        {"Message", &found->message},
        {"message", &found->message},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        if (fm_slice_equal_text(key, rows[i].name))
            return rows[i].slot;
    return NULL;
}

static int json_collect(struct json_reader *reader, struct json_found *found)
{
    struct json_token key, value;
    int rc = json_next(reader, &key);
    if (rc != FM_OK || key.kind != JSON_OBJECT_BEGIN)
        return FM_EMALFORMED;
    while ((rc = json_next(reader, &key)) == FM_OK && key.kind == JSON_KEY) {
        rc = json_next(reader, &value);
        if (rc != FM_OK)
            return FM_EMALFORMED;
        struct fm_slice *slot = json_slot(found, key.text);
        if (slot && value.kind == JSON_STRING)
            *slot = value.text;
        else if (json_skip(reader, &value) != FM_OK)
            return FM_EMALFORMED;
    }
    if (rc != FM_OK || json_next(reader, &key) != FM_END)
        return FM_EMALFORMED;
    return FM_OK;
}

/* A text with escapes in it was made plain outside of the document. */
static void json_wipe_copy(struct fm_slice document, struct fm_slice text)
{
    bool is_copy = text.ptr < document.ptr || text.ptr >= document.ptr + document.len;
    if (text.len && is_copy)
        explicit_bzero((void *)(uintptr_t)text.ptr, text.len);
}

int s3_keys_read_json(struct fm_slice text, struct s3_keys *ret_keys, struct fm_why *why)
{
    struct json_reader reader;
    struct json_found found = {0};
    struct fm_arena scratch;
    fm_arena_init(&scratch, SCRATCH_BYTES_MAX);
    json_reader_init(&reader, text, &scratch);
    int rc = json_collect(&reader, &found);
    if (rc != FM_OK)
        rc = fm_fail(why, rc, "the answer is not JSON, or not an object");
    else if (found.code.len && !fm_slice_equal_text(found.code, "Success"))
        rc = keys_fail_remote(found.code, found.message, why);
    else
        rc = s3_keys_set(ret_keys, found.access_key, found.secret_key, found.session_token, why);
    if (rc == FM_OK)
        rc = keys_set_expiry(ret_keys, found.expiration, why);
    json_wipe_copy(text, found.secret_key);
    json_wipe_copy(text, found.session_token);
    fm_arena_fini(&scratch);
    return rc;
}

/* ---- the token service ---- */

void s3_sts_put_form(struct fm_buf *form, struct fm_slice role, struct fm_slice session,
                     struct fm_slice token)
{
    fm_buf_puts(form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    s3_uri_encode(form, role, false);
    fm_buf_puts(form, "&RoleSessionName=");
    s3_uri_encode(form, session, false);
    fm_buf_puts(form, "&WebIdentityToken=");
    s3_uri_encode(form, token, false);
}

static struct fm_slice sts_find(struct fm_slice text, const char *path, struct fm_buf *target)
{
    fm_buf_reset(target);
    return xml_find(text, path, target) == FM_OK ? fm_buf_slice(target) : (struct fm_slice){0};
}

#define STS_KEYS "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"

int s3_keys_read_sts(struct fm_slice text, struct s3_keys *ret_keys, struct fm_why *why)
{
    enum { ACCESS, SECRET, TOKEN, EXPIRATION, COUNT };
    static const char *const paths[COUNT] = {STS_KEYS "AccessKeyId", STS_KEYS "SecretAccessKey",
                                             STS_KEYS "SessionToken", STS_KEYS "Expiration"};
    struct fm_buf texts[COUNT];
    struct fm_slice found[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        fm_buf_init(&texts[i], S3_SESSION_TOKEN_MAX + 64);
        (void)fm_buf_room(&texts[i], S3_SESSION_TOKEN_MAX + 64); /* so that it never moves */
        found[i] = sts_find(text, paths[i], &texts[i]);
    }
    struct fm_slice code = sts_find(text, "ErrorResponse/Error/Code", &texts[ACCESS]);
    int rc;
    if (code.len) {
        rc = keys_fail_remote(code, sts_find(text, "ErrorResponse/Error/Message", &texts[SECRET]),
                              why);
    } else {
        found[ACCESS] = sts_find(text, paths[ACCESS], &texts[ACCESS]);
        rc = s3_keys_set(ret_keys, found[ACCESS], found[SECRET], found[TOKEN], why);
    }
    if (rc == FM_OK)
        rc = keys_set_expiry(ret_keys, found[EXPIRATION], why);
    for (size_t i = 0; i < COUNT; i++) {
        if (texts[i].ptr)
            explicit_bzero(texts[i].ptr, texts[i].cap);
        fm_buf_fini(&texts[i]);
    }
    return rc;
}
