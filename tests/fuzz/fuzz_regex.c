/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern and a text, parted by a line feed.  The answer must not depend on how much memory for
 * states there is. */
#include "fermata/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_match(struct fm_slice pattern, struct fm_slice text, uint32_t cache_bytes)
{
    struct regex_limits limits = regex_limits_default;
    struct regex *regex;
    struct regex_matcher *matcher;
    struct fm_why why;
    int answer = -1;
    limits.cache_bytes_max = cache_bytes;
    if (regex_new(&regex, pattern, &limits, &why) != FM_OK)
        return answer;
    if (regex_matcher_new(&matcher, regex) == FM_OK) {
        answer = regex_match(matcher, text);
        FM_ASSERT(answer == (int)regex_match(matcher, text));
        (void)regex_matcher_free(matcher);
    }
    (void)regex_free(regex);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    struct fm_slice pattern = fm_slice(data, end ? (size_t)(end - data) : size);
    struct fm_slice text = end ? fm_slice(end + 1, size - pattern.len - 1) : fm_slice(data, 0);
    int plenty = fuzz_match(pattern, text, 1 << 20);
    int little = fuzz_match(pattern, text, 3000);
    FM_ASSERT(plenty < 0 || little < 0 || plenty == little);
    return 0;
}
