/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and answers of recall as a bucket may hold them: refused, or the same again when written
 * and read once more. */
#include <stdlib.h>
#include <string.h>

#include "fermata/recall.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(struct fm_slice json)
{
    struct recall_request *request, *again;
    struct fm_buf text;
    if (recall_request_parse(json, &request, NULL) < 0)
        return;
    FM_ASSERT(tenant_is_valid(fm_slice_text(request->tenant)));
    FM_ASSERT(!request->query != !request->id_count);
    fm_buf_init(&text, FM_MIB(4));
    recall_request_render(request, &text);
    FM_ASSERT(recall_request_parse(fm_buf_slice(&text), &again, NULL) == FM_OK);
    FM_ASSERT(strcmp(again->id, request->id) == 0 && again->id_count == request->id_count);
    FM_ASSERT(!request->id_count ||
              memcmp(again->ids, request->ids, request->id_count * sizeof *request->ids) == 0);
    fm_buf_fini(&text);
    (void)recall_request_free(request);
    (void)recall_request_free(again);
}

static void check_answer(struct fm_slice json)
{
    struct recall_answer answer, again;
    struct fm_buf text;
    if (recall_answer_parse(json, &answer) < 0)
        return;
    fm_buf_init(&text, FM_MIB(1));
    recall_answer_render(&answer, &text);
    /* What was no UTF-8 is mended and may be longer than it was. */
    if (recall_answer_parse(fm_buf_slice(&text), &again) == FM_OK)
        FM_ASSERT(again.state == answer.state && again.spans == answer.spans);
    fm_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_request(fm_slice(data, size));
    check_answer(fm_slice(data, size));
    return 0;
}
