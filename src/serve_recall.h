/* SPDX-License-Identifier: Apache-2.0 */
/* Looking in the bucket for traces that somebody asks for, as the configuration has it. */
#ifndef FERMATA_SERVE_RECALL_H
#define FERMATA_SERVE_RECALL_H

#include "fermata/config.h"
#include "fermata/recall.h"

struct credentials;
/* *ret_recall is NULL if it is off, or if nothing is uploaded.  node: 16 bytes. */
FM_MUST int serve_recall_open(struct recall **ret_recall, struct platform *platform,
                              struct store *store, const struct config *config,
                              struct credentials *credentials, const uint8_t *node,
                              struct fm_why *why);

/* The verb: fermata recall. */
int serve_recall_main(int argc, char **argv);

#endif
