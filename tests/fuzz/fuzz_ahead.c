/* SPDX-License-Identifier: Apache-2.0 */
/* A list of what left ahead: what is read is written the same.  The sum of the input is made right,
 * so that what lies behind it is reached. */
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"
#include "fermata/store_outbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(struct fm_slice file)
{
    struct store_ahead ahead;
    struct fm_buf again;
    if (store_ahead_parse(file, &ahead) != FM_OK)
        return;
    FM_ASSERT(ahead.first_lsn <= ahead.last_lsn);
    fm_buf_init(&again, file.len + 1);
    store_ahead_render(&ahead, &again);
    FM_ASSERT(!again.failed && fm_slice_equal(fm_buf_slice(&again), file));
    fm_buf_fini(&again);
    free(ahead.traces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_check(fm_slice(data, size));
    if (size < 4)
        return 0;
    uint8_t *copy = malloc(size);
    FM_ASSERT(copy);
    memcpy(copy, data, size);
    fm_store_le32(copy + size - 4, fm_crc32c(0, fm_slice(copy, size - 4)));
    fuzz_check(fm_slice(copy, size));
    free(copy);
    return 0;
}
