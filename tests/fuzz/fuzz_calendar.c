/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule is open or not, and changes ahead of now or never; a zone's offset is one of a zone.
 * Byte 0 chooses: even a schedule, odd a TZif file, 0xff a rule. */
#include "fermata/calendar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_schedule(struct fm_slice text)
{
    struct calendar *calendar = NULL;
    if (calendar_new(&calendar, text, NULL) < 0)
        return;
    int64_t now_s = INT64_C(1795000000);
    for (unsigned i = 0; i < 4 && now_s != CALENDAR_NEVER; i++) {
        bool is_open = calendar_is_open(calendar, NULL, now_s);
        int64_t next_s = calendar_next_change(calendar, NULL, now_s);
        FM_ASSERT(next_s > now_s);
        if (next_s != CALENDAR_NEVER) {
            FM_ASSERT(calendar_is_open(calendar, NULL, next_s) != is_open);
            FM_ASSERT(calendar_is_open(calendar, NULL, next_s - 1) == is_open);
        }
        now_s = next_s;
    }
    calendar_free(calendar);
}

static void fuzz_zone(const struct calendar_zone *zone)
{
    static const int64_t times[] = {INT64_MIN,           -1,       0, 1, INT64_C(1795000000),
                                    INT64_C(4000000000), INT64_MAX};
    struct calendar *calendar = NULL;
    for (size_t i = 0; i < FM_COUNT(times); i++) {
        int32_t offset_s = calendar_zone_offset_s(zone, times[i]);
        FM_ASSERT(offset_s >= -26 * 3600 && offset_s <= 26 * 3600);
    }
    if (calendar_new(&calendar, FM_SLICE("Mon..Fri 22:00..06:00"), NULL) < 0)
        return;
    FM_ASSERT(calendar_next_change(calendar, zone, INT64_C(1795000000)) > INT64_C(1795000000));
    calendar_free(calendar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct calendar_zone *zone = NULL;
    if (!size)
        return 0;
    struct fm_slice input = fm_slice(data + 1, size - 1);
    if (data[0] % 2 == 0)
        fuzz_schedule(input);
    else if ((data[0] == 0xff ? calendar_zone_new_rule(&zone, input, NULL)
                              : calendar_zone_new(&zone, input, NULL)) == FM_OK)
        fuzz_zone(zone);
    calendar_zone_free(zone);
    return 0;
}
