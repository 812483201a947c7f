/* SPDX-License-Identifier: Apache-2.0 */
/* The overrides file: from text to tenants with rates and the identities that they belong to.
 * The format is described in docs/formats/overrides.md. */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "fermata/ini_text.h"
#include "fermata/units.h"
#include "internal.h"

#define BURST_SECONDS 2 /* of the rate, where the file does not say */

enum override_section { SECTION_DEFAULT, SECTION_TENANT };
enum override_key {
    KEY_RATE_BYTES,
    KEY_BURST_BYTES,
    KEY_RATE_SPANS,
    KEY_BURST_SPANS,
    KEY_IDENTITIES,
    KEY_REQUIRE_IDENTITY,
    KEY_COUNT,
};
static const struct {
    const char *name;
    enum override_section section;
    const char *accepted;
} keys[KEY_COUNT] = {
    [KEY_RATE_BYTES] = {"rate_bytes", SECTION_TENANT,
                        "bytes a second, bare or with kB, MB, GB, KiB, MiB, GiB; 0: unlimited; "
                        "16GiB at most"},
    [KEY_BURST_BYTES] = {"burst_bytes", SECTION_TENANT,
                         "a number of bytes, bare or with kB, MB, GB, KiB, MiB, GiB: 16MiB"},
    [KEY_RATE_SPANS] = {"rate_spans", SECTION_TENANT,
                        "spans a second, a whole number; 0: unlimited"},
    [KEY_BURST_SPANS] = {"burst_spans", SECTION_TENANT, "a whole number, 0 or more"},
    [KEY_IDENTITIES] = {"identities", SECTION_TENANT,
                        "kind:name, separated by blanks; kinds: cert, user, token, peer; "
                        "or the word anonymous"},
    [KEY_REQUIRE_IDENTITY] = {"require_identity", SECTION_DEFAULT, "true or false"},
};

struct loaded_tenant { /* while the file is read */
    struct fm_slice name;
    unsigned line;
    uint64_t values[KEY_COUNT];
    unsigned key_lines[KEY_COUNT]; /* 0: not given */
};
struct loaded_grant {
    enum net_identity_kind kind;
    struct fm_slice name;
    uint32_t tenant;
};
struct overrides_loader {
    struct ini_complaints complaints;
    struct loaded_tenant *tenants; /* owned */
    struct loaded_grant *grants;   /* owned */
    uint32_t tenant_count, tenant_cap, grant_count, grant_cap;
    bool is_out_of_memory;
    enum override_section section; /* of the current line */
    bool require_identity;
    unsigned require_identity_line;
};

/* Room for one more; NULL: none, and what was is as it was. */
static void *loader_grow(struct overrides_loader *loader, void *array, uint32_t count,
                         uint32_t *cap, size_t size)
{
    if (count < *cap)
        return array;
    uint32_t wanted = FM_MAX(*cap * 2, 16u);
    void *grown = realloc(array, wanted * size);
    if (!grown) {
        loader->is_out_of_memory = true;
        return NULL;
    }
    *cap = wanted;
    return grown;
}

/* ---- sections ---- */

static struct fm_slice slice_word(struct fm_slice *rest)
{
    struct fm_slice word = {rest->ptr, 0};

    while (word.len < rest->len && rest->ptr[word.len] != ' ' && rest->ptr[word.len] != '\t')
        word.len++;
    size_t used = word.len;
    while (used < rest->len && (rest->ptr[used] == ' ' || rest->ptr[used] == '\t'))
        used++;
    *rest = fm_slice(rest->ptr + used, rest->len - used);
    return word;
}

static bool loader_add_tenant(struct overrides_loader *loader, struct fm_slice name,
                              const struct ini_place *place)
{
    if (!tenant_is_valid(name)) {
        ini_complain(&loader->complaints, place,
                     "1 to 150 of A-Z a-z 0-9 ! _ . * ' ( ) -, but neither . nor ..",
                     "not a tenant's name");
        return false;
    }
    for (uint32_t i = 0; i < loader->tenant_count; i++) {
        if (fm_slice_equal(loader->tenants[i].name, name)) {
            ini_complain(&loader->complaints, place, NULL,
                         "the tenant was given on line %u already", loader->tenants[i].line);
            return false;
        }
    }
    if (loader->tenant_count == OVERRIDES_TENANTS_MAX) {
        ini_complain(&loader->complaints, place, NULL, "more than %u tenants",
                     OVERRIDES_TENANTS_MAX);
        return false;
    }
    struct loaded_tenant *grown = loader_grow(loader, loader->tenants, loader->tenant_count,
                                              &loader->tenant_cap, sizeof *grown);
    if (!grown)
        return false;
    loader->tenants = grown;
    grown[loader->tenant_count++] = (struct loaded_tenant){.name = name, .line = place->line};
    return true;
}

