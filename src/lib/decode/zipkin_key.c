/* SPDX-License-Identifier: Apache-2.0 */
/* Which tags mean something, and which belong to the resource: a table, hashed once per batch. */
#include "zipkin_batch.h"

static const struct {
    struct fm_slice text;
    enum zipkin_key key;
} zipkin_keys[] = {
    {FM_SLICE("error"), ZIPKIN_KEY_ERROR},
    {FM_SLICE("span.kind"), ZIPKIN_KEY_SPAN_KIND},
    {FM_SLICE("otel.status_code"), ZIPKIN_KEY_STATUS_CODE},
    {FM_SLICE("otel.status_description"), ZIPKIN_KEY_STATUS_DESCRIPTION},
    {FM_SLICE("w3c.tracestate"), ZIPKIN_KEY_TRACESTATE},
    {FM_SLICE("otel.scope.name"), ZIPKIN_KEY_SCOPE_NAME},
    {FM_SLICE("otel.scope.version"), ZIPKIN_KEY_SCOPE_VERSION},
    {FM_SLICE("otel.library.name"), ZIPKIN_KEY_LIBRARY_NAME},
    {FM_SLICE("otel.library.version"), ZIPKIN_KEY_LIBRARY_VERSION},
    {FM_SLICE("otlp.service.name.source"), ZIPKIN_KEY_SERVICE_SOURCE},
    {FM_SLICE("service.name"), ZIPKIN_KEY_SERVICE_NAME},
    {FM_SLICE("peer.service"), ZIPKIN_KEY_PEER_SERVICE},
    {FM_SLICE("net.peer.ip"), ZIPKIN_KEY_PEER_IP},
    {FM_SLICE("net.peer.port"), ZIPKIN_KEY_PEER_PORT},
    {FM_SLICE("net.host.ip"), ZIPKIN_KEY_HOST_IP},
    {FM_SLICE("net.host.port"), ZIPKIN_KEY_HOST_PORT},
};
static const struct fm_slice zipkin_resource_keys[] = {
    FM_SLICE("cloud.provider"),
    FM_SLICE("cloud.account.id"),
    FM_SLICE("cloud.region"),
    FM_SLICE("cloud.availability_zone"),
    FM_SLICE("cloud.platform"),
    FM_SLICE("aws.ecs.container.arn"),
    FM_SLICE("aws.ecs.cluster.arn"),
    FM_SLICE("aws.ecs.launchtype"),
    FM_SLICE("aws.ecs.task.arn"),
    FM_SLICE("aws.ecs.task.family"),
    FM_SLICE("aws.ecs.task.revision"),
    FM_SLICE("aws.eks.cluster.arn"),
    FM_SLICE("aws.log.group.names"),
    FM_SLICE("aws.log.group.arns"),
    FM_SLICE("aws.log.stream.names"),
    FM_SLICE("aws.log.stream.arns"),
    FM_SLICE("container.name"),
    FM_SLICE("container.id"),
    FM_SLICE("container.runtime"),
    FM_SLICE("container.image.name"),
    FM_SLICE("container.image.tag"),
    FM_SLICE("deployment.environment"),
    FM_SLICE("device.id"),
    FM_SLICE("device.model.identifier"),
    FM_SLICE("device.model.name"),
    FM_SLICE("device.manufacturer"),
    FM_SLICE("faas.name"),
    FM_SLICE("faas.id"),
    FM_SLICE("faas.version"),
    FM_SLICE("faas.instance"),
    FM_SLICE("faas.max_memory"),
    FM_SLICE("host.id"),
    FM_SLICE("host.name"),
    FM_SLICE("host.type"),
    FM_SLICE("host.arch"),
    FM_SLICE("host.image.name"),
    FM_SLICE("host.image.id"),
    FM_SLICE("host.image.version"),
    FM_SLICE("k8s.cluster.name"),
    FM_SLICE("k8s.node.name"),
    FM_SLICE("k8s.node.uid"),
    FM_SLICE("k8s.namespace.name"),
    FM_SLICE("k8s.pod.uid"),
    FM_SLICE("k8s.pod.name"),
    FM_SLICE("k8s.container.name"),
    FM_SLICE("k8s.container.restart_count"),
    FM_SLICE("k8s.replicaset.uid"),
    FM_SLICE("k8s.replicaset.name"),
    FM_SLICE("k8s.deployment.uid"),
    FM_SLICE("k8s.deployment.name"),
    FM_SLICE("k8s.statefulset.uid"),
    FM_SLICE("k8s.statefulset.name"),
    FM_SLICE("k8s.daemonset.uid"),
    FM_SLICE("k8s.daemonset.name"),
    FM_SLICE("k8s.job.uid"),
    FM_SLICE("k8s.job.name"),
    FM_SLICE("k8s.cronjob.uid"),
    FM_SLICE("k8s.cronjob.name"),
    FM_SLICE("os.type"),
    FM_SLICE("os.description"),
    FM_SLICE("os.name"),
    FM_SLICE("os.version"),
    FM_SLICE("process.pid"),
    FM_SLICE("process.executable.name"),
    FM_SLICE("process.executable.path"),
    FM_SLICE("process.command"),
    FM_SLICE("process.command_line"),
    FM_SLICE("process.command_args"),
    FM_SLICE("process.owner"),
    FM_SLICE("process.runtime.name"),
    FM_SLICE("process.runtime.version"),
    FM_SLICE("process.runtime.description"),
    FM_SLICE("service.namespace"),
    FM_SLICE("service.instance.id"),
    FM_SLICE("service.version"),
    FM_SLICE("telemetry.sdk.name"),
    FM_SLICE("telemetry.sdk.language"),
    FM_SLICE("telemetry.sdk.version"),
    FM_SLICE("telemetry.auto.version"),
    FM_SLICE("webengine.name"),
    FM_SLICE("webengine.version"),
    FM_SLICE("webengine.description"),
    FM_SLICE("opencensus.starttime"),
    FM_SLICE("opencensus.exporterversion"),
    FM_SLICE("opencensus.resourcetype"),
};
#define KEY_COUNT     FM_COUNT(zipkin_keys)
#define KEY_COUNT_ALL (KEY_COUNT + FM_COUNT(zipkin_resource_keys))
_Static_assert(KEY_COUNT_ALL < 256 && KEY_COUNT_ALL * 2 < ZIPKIN_KEY_SLOTS, "one byte a slot");

static struct fm_slice key_text(size_t index)
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
        uint32_t slot = key_slot(key_text(i));
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
        if (fm_slice_equal(key, key_text(index)))
            return index < KEY_COUNT ? zipkin_keys[index].key : ZIPKIN_KEY_RESOURCE;
    }
    return key_is_link(key) ? ZIPKIN_KEY_LINK : ZIPKIN_KEY_NONE;
}
