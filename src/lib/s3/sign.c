/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4: a canonical request in, a signature out. */
#include "internal.h"

#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/units.h"

void s3_date_print(int64_t unix_s, char ret_date[S3_DATE_LEN + 1])
{
    /* Years of four digits; a clock beyond them signs nothing that a server accepts anyway. */
    int64_t year_max = INT64_C(253402300799);
    struct fm_civil civil = fm_civil_from_unix(FM_MAX(0, FM_MIN(unix_s, year_max)), 0);
    char text[64];
    (void)snprintf(text, sizeof text, "%04d%02u%02uT%02u%02u%02uZ", (int)civil.year, civil.month,
                   civil.day, civil.hour, civil.minute, civil.second);
    memcpy(ret_date, text, S3_DATE_LEN);
    ret_date[S3_DATE_LEN] = '\0';
}

/* secret -> date -> region -> service -> "aws4_request" */
static void sign_key(const struct s3_credentials *credentials, const char *date, const char *region,
                     const char *service, struct fm_buf *scratch, uint8_t key[32])
{
    fm_buf_puts(scratch, "AWS4");
    fm_buf_put_slice(scratch, credentials->secret_key);
    if (scratch->failed)
        return;
    s3_hmac_sha256(fm_buf_slice(scratch), fm_slice(date, 8), key);
    s3_hmac_sha256(fm_slice(key, 32), fm_slice_text(region), key);
    s3_hmac_sha256(fm_slice(key, 32), fm_slice_text(service), key);
    s3_hmac_sha256(fm_slice(key, 32), FM_SLICE("aws4_request"), key);
}

int s3_sign(const struct s3_credentials *credentials, const char *region, const char *service,
            int64_t unix_s, struct fm_slice canonical_request, char ret_signature[65],
            struct fm_buf *string_to_sign)
{
    char date[S3_DATE_LEN + 1];
    s3_date_print(unix_s, date);
    uint8_t hash[32], key[32], mac[32];
    char hex[64];
    s3_sha256(canonical_request, hash);
    fm_hex_encode(hex, fm_slice(hash, sizeof hash));

    struct fm_buf text, scratch;
    fm_buf_init(&text, 1024);
    fm_buf_init(&scratch, 1024);
    fm_buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%.64s", date, date, region,
                  service, hex);
    sign_key(credentials, date, region, service, &scratch, key);
    bool failed = text.failed || scratch.failed;
    if (!failed) {
        s3_hmac_sha256(fm_slice(key, 32), fm_buf_slice(&text), mac);
        fm_hex_encode(ret_signature, fm_slice(mac, 32));
        ret_signature[64] = '\0';
        if (string_to_sign)
            fm_buf_put_slice(string_to_sign, fm_buf_slice(&text));
    }
    if (scratch.ptr)
        explicit_bzero(scratch.ptr, scratch.cap);
    explicit_bzero(key, sizeof key);
    fm_buf_fini(&scratch);
    fm_buf_fini(&text);
    return failed ? FM_ENOMEM : FM_OK;
}
