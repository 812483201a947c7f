/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and visiting must agree on whether a document is well-formed. */
#include "fermata/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_visit(void *self, struct fm_slice inner)
{
    const struct fm_slice *document = self;
    FM_ASSERT(inner.ptr >= document->ptr && inner.ptr + inner.len <= document->ptr + document->len);
    return FM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"Error/Code", "a", "a/b", "a/b/c", ""};
    struct fm_slice document = fm_slice(data, size);

    for (size_t i = 0; i < FM_COUNT(paths); i++) {
        struct fm_buf text;
        fm_buf_init(&text, FM_MIB(2));
        int found = xml_find(document, paths[i], &text);
        int each = xml_each(document, paths[i], fuzz_visit, &document);
        FM_ASSERT((found < 0 ? found : FM_OK) == each);
        fm_buf_fini(&text);
    }
    return 0;
}
