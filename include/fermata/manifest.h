/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - tells the bucket what this node received and what became of it, hour by hour, so that
 * whoever reads the bucket can tell whether it is all there.  docs/formats/ledger.md.
 *
 *   manifest/<node>/<YYYY-MM-DD>/<HH>.json      below the bucket's control space
 *
 * An object is put again whenever the hour's numbers have changed; one at a time, through a bucket
 * of its own, so that no block waits for it.  After a failure the next round comes later.
 */
#ifndef FERMATA_MANIFEST_H
#define FERMATA_MANIFEST_H

#include "fermata/ledger.h"
#include "fermata/platform.h"
#include "fermata/replicate.h"

struct manifest_options {
    uint8_t node[16];
    uint64_t interval_ns;
};
struct manifest;
/* Takes the bucket.  The store outlives it. */
FM_MUST int manifest_new(struct manifest **ret_manifest, struct platform *platform,
                         const struct store *store, struct bucket *bucket,
                         const struct manifest_options *options);
/* Nothing is put any more; done is called when nothing is under way. */
void manifest_close(struct manifest *manifest, void (*done)(void *self), void *self);
void manifest_put_metrics(const struct manifest *manifest, struct fm_buf *out);

/* ---- the objects; pure ---- */

#define MANIFEST_KEY_BYTES 80u
void manifest_key(const uint8_t node[16], uint32_t hour, char key[MANIFEST_KEY_BYTES]);
void manifest_render(const struct ledger *ledger, const uint8_t node[16], uint32_t hour,
                     bool is_over, struct fm_buf *buf);

#endif
