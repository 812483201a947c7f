/* SPDX-License-Identifier: Apache-2.0 */
/* What parses prints, and what is printed parses to the same value. */
#include "fermata/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_round_trip(struct fm_slice text, int (*parse)(struct fm_slice, uint64_t *),
                            void (*print)(struct fm_buf *, uint64_t))
{
    struct fm_buf printed;
    uint64_t value, again;

    if (parse(text, &value) < 0)
        return;
    fm_buf_init(&printed, 1000);
    print(&printed, value);
    FM_ASSERT(parse(fm_buf_slice(&printed), &again) == FM_OK && again == value);
    fm_buf_fini(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice text = fm_slice(data, size);
    struct fm_buf printed;
    int64_t unix_s;
    uint64_t value;

    fuzz_round_trip(text, fm_duration_parse, fm_duration_print);
    fuzz_round_trip(text, fm_bytes_parse, fm_bytes_print);
    fuzz_round_trip(text, fm_rate_parse, fm_rate_print);
    fuzz_round_trip(text, fm_rfc3339_parse, fm_rfc3339_print);
    if (fm_http_date_parse(text, &unix_s) == FM_OK) {
        struct fm_civil civil = fm_civil_from_unix(unix_s, 0);
        FM_ASSERT(fm_civil_to_unix(&civil) == unix_s);
    }
    if (size >= sizeof value) {
        memcpy(&value, data, sizeof value);
        fm_buf_init(&printed, 1000);
        fm_bytes_print_short(&printed, value);
        fm_rfc3339_print(&printed, value);
        FM_ASSERT(!printed.failed);
        fm_buf_fini(&printed);
    }
    return 0;
}
