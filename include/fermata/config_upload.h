/* SPDX-License-Identifier: Apache-2.0 */
/* config_upload - the settings of what may go out when: part of the table in config_keys.h. */
#ifndef FERMATA_CONFIG_UPLOAD_H
#define FERMATA_CONFIG_UPLOAD_H

#define CONFIG_UPLOAD(X)                                                                           \
    X(PERCENT, "upload", "backlog_share", upload_backlog_share, "30%",                             \
      "of the bytes while there are fresh blocks, too; the oldest first")                          \
    X(DURATION, "upload", "backlog_age", upload_backlog_age, "10m",                                \
      "since it was sealed: then a block is backlog; younger ones go the newest first")            \
    X(TEXT, "upload", "interface", upload_interface, "", "eth0, wwan0: only that way; empty: any") \
    X(RATE, "upload.bandwidth", "rate", upload_rate, "0",                                          \
      "on the wire, TLS included: 512kbit, 64KiB; 0: unlimited")                                   \
    X(BYTES, "upload.bandwidth", "burst", upload_burst, "256KiB", "what may go at once")           \
    X(BYTES, "upload.bandwidth", "daily_quota", upload_daily_quota, "0", "0: unlimited")           \
    X(BYTES, "upload.bandwidth", "monthly_quota", upload_monthly_quota, "0", "0: unlimited")       \
    X(UINT, "upload.bandwidth", "month_begins", upload_month_begins, "1", "on this day, 1 to 28")  \
    X(TEXT, "upload.bandwidth", "timezone", upload_timezone, "local",                              \
      "of days and months: local, UTC, or as Europe/Berlin")                                       \
    X(BOOL, "upload.bandwidth", "express_exempt", upload_express_exempt, "true",                   \
      "rate, quotas and windows let express blocks pass; quotas count them")

#endif
