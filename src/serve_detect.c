/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon finds out about where it runs, at start and before its loop runs: small files,
 * and the cloud's metadata service if it was asked to.  Whatever does not answer in time is left
 * out, and the log says what was found. */
#include "serve_detect.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "fermata/linux.h"
#include "fermata/net_fetch.h"
#include "fermata/process_facts.h"
#include "fermata/telemetry.h"
#include "fermata/units.h"

#define DETECT_FILE_MAX  FM_KIB(64)
#define DETECT_CLOUD_MAX FM_KIB(256)

struct detect {
    struct platform *platform;
    const struct config *config;
    struct process_facts *facts;
    uint64_t deadline_ns; /* monotonic */
};

static bool detect_read(const struct detect *detect, const char *path, struct fm_buf *text)
{
    struct fm_why why;

    fm_buf_init(text, DETECT_FILE_MAX);
    int rc = pf_read_file(detect->platform, path, text, &why);
    if (rc < 0 && rc != FM_ELIMIT) {
        fm_buf_fini(text);
        return false;
    }
    return true;
}

/* ---- this machine ---- */

static void detect_env(const struct detect *detect)
{
    const char *text = getenv("OTEL_RESOURCE_ATTRIBUTES");
    if (text)
        process_facts_environment(detect->facts, fm_slice_text(text));
}

static const char *detect_arch(const char *machine)
{
    static const struct {
        const char *machine, *arch;
    } rows[] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"ppc64le", "ppc64"}, {"s390x", "s390x"}};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (strcmp(machine, rows[i].machine) == 0)
            return rows[i].arch;
    }
    if (strncmp(machine, "arm", 3) == 0)
        return "arm32";
    return machine[0] == 'i' && strcmp(machine + 1, "686") == 0 ? "x86" : machine;
}

static void detect_host(const struct detect *detect)
{
    char text[256], hex[32];
    struct utsname name;
    uint8_t id[16];

    linux_host_name(text, sizeof text);
    process_facts_add(detect->facts, "host.name", fm_slice_text(text));
    if (linux_machine_id(id) == FM_OK) {
        fm_hex_encode(hex, fm_slice(id, sizeof id));
        process_facts_add(detect->facts, "host.id", fm_slice(hex, sizeof hex));
    }
    if (uname(&name) == 0)
        process_facts_add(detect->facts, "host.arch", fm_slice_text(detect_arch(name.machine)));
}

static void detect_os(const struct detect *detect)
{
    struct fm_buf text;

    process_facts_add(detect->facts, "os.type", fm_slice_text("linux"));
    if (!detect_read(detect, "/etc/os-release", &text))
        return;
    process_facts_os_release(detect->facts, fm_buf_slice(&text));
    fm_buf_fini(&text);
}

static void detect_cgroup(const struct detect *detect, unsigned wanted)
{
    char text[4096];

    size_t len = linux_read_text("/proc/self/cgroup", text, sizeof text);
    process_facts_cgroup(detect->facts, fm_slice(text, len), wanted);
}

static void detect_systemd(const struct detect *detect)
{
    detect_cgroup(detect, PROCESS_CGROUP_SYSTEMD);
}

static void detect_container(const struct detect *detect)
{
    char text[16384];

    detect_cgroup(detect, PROCESS_CGROUP_CONTAINER);
    size_t len = linux_read_text("/proc/self/mountinfo", text, sizeof text);
    process_facts_mountinfo(detect->facts, fm_slice(text, len));
}

static void detect_k8s(const struct detect *detect)
{
    static const struct {
        const char *file, *key;
    } rows[] = {{"name", "k8s.pod.name"},
                {"namespace", "k8s.namespace.name"},
                {"uid", "k8s.pod.uid"},
                {"node", "k8s.node.name"},
                {"cluster", "k8s.cluster.name"}};
    static const char account[] = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    char path[512];
    struct fm_buf text;

    for (size_t i = 0; i <= FM_COUNT(rows); i++) {
        bool is_label = i == FM_COUNT(rows);
        (void)snprintf(path, sizeof path, "%s/%s", detect->config->resource_k8s_dir,
                       is_label ? "labels" : rows[i].file);
        if (!detect_read(detect, path, &text))
            continue;
        if (is_label)
            process_facts_labels(detect->facts, fm_buf_slice(&text));
        else
            process_facts_add(detect->facts, rows[i].key, fm_buf_slice(&text));
        fm_buf_fini(&text);
    }
    if (detect_read(detect, account, &text)) {
        process_facts_add(detect->facts, "k8s.namespace.name", fm_buf_slice(&text));
        fm_buf_fini(&text);
    }
    detect_cgroup(detect, PROCESS_CGROUP_K8S);
}

/* ---- the cloud ---- */

struct detect_place { /* of the metadata service */
    char host[256];
    uint16_t port;
};

static bool detect_parse_place(const char *text, struct detect_place *ret_place)
{
    const char *colon = strrchr(text, ':');
    uint64_t port = 80;

    if (colon && (fm_u64_parse(fm_slice_text(colon + 1), &port) < 0 || !port || port > 65535))
        return false;
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (!len || len >= sizeof ret_place->host)
        return false;
    memcpy(ret_place->host, text, len);
    ret_place->host[len] = '\0';
    ret_place->port = (uint16_t)port;
    return true;
}