static bool loader_on_section(void *self, struct fm_slice name, const struct ini_place *place)
{
    struct overrides_loader *loader = self;
    struct fm_slice rest = name, kind = slice_word(&rest);

    if (fm_slice_equal_text(kind, "tenant")) {
        loader->section = SECTION_TENANT;
        return loader_add_tenant(loader, rest, place);
    }
    if (fm_slice_equal_text(name, "default")) {
        loader->section = SECTION_DEFAULT;
        return true;
    }
    struct ini_guess guess = ini_guess_begin(kind);
    ini_guess_show(&guess, "default");
    ini_guess_show(&guess, "tenant");
    const char *answer = ini_guess_answer(&guess);
    ini_complain(&loader->complaints, place,
                 !answer            ? "there are [tenant NAME] and [default]"
                 : answer[0] == 'd' ? "did you mean [default]?"
                                    : "did you mean [tenant NAME]?",
                 "unknown section [%.*s]", (int)name.len, (const char *)name.ptr);
    return false;
}

/* ---- keys ---- */

static enum override_key loader_find(const struct overrides_loader *loader, struct fm_slice name)
{
    enum override_key key = 0;

    while (key < KEY_COUNT &&
           (keys[key].section != loader->section || !fm_slice_equal_text(name, keys[key].name)))
        key++;
    return key;
}

static enum ini_kind loader_kind(void *self, struct fm_slice section, struct fm_slice name)
{
    enum override_key key = loader_find(self, name);

    (void)section;
    if (key == KEY_COUNT)
        return INI_UNKNOWN;
    return key == KEY_IDENTITIES ? INI_LIST : INI_VALUE;
}

static void loader_complain_key(struct overrides_loader *loader, const struct ini_setting *setting)
{
    struct ini_guess guess = ini_guess_begin(setting->key);
    char cure[80] = "";

    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].section == loader->section)
            ini_guess_show(&guess, keys[i].name);
    }
    const char *answer = ini_guess_answer(&guess);
    if (answer)
        (void)snprintf(cure, sizeof cure, "did you mean \"%s\"?", answer);
    ini_complain(&loader->complaints, &setting->key_place, cure, "unknown key \"%.*s\" in [%.*s]",
                 (int)setting->key.len, (const char *)setting->key.ptr, (int)setting->section.len,
                 (const char *)setting->section.ptr);
}

static void loader_complain_value(struct overrides_loader *loader, enum override_key key,
                                  struct fm_slice value, const struct ini_place *place)
{
    char cure[160];

    (void)snprintf(cure, sizeof cure, "accepted: %s", keys[key].accepted);
    ini_complain(&loader->complaints, place, cure, "bad value \"%.*s\" for \"%s\"", (int)value.len,
                 (const char *)value.ptr, keys[key].name);
}

/* ---- identities ---- */

static bool identity_parse(struct fm_slice word, struct loaded_grant *grant)
{
    static const enum net_identity_kind kinds[] = {NET_CERTIFICATE, NET_USER, NET_TOKEN, NET_PEER};
    const uint8_t *colon = memchr(word.ptr, ':', word.len);

    if (fm_slice_equal_text(word, net_identity_kind_text(NET_ANONYMOUS))) {
        grant->kind = NET_ANONYMOUS;
        grant->name = (struct fm_slice){0};
        return true;
    }
    if (!colon)
        return false;
    struct fm_slice kind = fm_slice(word.ptr, (size_t)(colon - word.ptr));
    grant->name = fm_slice(colon + 1, word.len - kind.len - 1);
    for (size_t i = 0; i < FM_COUNT(kinds); i++) {
        grant->kind = kinds[i];
        if (fm_slice_equal_text(kind, net_identity_kind_text(kinds[i])))
            return grant->name.len && grant->name.len <= NET_IDENTITY_NAME_MAX;
    }
    return false;
}

static void loader_add_identities(struct overrides_loader *loader, struct fm_slice value,
                                  const struct ini_place *place)
{
    while (value.len) {
        struct fm_slice word = slice_word(&value);
        struct loaded_grant grant = {.tenant = loader->tenant_count - 1};
        if (!identity_parse(word, &grant)) {
            struct ini_place at = *place;
            at.column += (unsigned)(word.ptr - (place->source.ptr + place->column - 1));
            at.width = (unsigned)word.len;
            loader_complain_value(loader, KEY_IDENTITIES, word, &at);
            continue;
        }
        if (loader->grant_count == OVERRIDES_IDENTITIES_MAX) {
            ini_complain(&loader->complaints, place, NULL, "more than %u identities",
                         OVERRIDES_IDENTITIES_MAX);
            return;
        }
        struct loaded_grant *grown = loader_grow(loader, loader->grants, loader->grant_count,
                                                 &loader->grant_cap, sizeof *grown);
        if (!grown)
            return;
        loader->grants = grown;
        grown[loader->grant_count++] = grant;
    }
}

