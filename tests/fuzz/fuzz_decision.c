/* SPDX-License-Identifier: Apache-2.0 */
/* A decision file: what is read says of itself what a reader relies on, and is written the same.
 * The sum of the input is made right, so that what lies behind it is reached. */
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"
#include "fermata/store_decide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(struct fm_slice file)
{
    FM_AUTO(store_decision) decision = NULL;
    struct fm_buf again;
    struct fm_why why;
    uint64_t kept = 0, ahead = 0;
    if (store_decision_parse(file, &decision, &why) != FM_OK)
        return;
    bool is_part = decision->facts.verdict == STORE_PART;
    FM_ASSERT(is_part == (decision->kept != NULL) && is_part == (decision->ahead != NULL));
    for (uint64_t row = 0; is_part && row < decision->row_count; row++) {
        kept += store_row_has(decision->kept, row);
        ahead += store_row_has(decision->ahead, row);
    }
    FM_ASSERT(!is_part ||
              (kept == decision->facts.kept_traces && ahead == decision->facts.ahead_traces));
    fm_buf_init(&again, file.len + 1);
    store_decision_render(decision, &again);
    FM_ASSERT(!again.failed && fm_slice_equal(fm_buf_slice(&again), file));
    fm_buf_fini(&again);
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