static struct net_fetch detect_request(const struct detect *detect,
                                       const struct detect_place *place, const char *method,
                                       const char *target, const struct http_header *header)
{
    return (struct net_fetch){
        .method = method,
        .connect_host = place->host,
        .connect_port = place->port,
        .host = fm_slice_text(place->host),
        .target = fm_slice_text(target),
        .headers = header,
        .header_count = 1,
        .response_bytes_max = DETECT_CLOUD_MAX,
        .deadline_ns = detect->deadline_ns,
    };
}

/* AWS wants a token first; the others are asked meanwhile. */
static bool detect_ask_aws(const struct detect *detect, struct net_fetcher *fetcher,
                           const struct detect_place *place, struct fm_slice token)
{
    const struct http_header header = {FM_SLICE("x-aws-ec2-metadata-token"), token};
    struct net_fetch fetch =
        detect_request(detect, place, "GET", "/latest/dynamic/instance-identity/document", &header);
    bool found = false;

    if (net_fetch_start(fetcher, &fetch) < 0)
        return false;
    if (net_fetch_wait(fetcher, &fetch) == FM_OK) {
        found = fetch.status == 200 && process_facts_aws(detect->facts, fm_buf_slice(&fetch.body));
        net_fetch_fini(&fetch);
    }
    return found;
}

static void detect_ask_clouds(const struct detect *detect, struct net_fetcher *fetcher,
                              const struct detect_place *place)
{
    static const struct http_header headers[] = {
        {FM_SLICE("x-aws-ec2-metadata-token-ttl-seconds"), FM_SLICE("60")},
        {FM_SLICE("metadata-flavor"), FM_SLICE("Google")},
        {FM_SLICE("metadata"), FM_SLICE("true")},
    };
    struct net_fetch fetches[] = {
        detect_request(detect, place, "PUT", "/latest/api/token", &headers[0]),
        detect_request(detect, place, "GET", "/computeMetadata/v1/?recursive=true", &headers[1]),
        detect_request(detect, place, "GET", "/metadata/instance?api-version=2021-02-01",
                       &headers[2]),
    };
    bool is_started[FM_COUNT(fetches)], found = false;

    for (size_t i = 0; i < FM_COUNT(fetches); i++)
        is_started[i] = net_fetch_start(fetcher, &fetches[i]) == FM_OK;
    for (size_t i = 0; i < FM_COUNT(fetches); i++) {
        if (!is_started[i] || net_fetch_wait(fetcher, &fetches[i]) != FM_OK)
            continue;
        struct fm_slice body = fm_buf_slice(&fetches[i].body);
        bool is_asked = !found && fetches[i].status == 200;
        if (is_asked && i == 0)
            found = detect_ask_aws(detect, fetcher, place, body);
        else if (is_asked)
            found = i == 1 ? process_facts_gcp(detect->facts, body)
                           : process_facts_azure(detect->facts, body);
        net_fetch_fini(&fetches[i]);
    }
}

static void detect_cloud(const struct detect *detect)
{
    const struct net_fetcher_options options = {
        .connection_max = 3,
        .connect_timeout_ns = detect->config->resource_detect_timeout,
        .stall_timeout_ns = detect->config->resource_detect_timeout,
    };
    struct net_fetcher *fetcher;
    struct detect_place place;
    struct fm_why why;

    if (!detect_parse_place(detect->config->resource_cloud_endpoint, &place) ||
        net_fetcher_new(&fetcher, &options, &why) < 0)
        return;
    detect_ask_clouds(detect, fetcher, &place);
    net_fetcher_free(fetcher);
}

/* ---- all of them ---- */

static void detect_run(const struct detect *detect)
{
    static const struct {
        const char *name;
        void (*run)(const struct detect *detect);
    } rows[] = {{"env", detect_env},         {"host", detect_host},           {"os", detect_os},
                {"systemd", detect_systemd}, {"container", detect_container}, {"k8s", detect_k8s},
                {"cloud", detect_cloud}};
    const char *at = detect->config->resource_detectors;

    while (*at) {
        size_t len = strcspn(at, " ,");
        for (size_t i = 0; i < FM_COUNT(rows); i++) {
            if (strlen(rows[i].name) == len && memcmp(rows[i].name, at, len) == 0)
                rows[i].run(detect);
        }
        at += len + (at[len] != '\0');
    }
    for (size_t i = 0; i < detect->facts->count; i++) {
        const struct process_pair *pair = &detect->facts->pairs[i];
        log_info("resource.detected", "key=%.*s value=\"%.*s\"", (int)pair->key.len,
                 (const char *)pair->key.ptr, (int)pair->value.len, (const char *)pair->value.ptr);
    }
}

void serve_detect(struct process_facts *ret_facts, struct platform *platform,
                  const struct config *config)
{
    struct detect detect = {.platform = platform, .config = config, .facts = ret_facts};

    process_facts_init(ret_facts);
    detect.deadline_ns = pf_now_ns(platform) + config->resource_detect_timeout;
    if (*config->resource_detectors)
        detect_run(&detect);
}
