/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a row group between questions: its shape, and fields as vectors of all its rows.
 * It is found when rows are about to be read, or a field is asked for, and made if it is worth it;
 * when the row group is left, the keeper hears what had to be decoded. */
#include "frames.h"

#define KEEP_KEY_MAX 192u /* of a field with a longer name nothing is kept */

struct keep_key {
    struct block_keep_key key;
    size_t len;
    uint8_t bytes[KEEP_KEY_MAX];
};

/* own: NULL, the shape.  False: it has none. */
static bool keep_key_init(struct keep_key *key, const struct block_frames *frames,
                          const struct frames_field *own)
{
    const struct traceql_field *field = own ? own->field : NULL;
    key->len = 7;
    if (field && field->name.len > sizeof key->bytes - key->len)
        return false;
    for (unsigned i = 0; i < 4; i++)
        key->bytes[i] = (uint8_t)(frames->group >> 8 * i);
    key->bytes[4] = field != NULL;
    key->bytes[5] = field ? (uint8_t)field->intrinsic : 0;
    key->bytes[6] = field ? (uint8_t)field->scope : 0;
    if (field && field->intrinsic == TRACEQL_ATTRIBUTE && field->name.len) {
        memcpy(key->bytes + key->len, field->name.ptr, field->name.len);
        key->len += field->name.len;
    }
    key->key = (struct block_keep_key){&frames->block->meta.id, fm_slice(key->bytes, key->len)};
    return true;
}

/* ---- finding ---- */

static struct block_kept *keep_find(struct block_frames *frames, const struct frames_field *own)
{
    struct block_keep *keep = frames->request.keep;
    struct block_kept *kept = NULL;
    struct keep_key key;
    if (!keep_key_init(&key, frames, own))
        return NULL;
    int rc = keep->find(keep, &key.key, !frames->is_narrowed, &kept);
    if (rc == FM_MORE) {
        kept = frames_make(frames, own);
        keep->made(keep, &key.key, kept);
        if (kept && atomic_load(&kept->refs) == 1) { /* there is no room for it, nor is here */
            keep->release(keep, kept);
            kept = NULL;
        }
    }
    return kept;
}

int frames_keep_find(struct block_frames *frames, struct frames_field *own)
{
    if (!frames->request.keep || !frames->shape || !frames_is_keepable(own))
        return FM_NONE;
    if (own->is_looked_for)
        return own->kept ? FM_OK : FM_NONE;
    own->is_looked_for = true;
    struct block_kept *kept = keep_find(frames, own);
    if (!kept)
        return FM_NONE;
    struct frames_kept *found = FM_CONTAINER(kept, struct frames_kept, kept);
    if (found->count != frames->shape->count[own->domain]) { /* of another block with its id */
        frames->request.keep->release(frames->request.keep, kept);
        return FM_NONE;
    }
    own->kept = found;
    own->kept_values = found->values;
    own->kept_values.serial = ++frames->serial;
    return FM_OK;
}

int frames_keep_begin(struct block_frames *frames)
{
    const struct frame_gate *gate = frames->base.gate;
    if (!frames->request.keep || frames->row >= frames->row_end)
        return FM_OK;
    frames->is_begun = true;
    struct block_kept *kept = frames->group_rows < UINT32_MAX / 4 ? keep_find(frames, NULL) : NULL;
    if (kept)
        frames->shape = FM_CONTAINER(kept, struct frames_shape, kept);
    if (kept && frames->shape->count[FRAME_TRACE] != frames->group_rows) {
        frames->shape = NULL;
        frames->request.keep->release(frames->request.keep, kept);
    }
    bool is_newest = gate && gate->newest_count && !frames->is_narrowed;
    return frames->shape && is_newest ? frames_kept_begin(frames) : FM_OK;
}

/* ---- the end ---- */

static void keep_miss(struct block_frames *frames, const struct frames_field *own, uint64_t rows)
{
    struct block_keep *keep = frames->request.keep;
    struct keep_key key;
    if (!rows || !keep_key_init(&key, frames, own))
        return;
    rows = FM_MIN(rows, frames->group_rows);
    keep->missed(keep, &key.key, (unsigned)(rows * BLOCK_KEEP_WHOLE / frames->group_rows));
}

static int keep_retire(struct block_frames *frames, const struct frames_kept *kept)
{
    int rc = FM_OK;
    if (frames->retired_kept_count == frames->retired_kept_cap)
        rc = FRAMES_RESERVE(frames, frames->retired_kept, frames->retired_kept_cap,
                            FM_MAX(frames->retired_kept_cap * 2, (size_t)16));
    if (rc == FM_OK)
        rc = frames_charge(frames, kept->kept.bytes);
    if (rc < 0)
        return rc;
    frames->held += kept->kept.bytes;
    frames->retired_kept[frames->retired_kept_count++] = (struct block_kept *)&kept->kept;
    return FM_OK;
}

static int keep_end_field(struct block_frames *frames, struct frames_field *own, bool last)
{
    struct block_keep *keep = frames->request.keep;
    const struct frames_kept *kept = fm_take(own->kept);
    int rc = FM_OK;
    if (!kept && frames->is_begun && frames_is_keepable(own))
        keep_miss(frames, own, own->decoded_rows);
    own->is_looked_for = false;
    own->decoded_rows = own->decoded_to = 0;
    if (kept && !last && kept->values.count)
        rc = keep_retire(frames, kept);
    if (kept && (last || !kept->values.count || rc < 0))
        keep->release(keep, (struct block_kept *)&kept->kept);
    return rc;
}

int frames_keep_end(struct block_frames *frames, bool last)
{
    struct block_keep *keep = frames->request.keep;
    int rc = FM_OK;
    if (!keep)
        return FM_OK;
    for (uint32_t i = 0; i < frames->request.field_count && frames->fields; i++) {
        int field_rc = keep_end_field(frames, &frames->fields[i], last);
        rc = rc < 0 ? rc : field_rc;
    }
    if (frames->shape)
        keep->release(keep, (struct block_kept *)&frames->shape->kept);
    else if (frames->is_begun)
        keep_miss(frames, NULL, frames->decoded_rows);
    frames->shape = NULL;
    frames->is_begun = frames->is_gathering = false;
    frames->decoded_rows = 0;
    for (size_t i = 0; last && i < frames->retired_kept_count; i++)
        keep->release(keep, frames->retired_kept[i]);
    frames->retired_kept_count = last ? 0 : frames->retired_kept_count;
    return rc;
}
