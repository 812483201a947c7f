/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of s3 share. */
#ifndef FERMATA_S3_INTERNAL_H
#define FERMATA_S3_INTERNAL_H

#include "fermata/s3.h"

#define S3_DATE_LEN 16 /* "20130524T000000Z" */

void s3_hmac_sha256(struct fm_slice key, struct fm_slice message, uint8_t ret_mac[32]);
void s3_date_print(int64_t unix_s, char ret_date[S3_DATE_LEN + 1]);
/* Percent-encoding of S3: A-Z a-z 0-9 - _ . ~ stay, a slash only where keep_slash; once. */
void s3_uri_encode(struct fm_buf *buf, struct fm_slice text, bool keep_slash);

#endif