/* ---- values ---- */

static bool value_parse_bool(struct fm_slice text, bool *ret_value)
{
    *ret_value = fm_slice_equal_text(text, "true");
    return *ret_value || fm_slice_equal_text(text, "false");
}

static bool value_parse_number(enum override_key key, struct fm_slice text, uint64_t *ret_value)
{
    bool is_bytes = key == KEY_RATE_BYTES || key == KEY_BURST_BYTES;
    bool is_rate = key == KEY_RATE_BYTES || key == KEY_RATE_SPANS;
    uint64_t value;

    if ((is_bytes ? fm_bytes_parse(text, &value) : fm_u64_parse(text, &value)) != FM_OK ||
        value > (is_rate ? BUCKET_RATE_MAX : BUCKET_BURST_MAX))
        return false;
    *ret_value = value;
    return true;
}

static void loader_on_setting(void *self, const struct ini_setting *setting)
{
    struct overrides_loader *loader = self;
    enum override_key key = loader_find(loader, setting->key);

    if (key == KEY_COUNT) {
        loader_complain_key(loader, setting);
        return;
    }
    struct loaded_tenant *tenant =
        loader->section == SECTION_TENANT ? &loader->tenants[loader->tenant_count - 1] : NULL;
    unsigned *line = tenant ? &tenant->key_lines[key] : &loader->require_identity_line;
    if (*line && !setting->continues) {
        ini_complain(&loader->complaints, &setting->key_place, NULL,
                     "\"%s\" was given on line %u already", keys[key].name, *line);
        return;
    }
    *line = setting->key_place.line;
    bool is_good = true;
    if (key == KEY_REQUIRE_IDENTITY)
        is_good = value_parse_bool(setting->value, &loader->require_identity);
    else if (key == KEY_IDENTITIES)
        loader_add_identities(loader, setting->value, &setting->value_place);
    else
        is_good = value_parse_number(key, setting->value, &tenant->values[key]);
    if (!is_good)
        loader_complain_value(loader, key, setting->value, &setting->value_place);
}

/* ---- from what was read to what is looked up ---- */

/* A burst that the file does not give is two seconds of the rate, wherever the rate is from. */
static void rate_override(const struct loaded_tenant *loaded, enum override_key rate_key,
                          enum override_key burst_key, uint64_t *rate, uint64_t *burst)
{
    bool has_rate = loaded->key_lines[rate_key], has_burst = loaded->key_lines[burst_key];

    if (has_rate)
        *rate = loaded->values[rate_key];
    if (has_burst)
        *burst = loaded->values[burst_key];
    if ((has_rate && !has_burst) || (has_burst && !*burst))
        *burst = BURST_SECONDS * *rate;
}

static void tenant_init(struct tenant *tenant, struct fm_slice name,
                        const struct tenants_rates *rates, uint64_t seed, uint64_t now_ns)
{
    *tenant = (struct tenant){
        .hash = fm_hash64(name, seed), .is_named = true, .rates = *rates, .used_ns = now_ns};
    memcpy(tenant->name, name.ptr, name.len);
    bucket_init(&tenant->bytes, rates->bytes_per_s, rates->bytes_burst, now_ns);
    bucket_init(&tenant->spans, rates->spans_per_s, rates->spans_burst, now_ns);
}

static int grant_compare(const struct overrides_grant *a, const struct overrides_grant *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int grant_order(const void *a, const void *b)
{
    const struct overrides_grant *x = a, *y = b;
    int order = grant_compare(x, y);

    if (order)
        return order;
    return (x->tenant > y->tenant) - (x->tenant < y->tenant);
}

static int overrides_take_grants(struct overrides *overrides, const struct overrides_loader *loader)
{
    overrides->grants =
        fm_arena_zalloc(&overrides->arena, (loader->grant_count + 1) * sizeof *overrides->grants);
    if (!overrides->grants)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < loader->grant_count; i++) {
        const struct loaded_grant *loaded = &loader->grants[i];
        struct tenant *tenant = &overrides->tenants[loaded->tenant];
        char *name = fm_arena_zalloc(&overrides->arena, loaded->name.len + 1);
        if (!name)
            return FM_ENOMEM;
        if (loaded->name.len)
            memcpy(name, loaded->name.ptr, loaded->name.len);
        tenant->has_identities = true;
        overrides->grants[i] =
            (struct overrides_grant){.kind = loaded->kind, .name = name, .tenant = tenant};
    }
    if (loader->grant_count)
        qsort(overrides->grants, loader->grant_count, sizeof *overrides->grants, grant_order);
    overrides->closed =
        fm_arena_alloc(&overrides->arena, overrides->tenant_count * sizeof *overrides->closed);
    if (!overrides->closed)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < overrides->tenant_count; i++) {
        const struct tenant *tenant = &overrides->tenants[i];
        if (tenant->has_identities)
            overrides->closed[overrides->closed_count++] =
                (struct overrides_closed){tenant->hash, tenant};
    }
    for (uint32_t i = 0; i < loader->grant_count; i++) { /* once each */
        if (i == 0 || grant_order(&overrides->grants[i - 1], &overrides->grants[i]) != 0)
            overrides->grants[overrides->grant_count++] = overrides->grants[i];
    }
    return FM_OK;
}

