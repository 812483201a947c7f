/* SPDX-License-Identifier: Apache-2.0 */
/* Sources that are asked over HTTP.
 *
 *   web identity  the token's file (read every time) --> POST to the token service
 *   container     the token's file, if there is one  --> GET
 *   instance      PUT for a token --> GET the name of the role --> GET its keys
 *
 * An instance without version 2 of its service has no keys for us: version 1 gives them to whoever
 * makes this host send a GET.
 */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

#define STS_SESSION_DEFAULT "fermata"
#define CONTAINER_HOST      "http://169.254.170.2"
#define INSTANCE_HOST       "http://169.254.169.254"
#define INSTANCE_TTL_S      "21600"
#define INSTANCE_ROLES      "/latest/meta-data/iam/security-credentials/"

/* ---- asking ---- */

static bool chain_is_plain_text(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text >= 127)
            return false;
    return true;
}

static void chain_add_header(struct chain *chain, const char *name, const char *value)
{
    struct ask *ask = &chain->ask;
    FM_ASSERT(ask->header_count < ASK_HEADER_MAX);
    ask->headers[ask->header_count++] =
        (struct http_header){fm_slice_text(name), fm_slice_text(value)};
}

/* url and headers are set. */
static void chain_ask(struct chain *chain, const char *method, void (*done)(struct ask *ask))
{
    struct ask *ask = &chain->ask;
    ask->platform = chain->credentials->platform;
    ask->tls_ca_file = chain->credentials->tls_ca_file;
    /* The other services are as near as the instance is. */
    ask->proxy = chain->source == CHAIN_WEB_IDENTITY ? chain->credentials->proxy : NULL;
    ask->proxy_auth_file = chain->credentials->proxy_auth_file;
    ask->method = method;
    ask->body = fm_buf_slice(&chain->form);
    ask->done = done;
    chain->asking = true;
    ask_start(ask);
}

/* Whether there is an answer to look at; if not, the walk has ended.  A refusal's text is looked
 * into by those whose services send one. */
static bool chain_has_answer(struct chain *chain)
{
    struct ask *ask = &chain->ask;
    chain->asking = false;
    if (chain->is_cancelled) {
        chain_end(chain, fm_fail(&chain->why, FM_ECANCELLED, "cancelled"));
        return false;
    }
    if (ask->rc < 0) {
        chain->why = ask->why;
        chain_end(chain, ask->rc);
        return false;
    }
    chain->answer_unix_s = ask->date_unix_s;
    return true;
}

static void chain_end_status(struct chain *chain)
{
    const struct ask *ask = &chain->ask;
    chain_end(chain, fm_fail(&chain->why, FM_EDENIED, "%s %s: HTTP %d", ask->method, ask->host,
                             ask->status));
}

static void chain_set_url(struct chain *chain, const struct s3_url *url)
{
    chain->ask.url = *url;
    chain->ask.header_count = 0;
}

/* ---- web identity ---- */

static void sts_on_answer(struct ask *ask)
{
    struct chain *chain = FM_CONTAINER(ask, struct chain, ask);
    if (!chain_has_answer(chain))
        return;
    int rc = s3_keys_read_sts(ask->answer, &chain->keys, &chain->why);
    if (rc == FM_OK && ask->status != 200)
        rc = FM_EMALFORMED;
    ask_wipe_answer(ask);
    if (rc < 0 && rc != FM_EDENIED)
        chain_end_status(chain);
    else
        chain_end(chain, rc);
}

