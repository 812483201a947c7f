/* SPDX-License-Identifier: Apache-2.0 */
/* Which tags mean something, and which belong to the resource: a table, hashed once per batch. */
#include "zipkin_batch.h"

static const struct {
    const char *text;
    enum zipkin_key key;
} zipkin_keys[] = {
    {"error", ZIPKIN_KEY_ERROR},
    {"span.kind", ZIPKIN_KEY_SPAN_KIND},
    {"otel.status_code", ZIPKIN_KEY_STATUS_CODE},
    {"otel.status_description", ZIPKIN_KEY_STATUS_DESCRIPTION},
    {"w3c.tracestate", ZIPKIN_KEY_TRACESTATE},
    {"otel.scope.name", ZIPKIN_KEY_SCOPE_NAME},
    {"otel.scope.version", ZIPKIN_KEY_SCOPE_VERSION},
    {"otel.library.name", ZIPKIN_KEY_LIBRARY_NAME},
    {"otel.library.version", ZIPKIN_KEY_LIBRARY_VERSION},
    {"otlp.service.name.source", ZIPKIN_KEY_SERVICE_SOURCE},
    {"service.name", ZIPKIN_KEY_SERVICE_NAME},
    {"peer.service", ZIPKIN_KEY_PEER_SERVICE},
    {"net.peer.ip", ZIPKIN_KEY_PEER_IP},
    {"net.peer.port", ZIPKIN_KEY_PEER_PORT},
    {"net.host.ip", ZIPKIN_KEY_HOST_IP},
    {"net.host.port", ZIPKIN_KEY_HOST_PORT},
};
static const char *const zipkin_resource_keys[] = {
    "cloud.provider",
    "cloud.account.id",
    "cloud.region",
    "cloud.availability_zone",
    "cloud.platform",
    "aws.ecs.container.arn",
    "aws.ecs.cluster.arn",
    "aws.ecs.launchtype",
    "aws.ecs.task.arn",
    "aws.ecs.task.family",
    "aws.ecs.task.revision",
    "aws.eks.cluster.arn",
    "aws.log.group.names",
    "aws.log.group.arns",
    "aws.log.stream.names",
    "aws.log.stream.arns",
    "container.name",
    "container.id",
    "container.runtime",
    "container.image.name",
    "container.image.tag",
    "deployment.environment",
    "device.id",
    "device.model.identifier",
    "device.model.name",
    "device.manufacturer",
    "faas.name",
    "faas.id",
    "faas.version",
    "faas.instance",
    "faas.max_memory",
    "host.id",
    "host.name",
    "host.type",
    "host.arch",
    "host.image.name",
    "host.image.id",
    "host.image.version",
    "k8s.cluster.name",
    "k8s.node.name",
    "k8s.node.uid",
    "k8s.namespace.name",
    "k8s.pod.uid",
    "k8s.pod.name",
    "k8s.container.name",
    "k8s.container.restart_count",
    "k8s.replicaset.uid",
    "k8s.replicaset.name",
    "k8s.deployment.uid",
    "k8s.deployment.name",
    "k8s.statefulset.uid",
    "k8s.statefulset.name",
    "k8s.daemonset.uid",
    "k8s.daemonset.name",
    "k8s.job.uid",
    "k8s.job.name",
    "k8s.cronjob.uid",
    "k8s.cronjob.name",
    "os.type",
    "os.description",
    "os.name",
    "os.version",
    "process.pid",
    "process.executable.name",
    "process.executable.path",
    "process.command",
    "process.command_line",
    "process.command_args",
    "process.owner",
    "process.runtime.name",
    "process.runtime.version",
    "process.runtime.description",
    "service.namespace",
    "service.instance.id",
    "service.version",
    "telemetry.sdk.name",
    "telemetry.sdk.language",
    "telemetry.sdk.version",
    "telemetry.auto.version",
    "webengine.name",
    "webengine.version",
    "webengine.description",
    "opencensus.starttime",
    "opencensus.exporterversion",
    "opencensus.resourcetype",
};
#define KEY_COUNT     FM_COUNT(zipkin_keys)
#define KEY_COUNT_ALL (KEY_COUNT + FM_COUNT(zipkin_resource_keys))
_Static_assert(KEY_COUNT_ALL < 256 && KEY_COUNT_ALL * 2 < ZIPKIN_KEY_SLOTS, "one byte a slot");

static const char *key_text(size_t index)
{
    return index < KEY_COUNT ? zipkin_keys[index].text : zipkin_resource_keys[index - KEY_COUNT];
}

/* Cheap, and spreads the names above: the length and three bytes of the text. */
static uint32_t key_slot(struct fm_slice key)
{
    uint32_t sum = (uint32_t)key.len * 61u + key.ptr[key.len - 1] * 7u +
                   key.ptr[key.len / 2] * 31u + key.ptr[key.len / 3] * 131u;
    return (sum ^ sum >> 7) % ZIPKIN_KEY_SLOTS;
}

void zipkin_keys_init(struct zipkin_batch *batch)
{
    for (size_t i = 0; i < KEY_COUNT_ALL; i++) {
        uint32_t slot = key_slot(fm_slice_text(key_text(i)));
        while (batch->key_slots[slot])
            slot = (slot + 1) % ZIPKIN_KEY_SLOTS;
        batch->key_slots[slot] = (uint8_t)(i + 1);
    }
}

static bool key_is_link(struct fm_slice key)
{
    static const char prefix[] = "otlp.link.";
    size_t len = sizeof prefix - 1;
    if (key.len <= len || key.len > len + 4 || memcmp(key.ptr, prefix, len) != 0)
        return false;
    for (size_t i = len; i < key.len; i++) {
        if (key.ptr[i] < '0' || key.ptr[i] > '9')
            return false;
    }
    return true;
}

enum zipkin_key zipkin_key_find(const struct zipkin_batch *batch, struct fm_slice key)
{
    if (!key.len)
        return ZIPKIN_KEY_NONE;
    for (uint32_t slot = key_slot(key); batch->key_slots[slot];
         slot = (slot + 1) % ZIPKIN_KEY_SLOTS) {
        size_t index = batch->key_slots[slot] - 1u;
        if (fm_slice_equal_text(key, key_text(index)))
            return index < KEY_COUNT ? zipkin_keys[index].key : ZIPKIN_KEY_RESOURCE;
    }
    return key_is_link(key) ? ZIPKIN_KEY_LINK : ZIPKIN_KEY_NONE;
}
