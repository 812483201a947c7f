/* SPDX-License-Identifier: Apache-2.0 */
/* Which bucket on S3: "s3://BUCKET/PREFIX", completed by [upload.s3] of a configuration and by the
 * environment that other tools for S3 read.  What is said on the command line wins, then the
 * environment. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fermata/config.h"
#include "fermata/linux.h"
#include "query.h"

#define BUCKET_CONNECTIONS 8u

/* The first of two variables that is set and not empty. */
static const char *environment_find(const char *name, const char *other)
{
    const char *value = getenv(name);
    if ((!value || !value[0]) && other)
        value = getenv(other);
    return value && value[0] ? value : NULL;
}

static bool text_set(char *target, size_t size, const char *text)
{
    if (text)
        (void)snprintf(target, size, "%s", text);
    return !text || strlen(text) < size;
}

static void bucket_use_config(const struct config *config, struct bucket_reader_options *options,
                              const char **url)
{
    struct s3_endpoint *endpoint = &options->endpoint;
    (void)text_set(endpoint->region, sizeof endpoint->region, config->s3_region);
    (void)text_set(endpoint->bucket, sizeof endpoint->bucket, config->s3_bucket);
    (void)text_set(endpoint->prefix, sizeof endpoint->prefix, config->s3_prefix);
    endpoint->path_style = config->s3_path_style;
    options->access_key_file = config->s3_access_key_file;
    options->secret_key_file = config->s3_secret_key_file;
    options->session_token_file = config->s3_session_token_file;
    options->tls_ca_file = config->s3_tls_ca_file;
    *url = config->s3_endpoint;
}

static void bucket_use_environment(struct bucket_reader_options *options, const char **url)
{
    struct s3_endpoint *endpoint = &options->endpoint;
    const char *given = environment_find("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
    const char *region = environment_find("AWS_REGION", "AWS_DEFAULT_REGION");
    const char *ca_file = environment_find("AWS_CA_BUNDLE", NULL);
    const char *access_key = environment_find("AWS_ACCESS_KEY_ID", NULL);
    if (given) {
        *url = given;
        endpoint->path_style = true; /* what answers there seldom has a name for each bucket */
    }
    (void)text_set(endpoint->region, sizeof endpoint->region, region);
    if (ca_file)
        options->tls_ca_file = ca_file;
    if (!access_key)
        return;
    options->access_key = access_key;
    options->secret_key = environment_find("AWS_SECRET_ACCESS_KEY", NULL);
    options->session_token = environment_find("AWS_SESSION_TOKEN", NULL);
    options->access_key_file = options->secret_key_file = options->session_token_file = NULL;
}

/* "s3://", with nothing behind it: the bucket of the configuration. */
static int bucket_use_name(const char *name, struct s3_endpoint *endpoint, struct fm_why *why)
{
    const char *text = name + strlen("s3://");
    size_t len = strcspn(text, "/");
    if (!len)
        return endpoint->bucket[0] ? FM_OK
                                   : fm_fail(why, FM_EUSAGE, "--bucket %s: which bucket?", name);
    if (len >= sizeof endpoint->bucket || strlen(text + len) >= sizeof endpoint->prefix)
        return fm_fail(why, FM_EUSAGE, "--bucket %s: the name is too long", name);
    memcpy(endpoint->bucket, text, len);
    endpoint->bucket[len] = '\0';
    (void)snprintf(endpoint->prefix, sizeof endpoint->prefix, "%s", text + len);
    return FM_OK;
}

static int bucket_load_config(const char *file, struct config **ret_config, struct fm_why *why)
{
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    int rc = config_load(ret_config, file, NULL, 0, (const char *const *)environ, &messages);
    if (messages.len)
        (void)fwrite(messages.ptr, 1, messages.len, stderr);
    fm_buf_fini(&messages);
    return rc < 0 ? fm_fail(why, FM_EUSAGE, "%s: it cannot be used", file) : FM_OK;
}

int query_bucket_open(const struct query_request *request, struct bucket_reader **ret_reader,
                      struct fm_why *why)
{
    FM_AUTO(config) config = NULL;
    const char *url = "";
    struct bucket_reader_options options = {
        .endpoint = {.region = "us-east-1"},
        .connection_max = BUCKET_CONNECTIONS,
        .memory_max = FM_MIB(256),
        .block_max = 10000,
        .listing_age_ns = request->follow ? request->interval_ns : 0,
    };

    *ret_reader = NULL;
    if (!query_is_s3(request))
        return FM_OK;
    int rc = request->config_file ? bucket_load_config(request->config_file, &config, why) : FM_OK;
    if (rc < 0)
        return rc;
    if (config)
        bucket_use_config(config, &options, &url);
    bucket_use_environment(&options, &url);
    rc = bucket_use_name(request->bucket, &options.endpoint, why);
    if (rc == FM_OK)
        rc = s3_endpoint_parse(fm_slice_text(url), &options.endpoint, why);
    if (rc == FM_OK && !options.access_key &&
        !(options.access_key_file && options.access_key_file[0]))
        rc = fm_fail(why, FM_ECONFIG,
                     "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
                     "--config with [upload.s3]");
    if (rc == FM_OK)
        rc = bucket_reader_new(ret_reader, linux_platform(), &options, why);
    return rc == FM_ECONFIG ? FM_EUSAGE : rc;
}
