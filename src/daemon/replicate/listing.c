/* SPDX-License-Identifier: Apache-2.0 */
/* listing - the plan of a list: pages of names until there are as many as an answer holds. */
#include "bucket_s3.h"

#define LISTING_NAMES_MAX 1000

static void listing_after_page(struct transfer *transfer);

/* Objects right below the key, by what is left of their names. */
static int listing_on_object(void *self, const struct s3_listed *object)
{
    struct transfer *transfer = self;
    const struct s3_endpoint endpoint = bucket_s3_endpoint(transfer->s3, transfer->request);
    size_t lead = strlen(endpoint.prefix);
    size_t key_len = strlen(transfer->request->key);
    lead += (lead ? 1 : 0) + key_len;
    if (object->key.len <= lead ||
        memcmp(object->key.ptr + lead - key_len, transfer->request->key, key_len) != 0)
        return FM_OK;
    struct fm_slice name = fm_slice(object->key.ptr + lead, object->key.len - lead);
    const char *after = transfer->request->list_after;
    if (memchr(name.ptr, '/', name.len) || memchr(name.ptr, '\n', name.len) ||
        fm_slice_compare(name, fm_slice_text(after ? after : "")) <= 0 ||
        transfer->name_count == LISTING_NAMES_MAX)
        return FM_OK; /* a server that does not know one of the parameters */
    transfer->name_count++;
    fm_buf_put_slice(&transfer->names, name);
    fm_buf_puts(&transfer->names, "\n");
    return FM_OK;
}

static void listing_ask(struct transfer *transfer)
{
    const char *after = transfer->request->list_after;
    transfer->call = (struct s3_call){
        .verb = S3_LIST,
        .object.key = fm_slice_text(transfer->request->key),
        .query = fm_buf_slice(&transfer->page_token),
        .is_flat = true,
    };
    if (after && after[0])
        transfer->call.start_after = fm_buf_slice(&transfer->list_from);
    transfer->answer_bytes_max = S3_LISTING_BYTES_MAX;
    exchange_start(transfer, listing_after_page);
}

static void listing_finish(struct transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    if (transfer->names.failed) {
        (void)fm_fail(&request->why, FM_ELIMIT, "%s: the list is too long", request->key);
        transfer_end(transfer, S3_REFUSED);
        return;
    }
    request->body = transfer->names;
    transfer->names = (struct fm_buf){0};
    transfer_end(transfer, S3_DONE);
}

static void listing_after_page(struct transfer *transfer)
{
    struct fm_buf token;
    if (transfer->answer.outcome != S3_DONE) {
        transfer_end_from_answer(transfer);
        return;
    }
    fm_buf_init(&token, FM_KIB(4));
    int rc =
        s3_objects_read(fm_buf_slice(&transfer->answer_body), listing_on_object, transfer, &token);
    bool moves = !fm_slice_equal(fm_buf_slice(&token), fm_buf_slice(&transfer->page_token));
    fm_buf_fini(&transfer->page_token);
    transfer->page_token = token;
    if (rc != FM_OK) {
        (void)fm_fail(&transfer->request->why, FM_EMALFORMED, "the list is malformed");
        transfer_end(transfer, S3_TRANSIENT);
    } else if (token.len && !moves) {
        (void)fm_fail(&transfer->request->why, FM_EMALFORMED, "the list has no end");
        transfer_end(transfer, S3_TRANSIENT);
    } else if (token.len && transfer->name_count < LISTING_NAMES_MAX && !transfer->names.failed) {
        listing_ask(transfer);
    } else {
        listing_finish(transfer);
    }
}

void listing_start(struct transfer *transfer)
{
    const struct bucket_request *request = transfer->request;
    transfer->names.bytes_max = FM_MIN(request->body_max, S3_LISTING_BYTES_MAX);
    fm_buf_puts(&transfer->list_from, request->key);
    fm_buf_puts(&transfer->list_from, request->list_after ? request->list_after : "");
    if (!transfer->list_from.failed) {
        listing_ask(transfer);
        return;
    }
    (void)fm_fail(&transfer->request->why, FM_ELIMIT, "%s: too long a name", request->key);
    transfer_end(transfer, S3_REFUSED);
}
