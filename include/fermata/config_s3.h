/* SPDX-License-Identifier: Apache-2.0 */
/* config_s3 - the rows of [upload.s3] in the table of settings.  Part of config; see config_keys.h.
 */
#ifndef FERMATA_CONFIG_S3_H
#define FERMATA_CONFIG_S3_H

#define CONFIG_S3(X)                                                                               \
    X(TEXT, "upload.s3", "endpoint", s3_endpoint, "", "URL; empty: AWS of the region")             \
    X(TEXT, "upload.s3", "region", s3_region, "us-east-1", "")                                     \
    X(TEXT, "upload.s3", "bucket", s3_bucket, "", "")                                              \
    X(TEXT, "upload.s3", "prefix", s3_prefix, "", "")                                              \
    X(BOOL, "upload.s3", "path_style", s3_path_style, "false", "")                                 \
    X(CHOICE, "upload.s3", "auth", s3_auth, "auto",                                                \
      "auto, static, shared_file, web_identity, container, imds or none")                          \
    X(TEXT, "upload.s3", "access_key_file", s3_access_key_file, "", "")                            \
    X(TEXT, "upload.s3", "secret_key_file", s3_secret_key_file, "", "")                            \
    X(TEXT, "upload.s3", "session_token_file", s3_session_token_file, "", "")                      \
    X(TEXT, "upload.s3", "shared_credentials_file", s3_shared_file, "",                            \
      "empty: AWS_SHARED_CREDENTIALS_FILE, or ~/.aws/credentials")                                 \
    X(TEXT, "upload.s3", "profile", s3_profile, "", "in it; empty: AWS_PROFILE, or default")       \
    X(TEXT, "upload.s3", "sts_endpoint", s3_sts_endpoint, "",                                      \
      "URL; empty: AWS_ENDPOINT_URL_STS, or AWS's of the region")                                  \
    X(TEXT, "upload.s3", "imds_endpoint", s3_imds_endpoint, "",                                    \
      "URL; empty: AWS_EC2_METADATA_SERVICE_ENDPOINT, or the usual address")                       \
    X(TEXT, "upload.s3", "tls_ca_file", s3_tls_ca_file, "", "empty: the system's store")           \
    X(TEXT, "upload.s3", "proxy", s3_proxy, "", "host:port of an HTTP proxy; empty: none")         \
    X(TEXT, "upload.s3", "proxy_auth_file", s3_proxy_auth_file, "",                                \
      "one line USER:PASSWORD for it, read before the first request")                              \
    X(CHOICE, "upload.s3", "sse", s3_sse, "none", "encryption there: none, aes256 or kms")         \
    X(TEXT, "upload.s3", "sse_kms_key_id", s3_sse_kms_key_id, "", "empty: the account's")          \
    X(TEXT, "upload.s3", "storage_class", s3_storage_class, "", "empty: the bucket's")             \
    X(LINES, "upload.s3", "tags", s3_tags, "", "of objects: key=value, one a line")

#endif
