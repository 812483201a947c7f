/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints of a span.  peer.service, net.host.* and net.peer.* are what the receivers made of a
 * Zipkin endpoint, and become one again.  Of other attributes the first of the specification's list
 * names the remote service of a client or a producer. */
#include "remote.h"

enum remote_key {
    REMOTE_PEER_SERVICE,
    REMOTE_SERVER_ADDRESS,
    REMOTE_PEER_NAME,
    REMOTE_PEER_HOSTNAME,
    REMOTE_PEER_ADDRESS,
    REMOTE_DATABASE_NAMESPACE,
    REMOTE_DATABASE,
    REMOTE_KEYS,
};
static const struct fm_slice remote_keys[REMOTE_KEYS] = {
    [REMOTE_PEER_SERVICE] = FM_SLICE("peer.service"),
    [REMOTE_SERVER_ADDRESS] = FM_SLICE("server.address"),
    [REMOTE_PEER_NAME] = FM_SLICE("net.peer.name"),
    [REMOTE_PEER_HOSTNAME] = FM_SLICE("peer.hostname"),
    [REMOTE_PEER_ADDRESS] = FM_SLICE("peer.address"),
    [REMOTE_DATABASE_NAMESPACE] = FM_SLICE("db.namespace"),
    [REMOTE_DATABASE] = FM_SLICE("db.name"),
};

const struct fm_slice *view_remote_keys(uint32_t *ret_count)
{
    *ret_count = REMOTE_KEYS;
    return remote_keys;
}

struct fm_slice view_remote_service(const struct view_span *span)
{
    struct fm_slice rest = span->content, found = {0};
    struct view_attribute attribute;
    size_t best = REMOTE_KEYS;

    if (span->kind != VIEW_KIND_CLIENT && span->kind != VIEW_KIND_PRODUCER)
        best = REMOTE_PEER_SERVICE + 1; /* only what says so by its name */
    while (view_attribute_next(&rest, VIEW_SPAN_ATTRIBUTES, &attribute)) {
        if (attribute.value.type != VIEW_STRING || !attribute.value.bytes.len)
            continue;
        for (size_t i = 0; i < best; i++) {
            if (!fm_slice_equal(attribute.key, remote_keys[i]))
                continue;
            best = i;
            found = attribute.value.bytes;
        }
    }
    return found;
}

static bool is_address(struct fm_slice text)
{
    bool has_colon = text.len && memchr(text.ptr, ':', text.len);
    size_t dots = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        bool is_hex = (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F') || byte == ':';
        dots += byte == '.';
        if (!(byte >= '0' && byte <= '9') && byte != '.' && !(has_colon && is_hex))
            return false;
    }
    return text.len && text.len <= 45 && (has_colon || (dots == 3 && text.len <= 15));
}

static bool attribute_is_ip(const struct view_attribute *attribute, const char *key)
{
    return attribute->value.type == VIEW_STRING && fm_slice_equal_text(attribute->key, key) &&
           is_address(attribute->value.bytes);
}

static bool attribute_is_port(const struct view_attribute *attribute, const char *key)
{
    return attribute->value.type == VIEW_INT && attribute->value.integer > 0 &&
           attribute->value.integer <= UINT16_MAX && fm_slice_equal_text(attribute->key, key);
}

bool view_endpoint_says(const struct view_attribute *attribute)
{
    bool is_service = attribute->value.type == VIEW_STRING && attribute->value.bytes.len &&
                      fm_slice_equal(attribute->key, remote_keys[REMOTE_PEER_SERVICE]);

    return is_service || attribute_is_ip(attribute, "net.host.ip") ||
           attribute_is_ip(attribute, "net.peer.ip") ||
           attribute_is_port(attribute, "net.host.port") ||
           attribute_is_port(attribute, "net.peer.port");
}

void view_endpoints_find(const struct view_cursor *cursor, struct fm_buf *service,
                         struct view_endpoint *ret_local, struct view_endpoint *ret_remote)
{
    struct fm_slice rest = cursor->span.content;
    struct view_attribute attribute;

    *ret_local = (struct view_endpoint){.service = view_service(cursor->resource, service)};
    *ret_remote = (struct view_endpoint){.service = view_remote_service(&cursor->span)};
    while (view_attribute_next(&rest, VIEW_SPAN_ATTRIBUTES, &attribute)) {
        if (attribute_is_ip(&attribute, "net.host.ip"))
            ret_local->ip = attribute.value.bytes;
        else if (attribute_is_port(&attribute, "net.host.port"))
            ret_local->port = (uint16_t)attribute.value.integer;
        else if (attribute_is_ip(&attribute, "net.peer.ip"))
            ret_remote->ip = attribute.value.bytes;
        else if (attribute_is_port(&attribute, "net.peer.port"))
            ret_remote->port = (uint16_t)attribute.value.integer;
    }
}
