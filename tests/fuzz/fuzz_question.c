/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of the query API: the first byte says which and whether it is a URL, the rest is it.
 * What is taken has its texts inside the question's own memory, and its numbers within limits. */
#include <stdlib.h>

#include "../../src/daemon/api/question.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t now_ns = UINT64_C(1795221200000000000);
    struct question question;
    struct fm_why why = {""};
    if (!size)
        return 0;
    struct fm_slice input = fm_slice(data + 1, size - 1);
    bool is_url = data[0] & 0x80;
    question_init(&question, (data[0] & 0x7f) % QUESTION_FORMS);
    int rc = is_url ? question_read_url(&question, input, input, now_ns, &why)
                    : question_read_pb(&question, input, now_ns, &why);
    if (rc == FM_OK) {
        const struct query_ask *ask = &question.ask;
        FM_ASSERT(ask->spss <= QUESTION_SPSS_MAX);
        FM_ASSERT(ask->kind != QUERY_SEARCH || (ask->limit && ask->limit <= QUESTION_LIMIT_MAX));
        FM_ASSERT(ask->start_ns <= ask->end_ns);
        FM_ASSERT(ask->series.exemplars_max <= QUESTION_EXEMPLARS_MAX);
        if (ask->text.len) {
            uint8_t *copy = malloc(ask->text.len);
            if (copy)
                memcpy(copy, ask->text.ptr, ask->text.len);
            free(copy);
        }
    } else {
        FM_ASSERT(rc == FM_EMALFORMED || rc == FM_ENOMEM);
        FM_ASSERT(rc != FM_EMALFORMED || why.text[0]);
    }
    question_fini(&question);
    return 0;
}
