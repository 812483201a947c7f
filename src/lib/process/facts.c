/* SPDX-License-Identifier: Apache-2.0 */
/* What machines say of themselves, read with little trust: values are short, printable, few. */
#include "fermata/process_facts.h"

#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/json.h"

#define FACTS_BYTES_MAX FM_KIB(256)
#define VALUE_LEN_MAX   1024u
#define JSON_LEVELS_MAX 8u
#define PATH_LEN_MAX    128u

void process_facts_init(struct process_facts *facts)
{
    facts->count = 0;
    fm_arena_init(&facts->arena, FACTS_BYTES_MAX);
}

void process_facts_fini(struct process_facts *facts)
{
    fm_arena_fini(&facts->arena);
    facts->count = 0;
}

static struct fm_slice facts_trim(struct fm_slice text)
{
    while (text.len && strchr(" \t\r\n", text.ptr[text.len - 1]))
        text.len--;
    while (text.len && strchr(" \t\r\n", text.ptr[0]))
        text = fm_slice(text.ptr + 1, text.len - 1);
    return text;
}

static bool facts_is_printable(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return false;
    }
    return fm_utf8_valid_len(text) == text.len;
}

static void facts_add(struct process_facts *facts, struct fm_slice key, struct fm_slice value)
{
    value = facts_trim(value);
    if (!key.len || !value.len || key.len > VALUE_LEN_MAX || value.len > VALUE_LEN_MAX ||
        !facts_is_printable(key) || !facts_is_printable(value) || facts->count == PROCESS_FACTS_MAX)
        return;
    for (size_t i = 0; i < facts->count; i++) {
        if (fm_slice_equal(facts->pairs[i].key, key))
            return;
    }
    struct process_pair pair = {fm_slice_dup(&facts->arena, key),
                                fm_slice_dup(&facts->arena, value)};
    if (!fm_arena_failed(&facts->arena))
        facts->pairs[facts->count++] = pair;
}

void process_facts_add(struct process_facts *facts, const char *key, struct fm_slice value)
{
    facts_add(facts, fm_slice_text(key), value);
}

/* The part of text in front of the separator; the rest stays in *text. */
static struct fm_slice facts_part(struct fm_slice *text, uint8_t separator)
{
    const uint8_t *end = text->len ? memchr(text->ptr, separator, text->len) : NULL;
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    struct fm_slice part = fm_slice(text->ptr, len);

    *text = fm_slice(text->ptr + len + (end != NULL), text->len - len - (end != NULL));
    return part;
}

/* ---- key=value ---- */

static struct fm_slice facts_percent_decode(struct fm_arena *arena, struct fm_slice text)
{
    uint8_t *out = fm_arena_alloc(arena, text.len + 1);
    size_t len = 0;

    if (!out)
        return (struct fm_slice){0};
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i], decoded;
        bool is_code = byte == '%' && text.len - i > 2 &&
                       fm_hex_decode(&decoded, 1, fm_slice(text.ptr + i + 1, 2)) == FM_OK;
        out[len++] = is_code ? decoded : byte;
        i += is_code ? 2 : 0;
    }
    return fm_slice(out, len);
}

void process_facts_environment(struct process_facts *facts, struct fm_slice text)
{
    while (text.len) {
        struct fm_slice value = facts_part(&text, ',');
        struct fm_slice key = facts_trim(facts_part(&value, '='));
        if (value.len)
            facts_add(facts, facts_percent_decode(&facts->arena, key),
                      facts_percent_decode(&facts->arena, facts_trim(value)));
    }
}

/* A value in the quotes of a shell; what they escape is unescaped. */
static struct fm_slice facts_unquote(struct fm_arena *arena, struct fm_slice text)
{
    text = facts_trim(text);
    bool is_quoted = text.len >= 2 && (text.ptr[0] == '"' || text.ptr[0] == '\'') &&
                     text.ptr[text.len - 1] == text.ptr[0];
    if (!is_quoted)
        return text;
    text = fm_slice(text.ptr + 1, text.len - 2);
    uint8_t *out = fm_arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; out && i < text.len; i++) {
        if (text.ptr[i] == '\\' && i + 1 < text.len)
            i++;
        out[len++] = text.ptr[i];
    }
    return fm_slice(out, len);
}

void process_facts_os_release(struct process_facts *facts, struct fm_slice text)
{
    static const struct {
        const char *name, *key;
    } rows[] = {
        {"NAME", "os.name"}, {"VERSION_ID", "os.version"}, {"PRETTY_NAME", "os.description"}};

    while (text.len) {
        struct fm_slice value = facts_part(&text, '\n');
        struct fm_slice name = facts_trim(facts_part(&value, '='));
        for (size_t i = 0; i < FM_COUNT(rows); i++) {
            if (fm_slice_equal_text(name, rows[i].name))
                process_facts_add(facts, rows[i].key, facts_unquote(&facts->arena, value));
        }
    }
}