static int sts_set_url(struct chain *chain)
{
    const struct credentials *credentials = chain->credentials;
    const char *named = credentials->sts_endpoint;
    const char *region = credentials->region ? credentials->region : "us-east-1";
    char text[320];
    struct s3_url url;
    if (!named)
        named = chain_variable(chain, "AWS_ENDPOINT_URL_STS");
    if (named)
        (void)snprintf(text, sizeof text, "%s", named);
    else
        (void)snprintf(text, sizeof text, "https://sts.%s.amazonaws.com%s", region,
                       strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    int rc = s3_url_parse(fm_slice_text(text), &url, &chain->why);
    if (rc == FM_OK)
        chain_set_url(chain, &url);
    return rc;
}

static int sts_read_token(struct chain *chain)
{
    return chain_read_token(chain, chain_variable(chain, "AWS_WEB_IDENTITY_TOKEN_FILE"));
}

static void sts_after_token(struct chain *chain)
{
    const char *role = chain_variable(chain, "AWS_ROLE_ARN");
    const char *session = chain_variable(chain, "AWS_ROLE_SESSION_NAME");
    int rc = chain->job_rc;
    if (rc == FM_OK && !role)
        rc = fm_fail(&chain->why, FM_ECONFIG, "AWS_ROLE_ARN is not set");
    if (rc == FM_OK)
        rc = sts_set_url(chain);
    if (rc == FM_OK && fm_buf_room(&chain->form, chain->form.bytes_max)) {
        s3_sts_put_form(&chain->form, fm_slice_text(role),
                        fm_slice_text(session ? session : STS_SESSION_DEFAULT),
                        fm_slice_text(chain->token));
        rc = chain->form.failed ? FM_ELIMIT : FM_OK;
    } else if (rc == FM_OK) {
        rc = FM_ENOMEM;
    }
    if (rc < 0) {
        chain_end(chain, rc);
        return;
    }
    chain_add_header(chain, "content-type", "application/x-www-form-urlencoded");
    chain_add_header(chain, "accept", "application/xml");
    chain_ask(chain, "POST", sts_on_answer);
}

void chain_ask_sts(struct chain *chain)
{
    if (chain_variable(chain, "AWS_WEB_IDENTITY_TOKEN_FILE"))
        chain_run_job(chain, sts_read_token, sts_after_token);
    else
        chain_next(chain);
}

/* ---- container ---- */

static void container_on_answer(struct ask *ask)
{
    struct chain *chain = FM_CONTAINER(ask, struct chain, ask);
    if (!chain_has_answer(chain))
        return;
    int rc = s3_keys_read_json(ask->answer, &chain->keys, &chain->why);
    ask_wipe_answer(ask);
    if (ask->status != 200 && rc != FM_EDENIED)
        chain_end_status(chain);
    else
        chain_end(chain, rc);
}

/* Plain HTTP carries keys only to this host and to the two addresses of the container services. */
static bool container_is_near(const struct s3_url *url)
{
    static const char *const hosts[] = {"localhost", "::1", "169.254.170.2", "169.254.170.23",
                                        "fd00:ec2::23"};
    if (url->is_https)
        return true;
    for (size_t i = 0; i < FM_COUNT(hosts); i++)
        if (strcmp(url->host, hosts[i]) == 0)
            return true;
    return strncmp(url->host, "127.", 4) == 0 &&
           strspn(url->host, "0123456789.") == strlen(url->host);
}

static int container_set_url(struct chain *chain)
{
    const char *relative = chain_variable(chain, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = chain_variable(chain, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    char text[1400];
    struct s3_url url;
    int len = relative ? snprintf(text, sizeof text, CONTAINER_HOST "%s", relative)
                       : snprintf(text, sizeof text, "%s", full);
    if (len < 0 || (size_t)len >= sizeof text || (relative && relative[0] != '/'))
        return fm_fail(&chain->why, FM_ECONFIG, "the container's URI is malformed");
    int rc = s3_url_parse(fm_slice_text(text), &url, &chain->why);
    if (rc == FM_OK && !container_is_near(&url))
        rc = fm_fail(&chain->why, FM_EDENIED, "%s is asked over https:// only", url.host);
    if (rc == FM_OK)
        chain_set_url(chain, &url);
    return rc;
}

static void container_go(struct chain *chain)
{
    const char *given = chain_variable(chain, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    const char *token = chain->token[0] ? chain->token : given;
    int rc = container_set_url(chain);
    if (rc == FM_OK && token && !chain_is_plain_text(token))
        rc = fm_fail(&chain->why, FM_EMALFORMED, "the container's token is not printable");
    if (rc < 0) {
        chain_end(chain, rc);
        return;
    }
    chain_add_header(chain, "accept", "application/json");
    if (token)
        chain_add_header(chain, "authorization", token);
    chain_ask(chain, "GET", container_on_answer);
}

static int container_read_token(struct chain *chain)
{
    return chain_read_token(chain, chain_variable(chain, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
}

static void container_after_token(struct chain *chain)
{
    if (chain->job_rc < 0)
        chain_end(chain, chain->job_rc);
    else
        container_go(chain);
}

void chain_ask_container(struct chain *chain)
{
    if (!chain_variable(chain, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") &&
        !chain_variable(chain, "AWS_CONTAINER_CREDENTIALS_FULL_URI"))
        chain_next(chain);
    else if (chain_variable(chain, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
        chain_run_job(chain, container_read_token, container_after_token);
    else
        container_go(chain);
}

/* ---- instance ---- */

static void instance_step(struct chain *chain);

static int instance_take_text(char *target, size_t size, struct fm_slice text, struct fm_why *why)
{
    size_t len = 0;
    while (len < text.len && text.ptr[len] > ' ' && text.ptr[len] < 127)
        len++; /* the first line, if there are several roles */
    if (len == 0 || len >= size)
        return fm_fail(why, FM_EMALFORMED, "the answer is empty, too long or not printable");
    memcpy(target, text.ptr, len);
    target[len] = '\0';
    return FM_OK;
}

static void instance_on_answer(struct ask *ask)
{
    struct chain *chain = FM_CONTAINER(ask, struct chain, ask);
    int rc;
    if (!chain_has_answer(chain))
        return;
    if (ask->status != 200) {
        chain_end_status(chain);
        return;
    }
    if (chain->step == 0) {
        rc = instance_take_text(chain->token, sizeof chain->token, ask->answer, &chain->why);
    } else if (chain->step == 1) {
        rc = instance_take_text(chain->role, sizeof chain->role, ask->answer, &chain->why);
        if (rc == FM_OK && strpbrk(chain->role, "/?#%"))
            rc = fm_fail(&chain->why, FM_EMALFORMED, "the role has a strange name");
    } else {
        rc = s3_keys_read_json(ask->answer, &chain->keys, &chain->why);
    }
    ask_wipe_answer(ask);
    if (rc < 0 || chain->step == 2) {
        chain_end(chain, rc);
        return;
    }
    chain->step++;
    instance_step(chain);
}

static void instance_step(struct chain *chain)
{
    const struct credentials *credentials = chain->credentials;
    const char *host = credentials->imds_endpoint;
    char text[700];
    struct s3_url url;
    if (!host)
        host = chain_variable(chain, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (!host)
        host = INSTANCE_HOST;
    size_t len = strnlen(host, 256);
    while (len && host[len - 1] == '/')
        len--;
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)len, host,
                   chain->step == 0 ? "/latest/api/token" : INSTANCE_ROLES, chain->role);
    int rc = s3_url_parse(fm_slice_text(text), &url, &chain->why);
    if (rc < 0) {
        chain_end(chain, rc);
        return;
    }
    chain_set_url(chain, &url);
    if (chain->step == 0)
        chain_add_header(chain, "x-aws-ec2-metadata-token-ttl-seconds", INSTANCE_TTL_S);
    else
        chain_add_header(chain, "x-aws-ec2-metadata-token", chain->token);
    chain_ask(chain, chain->step == 0 ? "PUT" : "GET", instance_on_answer);
}

void chain_ask_instance(struct chain *chain)
{
    const char *disabled = chain_variable(chain, "AWS_EC2_METADATA_DISABLED");
    if (disabled && fm_slice_equal_nocase(fm_slice_text(disabled), "true"))
        chain_next(chain);
    else
        instance_step(chain);
}