static int overrides_build(struct overrides *overrides, const struct tenants_options *options,
                           const struct overrides_loader *loader, uint64_t seed, uint64_t now_ns)
{
    struct fm_slice default_name = fm_slice_text(options->default_tenant);
    bool has_default = false;
    uint32_t count = loader->tenant_count;

    overrides->require_identity = loader->require_identity;
    for (uint32_t i = 0; i < count; i++)
        has_default = has_default || fm_slice_equal(loader->tenants[i].name, default_name);
    overrides->tenants =
        fm_arena_alloc(&overrides->arena, (count + 1) * sizeof *overrides->tenants);
    int rc = index_init(&overrides->index, count + 1 + options->active_max);
    if (!overrides->tenants || rc < 0)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const struct loaded_tenant *loaded = &loader->tenants[i];
        struct tenants_rates rates = options->rates;
        rate_override(loaded, KEY_RATE_BYTES, KEY_BURST_BYTES, &rates.bytes_per_s,
                      &rates.bytes_burst);
        rate_override(loaded, KEY_RATE_SPANS, KEY_BURST_SPANS, &rates.spans_per_s,
                      &rates.spans_burst);
        tenant_init(&overrides->tenants[i], loaded->name, &rates, seed, now_ns);
    }
    if (!has_default)
        tenant_init(&overrides->tenants[count++], default_name, &options->rates, seed, now_ns);
    overrides->tenant_count = count;
    for (uint32_t i = 0; i < count; i++)
        index_add(&overrides->index, &overrides->tenants[i]);
    return overrides_take_grants(overrides, loader);
}

int overrides_new(struct overrides **ret_overrides, const struct tenants_options *options,
                  struct fm_slice text, uint64_t seed, uint64_t now_ns, struct fm_buf *messages)
{
    static const struct ini_visitor visitor = {.section_example = "[tenant NAME]",
                                               .on_section = loader_on_section,
                                               .kind = loader_kind,
                                               .on_setting = loader_on_setting};
    struct overrides_loader loader = {.complaints = {.out = messages}};
    FM_AUTO(overrides) overrides = calloc(1, sizeof *overrides);

    if (!overrides)
        return FM_ENOMEM;
    fm_arena_init(&overrides->arena, FM_MIB(16));
    ini_text_read(options->overrides_file, text, &visitor, &loader, &loader.complaints);
    ini_put_rest(&loader.complaints);
    int rc = FM_OK;
    if (loader.complaints.count)
        rc = FM_ECONFIG;
    else if (loader.is_out_of_memory)
        rc = FM_ENOMEM;
    else
        rc = overrides_build(overrides, options, &loader, seed, now_ns);
    free(loader.tenants);
    free(loader.grants);
    if (rc < 0)
        return rc;
    *ret_overrides = fm_take(overrides);
    return FM_OK;
}

struct overrides *overrides_free(struct overrides *overrides)
{
    if (overrides) {
        index_fini(&overrides->index);
        fm_arena_fini(&overrides->arena);
        free(overrides);
    }
    return NULL;
}

uint32_t overrides_find(const struct overrides *overrides, const struct net_identity *identity,
                        const struct overrides_grant **ret_first)
{
    struct overrides_grant wanted = {.kind = identity->kind, .name = identity->name};
    uint32_t low = 0, high = overrides->grant_count;

    if (identity->kind == NET_ANONYMOUS)
        wanted.name = "";
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (grant_compare(&overrides->grants[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (high < overrides->grant_count && grant_compare(&overrides->grants[high], &wanted) == 0)
        high++;
    *ret_first = &overrides->grants[low];
    return high - low;
}

bool overrides_is_closed(const struct overrides *overrides, uint64_t hash, struct fm_slice name)
{
    for (uint32_t i = 0; i < overrides->closed_count; i++) {
        if (overrides->closed[i].hash == hash &&
            fm_slice_equal_text(name, overrides->closed[i].tenant->name))
            return true;
    }
    return false;
}