void process_facts_labels(struct process_facts *facts, struct fm_slice text)
{
    char key[256];

    while (text.len) {
        struct fm_slice value = facts_part(&text, '\n');
        struct fm_slice name = facts_trim(facts_part(&value, '='));
        if (!name.len || name.len > 200)
            continue;
        (void)snprintf(key, sizeof key, "k8s.pod.label.%.*s", (int)name.len,
                       (const char *)name.ptr);
        process_facts_add(facts, key, facts_unquote(&facts->arena, value));
    }
}

/* ---- control groups ---- */

static bool facts_is_hex(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool is_digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        if (!is_digit && !(text.ptr[i] >= 'a' && text.ptr[i] <= 'f'))
            return false;
    }
    return true;
}

/* "docker-<64 hex>.scope", "<64 hex>", "cri-containerd-<64 hex>.scope". */
static void facts_container(struct process_facts *facts, struct fm_slice name)
{
    if (name.len > 6 && memcmp(name.ptr + name.len - 6, ".scope", 6) == 0)
        name.len -= 6;
    if (name.len < 64)
        return;
    struct fm_slice id = fm_slice(name.ptr + name.len - 64, 64);
    bool is_apart =
        name.len == 64 || name.ptr[name.len - 65] == '-' || name.ptr[name.len - 65] == ':';
    if (is_apart && facts_is_hex(id))
        process_facts_add(facts, "container.id", id);
}

/* "pod<uid>", "kubepods-burstable-pod<uid with _>.slice". */
static void facts_pod(struct process_facts *facts, struct fm_slice name)
{
    char uid[36];

    if (name.len > 6 && memcmp(name.ptr + name.len - 6, ".slice", 6) == 0)
        name.len -= 6;
    if (name.len < 39 || memcmp(name.ptr + name.len - 39, "pod", 3) != 0)
        return;
    for (size_t i = 0; i < sizeof uid; i++) {
        uint8_t byte = name.ptr[name.len - sizeof uid + i];
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        uid[i] = byte == '_' ? '-' : (char)byte;
        if (is_dash ? uid[i] != '-' : !facts_is_hex(fm_slice(&byte, 1)))
            return;
    }
    process_facts_add(facts, "k8s.pod.uid", fm_slice(uid, sizeof uid));
}

static void facts_unit(struct process_facts *facts, struct fm_slice name)
{
    bool is_service = name.len > 8 && memcmp(name.ptr + name.len - 8, ".service", 8) == 0;
    bool is_slice = name.len > 6 && memcmp(name.ptr + name.len - 6, ".slice", 6) == 0;

    if (is_service)
        process_facts_add(facts, "systemd.unit", name);
    else if (is_slice)
        process_facts_add(facts, "systemd.slice", name);
}

void process_facts_cgroup(struct process_facts *facts, struct fm_slice text, unsigned wanted)
{
    while (text.len) {
        struct fm_slice path = facts_part(&text, '\n');
        (void)facts_part(&path, ':'); /* hierarchy, controllers */
        (void)facts_part(&path, ':');
        while (path.len) { /* innermost first: of nested units it is the nearest that counts */
            size_t start = path.len;
            while (start && path.ptr[start - 1] != '/')
                start--;
            struct fm_slice name = fm_slice(path.ptr + start, path.len - start);
            path.len = start ? start - 1 : 0;
            if (wanted & PROCESS_CGROUP_SYSTEMD)
                facts_unit(facts, name);
            if (wanted & PROCESS_CGROUP_CONTAINER)
                facts_container(facts, name);
            if (wanted & PROCESS_CGROUP_K8S)
                facts_pod(facts, name);
        }
    }
}

void process_facts_mountinfo(struct process_facts *facts, struct fm_slice text)
{
    static const char *const markers[] = {"/containers/", "/sandboxes/"};

    while (text.len) {
        struct fm_slice line = facts_part(&text, '\n');
        for (size_t i = 0; i < FM_COUNT(markers); i++) {
            size_t len = strlen(markers[i]);
            const uint8_t *found = line.len ? memmem(line.ptr, line.len, markers[i], len) : NULL;
            if (!found)
                continue;
            struct fm_slice rest =
                fm_slice(found + len, line.len - (size_t)(found - line.ptr) - len);
            struct fm_slice id = facts_part(&rest, '/');
            if (id.len == 64)
                facts_container(facts, id);
        }
    }
}

