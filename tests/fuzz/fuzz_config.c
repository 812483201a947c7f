/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as fermata.ini: no crash; what loads prints, and its print loads and prints alike. */
#include <stdlib.h>

#include "fermata/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FM_AUTO(config) config = NULL;
    FM_AUTO(config) again = NULL;
    struct fm_buf messages, first, second;

    fm_buf_init(&messages, FM_MIB(4));
    fm_buf_init(&first, FM_MIB(4));
    fm_buf_init(&second, FM_MIB(4));
    int rc = config_load_text(&config, "fuzz.ini", fm_slice(data, size), &messages);
    if ((rc == FM_OK) != (messages.len == 0))
        abort();
    if (rc == FM_OK) {
        config_put_effective(config, &first);
        /* A line may have become too long with its key, or a list joined; then it is refused. */
        if (config_load_text(&again, "again.ini", fm_buf_slice(&first), &messages) == FM_OK) {
            config_put_effective(again, &second);
            if (!fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)))
                abort();
        }
    }
    fm_buf_fini(&messages);
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    return 0;
}
