/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as others hand them out: a shared file, JSON, XML; and URLs. */
#include <stddef.h>
#include <stdint.h>

#include "fermata/s3_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(int rc, const struct s3_keys *keys)
{
    FM_ASSERT(memchr(keys->access_key, '\0', sizeof keys->access_key));
    FM_ASSERT(memchr(keys->secret_key, '\0', sizeof keys->secret_key));
    FM_ASSERT(memchr(keys->session_token, '\0', sizeof keys->session_token));
    if (rc != FM_OK)
        return;
    FM_ASSERT(keys->access_key[0] && keys->secret_key[0]);
    for (const char *at = keys->session_token; *at; at++)
        FM_ASSERT(*at > ' ' && *at < 127); /* it goes into a header */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice text = fm_slice(data, size);
    struct s3_keys keys = {0};
    struct fm_why why = {""};
    struct s3_url url;
    fuzz_check(s3_keys_read_profile(text, "default", &keys, &why), &keys);
    s3_keys_wipe(&keys);
    fuzz_check(s3_keys_read_json(text, &keys, &why), &keys);
    s3_keys_wipe(&keys);
    fuzz_check(s3_keys_read_sts(text, &keys, &why), &keys);
    FM_ASSERT(memchr(why.text, '\0', sizeof why.text));
    if (s3_url_parse(text, &url, NULL) == FM_OK) {
        FM_ASSERT(url.host[0] && url.port && url.target[0] == '/');
        FM_ASSERT(memchr(url.target, '\0', sizeof url.target));
    }
    return 0;
}
