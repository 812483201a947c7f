/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json: whatever parses is rendered, and what was rendered parses to the same again. */
#include "fermata/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct block_meta meta, again;
    struct block_dedicated rooms[2][BLOCK_DEDICATED_MAX];
    struct fm_why why = {{0}};
    if (block_meta_parse_all(fm_slice(data, size), &meta, rooms[0], &why) != FM_OK)
        return 0;
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    block_meta_render(&meta, &text);
    FM_ASSERT(!text.failed);
    int rc = block_meta_parse_all(fm_buf_slice(&text), &again, rooms[1], &why);
    FM_ASSERT(rc == FM_OK);
    FM_ASSERT(again.trace_count == meta.trace_count && again.size_bytes == meta.size_bytes);
    FM_ASSERT(again.start_ns <= meta.start_ns);
    FM_ASSERT(again.dedicated_count == meta.dedicated_count);
    fm_buf_fini(&text);
    return 0;
}