/* ---- clouds ---- */

struct facts_json_row {
    const char *path, *key;
    bool last_part; /* of "projects/1/zones/z" */
};

static void facts_json_value(struct process_facts *facts, const char *path,
                             const struct json_token *token, const struct facts_json_row *rows,
                             size_t count)
{
    struct fm_slice value = token->text;

    if (token->kind != JSON_STRING && token->kind != JSON_NUMBER)
        return;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(path, rows[i].path) != 0)
            continue;
        while (rows[i].last_part && value.len && memchr(value.ptr, '/', value.len))
            (void)facts_part(&value, '/');
        process_facts_add(facts, rows[i].key, value);
    }
}

/* Values at the rows' paths, "compute.vmId".  False: no object. */
static bool facts_json(struct process_facts *facts, struct fm_slice json,
                       const struct facts_json_row *rows, size_t count)
{
    struct json_reader reader;
    struct json_token token;
    char path[PATH_LEN_MAX] = "";
    size_t ends[JSON_LEVELS_MAX] = {0}; /* of the path, by depth */
    size_t depth = 0;
    int rc;

    json_reader_init(&reader, json, &facts->arena);
    if (json_next(&reader, &token) != FM_OK || token.kind != JSON_OBJECT_BEGIN)
        return false;
    while ((rc = json_next(&reader, &token)) == FM_OK) {
        if (token.kind == JSON_KEY) {
            int len = snprintf(
                path + ends[depth], sizeof path - ends[depth], "%s%.*s", ends[depth] ? "." : "",
                (int)FM_MIN(token.text.len, (size_t)PATH_LEN_MAX), (const char *)token.text.ptr);
            bool fits = len > 0 && (size_t)len < sizeof path - ends[depth];
            rc = json_next(&reader, &token);
            if (rc != FM_OK)
                break;
            if (token.kind == JSON_OBJECT_BEGIN && fits && depth + 1 < JSON_LEVELS_MAX) {
                ends[depth + 1] = ends[depth] + (size_t)len;
                depth++;
            } else if (token.kind == JSON_OBJECT_BEGIN || token.kind == JSON_ARRAY_BEGIN) {
                rc = json_skip(&reader, &token);
                if (rc != FM_OK)
                    break;
            } else if (fits) {
                facts_json_value(facts, path, &token, rows, count);
            }
        } else if (token.kind == JSON_OBJECT_END && depth) {
            depth--;
        }
    }
    return rc == FM_END;
}

static bool facts_has(const struct process_facts *facts, const char *key)
{
    for (size_t i = 0; i < facts->count; i++) {
        if (fm_slice_equal_text(facts->pairs[i].key, key))
            return true;
    }
    return false;
}

/* The provider is believed only if the document named a region or a zone. */
static bool facts_cloud(struct process_facts *facts, struct fm_slice json,
                        const struct facts_json_row *rows, size_t count, const char *provider)
{
    if (!facts_json(facts, json, rows, count) ||
        (!facts_has(facts, "cloud.region") && !facts_has(facts, "cloud.availability_zone")))
        return false;
    process_facts_add(facts, "cloud.provider", fm_slice_text(provider));
    return true;
}

bool process_facts_aws(struct process_facts *facts, struct fm_slice json)
{
    static const struct facts_json_row rows[] = {
        {"region", "cloud.region", false},
        {"availabilityZone", "cloud.availability_zone", false},
        {"accountId", "cloud.account.id", false},
        {"instanceId", "host.id", false},
        {"instanceType", "host.type", false},
        {"imageId", "host.image.id", false},
    };
    return facts_cloud(facts, json, rows, FM_COUNT(rows), "aws");
}

bool process_facts_gcp(struct process_facts *facts, struct fm_slice json)
{
    static const struct facts_json_row rows[] = {
        {"instance.zone", "cloud.availability_zone", true},
        {"project.projectId", "cloud.account.id", false},
        {"instance.id", "host.id", false},
        {"instance.machineType", "host.type", true},
    };
    return facts_cloud(facts, json, rows, FM_COUNT(rows), "gcp");
}

bool process_facts_azure(struct process_facts *facts, struct fm_slice json)
{
    static const struct facts_json_row rows[] = {
        {"compute.location", "cloud.region", false},
        {"compute.zone", "cloud.availability_zone", false},
        {"compute.subscriptionId", "cloud.account.id", false},
        {"compute.vmId", "host.id", false},
        {"compute.vmSize", "host.type", false},
    };
    return facts_cloud(facts, json, rows, FM_COUNT(rows), "azure");
}
